//! What travels through Redis: a version, who sent it, the message.

use bytes::Bytes;

/// The layout that this release writes.
const VERSION: u8 = 1;
/// Version and origin.
const HEADER: usize = 1 + size_of::<Origin>();

/// Random, one per opened fan-out: whoever published has served its own listeners already.
pub(super) type Origin = [u8; 8];

/// What a frame is to its receiver.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Our own; it was told here when it was published.
    Own,
    /// Another process's.
    Message(Bytes),
    /// Not of a layout that this release knows.
    Unreadable,
}

/// A message in its frame.
pub(super) fn wrap(origin: Origin, message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEADER + message.len());
    framed.push(VERSION);
    framed.extend_from_slice(&origin);
    framed.extend_from_slice(message);
    framed
}

/// What is in a frame.
pub(super) fn unwrap(origin: Origin, framed: &[u8]) -> Frame {
    match framed.split_at_checked(HEADER) {
        Some(([VERSION, sender @ ..], _)) if *sender == origin => Frame::Own,
        Some(([VERSION, ..], message)) => Frame::Message(Bytes::copy_from_slice(message)),
        Some(_) | None => Frame::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_own_foreign_or_unreadable() {
        let (us, them) = ([1; 8], [2; 8]);
        assert_eq!(wrap(us, b"x"), [1, 1, 1, 1, 1, 1, 1, 1, 1, b'x']);
        assert_eq!(unwrap(us, &wrap(us, b"hello")), Frame::Own);
        assert_eq!(unwrap(us, &wrap(them, b"hello")), Frame::Message(Bytes::from_static(b"hello")));
        assert_eq!(unwrap(us, &wrap(them, b"")), Frame::Message(Bytes::new()));
        let mut newer = wrap(them, b"hello");
        newer[0] = 2;
        for framed in [&newer[..], b"", b"12345678"] {
            assert_eq!(unwrap(us, framed), Frame::Unreadable, "{framed:?}");
        }
    }
}
