//! zstd with contexts that are kept: to make one takes about as long as to unpack a small chunk.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

use crate::chunk::DecodeError;

thread_local! {
    static UNPACKER: RefCell<Decompressor<'static>> = RefCell::default();
}

/// What is packed in these frames; an error where that is more than `most` bytes.
pub(crate) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, DecodeError> {
    UNPACKER.with_borrow_mut(|unpacker| unpacker.decompress(packed, most)).map_err(|_| DecodeError::Packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::LEVEL;

    #[test]
    fn what_does_not_unpack_spoils_nothing_that_comes_later() {
        let packed = zstd::bulk::compress(b"some bytes, some bytes", LEVEL).expect("it packs");
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut], 22).unwrap_or_default(), b"", "{cut}");
            assert_eq!(unpack(&packed, 22).as_deref(), Ok(&b"some bytes, some bytes"[..]));
        }
        assert_eq!(unpack(&packed, 21), Err(DecodeError::Packed));
        assert_eq!(unpack(&packed.repeat(2), 44).map(|bytes| bytes.len()), Ok(44));
    }
}
