//! Taking escape sequences out of a stream.

use arbitrary::{Result, Unstructured};
use slipway_logfmt::ansi::{AnsiStripper, strip_ansi};

use crate::input;

const ESC: u8 = 0x1b;
const CANCELS: [u8; 2] = [0x18, 0x1a];

/// Runs the target.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let _ = borders(&mut input).and_then(|()| well_formed(&mut input));
}

/// Whatever it is given, and wherever it is cut.
fn borders(input: &mut Unstructured<'_>) -> Result<()> {
    let bytes = input::text(input, 200)?;
    let cuts = input::cuts(input, bytes.len())?;
    let whole = strip_ansi(&bytes);
    let mut stripper = AnsiStripper::default();
    let mut parts: Vec<u8> = input::pieces(&bytes, &cuts).into_iter().flat_map(|piece| stripper.push(piece)).collect();
    parts.extend(stripper.finish());
    assert_eq!(parts, whole, "borders matter");
    let breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(breaks(&whole), breaks(&bytes), "lines were lost");
    assert!(!whole.iter().any(|byte| *byte == ESC || CANCELS.contains(byte)), "something is left");
    assert!(!whole.windows(2).any(|pair| pair[0] == 0xc2 && (0x80..=0x9f).contains(&pair[1])), "a control is left");
    assert_eq!(strip_ansi(&whole), whole, "what is plain changes");
    // Each line by itself: no sequence goes beyond its line.
    let by_line: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').flat_map(strip_ansi).collect();
    assert_eq!(by_line, whole, "a sequence goes beyond its line");
    Ok(())
}

/// Sequences as ECMA-48 has them and eight-bit controls go, and nothing else does.
fn well_formed(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut bytes, mut text) = (Vec::new(), Vec::new());
    for _ in 0..input.int_in_range(0..=40)? {
        match input.int_in_range(0..=5)? {
            0 => {
                bytes.extend_from_slice(b"\x1b[");
                for _ in 0..input.int_in_range(0..=6)? {
                    bytes.push(input.int_in_range(0x30..=0x3f)?);
                }
                for _ in 0..input.int_in_range(0..=2)? {
                    bytes.push(input.int_in_range(0x20..=0x2f)?);
                }
                bytes.push(input.int_in_range(0x40..=0x7e)?);
            }
            1 => {
                bytes.extend([ESC, *input.choose(b"]P_^X")?]);
                for _ in 0..input.int_in_range(0..=9)? {
                    bytes.push(input.int_in_range(0x20..=0x7e)?);
                }
                bytes.extend_from_slice(input.choose(&[&b"\x07"[..], b"\x1b\\"])?);
            }
            2 => bytes.extend([ESC, *input.choose(b"=>78cDEHMN")?]),
            3 => bytes.extend([ESC, *input.choose(b"()*+#% ")?, *input.choose(b"0AB8G")?]),
            4 => bytes.extend([0xc2, input.int_in_range(0x80..=0x9f)?]),
            _ => {
                let word = *input.choose(&["text", "é", "©", "\n", "[31m", "漢字", "\t", "\r\n", "\\"])?;
                bytes.extend_from_slice(word.as_bytes());
                text.extend_from_slice(word.as_bytes());
            }
        }
    }
    assert_eq!(
        String::from_utf8_lossy(&strip_ansi(&bytes)),
        String::from_utf8_lossy(&text),
        "{}",
        bytes.escape_ascii()
    );
    Ok(())
}
