//! How every text that a template takes in is written: it cannot end an element, and cannot turn what stands beside it round.

use std::fmt;

use askama::filters::{self, Escaper};
use slipway_domain::bidi;

/// HTML in which controls of direction are seen.
#[derive(Debug, Clone, Copy)]
pub struct Html;

impl Escaper for Html {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        write_seen(&mut dest, string)
    }
}

/// Once for all writers: inlined at every place of every template it would take minutes to compile.
fn write_seen(dest: &mut dyn fmt::Write, string: &str) -> fmt::Result {
    let mut parts = string.split(bidi::is_control);
    filters::Html.write_escaped_str(&mut *dest, parts.next().unwrap_or_default())?;
    for part in parts {
        dest.write_char(char::REPLACEMENT_CHARACTER)?;
        filters::Html.write_escaped_str(&mut *dest, part)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text_and_direction_is_seen() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("a<b>\"'&", "a&#60;b&#62;&#34;&#39;&#38;"),
            ("main\u{202e}<niam\u{2069}", "main\u{fffd}&#60;niam\u{fffd}"),
            ("\u{200f}", "\u{fffd}"),
            ("\u{5d0}\u{5d1}", "\u{5d0}\u{5d1}"),
        ] {
            let mut written = String::new();
            Html.write_escaped_str(&mut written, text).expect("it is written");
            assert_eq!(written, wanted, "{text:?}");
        }
    }
}
