//! Log bytes as text for people: characters that a piece cuts in two wait for the next piece; bytes that
//! are no UTF-8 are shown as U+FFFD.

/// How many bytes from the front hold no character that is cut off at the end. Bytes that can never become
/// a character count as whole.
pub fn whole_characters(bytes: &[u8]) -> usize {
    let tail_start = bytes.len().saturating_sub(3);
    for start in (tail_start..bytes.len()).rev() {
        let Some(byte) = bytes.get(start) else { break };
        match byte {
            0x80..=0xbf => {}
            0xc0.. => {
                let tail = bytes.get(start..).unwrap_or_default();
                let cut_off = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
                return if cut_off { start } else { bytes.len() };
            }
            _ => break,
        }
    }
    bytes.len()
}

/// Number of line breaks.
pub fn count_lines(bytes: &[u8]) -> i64 {
    memchr::memchr_iter(b'\n', bytes).count() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_cut_character_waits() {
        let cases: [(&[u8], usize); 9] = [
            (b"", 0),
            (b"abc", 3),
            ("ab€".as_bytes(), 5),
            (b"ab\xe2\x82", 2),
            (b"ab\xe2", 2),
            (b"\xf0\x9f\x98", 0),
            (b"ab\xff", 3),
            (b"ab\x82\x82\x82\x82", 6),
            (b"\xe2\x41", 2),
        ];
        for (bytes, expected) in cases {
            assert_eq!(whole_characters(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn text_in_pieces_reads_like_the_whole(text in "\\PC{0,20}", cut in any::<prop::sample::Index>()) {
            let bytes = text.as_bytes();
            let cut = cut.index(bytes.len() + 1);
            let whole = whole_characters(&bytes[..cut]);
            let pieces = format!(
                "{}{}",
                String::from_utf8_lossy(&bytes[..whole]),
                String::from_utf8_lossy(&bytes[whole..])
            );
            prop_assert_eq!(pieces, text);
        }

        #[test]
        fn at_most_three_bytes_wait(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            prop_assert!(bytes.len() - whole_characters(&bytes) <= 3);
        }
    }
}
