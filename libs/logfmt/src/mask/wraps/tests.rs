use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::mask::encodings::Forms;
use crate::mask::{MASK, Secrets};

/// Two lines of base64 as coreutils wrap it.
const LONG: &str = "correct horse battery staple, and so many more words behind them that no line as wide as a terminal has room to it";

fn wrapped(text: &str, width: usize, line_end: &str) -> String {
    text.as_bytes()
        .chunks(width)
        .map(|line| format!("{}{line_end}", std::str::from_utf8(line).expect("ASCII")))
        .collect()
}

fn mask(secret: &str, text: &str) -> String {
    String::from_utf8(Secrets::new([secret]).expect("small").mask(text.as_bytes())).expect("text")
}

#[test]
fn what_base64_wraps_is_masked_in_each_line() {
    let secret = LONG;
    assert_eq!(mask(secret, &wrapped(&STANDARD.encode(secret), 76, "\n")), "***\n***\n");
    assert_eq!(mask(secret, &wrapped(&STANDARD.encode(secret), 64, "\r\n")), "***\r\n***\r\n***\r\n");
    assert_eq!(mask(secret, &wrapped(&hex::encode(secret), 60, "\n")), "***\n***\n***\n***\n");
    let inside = STANDARD.encode(format!("{}{secret}{}", "b".repeat(60), "a".repeat(60)));
    let (before, after) = (STANDARD.encode("b".repeat(60)), STANDARD.encode("a".repeat(60)));
    let expected = format!("{}\n{}***\n***\n***{}\n{}\n", &before[..76], &before[76..], &after[..72], &after[72..]);
    assert_eq!(mask(secret, &wrapped(&inside, 76, "\n")), expected);
}

#[test]
fn a_break_after_two_characters_leaves_them() {
    let encoded = STANDARD_NO_PAD.encode("hunter2secret");
    let (secret, core) = ("hunter2secret", &encoded[..17]);
    assert_eq!(mask(secret, &format!("{}\n{}", &core[..3], &core[3..])), "***\n***");
    assert_eq!(mask(secret, &format!("{}\n{}", &core[..2], &core[2..])), format!("{}\n***", &core[..2]));
    assert_eq!(
        mask(secret, &format!("{}\n{}\n{}", &core[..1], &core[1..6], &core[6..])),
        format!("{}\n***\n***", &core[..1])
    );
    let one_by_one = wrapped(&core[3..], 1, "\n");
    let expected = format!("***\n{}", "***\n".repeat(core.len() - 3));
    assert_eq!(mask(secret, &format!("{}\n{one_by_one}", &core[..3])), expected);
}

#[test]
fn two_characters_stay_also_where_another_encoding_went_on() {
    let secrets = Secrets::new(["abcabcabcXYZxyz123456789", "XYZxyzhunter2!"]).expect("small");
    let (other, core) = (STANDARD.encode("abcabcabc"), &STANDARD_NO_PAD.encode("XYZxyzhunter2!")[..18]);
    let (line, next) = (format!("{other}{}\n", &core[..2]), &core[2..]);
    let expected = format!("{line}***");
    assert_eq!(secrets.mask(format!("{line}{next}").as_bytes()), expected.as_bytes());
    let mut masker = secrets.masker();
    let mut out: Vec<u8> = [line.as_str(), &next[..9], &next[9..]].map(|piece| masker.push(piece.as_bytes())).concat();
    out.extend(masker.finish());
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn what_stands_between_lines_hides_them() {
    let core = &STANDARD_NO_PAD.encode("hunter2secret")[..17];
    for between in ["\n\n", "\r\n\r\n", "\r", "\n ", " \n", "\r\r\n", "\n\r"] {
        let text = format!("{}{between}{}", &core[..9], &core[9..]);
        assert_eq!(mask("hunter2secret", &text), text);
    }
}

#[test]
fn a_line_waits_if_it_may_end_inside_an_encoding() {
    let mut masker = Secrets::new(["hunter2secret"]).expect("small").masker();
    let core = &STANDARD_NO_PAD.encode("hunter2secret")[..17];
    let mut push = |text: &str| String::from_utf8(masker.push(text.as_bytes())).expect("text");
    assert_eq!(push(&format!("words {}\n", &core[..2])), format!("words {}\n", &core[..2]));
    assert_eq!(push(&format!("words {}\r", &core[..3])), "words ");
    assert_eq!(push("\n"), "");
    assert_eq!(push("x\n"), format!("{}\r\nx\n", &core[..3]));
    assert_eq!(push(&core[..9]), "");
    assert_eq!(push("\r"), "");
    assert_eq!(push("x"), format!("{}\rx", &core[..9]));
    assert_eq!(push(&format!("{}\r\n{}", &core[..9], &core[9..16])), "");
    assert_eq!(push(&core[16..]), "***\r\n***");
    assert_eq!(push(&format!("{}\n", &core[..9])), "");
    assert_eq!(push("\n"), format!("{}\n\n", &core[..9]));
}

#[test]
fn encodings_of_other_things_are_unchanged() {
    let secrets = Secrets::new([LONG, "hunter2secret", "0123456789abcdef"]).expect("small");
    let other: Vec<u8> = (0..5_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for text in [STANDARD.encode(&other), URL_SAFE.encode(&other), hex::encode(&other), LONG.repeat(50).to_uppercase()]
    {
        for (width, line_end) in [(4, "\n"), (60, "\r\n"), (64, "\n"), (76, "\r\n"), (5_000, "\n")] {
            let text = wrapped(&text, width, line_end);
            for piece in [1, 63, 4_096, 1 << 20] {
                let mut masker = secrets.masker();
                let mut out: Vec<u8> = text.as_bytes().chunks(piece).flat_map(|piece| masker.push(piece)).collect();
                out.extend(masker.finish());
                assert!(out == text.as_bytes(), "lines of {width} in pieces of {piece}");
            }
        }
    }
}

/// What stands in a text: which bytes, and where they would in the stream of it.
#[derive(Debug, Clone)]
enum Part {
    Noise(String),
    Encoded { value: Index, lead: Vec<u8>, tail: Vec<u8>, encoding: u8, width: usize, crlf: bool, kept: usize },
}

fn part() -> impl Strategy<Value = Part> {
    let beside = || prop::collection::vec(any::<u8>(), 0..70);
    let encoded = (any::<Index>(), beside(), beside(), 0..5_u8, 1..=80_usize, any::<bool>(), 0..2_000_usize);
    prop_oneof![
        2 => prop_oneof!["[a-dY-Z0-9+/= \r\n]{0,12}", Just("\n".to_owned()), Just("\r".to_owned())].prop_map(Part::Noise),
        5 => encoded.prop_map(|(value, lead, tail, encoding, width, crlf, kept)| {
            Part::Encoded { value, lead, tail, encoding, width, crlf, kept }
        }),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{6,30}", "a{6,20}", "[ -~é]{6,120}", "([!-~]{8,20}\n){2,4}"]
}

fn written(parts: &[Part], values: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Noise(noise) => text.push_str(noise),
            Part::Encoded { value, lead, tail, encoding, width, crlf, kept } => {
                let value = [lead.as_slice(), value.get(values).as_bytes(), tail.as_slice()].concat();
                let encoded = match encoding {
                    0 => STANDARD.encode(value),
                    1 => URL_SAFE.encode(value),
                    2 => STANDARD_NO_PAD.encode(value),
                    3 => hex::encode(value),
                    _ => hex::encode_upper(value),
                };
                // Half of them are cut off.
                let kept = encoded.get(..*kept).unwrap_or(&encoded);
                text.push_str(&wrapped(kept, *width, if *crlf { "\r\n" } else { "\n" }));
            }
        }
    }
    text.into_bytes()
}

/// Where a form lies if single line breaks may stand in it, from its third character on.
fn places(text: &[u8], form: &[u8], is_encoded: bool) -> Vec<Range<usize>> {
    let end = |start: usize| {
        let mut at = start;
        for (read, byte) in form.iter().enumerate() {
            let rest = text.get(at..)?;
            if is_encoded && read >= MIN_LINE_CHARS {
                at += if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
            }
            if text.get(at) != Some(byte) {
                return None;
            }
            at += 1;
        }
        Some(at)
    };
    memchr_iter(form[0], text).filter_map(|start| Some(start..end(start)?)).collect()
}

/// What masking does, said plainly.
fn expected(values: &[String], text: &[u8]) -> Vec<u8> {
    let mut forms = Forms::default();
    values.iter().for_each(|value| forms.add(value.as_bytes()));
    let mut finds: Vec<Range<usize>> = forms.plain.iter().flat_map(|form| places(text, form, false)).collect();
    finds.extend(forms.encoded.iter().flat_map(|form| places(text, form, true)));
    finds.sort_unstable_by_key(|find| find.start);
    let (mut out, mut said) = (Vec::new(), 0);
    let mut finds = finds.into_iter().peekable();
    while let Some(mut find) = finds.next() {
        while let Some(next) = finds.next_if(|next| next.start < find.end) {
            find.end = find.end.max(next.end);
        }
        out.extend_from_slice(&text[said..find.start]);
        said = find.end;
        for line in text[find].split_inclusive(|byte| *byte == b'\n') {
            let content = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
            out.extend_from_slice(if content.is_empty() { b"" } else { MASK });
            out.extend_from_slice(&line[content.len()..]);
        }
    }
    out.extend_from_slice(&text[said..]);
    out
}

fn line_ends(text: &[u8]) -> Vec<bool> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.ends_with(b"\r\n")).collect()
}

proptest! {
    // Preparing many forms takes most of the time.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exactly_the_encodings_are_masked_wherever_they_are_broken(
        values in prop::collection::vec(value(), 1..4),
        parts in prop::collection::vec(part(), 0..6),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let text = written(&parts, &values);
        let expected = expected(&values, &text);
        let secrets = Secrets::new(&values).expect("small");
        prop_assert_eq!(secrets.mask(&text).escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!(line_ends(&expected), line_ends(&text));

        let mut forms = Forms::default();
        values.iter().for_each(|value| forms.add(value.as_bytes()));
        let longest = forms.plain.iter().chain(&forms.encoded).map(Vec::len).max().expect("long values");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        for step in [None, Some(1)] {
            let mut masker = secrets.masker();
            let mut out = Vec::new();
            let pieces: Vec<&[u8]> = match step {
                None => cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect(),
                Some(step) => text.chunks(step).collect(),
            };
            for piece in pieces {
                out.extend(masker.push(piece));
                prop_assert!(masker.held.len() < 3 * longest, "what waits is bounded");
            }
            out.extend(masker.finish());
            prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }
}
