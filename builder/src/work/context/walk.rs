//! Two passes over the folder: the first decides what is sent and whether it is too much, the second
//! writes it.

use std::fs::{File, Metadata};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use slipway_domain::failure::{Failure, FailureClass};
use tar::{EntryType, Header};

use super::invalid;
use crate::work::dockerignore::{Dockerignore, Met};
use crate::work::io_failure;

/// Deeper folders than this are refused; a path has to fit into the engine's own limits.
const MAX_DEPTH: usize = 128;

/// How much may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_entries: u64,
}

/// What is sent, in order.
pub(super) struct Plan {
    pub(super) entries: Vec<Entry>,
    pub(super) content_bytes: u64,
}

pub(super) struct Entry {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    File { bytes: u64, executable: bool },
    Link { to: PathBuf },
}

struct Walk<'a> {
    skip: &'a Path,
    ignore: &'a Dockerignore,
    always: &'a [&'a str],
    limits: Limits,
    plan: Plan,
    count: u64,
}

impl Plan {
    /// Decides what of `root` is sent; `always` is, whatever the rules say.
    pub(super) fn of(
        root: &Path,
        skip: &Path,
        ignore: &Dockerignore,
        always: &[&str],
        limits: Limits,
    ) -> Result<Plan, Failure> {
        let plan = Plan { entries: Vec::new(), content_bytes: 0 };
        let mut walk = Walk { skip, ignore, always, limits, plan, count: 0 };
        walk.folder(root, Path::new(""), None, 0)?;
        if walk.count > limits.max_entries {
            let message =
                format!("the context has {} files and folders; at most {} are allowed", walk.count, limits.max_entries);
            return Err(Failure::new(FailureClass::ContextTooLarge, message));
        }
        if walk.plan.content_bytes > limits.max_bytes {
            let message =
                format!("the context has {} bytes; at most {} are allowed", walk.plan.content_bytes, limits.max_bytes);
            return Err(Failure::new(FailureClass::ContextTooLarge, message));
        }
        Ok(walk.plan)
    }

    /// Writes the tar and returns its size. The Dockerfile is written as the text that was read, so that
    /// the engine gets it even if it is a link.
    pub(super) fn write(
        &self,
        root: &Path,
        target: &Path,
        mtime: DateTime<Utc>,
        dockerfile: (&str, &str),
    ) -> Result<u64, Failure> {
        let failed = |error: std::io::Error| io_failure("writing the context", &error);
        let file = File::create(target).map_err(failed)?;
        let mut tar = tar::Builder::new(BufWriter::with_capacity(256 * 1024, file));
        let mtime = u64::try_from(mtime.timestamp()).unwrap_or(0);
        for entry in &self.entries {
            let text = (entry.path == Path::new(dockerfile.0)).then_some(dockerfile.1);
            append(&mut tar, root, entry, mtime, text).map_err(failed)?;
        }
        let mut writer = tar.into_inner().map_err(failed)?;
        writer.flush().map_err(failed)?;
        let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(file.metadata().map_err(failed)?.len())
    }
}

impl Walk<'_> {
    /// Walks one folder in the order of names. Returns whether anything in it is sent.
    fn folder(&mut self, folder: &Path, relative: &Path, met: Option<&Met>, depth: usize) -> Result<bool, Failure> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("folders are nested deeper than {MAX_DEPTH} in {}", relative.display())));
        }
        let failed = |error: std::io::Error| io_failure("reading the checkout", &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        let mut any = false;
        for name in names {
            let path = folder.join(&name);
            if path == self.skip {
                continue;
            }
            let relative = relative.join(&name);
            let meta = path.symlink_metadata().map_err(failed)?;
            any |= self.entry(&path, &relative, (&meta, met), depth)?;
        }
        Ok(any)
    }

    fn entry(
        &mut self,
        path: &Path,
        relative: &Path,
        (meta, around): (&Metadata, Option<&Met>),
        depth: usize,
    ) -> Result<bool, Failure> {
        let name = relative.to_string_lossy();
        let (left_out, met) = self.ignore.decide(&name, around);
        let wanted = !left_out || self.always.contains(&name.as_ref());
        if meta.is_dir() {
            let leads_to_always = self.always.iter().any(|path| Path::new(path).starts_with(relative));
            if !wanted && !self.ignore.takes_back_in(&name) && !leads_to_always {
                return Ok(false);
            }
            // An excluded folder is sent only for what is taken back inside it.
            let place = self.plan.entries.len();
            let any = self.folder(path, relative, Some(&met), depth + 1)?;
            if wanted || any {
                self.add(place, relative, Kind::Folder);
            }
            return Ok(wanted || any);
        }
        // As docker: a socket is nothing that could be sent.
        if !wanted || meta.file_type().is_socket() {
            return Ok(false);
        }
        let kind = if meta.is_symlink() {
            Kind::Link { to: std::fs::read_link(path).map_err(|error| io_failure("reading the checkout", &error))? }
        } else if meta.is_file() {
            self.plan.content_bytes += meta.len();
            // A second name of the same file is a file of its own here: hard links are never sent.
            Kind::File { bytes: meta.len(), executable: meta.permissions().mode() & 0o111 != 0 }
        } else {
            return Err(invalid(format!("{name} is neither file, folder nor link")));
        };
        self.add(self.plan.entries.len(), relative, kind);
        Ok(true)
    }

    /// Beyond the limit only counts, so that the message can say how much too much it is.
    fn add(&mut self, place: usize, relative: &Path, kind: Kind) {
        self.count += 1;
        if self.count <= self.limits.max_entries {
            self.plan.entries.insert(place, Entry { path: relative.to_path_buf(), kind });
        }
    }
}

fn append(
    tar: &mut tar::Builder<impl std::io::Write>,
    root: &Path,
    entry: &Entry,
    mtime: u64,
    text: Option<&str>,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    match &entry.kind {
        Kind::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, entry.path.join(""), std::io::empty())
        }
        Kind::Link { to } if text.is_none() => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, &entry.path, to)
        }
        Kind::Link { .. } => {
            let text = text.unwrap_or_default();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, &entry.path, text.as_bytes())
        }
        Kind::File { bytes, executable } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*bytes);
            let file = File::open(root.join(&entry.path))?;
            let mut limited = ExactLength { file, left: *bytes };
            tar.append_data(&mut header, &entry.path, &mut limited)
        }
    }
}

/// A file as long as it was when it was counted; anything else would break the tar.
struct ExactLength {
    file: File,
    left: u64,
}

impl std::io::Read for ExactLength {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        if count == 0 && most > 0 {
            return Err(std::io::Error::other("a file became shorter while it was read"));
        }
        Ok(count)
    }
}
