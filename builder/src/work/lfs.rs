//! The content of files that lie in LFS, where the project wants it: the pointers of a checkout are found, their content
//! is asked for by the batch API, and comes in their place once its hash is the one that the commit names. Git's own
//! program for it is not used: it goes wherever a server or a repository's configuration sends it.
//!
//! The server is the one that the clone URL means; what a repository says of another (`.lfsconfig`) is not heeded.

mod find;
mod place;
pub mod pointer;
mod server;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use slipway_domain::agent::Login;
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::size::bytes as in_words;
use slipway_runtime::egress::Egress;
use slipway_runtime::lifecycle::Life;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::find::{Pointers, find};
use self::server::Server;
use crate::work::source::submodules::{Part, Whole};
use crate::work::{cancelled, internal};

/// What to fetch, and what for.
#[derive(Clone, Copy)]
pub struct LfsRequest<'a> {
    /// The files: the project's, and those of its submodules.
    pub whole: &'a Whole,
    /// The project's clone URL.
    pub clone_url: &'a str,
    /// The credential, for the origin of the clone URL alone.
    pub login: Option<&'a Login>,
    /// Whether submodules at the project's origin get it, too.
    pub lends: bool,
    /// Longest time for everything.
    pub timeout: Duration,
    /// Longest time without a byte.
    pub silence: Duration,
    /// Most bytes, those that the checkout took included.
    pub max_bytes: u64,
}

/// Puts the content of all files that lie in LFS in place of their pointers. When this returns or is dropped, no
/// connection of it is left, and each file is whole or still its pointer.
pub async fn fetch_lfs(
    life: &Life,
    egress: &Egress,
    request: LfsRequest<'_>,
    (log, cancel): (&mpsc::Sender<Bytes>, &CancellationToken),
) -> Result<(), Failure> {
    let work = tokio::time::timeout(request.timeout, fetch_all(life, egress, request, log));
    tokio::select! {
        done = work => done.unwrap_or_else(|_| {
            let message = format!("fetching files from LFS took longer than {} s", request.timeout.as_secs());
            Err(Failure::new(FailureClass::SourceUnreachable, message))
        }),
        () = cancel.cancelled() => Err(cancelled()),
    }
}

async fn fetch_all(
    life: &Life,
    egress: &Egress,
    request: LfsRequest<'_>,
    log: &mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let found = look(life, &request.whole.parts).await?;
    check_size(&request, &found)?;
    if found.iter().all(|(_, pointers)| pointers.objects.is_empty()) {
        tell(log, "No file is a pointer to LFS.".to_owned()).await;
    }
    for (part, pointers) in &found {
        if pointers.extended > 0 {
            let (count, name) = (pointers.extended, name(part));
            tell(log, format!("LFS: {count} pointers of {name} have extensions, which nothing here knows; they stay."))
                .await;
        }
        if pointers.objects.is_empty() {
            continue;
        }
        let server = Server::of(egress, &request, part)?;
        let files: usize = pointers.objects.values().map(Vec::len).sum();
        let (what, bytes) = (if files == 1 { "file" } else { "files" }, in_words(bytes_of(pointers)));
        tell(log, format!("LFS: {files} {what} of {}, {bytes}, from {}", name(part), server.host())).await;
        server.fetch(&pointers.objects).await?;
    }
    Ok(())
}

/// The pointers of each repository.
async fn look(life: &Life, parts: &[Part]) -> Result<Vec<(Part, Pointers)>, Failure> {
    let (parts, stop) = (parts.to_vec(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let looking = life.blocking("find LFS pointers", move || {
        let roots: Vec<PathBuf> = parts.iter().map(|part| part.root.clone()).collect();
        let each = parts.into_iter().map(|part| find(&part.root, &roots, &stop).map(|pointers| (part, pointers)));
        each.collect()
    });
    looking.await.unwrap_or_else(|error| Err(internal("finding LFS pointers", error)))
}

fn check_size(request: &LfsRequest<'_>, found: &[(Part, Pointers)]) -> Result<(), Failure> {
    let bytes = found.iter().fold(0, |sum: u64, (_, pointers)| sum.saturating_add(bytes_of(pointers)));
    if bytes <= request.max_bytes.saturating_sub(request.whole.received_bytes) {
        return Ok(());
    }
    let objects = found.iter().flat_map(|(part, pointers)| pointers.objects.iter().map(move |it| (part, it)));
    let largest = objects.max_by_key(|(_, (pointer, _))| pointer.size).map(|(part, (pointer, paths))| {
        let path = paths.first().map(|path| shown(part, path)).unwrap_or_default();
        format!("; the largest is {path} with {}", in_words(pointer.size))
    });
    let (has, most) = (in_words(bytes), in_words(request.max_bytes));
    let largest = largest.unwrap_or_default();
    let message = format!(
        "the files in LFS have {has}, and with them the source is larger than the {most} that a build may fetch{largest}"
    );
    Err(Failure::new(FailureClass::SourceTooLarge, message))
}

fn bytes_of(pointers: &Pointers) -> u64 {
    pointers.objects.keys().fold(0, |sum: u64, pointer| sum.saturating_add(pointer.size))
}

fn name(part: &Part) -> &str {
    if part.path.is_empty() { "the repository" } else { &part.path }
}

/// A file from the top of the checkout, in a line for people.
fn shown(part: &Part, path: &Path) -> String {
    let path = Path::new(&part.path).join(path.strip_prefix(&part.root).unwrap_or(path));
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

fn hinted(class: FailureClass, message: String, hint: &str) -> Failure {
    let detail = Box::new(Detail { hint: Some(hint.to_owned()), ..Detail::default() });
    Failure { detail, ..Failure::new(class, message) }
}

async fn tell(log: &mpsc::Sender<Bytes>, line: String) {
    // Nobody listening is no reason to stop: the attempt decides when to stop.
    let _ = log.send(Bytes::from(line + "\n")).await;
}
