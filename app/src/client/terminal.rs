//! What strangers wrote must not steer the user's terminal: build output keeps its colours at most, and
//! names are shown with every control character made visible.

use slipway_domain::bidi;
use slipway_logfmt::ansi::AnsiStripper;

const ESC: u8 = 0x1b;
/// Longest colour sequence that is passed on; a longer one is dropped.
const MAX_SEQUENCE: usize = 64;
/// First bytes of characters that may not reach a terminal, in UTF-8: U+0080 to U+009F, which some take for control
/// sequences, and controls of direction.
const LEADS: [&[u8]; 5] = [b"\xc2", b"\xd8", b"\xe2", b"\xe2\x80", b"\xe2\x81"];

/// What stands for a character that does not go on, U+FFFD.
const HALF: &[u8] = "\u{fffd}".as_bytes();

/// Build output on its way to standard output, piece by piece.
#[derive(Debug)]
pub struct TerminalFilter {
    mode: Mode,
    /// First bytes of a character that may have to go.
    lead: Vec<u8>,
}

#[derive(Debug)]
enum Mode {
    /// Into a file or a pipe: the text without escape sequences.
    Plain(AnsiStripper),
    /// To a terminal without colours.
    Monochrome(AnsiStripper),
    /// To a terminal: `ESC [ … m` stays, everything else goes.
    Colours(Sequence),
}

#[derive(Debug, Default)]
enum Sequence {
    #[default]
    Ground,
    Escape,
    Csi(Vec<u8>),
    Text,
    TextEscape,
}

impl TerminalFilter {
    /// For a file or a pipe.
    pub fn plain() -> Self {
        Self::new(Mode::Plain(AnsiStripper::default()))
    }

    /// For a terminal that shows no colours.
    pub fn plain_terminal() -> Self {
        Self::new(Mode::Monochrome(AnsiStripper::default()))
    }

    /// For a terminal that shows colours.
    pub fn keep_colours() -> Self {
        Self::new(Mode::Colours(Sequence::default()))
    }

    fn new(mode: Mode) -> Self {
        Self { mode, lead: Vec::new() }
    }

    /// The next piece as it may be written.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        match &mut self.mode {
            Mode::Plain(stripper) => stripper.push(piece),
            Mode::Monochrome(stripper) => {
                let stripped = stripper.push(piece);
                self.without_controls(&stripped, false)
            }
            Mode::Colours(sequence) => {
                let kept = sequence.push(piece);
                self.without_controls(&kept, true)
            }
        }
    }

    /// The stream ends here: what was held back, of which nothing is lost but an escape sequence without its end. Half a
    /// character is shown as one that cannot be read, or stays as it is where nothing could take it for a control. What is
    /// pushed next is another stream.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = match &mut self.mode {
            Mode::Plain(stripper) => std::mem::take(stripper).finish().to_vec(),
            Mode::Monochrome(stripper) => {
                let rest = std::mem::take(stripper).finish();
                self.without_controls(rest, false)
            }
            Mode::Colours(sequence) => {
                *sequence = Sequence::default();
                Vec::new()
            }
        };
        if !std::mem::take(&mut self.lead).is_empty() {
            out.extend(HALF);
        }
        out
    }

    /// Drops what moves the cursor, rings or turns text round: C0 except tab and line ends, DEL, C1, and controls of direction.
    fn without_controls(&mut self, bytes: &[u8], escape_stays: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.lead.push(byte);
            if LEADS.contains(&self.lead.as_slice()) {
                continue;
            }
            if self.lead.len() > 1 && is_unwanted(&self.lead) {
                self.lead.clear();
                continue;
            }
            self.lead.pop();
            if matches!(byte, 0x80..=0xbf) {
                out.append(&mut self.lead);
            } else if !self.lead.is_empty() {
                // Half a character: what goes on behind bytes that are dropped may not complete it.
                self.lead.clear();
                out.extend(HALF);
            }
            match byte {
                _ if LEADS.contains(&[byte].as_slice()) => self.lead.push(byte),
                b'\n' | b'\r' | b'\t' => out.push(byte),
                ESC if escape_stays => out.push(byte),
                0..=0x1f | 0x7f => {}
                _ => out.push(byte),
            }
        }
        out
    }
}

/// True for the bytes of a character that steers a terminal or turns text round.
fn is_unwanted(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_steering))
}

fn is_steering(character: char) -> bool {
    character.is_control() || bidi::is_control(character)
}

impl Sequence {
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for &byte in piece {
            *self = std::mem::take(self).next(byte, &mut out);
        }
        out
    }

    fn next(self, byte: u8, out: &mut Vec<u8>) -> Self {
        match (self, byte) {
            // A line break ends whatever was left open.
            (_, b'\n') => {
                out.push(byte);
                Self::Ground
            }
            (Self::Text, ESC) => Self::TextEscape,
            (_, ESC) => Self::Escape,
            (Self::Ground, _) => {
                out.push(byte);
                Self::Ground
            }
            (Self::Escape | Self::TextEscape, b'[') => Self::Csi(Vec::new()),
            (Self::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Self::Text,
            // Short sequences, and the two bytes that end a text.
            (Self::Escape, 0x20..=0x2f) => Self::Escape,
            (Self::Escape | Self::TextEscape, _) | (Self::Text, 0x07) => Self::Ground,
            (Self::Text, _) => Self::Text,
            (Self::Csi(mut held), 0x20..=0x3f) => {
                held.truncate(MAX_SEQUENCE);
                held.push(byte);
                Self::Csi(held)
            }
            (Self::Csi(held), b'm') if is_colour(&held) => {
                out.extend_from_slice(b"\x1b[");
                out.extend_from_slice(&held);
                out.push(b'm');
                Self::Ground
            }
            (Self::Csi(_), _) => Self::Ground,
        }
    }
}

/// Parameters of a colour sequence: digits and their separators, nothing private.
fn is_colour(held: &[u8]) -> bool {
    held.len() <= MAX_SEQUENCE && held.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'))
}

/// A text of somebody else's with its control characters, also those of direction, made visible; line breaks stay.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same for a text that must stay on its line.
pub fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(filter: TerminalFilter, text: &str) -> String {
        String::from_utf8_lossy(&whole(filter, text.as_bytes())).into_owned()
    }

    fn whole(mut filter: TerminalFilter, bytes: &[u8]) -> Vec<u8> {
        let mut out = filter.push(bytes);
        out.extend(filter.finish());
        out
    }

    #[test]
    fn colours_stay_and_commands_go() {
        let cases = [
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", "red"),
            ("\x1b[38;2;1;2;3mx\x1b[m", "\x1b[38;2;1;2;3mx\x1b[m", "x"),
            ("\x1b[2J\x1b[1;1Hgone", "gone", "gone"),
            ("\x1b[?25l\x1b[>4mhidden", "hidden", "hidden"),
            ("\x1b]0;title\x07text", "text", "text"),
            ("\x1b]52;c;aGk=\x1b\\text", "text", "text"),
            ("\x1bPq\x1b\\text", "text", "text"),
            ("bell\x07 back\x08\x7f", "bell back", "bell back"),
            ("\u{9b}2Jtext", "2Jtext", "2Jtext"),
            ("äöü £ €\ttab\r\n", "äöü £ €\ttab\r\n", "äöü £ €\ttab\r\n"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e", "abcde", "abcde"),
            (
                "“quoted” \u{5d0}\u{627}\u{200d} \u{206a}",
                "“quoted” \u{5d0}\u{627}\u{200d} \u{206a}",
                "“quoted” \u{5d0}\u{627}\u{200d} \u{206a}",
            ),
            ("\x1b]0;never ended\nnext", "\nnext", "\nnext"),
        ];
        for (input, colours, plain) in cases {
            assert_eq!(filtered(TerminalFilter::keep_colours(), input), colours, "{input:?}");
            assert_eq!(filtered(TerminalFilter::plain_terminal(), input), plain, "{input:?}");
        }
        assert_eq!(filtered(TerminalFilter::plain(), "\x1b[31ma\x07b\x1b[0m"), "a\x07b");
    }

    #[test]
    fn the_end_of_a_stream_tells_what_was_held_back_and_begins_anew() {
        let cases: [(&[u8], [&str; 3]); 7] = [
            // In a file, on a terminal, on one with colours.
            (b"caf\xc2", ["caf\\xc2", "caf\\xef\\xbf\\xbd", "caf\\xef\\xbf\\xbd"]),
            (b"a\xe2\x80", ["a\\xe2\\x80", "a\\xef\\xbf\\xbd", "a\\xef\\xbf\\xbd"]),
            (b"a\xd8", ["a\\xd8", "a\\xef\\xbf\\xbd", "a\\xef\\xbf\\xbd"]),
            (b"a\xe2\xc2", ["a\\xe2\\xc2", "a\\xef\\xbf\\xbd\\xef\\xbf\\xbd", "a\\xef\\xbf\\xbd\\xef\\xbf\\xbd"]),
            (b"a\x1b[31", ["a", "a", "a"]),
            (b"a\x1b]0;title", ["a", "a", "a"]),
            (b"a\n", ["a\\n", "a\\n", "a\\n"]),
        ];
        let makes = [TerminalFilter::plain, TerminalFilter::plain_terminal, TerminalFilter::keep_colours];
        for (bytes, expected) in cases {
            for (make, expected) in makes.into_iter().zip(expected) {
                let mut filter = make();
                let mut out = filter.push(bytes);
                out.extend(filter.finish());
                assert_eq!(out.escape_ascii().to_string(), expected, "{}", bytes.escape_ascii());
                assert_eq!(filter.push(b"\x9bmore"), make().push(b"\x9bmore"), "{}", bytes.escape_ascii());
                assert!(filter.finish().is_empty());
            }
        }
    }

    #[test]
    fn names_show_their_control_characters() {
        assert_eq!(printable("a\x1b[31m\nb"), "a\u{fffd}[31m\nb");
        assert_eq!(on_one_line("a\nb"), "a\u{fffd}b");
        assert_eq!(on_one_line("main\u{202e}niam\u{5d0}"), "main\u{fffd}niam\u{5d0}");
        assert_eq!(printable("main\u{2067}\nniam"), "main\u{fffd}\nniam");
    }

    proptest! {
        #[test]
        fn pieces_read_like_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0usize..60) {
            let cut = cut.min(bytes.len());
            for make in [TerminalFilter::plain, TerminalFilter::plain_terminal, TerminalFilter::keep_colours] {
                let mut filter = make();
                let mut pieces = filter.push(&bytes[..cut]);
                pieces.extend(whole(filter, &bytes[cut..]));
                prop_assert_eq!(&whole(make(), &bytes), &pieces);
            }
        }

        #[test]
        fn no_control_comes_together_out_of_pieces(bytes in prop::collection::vec(prop_oneof![
            Just(0xc2u8), Just(0x9b), Just(0xe2), Just(0x80), Just(0xae), Just(0xd8), Just(7), Just(ESC), any::<u8>(),
        ], 0..40)) {
            for make in [TerminalFilter::plain_terminal, TerminalFilter::keep_colours] {
                let out = whole(make(), &bytes);
                let steers = |c: char| is_steering(c) && !matches!(c, '\t' | '\r' | '\n' | '\u{1b}');
                prop_assert!(!String::from_utf8_lossy(&out).contains(steers), "{out:x?}");
            }
        }

        #[test]
        fn only_colour_sequences_reach_a_terminal(bytes in prop::collection::vec(prop_oneof![
            Just(ESC), Just(b'['), Just(b'm'), Just(b';'), Just(b']'), Just(7u8), any::<u8>(),
        ], 0..60)) {
            let out = whole(TerminalFilter::keep_colours(), &bytes);
            let mut rest = &out[..];
            while let Some(at) = rest.iter().position(|byte| *byte == ESC) {
                rest = &rest[at + 1..];
                prop_assert_eq!(rest.first(), Some(&b'['));
                let end = rest.iter().position(|byte| *byte == b'm');
                prop_assert!(end.is_some_and(|end| is_colour(&rest[1..end])));
            }
        }
    }
}
