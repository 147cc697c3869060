//! What targets make of their inputs.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use slipway_logfmt::chunk::{Chunk, Span, Stream};

/// Bytes that mean something to terminals, and a few that do not.
const PIECES: [&[u8]; 28] = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\x1b",
    b"[",
    b"]",
    b"\x1b[31m",
    b"\x1b[0m",
    b"\x1b[2K",
    b"\x1b[1G",
    b"\x1b]8;;",
    b"https://a.b/",
    b"\x07",
    b"\x1b\\",
    b"\x18",
    b"\x08",
    b"\t",
    b"m",
    b";",
    b"a",
    b"B",
    b"ab",
    b" ",
    "é".as_bytes(),
    "漢".as_bytes(),
    b"\xff",
    b"\xe2\x82",
    b"\n\n",
];

/// Text as builds write it, with what breaks it.
pub fn text(input: &mut Unstructured<'_>, pieces: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for _ in 0..input.int_in_range(0..=pieces)? {
        match input.int_in_range(0..=PIECES.len())? {
            at if at < PIECES.len() => text.extend_from_slice(PIECES[at]),
            _ => text.push(input.arbitrary()?),
        }
    }
    Ok(text)
}

/// Places in something of this length, in order.
pub fn cuts(input: &mut Unstructured<'_>, length: usize) -> Result<Vec<usize>> {
    let count = input.int_in_range(0..=6)?;
    let mut cuts = (0..count).map(|_| input.int_in_range(0..=length)).collect::<Result<Vec<_>>>()?;
    cuts.sort_unstable();
    Ok(cuts)
}

/// The pieces between such places.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let from = std::iter::once(0).chain(cuts.iter().copied());
    let to = cuts.iter().copied().chain([bytes.len()]);
    from.zip(to).map(|(from, to)| &bytes[from..to]).collect()
}

/// These bytes as a chunk, by writers who take turns anywhere.
pub fn chunk(input: &mut Unstructured<'_>, offset: i64, bytes: Vec<u8>) -> Result<Chunk> {
    let (mut spans, mut left) = (Vec::new(), bytes.len());
    while left > 0 {
        let len = if spans.len() < 20 { input.int_in_range(1..=left)? } else { left };
        spans.push(Span {
            len: len as u32,
            step: input.int_in_range(0..=3)?,
            stream: stream(input)?,
            at: time(input)?,
        });
        left -= len;
    }
    Ok(Chunk { offset, bytes: Bytes::from(bytes), spans })
}

/// A chunk that was cut anywhere; parts without bytes are none.
pub fn parts(input: &mut Unstructured<'_>, whole: &Chunk) -> Result<Vec<Chunk>> {
    let mut borders: Vec<i64> = cuts(input, whole.bytes.len())?.iter().map(|cut| whole.offset + *cut as i64).collect();
    borders.insert(0, whole.offset);
    borders.push(whole.end());
    Ok(borders.windows(2).filter_map(|pair| whole.slice(pair[0], pair[1])).collect())
}

/// One of the outputs.
pub fn stream(input: &mut Unstructured<'_>) -> Result<Stream> {
    input.choose(&[Stream::Stdout, Stream::Stderr, Stream::Meta]).copied()
}

fn time(input: &mut Unstructured<'_>) -> Result<DateTime<Utc>> {
    Ok(DateTime::UNIX_EPOCH + TimeDelta::microseconds(input.arbitrary::<i32>()?.into()))
}
