//! Property: of whatever JSON, the secrets are masked and every other byte stays as the forge sent it.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;

/// A piece of JSON as sent, and as it may be stored.
#[derive(Debug, Clone)]
struct Piece {
    sent: String,
    stored: String,
}

impl Piece {
    fn plain(text: &str) -> Self {
        Self { sent: text.to_owned(), stored: text.to_owned() }
    }

    /// As it is stored where it is a secret.
    fn masked(self) -> Self {
        let says_nothing = matches!(self.sent.trim(), "null" | "true" | "false" | "\"\"");
        if says_nothing {
            return Self { stored: self.sent.clone(), ..self };
        }
        let body = self.sent.trim();
        let stored = self.sent.replacen(body, &format!("\"{MASK}\""), 1);
        Self { stored, ..self }
    }
}

fn join(open: &str, pieces: &[Piece], close: &str) -> Piece {
    let all = |text: fn(&Piece) -> &str| {
        let inner: Vec<&str> = pieces.iter().map(text).collect();
        format!("{open}{}{close}", inner.join(","))
    };
    Piece { sent: all(|piece| &piece.sent), stored: all(|piece| &piece.stored) }
}

/// Any letter of a text as JSON may write it.
fn spelled(text: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), text.len()).prop_map(move |how| {
        let letters = text.chars().zip(how).map(|(letter, how)| match how % 8 {
            0 => format!("\\u{:04x}", u32::from(letter)),
            1 => format!("\\u{:04X}", u32::from(letter.to_ascii_uppercase())),
            2 => letter.to_ascii_uppercase().to_string(),
            _ => letter.to_string(),
        });
        format!("\"{}\"", letters.collect::<String>())
    })
}

fn padded(json: impl Strategy<Value = Piece>) -> impl Strategy<Value = Piece> {
    let blank = prop::sample::select(vec!["", " ", "\n\t", "  \r\n"]);
    (blank.clone(), json, blank).prop_map(|(before, piece, after)| Piece {
        sent: format!("{before}{}{after}", piece.sent),
        stored: format!("{before}{}{after}", piece.stored),
    })
}

fn scalar() -> impl Strategy<Value = Piece> {
    let words = vec![
        "null",
        "true",
        "false",
        "\"\"",
        "0",
        "-1.5e-7",
        "1e9999",
        "123456789012345678901234567890123456789012345678901234567890",
        "0.10000000000000000000000000000000000001",
        "\"hunter2\"",
        "\"h\\u0075nter2\"",
        "\"a \\\"token\\\": \\\"hunter2\\\\\\\" }\"",
        "\"\\\\\"",
        "\"{\\\"secret\\\":1}]\"",
        "\"\\ud83d\\ude00 \u{1f600} ü\"",
    ];
    prop::sample::select(words).prop_map(Piece::plain)
}

/// Keys with whether their values are secrets.
fn key() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        prop::sample::select(SECRET_KEYS.to_vec()).prop_flat_map(spelled).prop_map(|key| (key, true)),
        prop::sample::select(vec![
            "\"\"",
            "\"ref\"",
            "\"tokens\"",
            "\"value\"",
            "\"to\\\\ken\"",
            "\"\\\"token\"",
            "\"ſecret\""
        ])
        .prop_map(|key| (key.to_owned(), false)),
    ]
}

fn object(of: impl Strategy<Value = Piece> + Clone + 'static) -> BoxedStrategy<Piece> {
    let field = (key(), padded(of)).prop_map(|((key, is_secret), value)| {
        let value = if is_secret { value.masked() } else { value };
        Piece { sent: format!("{key} :{}", value.sent), stored: format!("{key} :{}", value.stored) }
    });
    prop::collection::vec(field, 0..5).prop_map(|fields| join("{", &fields, "}")).boxed()
}

/// GitLab's list of variables: every `value` in it is a secret, twice told ones too.
fn variables(of: impl Strategy<Value = Piece> + Clone + 'static) -> BoxedStrategy<Piece> {
    let variable = prop::collection::vec(padded(of).prop_map(Piece::masked), 0..3).prop_map(|values| {
        let mut fields = vec![Piece::plain("\"key\":\"PASS\"")];
        fields.extend(values.into_iter().map(|value| Piece {
            sent: format!("\"v\\u0061lue\":{}", value.sent),
            stored: format!("\"v\\u0061lue\":{}", value.stored),
        }));
        join("{", &fields, "}")
    });
    prop::collection::vec(padded(variable), 0..4).prop_map(|items| join("{\"variables\":[", &items, "]}")).boxed()
}

fn json() -> impl Strategy<Value = Piece> {
    padded(scalar().prop_recursive(6, 64, 5, |inner| {
        prop_oneof![
            object(inner.clone()),
            prop::collection::vec(padded(inner.clone()), 0..4).prop_map(|items| join("[", &items, "]")),
            variables(inner),
        ]
    }))
}

fn stored(sent: &str) -> String {
    String::from_utf8(redact_body(&HeaderMap::new(), sent.as_bytes()).into_owned()).expect("text")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn secrets_are_masked_and_nothing_else_changes(piece in json()) {
        prop_assert_eq!(stored(&piece.sent), piece.stored);
    }

    #[test]
    fn whatever_comes_is_kept_as_json_or_not_at_all(noise in "[\\[\\]{}:,\"\\\\ tru0-9e.\u{e4}-]{0,40}") {
        let shown = stored(&noise);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&noise).is_ok();
        prop_assert_eq!(is_json, !shown.ends_with("were not kept]"));
        prop_assert!(!is_json || serde_json::from_str::<serde::de::IgnoredAny>(&shown).is_ok());
    }
}

#[test]
fn a_key_told_twice_is_masked_twice() {
    for (sent, kept) in [
        ("{\"token\":\"hunter2\",\"token\":\"\"}", "{\"token\":\"[redacted]\",\"token\":\"\"}"),
        ("{\"a\":{\"secret\":\"hunter2\"},\"a\":1}", "{\"a\":{\"secret\":\"[redacted]\"},\"a\":1}"),
        ("{\"t\\u006fken\":\"hunter2\"}", "{\"t\\u006fken\":\"[redacted]\"}"),
    ] {
        assert_eq!(stored(sent), kept);
    }
}

#[test]
fn nesting_without_end_is_read_to_its_bottom() {
    let deep = 200_000;
    let (open, close) = ("{\"a\":[".repeat(deep), "]}".repeat(deep));
    let shown = stored(&format!("{open}{{\"token\":{open}\"hunter2\"{close}}}{close}"));
    assert_eq!(shown, format!("{open}{{\"token\":\"{MASK}\"}}{close}"));
}

#[test]
fn what_is_not_text_is_not_kept() {
    let shown = redact_body(&HeaderMap::new(), b"{\"token\":\"\xff\"}").into_owned();
    assert_eq!(shown, b"[13 bytes that are not JSON were not kept]");
}
