//! Decides what of a folder is sent, and whether that is too much, without opening a file.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use slipway_domain::failure::{Failure, FailureClass};
use tokio_util::sync::CancellationToken;

use slipway_domain::size::bytes as in_words;

use super::contents::{Contents, shown};
use super::{Refused, invalid};
use crate::work::dockerignore::{Dockerignore, Met};
use crate::work::{cancelled, io_failure};

/// Deeper folders than this are refused.
pub(super) const MAX_DEPTH: usize = 128;
/// Longer paths are refused: the engine writes them below a folder of its own, and Linux takes 4096 bytes in all.
pub(super) const MAX_PATH_BYTES: usize = 3072;

/// How much may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_entries: u64,
}

/// Which files are looked at, and how.
pub(super) struct Scope<'a> {
    /// The context's folder.
    pub(super) root: &'a Path,
    /// Left out whatever the rules say.
    pub(super) skip: PathBuf,
    pub(super) ignore: &'a Dockerignore,
    /// Sent whatever the rules say.
    pub(super) always: [&'a str; 2],
    pub(super) limits: Limits,
    /// Nobody waits for the context any more.
    pub(super) stop: &'a CancellationToken,
}

/// What is sent, in order.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) entries: Vec<Entry>,
    pub(super) contents: Contents,
}

pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Folder,
    File { bytes: u64, executable: bool },
    Link { to: PathBuf },
}

struct Walk<'a> {
    scope: &'a Scope<'a>,
    plan: Plan,
}

impl Plan {
    /// Walks the folder. What it holds is known also where it is too much.
    pub(super) fn of(scope: &Scope<'_>) -> Result<Plan, Box<Refused>> {
        let mut walk = Walk { scope, plan: Plan::default() };
        let walked = walk.folder(scope.root, Path::new(""), None, 0).and_then(|_| walk.refuse_too_much());
        match walked {
            Ok(()) => Ok(walk.plan),
            Err(failure) => Err(Box::new(Refused { failure, contents: walk.plan.contents })),
        }
    }
}

impl Walk<'_> {
    /// Walks one folder in the order of names. Returns whether anything in it is sent.
    fn folder(&mut self, folder: &Path, relative: &Path, met: Option<&Met>, depth: usize) -> Result<bool, Failure> {
        if depth > MAX_DEPTH {
            let message = format!("folders are nested deeper than {MAX_DEPTH} in {}", shown(relative));
            return Err(Failure::new(FailureClass::ContextTooLarge, message));
        }
        let failed = |error: std::io::Error| io_failure("reading the checkout", &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort_unstable();
        let mut any = false;
        for name in names {
            if self.scope.stop.is_cancelled() {
                return Err(cancelled());
            }
            let path = folder.join(&name);
            if path == self.scope.skip {
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
        let Scope { ignore, always, .. } = self.scope;
        let name = relative.to_string_lossy();
        let (left_out, met) = ignore.decide(&name, around);
        let wanted = !left_out || always.contains(&name.as_ref());
        if meta.is_dir() {
            let leads_to_always = always.iter().any(|path| Path::new(path).starts_with(relative));
            if !wanted && !ignore.takes_back_in(&name) && !leads_to_always {
                return Ok(false);
            }
            // One that is left out is sent for what is taken back inside it, and only then.
            self.add(relative, Kind::Folder)?;
            let any = self.folder(path, relative, Some(&met), depth + 1)?;
            if !wanted && !any {
                self.take_back_last();
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
            self.plan.contents.file(relative, meta.len());
            // A second name of the same file is a file of its own here: hard links are never sent.
            Kind::File { bytes: meta.len(), executable: meta.permissions().mode() & 0o111 != 0 }
        } else {
            let what = if meta.file_type().is_fifo() { "pipe" } else { "device" };
            let message = format!(
                "{} is a {what}; a context holds files, folders and links. Remove it, or exclude it in .dockerignore",
                shown(relative)
            );
            return Err(invalid(message));
        };
        self.add(relative, kind)?;
        Ok(true)
    }

    /// Beyond the limit only counts, so that the message can say how much too much it is.
    fn add(&mut self, relative: &Path, kind: Kind) -> Result<(), Failure> {
        if relative.as_os_str().as_bytes().len() > MAX_PATH_BYTES {
            let message = format!("a path is longer than {MAX_PATH_BYTES} bytes: {}", shown(relative));
            return Err(Failure::new(FailureClass::ContextTooLarge, message));
        }
        self.plan.contents.entries += 1;
        if self.plan.contents.entries <= self.scope.limits.max_entries {
            self.plan.entries.push(Entry { path: relative.to_path_buf(), kind });
        }
        Ok(())
    }

    fn take_back_last(&mut self) {
        if self.plan.contents.entries <= self.scope.limits.max_entries {
            self.plan.entries.pop();
        }
        self.plan.contents.entries -= 1;
    }

    fn refuse_too_much(&self) -> Result<(), Failure> {
        let (Contents { entries, bytes, .. }, limits) = (&self.plan.contents, self.scope.limits);
        let message = if *entries > limits.max_entries {
            format!("the context has {entries} files and folders; at most {} are allowed", limits.max_entries)
        } else if *bytes > limits.max_bytes {
            let (has, allowed) = (in_words(*bytes), in_words(limits.max_bytes));
            format!("the context has {bytes} bytes ({has}); at most {} ({allowed}) are allowed", limits.max_bytes)
        } else {
            return Ok(());
        };
        Err(Failure::new(FailureClass::ContextTooLarge, message))
    }
}
