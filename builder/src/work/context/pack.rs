//! Writes what was decided as one deterministic tar: sorted, one owner, one time, the modes that git knows.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::OFlags;
use slipway_domain::failure::Failure;
use tar::{Builder, EntryType, Header};
use tokio_util::sync::CancellationToken;

use super::walk::{Entry, Kind, Plan};
use crate::work::{cancelled, io_failure};

/// Read and written at once, bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// A tar is made of blocks of this size.
const BLOCK_BYTES: u64 = 512;

/// Where the tar comes from and goes to.
pub(super) struct Packing<'a> {
    /// The context's folder.
    pub(super) root: &'a Path,
    /// The file to write.
    pub(super) target: &'a Path,
    /// The time of everything.
    pub(super) mtime: DateTime<Utc>,
    /// The Dockerfile's path and the text that was read, which is sent even if the path is a link.
    pub(super) dockerfile: (&'a str, &'a str),
    /// Nobody waits for it any more.
    pub(super) stop: &'a CancellationToken,
}

struct Packer<'a> {
    packing: &'a Packing<'a>,
    tar: Builder<BufWriter<File>>,
    piece: Vec<u8>,
    mtime: u64,
}

/// Writes the tar and returns its size.
pub(super) fn write(plan: &Plan, packing: &Packing<'_>) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| io_failure("writing the context", &error);
    let file = File::create(packing.target).map_err(failed)?;
    let tar = Builder::new(BufWriter::with_capacity(PIECE_BYTES, file));
    let mtime = u64::try_from(packing.mtime.timestamp()).unwrap_or(0);
    let mut packer = Packer { packing, tar, piece: vec![0; PIECE_BYTES], mtime };
    for entry in &plan.entries {
        packer.append(entry).map_err(|error| match packing.stop.is_cancelled() {
            true => cancelled(),
            false => failed(error),
        })?;
    }
    let mut writer = packer.tar.into_inner().map_err(failed)?;
    writer.flush().map_err(failed)?;
    Ok(writer.get_ref().metadata().map_err(failed)?.len())
}

impl Packer<'_> {
    fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mtime(self.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        let (dockerfile, text) = self.packing.dockerfile;
        match &entry.kind {
            Kind::Folder => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                self.tar.append_data(&mut header, entry.path.join(""), std::io::empty())
            }
            Kind::Link { .. } if entry.path == Path::new(dockerfile) => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(0o644);
                header.set_size(text.len() as u64);
                self.tar.append_data(&mut header, &entry.path, text.as_bytes())
            }
            Kind::Link { to } => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                // Byte for byte: the crate's own way writes `/` as `//` and `a//b` as `a/b`, except of what is long.
                match header.set_link_name_literal(to.as_os_str().as_bytes()) {
                    Ok(()) => self.tar.append_data(&mut header, &entry.path, std::io::empty()),
                    Err(_) => self.tar.append_link(&mut header, &entry.path, to),
                }
            }
            Kind::File { bytes, executable } => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(*bytes);
                // The crate copies a file in small pieces; it only writes the header here, and we the bytes behind it.
                self.tar.append_data(&mut header, &entry.path, std::io::empty())?;
                self.copy(&entry.path, *bytes)
            }
        }
    }

    /// Copies a file as long as it was when it was counted; anything else would break the tar.
    fn copy(&mut self, path: &Path, bytes: u64) -> std::io::Result<()> {
        let writer = self.tar.get_mut();
        if bytes > 0 {
            // Not through a link, and not waiting for a pipe's other end, should the checkout have changed.
            let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
            let mut file = OpenOptions::new().read(true).custom_flags(flags).open(self.packing.root.join(path))?;
            let mut left = bytes;
            while left > 0 {
                if self.packing.stop.is_cancelled() {
                    return Err(std::io::Error::other("stopped"));
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.piece.len());
                let count = file.read(&mut self.piece[..most])?;
                if count == 0 {
                    return Err(std::io::Error::other("a file became shorter while it was read"));
                }
                writer.write_all(&self.piece[..count])?;
                left -= count as u64;
            }
        }
        let padding = (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES;
        writer.write_all(&[0; BLOCK_BYTES as usize][..usize::try_from(padding).unwrap_or(0)])
    }
}
