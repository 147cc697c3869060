//! Masking: secrets in any form, in a stream that is cut anywhere.

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use slipway_logfmt::mask::Secrets;

use crate::input;

/// Characters of secrets: those that some form escapes.
const LETTERS: [&str; 20] =
    ["a", "b", "c", "Z", "0", "9", "/", "+", "=", "\"", "\\", "<", "&", "%", " ", "é", "漢", "\n", "-", "~"];
/// Shorter ones are not hidden; base64 of them would stand in innocent text.
const SECRET_LETTERS: std::ops::RangeInclusive<usize> = 9..=24;

/// Runs the target.
pub fn run(input: &[u8]) {
    let _ = hidden(&mut Unstructured::new(input));
}

fn hidden(input: &mut Unstructured<'_>) -> Result<()> {
    let mut values = Vec::new();
    for _ in 0..input.int_in_range(1..=3)? {
        let letters = input.int_in_range(SECRET_LETTERS)?;
        values.push((0..letters).map(|_| input.choose(&LETTERS).copied()).collect::<Result<String>>()?);
    }
    let mut text = Vec::new();
    for _ in 0..input.int_in_range(0..=12)? {
        if input.ratio(1, 2)? {
            let value = input.choose(&values)?.clone();
            text.extend(encoded(input, &value)?);
        } else {
            text.extend(input::text(input, 4)?);
        }
    }
    let secrets = Secrets::new(&values).expect("few secrets");
    let whole = secrets.mask(&text);
    let cuts = input::cuts(input, text.len())?;
    let mut masker = secrets.masker();
    let mut parts: Vec<u8> = input::pieces(&text, &cuts).into_iter().flat_map(|piece| masker.push(piece)).collect();
    parts.extend(masker.finish());
    assert_eq!(parts, whole, "borders matter");
    for value in &values {
        for form in forms(value.trim_ascii()) {
            // A mask may complete what stands beside it to a form of stars, and only to that.
            let left = !form.contains(&b'*') && whole.windows(form.len()).any(|window| window == form);
            assert!(!left, "{value:?} is left as {}: {}", form.escape_ascii(), whole.escape_ascii());
        }
    }
    Ok(())
}

/// A form of a secret as programs print it.
fn encoded(input: &mut Unstructured<'_>, value: &str) -> Result<Vec<u8>> {
    let (lead, tail) = (input.int_in_range(0..=4)?, input.int_in_range(0..=4)?);
    let beside = format!("{}{value}{}", &"user"[..lead], &"!#?%"[..tail]);
    Ok(match input.int_in_range(0..=7)? {
        0 => STANDARD.encode(beside),
        1 => URL_SAFE.encode(beside),
        2 => STANDARD_NO_PAD.encode(beside),
        3 => URL_SAFE_NO_PAD.encode(beside),
        4 => percent_encode(value.as_bytes(), NON_ALPHANUMERIC).to_string(),
        5 => serde_json::to_string(value).expect("text is JSON"),
        6 => value.split('\n').map(|line| format!("> {line}\r\n")).collect(),
        _ => value.to_owned(),
    }
    .into_bytes())
}

/// What must never be left of a value: itself, its longer lines, and what of its base64 depends on it alone.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    let lines = value.split('\n').map(str::trim_ascii);
    for part in std::iter::once(value).chain(lines).filter(|part| part.len() >= 9) {
        forms.push(part.as_bytes().to_vec());
        forms.push(serde_json::to_string(part).expect("text is JSON").trim_matches('"').as_bytes().to_vec());
        for lead in 0..3 {
            let bytes = [&vec![0; lead][..], part.as_bytes()].concat();
            let (from, to) = ((lead * 8).div_ceil(6), bytes.len() * 8 / 6);
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                forms.push(engine.encode(&bytes).as_bytes()[from..to].to_vec());
            }
        }
    }
    forms
}
