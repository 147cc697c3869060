//! Where the frames of a run of zstd frames lie, as its last frame: readers of the seekable format (zstd's source,
//! `contrib/seekable_format`) find any byte with it, and all others pass over it.

use crate::chunk::DecodeError;

const FRAME: [u8; 4] = [0x5e, 0x2a, 0x4d, 0x18];
const MAGIC: [u8; 4] = [0xb1, 0xea, 0x92, 0x8f];
/// Bytes of an entry: the length of a frame, and that of what is packed in it.
const ENTRY_BYTES: usize = 8;
/// Bytes behind the entries: their number, a byte that says that they have no checksums, and [`MAGIC`].
const FOOT_BYTES: usize = 4 + 1 + 4;
/// More are not in the format.
const MAX_FRAMES: usize = 0x800_0000;

/// A table in the making.
#[derive(Debug, Clone, Default)]
pub struct SeekTable {
    entries: Vec<[u8; ENTRY_BYTES]>,
}

impl SeekTable {
    /// Takes in what comes next in the run: whole frames that tell the length of what is in them.
    pub fn push(&mut self, mut frames: &[u8]) -> Result<(), DecodeError> {
        while !frames.is_empty() {
            let bytes = zstd::zstd_safe::find_frame_compressed_size(frames).map_err(|_| DecodeError::Packed)?;
            let plain = zstd::zstd_safe::get_frame_content_size(frames).ok().flatten().ok_or(DecodeError::Packed)?;
            let (Ok(packed), Ok(plain)) = (u32::try_from(bytes), u32::try_from(plain)) else {
                return Err(DecodeError::Long);
            };
            let [a, b, c, d] = packed.to_le_bytes();
            let [e, f, g, h] = plain.to_le_bytes();
            self.entries.push([a, b, c, d, e, f, g, h]);
            frames = frames.get(bytes..).ok_or(DecodeError::Short)?;
        }
        Ok(())
    }

    /// The last frame of the run; `None` where the format has no room for so many frames.
    pub fn finish(self) -> Option<Vec<u8>> {
        let frames = u32::try_from(self.entries.len()).ok().filter(|_| self.entries.len() <= MAX_FRAMES)?;
        let len = u32::try_from(self.entries.len() * ENTRY_BYTES + FOOT_BYTES).ok()?;
        let foot = [&frames.to_le_bytes()[..], &[0], &MAGIC].concat();
        Some([&FRAME[..], &len.to_le_bytes(), self.entries.as_flattened(), &foot].concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::LEVEL;

    /// Bytes of the stream, found as a reader of the format does: from the end.
    fn read(run: &[u8], from: usize, to: usize) -> Vec<u8> {
        let (rest, foot) = run.split_last_chunk::<FOOT_BYTES>().expect("a foot");
        assert_eq!((foot[4], &foot[5..]), (0, &MAGIC[..]));
        let frames = u32::from_le_bytes([foot[0], foot[1], foot[2], foot[3]]) as usize;
        let (before, entries) = rest.split_at(rest.len() - frames * ENTRY_BYTES);
        let length = (entries.len() + FOOT_BYTES) as u32;
        assert!(before.ends_with(&[&FRAME[..], &length.to_le_bytes()].concat()));
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four")) as usize;
        let (mut place, mut start, mut found) = (0, 0, Vec::new());
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (packed, plain) = (number(&entry[..4]), number(&entry[4..]));
            if start < to && start + plain > from {
                let frame = zstd::bulk::decompress(&run[place..place + packed], plain).expect("a frame");
                found.extend(&frame[from.max(start) - start..to.min(start + plain) - start]);
            }
            (place, start) = (place + packed, start + plain);
        }
        assert_eq!(place, before.len() - FRAME.len() - 4, "all before it is in the table");
        found
    }

    proptest! {
        #[test]
        fn any_bytes_are_found_by_it(
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..8),
            range in any::<[prop::sample::Index; 2]>(),
        ) {
            let (mut run, mut stream, mut table) = (Vec::<u8>::new(), Vec::<u8>::new(), SeekTable::default());
            for (bytes, is_passed_over) in frames {
                let frame = if is_passed_over {
                    [&[0x5d, 0x2a, 0x4d, 0x18][..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat()
                } else {
                    stream.extend(&bytes);
                    zstd::bulk::compress(&bytes, LEVEL).expect("it packs")
                };
                table.push(&frame).expect("a frame");
                run.extend(frame);
            }
            run.extend(table.finish().expect("a table"));
            let mut range = range.map(|place| place.index(stream.len() + 1));
            range.sort_unstable();
            let [from, to] = range;
            prop_assert_eq!(&read(&run, from, to)[..], &stream[from..to]);
            prop_assert_eq!(zstd::stream::decode_all(&run[..]).expect("any reader of zstd"), stream);
        }

        #[test]
        fn what_is_no_frame_is_refused(bytes in prop::collection::vec(any::<u8>(), 1..60)) {
            prop_assume!(zstd::stream::decode_all(&bytes[..]).is_err());
            prop_assert!(SeekTable::default().push(&bytes).is_err());
        }
    }
}
