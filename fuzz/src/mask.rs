//! Masking: secrets in any form, broken into lines of any length, in a stream that is cut anywhere.

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
/// Lengths of the lines that encodings are broken into. Broken into shorter ones, they stay.
const WIDTHS: std::ops::RangeInclusive<usize> = 3..=80;

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
    assert_eq!(line_ends(&whole), line_ends(&text), "line breaks stay");
    for value in &values {
        let (plain, encoded) = forms(value.trim_ascii());
        for form in &plain {
            // A mask may complete what stands beside it to a form of stars, and only to that.
            let left = !form.contains(&b'*') && whole.windows(form.len()).any(|window| window == form);
            assert!(!left, "{value:?} is left as {}: {}", form.escape_ascii(), whole.escape_ascii());
        }
        for form in &encoded {
            let left = (0..whole.len()).any(|at| begins_broken(&whole[at..], form));
            assert!(!left, "{value:?} is left as {}: {}", form.escape_ascii(), whole.escape_ascii());
        }
    }
    Ok(())
}

fn line_ends(text: &[u8]) -> Vec<bool> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.ends_with(b"\r\n")).collect()
}

/// True if the text begins with the form, with or without line breaks in it.
fn begins_broken(text: &[u8], form: &[u8]) -> bool {
    let mut rest = text;
    form.iter().enumerate().all(|(read, byte)| {
        if read >= *WIDTHS.start() {
            rest = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")).unwrap_or(rest);
        }
        let same = rest.first() == Some(byte);
        rest = rest.get(1..).unwrap_or_default();
        same
    })
}

/// A form of a secret as programs print it.
fn encoded(input: &mut Unstructured<'_>, value: &str) -> Result<Vec<u8>> {
    let (lead, tail) = (input.int_in_range(0..=4)?, input.int_in_range(0..=4)?);
    let beside = format!("{}{value}{}", &"user"[..lead], &"!#?%"[..tail]);
    let text = match input.int_in_range(0..=9)? {
        0 => STANDARD.encode(beside),
        1 => URL_SAFE.encode(beside),
        2 => STANDARD_NO_PAD.encode(beside),
        3 => URL_SAFE_NO_PAD.encode(beside),
        4 => hex(beside.as_bytes()),
        5 => hex(beside.as_bytes()).to_uppercase(),
        6 => return Ok(percent_encode(value.as_bytes(), NON_ALPHANUMERIC).to_string().into_bytes()),
        7 => return Ok(serde_json::to_string(value).expect("text is JSON").into_bytes()),
        8 => return Ok(value.split('\n').map(|line| format!("> {line}\r\n")).collect::<String>().into_bytes()),
        _ => return Ok(value.as_bytes().to_vec()),
    };
    let width = if input.ratio(1, 2)? { input.int_in_range(WIDTHS)? } else { text.len() };
    let line_end: &[u8] = if input.ratio(1, 2)? { b"\r\n" } else { b"\n" };
    Ok(text.as_bytes().chunks(width).collect::<Vec<_>>().join(line_end))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What must never be left of a value: itself and its longer lines, and what of its encodings depends on it alone, with or
/// without line breaks.
fn forms(value: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut plain, mut encoded) = (Vec::new(), Vec::new());
    let lines = value.split('\n').map(str::trim_ascii);
    for part in std::iter::once(value).chain(lines).filter(|part| part.len() >= 9) {
        plain.push(part.as_bytes().to_vec());
        plain.push(serde_json::to_string(part).expect("text is JSON").trim_matches('"').as_bytes().to_vec());
        encoded.extend([hex(part.as_bytes()), hex(part.as_bytes()).to_uppercase()].map(String::into_bytes));
        for lead in 0..3 {
            let bytes = [&vec![0; lead][..], part.as_bytes()].concat();
            let (from, to) = ((lead * 8).div_ceil(6), bytes.len() * 8 / 6);
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                encoded.push(engine.encode(&bytes).as_bytes()[from..to].to_vec());
            }
        }
    }
    (plain, encoded)
}
