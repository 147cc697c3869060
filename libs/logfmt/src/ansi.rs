//! Takes the escape sequences of terminals out of a stream (ECMA-48: CSI, OSC, DCS and the short ones),
//! whatever the borders of its pieces. A line break always ends a sequence, so that a broken one can never
//! swallow more than its own line and line numbers stay what they are. Eight-bit controls go where they are characters of
//! UTF-8 (U+0080 to U+009F), which terminals obey; other bytes of their values are parts of letters, or none, and stay.

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
/// First byte of U+0080 to U+00BF in UTF-8.
const LEAD: u8 = 0xc2;
/// Whether it makes an eight-bit control of the first byte before it.
const fn is_control_end(byte: u8) -> bool {
    matches!(byte, 0x80..=0x9f)
}

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

/// Remembers where inside a sequence the last piece ended, and the first byte of a character whose next one decides.
#[derive(Debug, Clone, Default)]
pub struct AnsiStripper {
    state: State,
    /// A [`LEAD`] that is not told yet.
    held: bool,
    /// The last byte that was told is a [`LEAD`] that began no character.
    lone: bool,
}

impl AnsiStripper {
    /// The next piece without escape sequences and eight-bit controls.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 1);
        for &byte in piece {
            self.state = match (self.state, byte) {
                (_, b'\n') => {
                    self.tell(byte, &mut out);
                    State::Ground
                }
                (_, CAN | SUB) => State::Ground,
                (State::Ground, ESC) => State::Escape,
                (State::Ground, _) => {
                    self.tell(byte, &mut out);
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
                    self.tell(byte, &mut out);
                    State::Ground
                }
            };
        }
        out
    }

    /// What is left when nothing follows: the first byte of a character that never came.
    pub fn finish(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) {
            self.lone = true;
            return &[LEAD];
        }
        &[]
    }

    /// True between sequences and characters: a text without either passes as it is.
    pub fn is_ground(&self) -> bool {
        self.state == State::Ground && !self.held && !self.lone
    }

    /// True where the next byte belongs to a sequence that has begun.
    pub fn is_in_sequence(&self) -> bool {
        self.state != State::Ground
    }

    fn tell(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            if is_control_end(byte) {
                return;
            }
            out.push(LEAD);
            self.lone = true;
        }
        // What stood between the two is gone, and left they would be what goes.
        if self.lone && is_control_end(byte) {
            return;
        }
        self.held = byte == LEAD;
        if !self.held {
            out.push(byte);
            self.lone = false;
        }
    }
}

/// A whole text without escape sequences and eight-bit controls.
pub fn strip_ansi(bytes: &[u8]) -> Vec<u8> {
    let mut stripper = AnsiStripper::default();
    let mut text = stripper.push(bytes);
    text.extend_from_slice(stripper.finish());
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        let cases: [(&str, &str); 16] = [
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
            ("äöü \u{9b}31m €", "äöü 31m €"),
            ("\u{80}a\u{9f}b\u{a0}c\u{85}\u{90}£", "ab\u{a0}c£"),
            ("\x1b\u{9b}2Jx\x1b[\u{9b}y\u{9d}0;title\x07", "2Jxy0;title\x07"),
        ];
        for (input, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&strip_ansi(input.as_bytes())), expected, "{input:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_character_stay_and_never_become_a_control() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"a\x9bb\xc2", b"a\x9bb\xc2"),
            (b"\xc2a\xc2\n\x9b", b"\xc2a\xc2\n\x9b"),
            (b"\xe2\x82\xac\xc3\x9b\xe0\xa4\x9b", b"\xe2\x82\xac\xc3\x9b\xe0\xa4\x9b"),
            (b"\xf0\x9f\x98\x80", b"\xf0\x9f\x98\x80"),
            (b"\xe2\xc2\x9bx", b"\xe2x"),
            // What goes leaves nothing behind that would go.
            (b"\xc2\xc2\x80\x9b\x9b2J", b"\xc22J"),
            (b"\xc2\x1b[m\x9b2J", b"2J"),
            (b"\xc2\xc2\x80\xc2\x9b\x9bx", b"\xc2x"),
            (b"\xc2\xa9\x9b", b"\xc2\xa9\x9b"),
        ];
        for (input, expected) in cases {
            let text = strip_ansi(input);
            assert_eq!(
                text.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{}",
                input.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn borders_do_not_matter_and_lines_stay(
            bytes in prop::collection::vec(prop_oneof![Just(ESC), Just(b'['), Just(b']'), Just(BEL), Just(b'\\'),
                Just(b'm'), Just(b'\n'), Just(b'3'), Just(b';'), Just(LEAD), 0x80..=0xa0u8, any::<u8>()], 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = strip_ansi(&bytes);
            let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut stripper = AnsiStripper::default();
            let mut parts = stripper.push(left);
            parts.extend(stripper.push(right));
            parts.extend(stripper.finish());
            prop_assert_eq!(&parts, &whole);
            let breaks = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(breaks(&whole), breaks(&bytes));
            prop_assert!(!whole.contains(&ESC));
            prop_assert!(!whole.windows(2).any(|pair| pair[0] == LEAD && is_control_end(pair[1])), "a control is left");
            prop_assert_eq!(strip_ansi(&whole), whole);
        }
    }
}
