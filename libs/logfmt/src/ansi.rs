//! Takes the escape sequences of terminals out of a stream (ECMA-48: CSI, OSC, DCS and the short ones),
//! whatever the borders of its pieces. A line break always ends a sequence, so that a broken one can never
//! swallow more than its own line and line numbers stay what they are. Eight-bit controls are left alone:
//! in UTF-8 these bytes are parts of letters.

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte; one more byte ends it.
    Intermediate,
    /// `ESC [` up to its final byte.
    Csi,
    /// `ESC ]`, `ESC P` and the like, up to BEL or `ESC \`.
    Text,
    /// ESC inside such a text.
    TextEscape,
}

/// Remembers where inside a sequence the last piece ended.
#[derive(Debug, Clone, Default)]
pub struct AnsiStripper {
    state: State,
}

impl AnsiStripper {
    /// The next piece without escape sequences.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for &byte in piece {
            self.state = match (self.state, byte) {
                (_, b'\n') => {
                    out.push(byte);
                    State::Ground
                }
                (_, CAN | SUB) => State::Ground,
                (State::Ground, ESC) => State::Escape,
                (State::Ground, _) => {
                    out.push(byte);
                    State::Ground
                }
                (State::Text, BEL) | (State::TextEscape, b'\\') => State::Ground,
                (State::Text, ESC) => State::TextEscape,
                (State::Text, _) => State::Text,
                // ESC and anything but a backslash ends the text and begins a sequence of its own.
                (State::Escape | State::TextEscape | State::Csi | State::Intermediate, ESC) => State::Escape,
                (State::Escape | State::TextEscape, b'[') => State::Csi,
                (State::Escape | State::TextEscape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
                (State::Escape | State::TextEscape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
                (State::Csi, 0x20..=0x3f) => State::Csi,
                (State::Escape | State::TextEscape | State::Intermediate, 0x30..=0x7e) | (State::Csi, 0x40..=0x7e) => {
                    State::Ground
                }
                // No sequence holds this byte: it was none, and the byte is text again.
                (State::Escape | State::TextEscape | State::Intermediate | State::Csi, _) => {
                    out.push(byte);
                    State::Ground
                }
            };
        }
        out
    }

    /// True between sequences.
    pub fn is_ground(&self) -> bool {
        self.state == State::Ground
    }
}

/// A whole text without escape sequences.
pub fn strip_ansi(bytes: &[u8]) -> Vec<u8> {
    AnsiStripper::default().push(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        let cases: [(&str, &str); 14] = [
            ("plain\ttext\r\n", "plain\ttext\r\n"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[38;2;1;2;3mtrue\x1b[m", "true"),
            ("\x1b[?25lhidden\x1b[?25h", "hidden"),
            ("\x1b[2K\x1b[1Gprogress", "progress"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPdata\x1b\\after", "after"),
            ("\x1b(Bascii\x1b=keys", "asciikeys"),
            ("\x1b]0;never ended\nnext line", "\nnext line"),
            ("\x1b[31\nnext", "\nnext"),
            ("\x1b[1\x18kept", "kept"),
            ("\x1b]0;a\x1b[31mb", "b"),
            ("äöü \u{9b}31m €", "äöü \u{9b}31m €"),
        ];
        for (input, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&strip_ansi(input.as_bytes())), expected, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn borders_do_not_matter_and_lines_stay(
            bytes in prop::collection::vec(prop_oneof![Just(ESC), Just(b'['), Just(b']'), Just(BEL), Just(b'\\'),
                Just(b'm'), Just(b'\n'), Just(b'3'), Just(b';'), any::<u8>()], 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = strip_ansi(&bytes);
            let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut stripper = AnsiStripper::default();
            let mut parts = stripper.push(left);
            parts.extend(stripper.push(right));
            prop_assert_eq!(&parts, &whole);
            let breaks = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(breaks(&whole), breaks(&bytes));
            prop_assert!(!whole.contains(&ESC));
        }
    }
}
