//! The log of one attempt on this builder's disk, kept until it is durable elsewhere. A spool is a folder
//! with a few part files, each a row of frames (length, then an encoded chunk), and the attempt's token,
//! so that a restarted builder can send what its former life could not. Page cache is enough: a spool must
//! survive the process, not the machine.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::chunk::{Chunk, MAX_CHUNK_SPANS, MAX_ENCODED_BYTES};

use crate::home::{make_private_dir, write_private};

/// A part file is closed beyond this size.
const PART_BYTES: i64 = 8 << 20;
/// Durable parts stay on the disk up to this much, so that a short log can be hashed again after a crash.
const KEEP_BYTES: i64 = 64 << 20;
/// A place to begin reading is remembered this often, in bytes of a part file: chunks of a byte each have large frames.
const INDEX_EVERY: u64 = 16 << 10;

/// Whose log it is; the file `owner.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Owner {
    /// The attempt.
    pub attempt: AttemptRef,
    /// Its token.
    pub token: String,
}

/// One attempt's spool, open for writing.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    parts: VecDeque<Part>,
    out: Option<File>,
    end: i64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    start: i64,
    end: i64,
    /// Stream offset and file position of some frames, the first included.
    index: Vec<(i64, u64)>,
    file_bytes: u64,
}

impl Spool {
    /// Makes an empty spool.
    pub fn create(dir: &Path, owner: &Owner) -> anyhow::Result<Self> {
        make_private_dir(dir)?;
        write_private(&dir.join("owner.json"), &serde_json::to_vec(owner).context("cannot write the owner as JSON")?)?;
        Ok(Self { dir: dir.to_owned(), parts: VecDeque::new(), out: None, end: 0 })
    }

    /// Opens what a former life left. A frame that was cut off by the crash is not part of it.
    pub fn recover(dir: &Path) -> anyhow::Result<(Owner, Self)> {
        let path = dir.join("owner.json");
        let owner = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let owner = serde_json::from_slice(&owner).with_context(|| format!("{} is damaged", path.display()))?;
        let mut starts = Vec::new();
        for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let name = entry?.file_name();
            let start =
                name.to_str().and_then(|name| name.strip_suffix(".part")).map(|hex| i64::from_str_radix(hex, 16));
            starts.extend(start.and_then(Result::ok));
        }
        starts.sort_unstable();
        let mut spool = Self { dir: dir.to_owned(), parts: VecDeque::new(), out: None, end: 0 };
        spool.end = starts.first().copied().unwrap_or(0);
        for start in starts {
            if start != spool.end {
                break;
            }
            let part = Part::scan(part_path(dir, start), start)?;
            spool.end = part.end;
            spool.parts.push_back(part);
        }
        Ok((owner, spool))
    }

    /// The first byte that is still here.
    pub fn start(&self) -> i64 {
        self.parts.front().map_or(self.end, |part| part.start)
    }

    /// The byte after the last one.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Appends a chunk, which must begin at the end.
    pub fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        if chunk.offset != self.end {
            return Err(io::Error::other(format!("a chunk at {} does not follow {}", chunk.offset, self.end)));
        }
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        if self.parts.back().is_none_or(|part| part.end - part.start >= PART_BYTES) {
            self.begin_part()?;
        }
        let (Some(part), Some(out)) = (self.parts.back_mut(), self.out.as_mut()) else {
            return Err(io::Error::other("the spool has no open part"));
        };
        let encoded = chunk.encode();
        let length = u32::try_from(encoded.len()).map_err(io::Error::other)?;
        let frame = [&length.to_le_bytes(), &encoded[..]].concat();
        if let Err(error) = out.write_all(&frame) {
            // A half-written frame (disk full) must not hide later ones.
            let _ = out.set_len(part.file_bytes);
            let _ = out.seek(SeekFrom::Start(part.file_bytes));
            return Err(error);
        }
        part.add(chunk.offset, chunk.end(), frame.len() as u64);
        self.end = chunk.end();
        Ok(())
    }

    /// Up to about `max_bytes` from `offset` on; `None` at the end, or when that place is no longer here.
    pub fn read(&self, offset: i64, max_bytes: usize) -> io::Result<Option<Chunk>> {
        let until = offset.saturating_add(i64::try_from(max_bytes).unwrap_or(i64::MAX));
        let Some(part) = self.parts.iter().find(|part| part.start <= offset && offset < part.end) else {
            return Ok(None);
        };
        let (_, position) = part.index[part.index.partition_point(|(start, _)| *start <= offset).saturating_sub(1)];
        let mut file = File::open(&part.path)?;
        file.seek(SeekFrom::Start(position))?;
        let mut file = BufReader::with_capacity(INDEX_EVERY as usize * 4, file);
        let mut found = Chunk::empty(offset);
        let mut bytes = BytesMut::new();
        while found.offset + (bytes.len() as i64) < until.min(part.end) && found.spans.len() < MAX_CHUNK_SPANS / 2 {
            let Some((chunk, _)) = read_frame(&mut file)? else { break };
            if let Some(slice) = chunk.slice(offset, until) {
                bytes.extend_from_slice(&slice.bytes);
                found.spans.extend(slice.spans);
            }
        }
        found.bytes = bytes.freeze();
        Ok((!found.bytes.is_empty()).then_some(found))
    }

    /// Deletes whole parts below `durable`, once the spool is large enough to bother.
    pub fn forget_below(&mut self, durable: i64) {
        while self.parts.len() > 1
            && self.end - self.start() > KEEP_BYTES
            && let Some(part) = self.parts.pop_front_if(|part| part.end <= durable)
        {
            // What stays is deleted with the folder.
            let _ = fs::remove_file(&part.path);
        }
    }

    /// Deletes the folder.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }

    fn begin_part(&mut self) -> io::Result<()> {
        let path = part_path(&self.dir, self.end);
        let out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        self.parts.push_back(Part { path, start: self.end, end: self.end, index: Vec::new(), file_bytes: 0 });
        self.out = Some(out);
        Ok(())
    }
}

impl Part {
    fn scan(path: PathBuf, start: i64) -> anyhow::Result<Self> {
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut part = Self { path, start, end: start, index: Vec::new(), file_bytes: 0 };
        let mut file = BufReader::new(file);
        while let Ok(Some((chunk, frame_bytes))) = read_frame(&mut file) {
            if chunk.offset != part.end {
                break;
            }
            part.add(chunk.offset, chunk.end(), frame_bytes);
        }
        Ok(part)
    }

    fn add(&mut self, start: i64, end: i64, frame_bytes: u64) {
        if self.index.last().is_none_or(|(_, indexed)| self.file_bytes - indexed >= INDEX_EVERY) {
            self.index.push((start, self.file_bytes));
        }
        self.file_bytes += frame_bytes;
        self.end = end;
    }
}

/// The next frame with its size in the file; `None` where the file ends or is cut.
fn read_frame(file: &mut impl Read) -> io::Result<Option<(Chunk, u64)>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length as usize > MAX_ENCODED_BYTES {
        return Err(io::Error::other("a frame of the spool is damaged"));
    }
    let mut frame = vec![0; length as usize];
    match file.read_exact(&mut frame) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let chunk = Chunk::decode(&Bytes::from(frame)).map_err(io::Error::other)?;
    Ok(Some((chunk, u64::from(length) + 4)))
}

fn part_path(dir: &Path, start: i64) -> PathBuf {
    dir.join(format!("{start:016x}.part"))
}

#[cfg(test)]
mod tests;
