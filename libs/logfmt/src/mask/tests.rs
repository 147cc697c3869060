use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

fn mask(secrets: &[&str], text: &str) -> String {
    String::from_utf8(Secrets::new(secrets).expect("small").mask(text.as_bytes())).expect("text")
}

#[test]
fn secrets_and_their_forms_are_masked() {
    let secret = "p@ss/w<rd> \"ü\"";
    assert_eq!(mask(&[secret], &format!("a {secret} b")), "a *** b");
    for json in
        [r#"p@ss/w<rd> \"ü\""#, r#"p@ss\/w<rd> \"ü\""#, r#"p@ss/w\u003crd\u003e \"ü\""#, r#"p@ss/w<rd> \"\u00fc\""#]
    {
        assert_eq!(mask(&[secret], &format!("[\"{json}\"]")), "[\"***\"]");
    }
    for url in
        ["p%40ss%2Fw%3Crd%3E%20%22%C3%BC%22", "p%40ss%2fw%3crd%3e%20%22%c3%bc%22", "p%40ss%2Fw%3Crd%3E+%22%C3%BC%22"]
    {
        assert_eq!(mask(&[secret], &format!("?x={url}&y=1")), "?x=***&y=1");
    }
}

#[test]
fn base64_is_masked_at_every_alignment() {
    let secret = "correct horse battery?>";
    for lead in ["", "u", "us", "usr", "user:"] {
        for tail in ["", "!", "!!", "!!!"] {
            let whole = format!("{lead}{secret}{tail}");
            for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                let masked = mask(&[secret], &format!("auth {encoded} end"));
                assert!(masked.contains("***"), "{masked}");
                // What is left around the mask belongs to the neighbours, but for a character at each side.
                assert!(masked.len() <= "auth  end***".len() + 4 + (lead.len() + tail.len()) * 2, "{masked}");
            }
        }
    }
}

#[test]
fn hexadecimal_is_masked() {
    let secret = "p@ss~word";
    assert_eq!(mask(&[secret], "x=70407373, 0x70704073737e776f72642e"), "x=70407373, 0x70***2e");
    assert_eq!(
        mask(&[secret], "x=7040, 0x707040 73737E776F7264 70407373 7E776F7264"),
        "x=7040, 0x707040 73737E776F7264 70407373 7E776F7264"
    );
    assert_eq!(mask(&[secret], "704073737E776F7264"), "***");
}

#[test]
fn each_line_of_a_long_secret_is_masked() {
    let key = "-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----\n";
    assert_eq!(mask(&[key], key), "***\n***\n***\n***\n");
    assert_eq!(mask(&[key], "x abcdefgh y\r\nijklmnop\r\n"), "x *** y\r\n***\r\n");
}

#[test]
fn overlapping_secrets_are_one_mask_and_neighbours_are_two() {
    assert_eq!(mask(&["abcd", "cdef"], "xabcdefx"), "x***x");
    assert_eq!(mask(&["abcd"], "abcdabcd"), "******");
    assert_eq!(mask(&["abcdefgh", "abcd"], "abcdefg"), "***efg");
    assert_eq!(mask(&["aaaa"], "baaaaaaab"), "b***b");
}

#[test]
fn short_values_and_stars_are_left_alone() {
    assert_eq!(mask(&["abc", "****", "  \n"], "abc **** \n"), "abc **** \n");
}

#[test]
fn only_the_beginning_of_a_secret_waits() {
    let mut masker = Secrets::new(["hunter2secret"]).expect("small").masker();
    assert_eq!(masker.push(b"a line\n"), b"a line\n");
    assert_eq!(masker.push(b"pass: hunt"), b"pass: ");
    assert_eq!(masker.push(b"ing\n"), b"hunting\n");
    assert_eq!(masker.push(b"hunter2"), b"");
    assert_eq!(masker.push(b"secret!"), b"***!");
    assert_eq!(masker.push(b"hunter"), b"");
    assert_eq!(masker.finish(), b"hunter");
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let secrets = Secrets::new(["hunter2secret"]).expect("small");
    let mut masker = secrets.masker();
    masker.push(b"hunter2");
    assert_eq!(format!("{secrets:?} {masker:?}"), "Secrets Masker");
}

/// A small alphabet makes secrets overlap, repeat and nearly match.
fn few_letters(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], len)
}

proptest! {
    #[test]
    fn borders_do_not_matter_and_no_secret_is_left(
        values in prop::collection::vec(few_letters(4..9), 1..4),
        pieces in prop::collection::vec(few_letters(0..12), 0..8),
    ) {
        let secrets = Secrets::new(&values).expect("small");
        let whole = secrets.mask(&pieces.concat());
        let mut masker = secrets.masker();
        let mut out = Vec::new();
        for piece in &pieces {
            out.extend(masker.push(piece));
            prop_assert!(masker.held.len() < 64, "what waits is bounded");
        }
        out.extend(masker.finish());
        prop_assert_eq!(&out, &whole);
        for value in &values {
            prop_assert!(!whole.windows(value.len()).any(|window| window == value.as_slice()));
        }
    }

    #[test]
    fn text_without_secrets_is_unchanged(pieces in prop::collection::vec("[0-9\\n]{0,12}", 0..8)) {
        let mut masker = Secrets::new(["topsecret"]).expect("small").masker();
        let mut out = Vec::new();
        for piece in &pieces {
            out.extend(masker.push(piece.as_bytes()));
        }
        out.extend(masker.finish());
        prop_assert_eq!(out, pieces.concat().into_bytes());
    }
}

#[test]
fn large_values_cost_no_more_than_is_bearable_and_are_found_unbroken() {
    let large: Vec<u8> = (0..60_000_u32).map(|number| b'!' + (number.wrapping_mul(number) >> 7) as u8 % 90).collect();
    let secrets = Secrets::new([&large[..], b"short enough to be found"]).expect("secrets");
    let wrapped = |value: &[u8], width: usize| {
        let text = STANDARD.encode(value).into_bytes();
        text.chunks(width).flat_map(|line| [line, b"\n"].concat()).collect::<Vec<u8>>()
    };
    let shown = secrets.mask(&wrapped(b"short enough to be found", 10));
    assert!(shown.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.starts_with(MASK)));
    assert!(secrets.mask(&wrapped(&large, 1 << 20)).starts_with(MASK));
    assert_eq!(secrets.mask(&large), MASK);
}
