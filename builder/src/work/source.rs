//! Fetches one commit with the git command line, which is given nothing but what the fetch needs: one
//! allowed protocol, pinned addresses, no configuration of the host, no hooks, no redirects, and a
//! credential that only it can read and only for the origin it belongs to.
//!
//! What the builder keeps of the repository ([`super::mirror`]) is not fetched again. The server is asked each time all
//! the same: it says whether the credential still opens the repository. Submodules stay empty folders, and files in LFS
//! the pointers that the commit has, unless they are asked for afterwards: [`submodules`], [`super::lfs`].

mod declared;
mod repository;
pub mod submodules;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::pipeline::{self, Pipeline};
use slipway_git::{Access, Git};
use slipway_runtime::egress::{CheckedHost, Egress};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::work::mirror::{Kept, Mirrors, Owner};
use crate::work::source::declared::Declared;
use crate::work::source::repository::Repository;
use crate::work::{cancelled, context, io_failure};

/// A pipeline file is read this far; one byte more than it may have, so that its parser says so.
const READ_BYTES: u64 = pipeline::MAX_BYTES as u64 + 1;

/// Most that is read of what git prints, which is at most a pipeline file.
const OUTPUT_BYTES: usize = pipeline::MAX_BYTES + 1024;

/// What to fetch.
#[derive(Clone, Copy)]
pub struct SourceRequest<'a> {
    /// The project's clone URL: https, ssh, or `user@host:path`; http if the guard allows it.
    pub clone_url: &'a str,
    /// The full commit id.
    pub commit: &'a str,
    /// The ref it is built for, to search when the server does not hand out commits by id.
    pub git_ref: Option<&'a GitRef>,
    /// Another branch whose `slipway.yml` counts instead of the commit's.
    pub rules_from: Option<&'a GitRef>,
    /// The credential. Over ssh, its password is a private key.
    pub login: Option<&'a Login>,
    /// An existing private folder of the attempt; the checkout becomes `source` in it.
    pub dir: &'a Path,
    /// Longest time for everything.
    pub timeout: Duration,
    /// Longest time without any sign of progress.
    pub silence: Duration,
    /// Most bytes that the server may send, as git counts them.
    pub max_bytes: u64,
    /// Where what is fetched stays for the next attempt, and whose it is; else it goes with this attempt.
    pub mirrors: Option<(&'a Mirrors, Owner)>,
}

/// A checked-out commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Its folder.
    pub root: PathBuf,
    /// Its full id, as git says it.
    pub commit: String,
    /// When it was committed; the time of all files of the context.
    pub committed_at: DateTime<Utc>,
    /// The other branch's `slipway.yml`, where that counts.
    pub rules: Rules,
    /// What the commit says of its submodules, if anything.
    declared: Option<Declared>,
    /// Bytes that the server sent, as git counts them.
    received_bytes: u64,
}

/// Which `slipway.yml` counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// The commit's own.
    Own,
    /// Another branch's, whose text this is, if it has one.
    Others(Option<String>),
}

impl Checkout {
    /// How many submodules the commit has, where it says where they are.
    pub fn submodules(&self) -> usize {
        self.declared.as_ref().map_or(0, |declared| declared.links.len())
    }

    /// Reads the `slipway.yml` that counts, if there is one.
    pub fn pipeline(&self) -> Result<Option<Pipeline>, Failure> {
        let text = match &self.rules {
            Rules::Own => context::read_text(&self.root, &self.root, pipeline::FILE_NAME, READ_BYTES)?,
            Rules::Others(text) => text.clone(),
        };
        let Some(text) = text else { return Ok(None) };
        let parsed = pipeline::parse(&text);
        parsed.map(Some).map_err(|error| Failure::new(FailureClass::PipelineInvalid, error.to_string()))
    }
}

/// Fetches and checks out one commit. Git's own words go to `log`. When this returns or is dropped, no
/// process and no credential of it is left.
pub async fn fetch(
    egress: &Egress,
    request: SourceRequest<'_>,
    log: &mpsc::Sender<Bytes>,
    cancel: &CancellationToken,
) -> Result<Checkout, Failure> {
    let work = tokio::time::timeout(request.timeout, fetch_within(egress, request, log));
    tokio::select! {
        done = work => done.unwrap_or_else(|_| {
            let secs = request.timeout.as_secs();
            Err(Failure::new(FailureClass::SourceUnreachable, format!("fetching the source took longer than {secs} s")))
        }),
        () = cancel.cancelled() => Err(cancelled()),
    }
}

async fn fetch_within(
    egress: &Egress,
    request: SourceRequest<'_>,
    log: &mpsc::Sender<Bytes>,
) -> Result<Checkout, Failure> {
    if !is_commit_id(request.commit) {
        return Err(Failure::new(FailureClass::CommitMissing, "the commit is not named by its full id"));
    }
    let checked = slipway_git::check(egress, request.clone_url).await?;
    let root = request.dir.join("source");
    std::fs::create_dir(&root).map_err(|error| io_failure("the folder of the checkout", &error))?;
    let SourceRequest { dir, login, silence, max_bytes, .. } = request;
    let access = Access { dir, login, silence, max_bytes, output_bytes: OUTPUT_BYTES };
    let mut git = Git::new(&checked, &access, &root, Some(log))?;
    git.trust(egress.trust())?;

    let Some((mirrors, owner)) = request.mirrors else { return alone(&mut git, &checked, (&request, &root)).await };
    let taking = || mirrors.take(owner, checked.url.as_str(), request.commit);
    let Some(kept) = taking().await else { return alone(&mut git, &checked, (&request, &root)).await };
    git.work_on(kept.git_dir(), &kept.index());
    match through(&git, &checked, (&request, &root), kept).await {
        Err(failure) if is_damage(&failure) => {
            warn!(reason = failure.message, "what was kept of a repository is damaged; fetching all of it again");
            empty(&root)?;
            let Some(kept) = taking().await else { return alone(&mut git, &checked, (&request, &root)).await };
            kept.discard().await?;
            through(&git, &checked, (&request, &root), kept).await
        }
        done => done,
    }
}

/// Fetches for this attempt alone.
async fn alone(
    git: &mut Git<'_>,
    checked: &CheckedHost,
    (request, root): (&SourceRequest<'_>, &Path),
) -> Result<Checkout, Failure> {
    let git_dir = root.join(".git");
    git.work_on(&git_dir, &git_dir.join("index"));
    let repository = Repository { git, checked, request, git_dir: &git_dir, kept: false };
    repository.make().await?;
    let rules = repository.fetch().await?;
    let committed_at = repository.write_files(root).await?;
    repository.checkout(root, committed_at, rules).await
}

/// Fetches into what is kept, and gets the files from there.
async fn through(
    git: &Git<'_>,
    checked: &CheckedHost,
    (request, root): (&SourceRequest<'_>, &Path),
    kept: Kept,
) -> Result<Checkout, Failure> {
    kept.tidy().await?;
    let git_dir = kept.git_dir().to_path_buf();
    let repository = Repository { git, checked, request, git_dir: &git_dir, kept: true };
    let done = async {
        repository.make().await?;
        let rules = repository.fetch().await?;
        kept.begin_tree().await?;
        let committed_at = repository.write_files(&kept.tree()).await?;
        kept.hand_out(root).await?;
        repository.checkout(root, committed_at, rules).await
    };
    let done = done.await;
    if let Err(failure) = &done {
        // What does not fit makes room, the rest leaves nothing half.
        let full = failure.class == FailureClass::DiskFull;
        let cleaned = if full { kept.discard().await } else { kept.tidy().await };
        if let Err(error) = cleaned {
            warn!(reason = error.message, "what a fetch left is not removed; the next one tries again");
        }
    }
    done
}

/// True for what git says of a repository that is not as git left it. Other faults of ours look the same; then all is
/// fetched again once for nothing. The address is allowed, or nothing would have been asked: a transport that is not is
/// git looking elsewhere for content that it cannot read here.
fn is_damage(failure: &Failure) -> bool {
    matches!(failure.class, FailureClass::Internal | FailureClass::SourceForbidden)
}

fn empty(root: &Path) -> Result<(), Failure> {
    let again = std::fs::remove_dir_all(root).and_then(|()| std::fs::create_dir(root));
    again.map_err(|error| io_failure("the folder of the checkout", &error))
}
