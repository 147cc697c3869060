//! Variable-length integers and spans as both binary forms write them.

use bytes::Bytes;
use chrono::DateTime;

use crate::chunk::{DecodeError, Span, Stream};

/// Bytes that a span takes at most: length, step, stream, time.
pub(crate) const MAX_SPAN_BYTES: usize = 5 + 5 + 1 + 10;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Spans with their times as differences, since neighbours are close.
pub(crate) fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    let mut before = 0i64;
    for span in spans {
        put_varint(out, u64::from(span.len));
        put_varint(out, u64::from(span.step));
        out.push(match span.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::Meta => 3,
        });
        let at = span.at.timestamp_micros();
        put_varint(out, zigzag(at.wrapping_sub(before)));
        before = at;
    }
}

/// Reads from the front; every read may fail, none panics.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(DecodeError::Number);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Number)
    }

    pub(crate) fn offset(&mut self) -> Result<i64, DecodeError> {
        i64::try_from(self.varint()?).map_err(|_| DecodeError::Number)
    }

    pub(crate) fn length(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::TooLarge)?;
        if length > limit { Err(DecodeError::TooLarge) } else { Ok(length) }
    }

    pub(crate) fn spans(&mut self, count: usize) -> Result<Vec<Span>, DecodeError> {
        // A span takes at least four bytes, so that a lying count reserves nothing.
        let mut spans = Vec::with_capacity(count.min(self.rest.len() / 4));
        let mut before = 0i64;
        for _ in 0..count {
            let span = self.span(before)?;
            before = span.at.timestamp_micros();
            spans.push(span);
        }
        Ok(spans)
    }

    fn span(&mut self, before: i64) -> Result<Span, DecodeError> {
        let len = u32::try_from(self.varint()?).map_err(|_| DecodeError::Number)?;
        let step = u32::try_from(self.varint()?).map_err(|_| DecodeError::Number)?;
        let stream = match self.byte()? {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::Meta,
            _ => return Err(DecodeError::Stream),
        };
        let micros = before.wrapping_add(unzigzag(self.varint()?));
        let at = DateTime::from_timestamp_micros(micros).ok_or(DecodeError::Number)?;
        Ok(Span { len, step, stream, at })
    }
}

/// Spans must cover the bytes exactly, none of them empty.
pub(crate) fn check_cover(spans: &[Span], bytes: &Bytes) -> Result<(), DecodeError> {
    let covered: u64 = spans.iter().map(|span| u64::from(span.len)).sum();
    if covered != bytes.len() as u64 || spans.iter().any(|span| span.len == 0) {
        return Err(DecodeError::Cover);
    }
    Ok(())
}
