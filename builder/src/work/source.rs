//! Fetches one commit with the git command line, which is given nothing but what the fetch needs: one
//! allowed protocol, pinned addresses, no configuration of the host, no hooks, no redirects, and a
//! credential that only it can read and only for the origin it belongs to.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::pipeline::{self, Pipeline};
use slipway_git::{Access, Answer, Git};
use slipway_runtime::egress::{CheckedHost, Egress};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::work::{cancelled, context, io_failure};

/// How many commits of a ref are searched on a server that does not hand out commits by id.
const FALLBACK_DEPTH: u32 = 500;

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

    let format = if request.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    git.must(&["init", "--quiet", "--template=", format]).await?;
    fetch_commit(&git, &checked, &request).await?;
    git.must(&["checkout", "--progress", "--force", "--detach", request.commit]).await?;
    let rules = match request.rules_from {
        Some(branch) => Rules::Others(file_of(&git, &checked, branch).await?),
        None => Rules::Own,
    };
    checkout_of(&git, &request, &root, rules).await
}

/// The text of another branch's `slipway.yml`, if there is one.
async fn file_of(git: &Git<'_>, checked: &CheckedHost, branch: &GitRef) -> Result<Option<String>, Failure> {
    const HERE: &str = "refs/slipway/rules";
    let (url, onto) = (checked.url.as_str(), format!("+{branch}:{HERE}"));
    let fetch = ["fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--depth=1"];
    git.must(&[fetch.as_slice(), &["--end-of-options", url, &onto]].concat()).await?;
    let blob = format!("{HERE}:{}", pipeline::FILE_NAME);
    let size = git.run(&["cat-file", "-s", &blob]).await?;
    if !size.ok {
        return Ok(None);
    }
    if size.output.trim().parse::<u64>().is_ok_and(|size| size < READ_BYTES) {
        return git.must(&["cat-file", "blob", &blob]).await.map(Some);
    }
    let message = format!("{} of {} is larger than {} bytes", pipeline::FILE_NAME, branch.short(), pipeline::MAX_BYTES);
    Err(Failure::new(FailureClass::PipelineInvalid, message))
}

/// Gets the commit into the repository: by its id, or, where the server hands out refs only, by its ref.
async fn fetch_commit(git: &Git<'_>, checked: &CheckedHost, request: &SourceRequest<'_>) -> Result<(), Failure> {
    let url = checked.url.as_str();
    let fetch = ["fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
    let by_id = [fetch.as_slice(), &["--depth=1", "--end-of-options", url, request.commit]].concat();
    let failure = match git.run(&by_id).await? {
        Answer { ok: true, .. } => return Ok(()),
        answer => slipway_git::failure(&answer.errors, request.login.is_some()),
    };
    let Some(git_ref) = request.git_ref.filter(|_| failure.class == FailureClass::CommitMissing) else {
        return Err(failure);
    };
    let depth = format!("--depth={FALLBACK_DEPTH}");
    let by_ref = [fetch.as_slice(), &[&depth, "--end-of-options", url, git_ref.as_str()]].concat();
    let answer = git.run(&by_ref).await?;
    if !answer.ok {
        let second = slipway_git::failure(&answer.errors, request.login.is_some());
        // A ref that is gone as well says no more than that the commit is.
        let gone = matches!(second.class, FailureClass::CommitMissing | FailureClass::SourceMissing);
        return Err(if gone { failure } else { second });
    }
    let object = format!("{}^{{commit}}", request.commit);
    if git.run(&["cat-file", "-e", &object]).await?.ok { Ok(()) } else { Err(failure) }
}

async fn checkout_of(
    git: &Git<'_>,
    request: &SourceRequest<'_>,
    root: &Path,
    rules: Rules,
) -> Result<Checkout, Failure> {
    let shown = git.must(&["log", "-1", "--no-show-signature", "--format=%H %ct", "HEAD"]).await?;
    let (commit, time) = shown.trim().split_once(' ').unwrap_or_default();
    if commit != request.commit {
        let message = format!("git checked out {commit:?} instead of {}", request.commit);
        return Err(Failure::new(FailureClass::Internal, message));
    }
    let committed_at = time.parse().ok().and_then(|secs| DateTime::from_timestamp(secs, 0)).unwrap_or_default();
    Ok(Checkout { root: root.to_path_buf(), commit: commit.to_owned(), committed_at, rules })
}
