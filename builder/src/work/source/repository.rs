//! One bare repository that a commit is fetched into and checked out from: that of the attempt alone, or one that is
//! kept. Into a kept one the commit comes with its folders and small files first, as far as they differ from commits that
//! are there, then those of the other files' contents that are not there yet, by their ids. Its refs name only commits of which everything is there, because git tells the server of them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::pipeline;
use slipway_git::{Answer, Git, Pipes};
use slipway_runtime::egress::CheckedHost;

use super::{Checkout, READ_BYTES, Rules, SourceRequest, declared};
use crate::work::{internal, io_failure};

/// How many commits of a ref are searched on a server that does not hand out commits by id.
const FALLBACK_DEPTH: u32 = 500;
/// What every fetch is told.
const FETCH: [&str; 5] = ["fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
/// In a kept repository: the server gives no large contents with a commit. Small ones are not worth a second question.
const SMALL_CONTENTS: &str = "--filter=blob:limit=64k";
/// The server gives no contents but those that are asked for.
const WITHOUT_CONTENTS: &str = "--filter=blob:none";
/// The opposite, which must be said: git remembers the filter.
const WHOLE: &str = "--no-filter";
/// Where the commits stand of which everything is there.
const REFS: &str = "refs/slipway";
/// In a kept repository: the server that this one was made for gives contents only with their commits.
const WHOLE_ONLY: &str = "whole-only";

pub(super) struct Repository<'a> {
    pub(super) git: &'a Git<'a>,
    pub(super) checked: &'a CheckedHost,
    pub(super) request: &'a SourceRequest<'a>,
    pub(super) git_dir: &'a Path,
    /// It stays for other attempts.
    pub(super) kept: bool,
}

impl Repository<'_> {
    /// Makes it, if it is not there.
    pub(super) async fn make(&self) -> Result<(), Failure> {
        if self.git_dir.join("HEAD").exists() {
            return Ok(());
        }
        let format = if self.request.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.git.must(&["init", "--quiet", "--bare", "--template=", format]).await.map(drop)
    }

    /// Gets the commit, and the rules that count for it.
    pub(super) async fn fetch(&self) -> Result<Rules, Failure> {
        let commit = self.request.commit;
        if self.kept && self.has_commits() && !self.git_dir.join(WHOLE_ONLY).exists() {
            self.fetch_commit(&[SMALL_CONTENTS]).await?;
            self.fetch_contents().await?;
        } else {
            self.fetch_commit(&[WHOLE]).await?;
        }
        if self.kept {
            self.keep(commit).map_err(|error| io_failure("the kept repository", &error))?;
        }
        match self.request.rules_from {
            Some(branch) => self.file_of(branch).await.map(Rules::Others),
            None => Ok(Rules::Own),
        }
    }

    /// Writes a ref as git does, which takes a process for it.
    fn keep(&self, commit: &str) -> std::io::Result<()> {
        let refs = self.git_dir.join(REFS);
        std::fs::create_dir_all(&refs)?;
        let lock = refs.join(format!("{commit}.lock"));
        std::fs::write(&lock, format!("{commit}\n"))?;
        std::fs::rename(lock, refs.join(commit))
    }

    /// Makes a folder hold the commit's files and no others that git knows of, and says when the commit was made. Of the
    /// host's and the repository's own configuration nothing is heeded: no filter, no hook.
    pub(super) async fn write_files(&self, folder: &Path) -> Result<DateTime<Utc>, Failure> {
        let folder = folder.to_str().ok_or_else(|| internal("the folder of the checkout", "its path is no text"))?;
        let work_tree = format!("--work-tree={folder}");
        // A file that gets a further name has another ctime, and is the same.
        let config = ["-c", "checkout.workers=0", "-c", "core.trustCtime=false"];
        let write =
            [config.as_slice(), &[&work_tree, "read-tree", "-v", "--reset", "-u", self.request.commit]].concat();
        let (_, committed_at) = tokio::try_join!(self.git.must(&write), self.committed_at())?;
        Ok(committed_at)
    }

    async fn committed_at(&self) -> Result<DateTime<Utc>, Failure> {
        let commit = self.request.commit;
        let shown = self.git.must(&["log", "-1", "--no-show-signature", "--format=%H %ct", commit]).await?;
        let (found, time) = shown.trim().split_once(' ').unwrap_or_default();
        if found != commit {
            return Err(internal("git", format!("it has {found:?} in place of {commit}")));
        }
        Ok(time.parse().ok().and_then(|secs| DateTime::from_timestamp(secs, 0)).unwrap_or_default())
    }

    /// What is known of the commit, whose files lie in `root`.
    pub(super) async fn checkout(
        &self,
        root: &Path,
        committed_at: DateTime<Utc>,
        rules: Rules,
    ) -> Result<Checkout, Failure> {
        let commit = self.request.commit.to_owned();
        let declared = declared::read(self.git, root, &commit).await?;
        let (root, received_bytes) = (root.to_path_buf(), self.git.received_bytes());
        Ok(Checkout { root, commit, committed_at, rules, declared, received_bytes })
    }

    /// Gets the commit into the repository: by its id, or, where the server hands out refs only, by its ref.
    async fn fetch_commit(&self, how: &[&str]) -> Result<(), Failure> {
        let commit = self.request.commit;
        let failure = match self.ask(&[how, &["--depth=1"]].concat(), commit).await? {
            Answer { ok: true, .. } => return Ok(()),
            answer => self.failure(&answer),
        };
        let Some(git_ref) = self.request.git_ref.filter(|_| failure.class == FailureClass::CommitMissing) else {
            return Err(failure);
        };
        let answer = self.ask(&[how, &[&format!("--depth={FALLBACK_DEPTH}")]].concat(), git_ref.as_str()).await?;
        if !answer.ok {
            let second = self.failure(&answer);
            // A ref that is gone as well says no more than that the commit is.
            let gone = matches!(second.class, FailureClass::CommitMissing | FailureClass::SourceMissing);
            return Err(if gone { failure } else { second });
        }
        let object = format!("{commit}^{{commit}}");
        if self.git.run(&["cat-file", "-e", &object]).await?.ok { Ok(()) } else { Err(failure) }
    }

    /// Gets the contents that the commit has and the repository has not.
    async fn fetch_contents(&self) -> Result<(), Failure> {
        let Some(wanted) = self.missing().await? else { return Ok(()) };
        let args = self.remote(&["-c", "fetch.negotiationAlgorithm=noop"], &[WITHOUT_CONTENTS, "--stdin", "origin"]);
        let answer = self.git.run_with(&borrowed(&args), Pipes { input: Some(wanted), output: None }).await?;
        if answer.ok {
            return Ok(());
        }
        let failure = self.failure(&answer);
        if failure.class != FailureClass::CommitMissing {
            return Err(failure);
        }
        // An old server gives nothing by its id but commits, or not even those.
        File::create(self.git_dir.join(WHOLE_ONLY)).map_err(|error| io_failure("the kept repository", &error))?;
        self.fetch_commit(&["--refetch", WHOLE]).await
    }

    /// The ids of the contents that are missing, one in a line; `None` if nothing is.
    async fn missing(&self) -> Result<Option<File>, Failure> {
        let failed = |error: std::io::Error| io_failure("the list of what to fetch", &error);
        let (listed, wanted) = (self.git.private().join("missing"), self.git.private().join("wanted"));
        let output = Some(File::create(&listed).map_err(failed)?);
        let tree = format!("{}^{{tree}}", self.request.commit);
        let args = ["rev-list", "--objects", "--missing=print", "--quiet", &tree];
        let answer = self.git.run_with(&args, Pipes { input: None, output }).await?;
        if !answer.ok {
            return Err(self.failure(&answer));
        }
        let mut any = false;
        let mut writer = BufWriter::new(File::create(&wanted).map_err(failed)?);
        for line in BufReader::new(File::open(&listed).map_err(failed)?).lines() {
            if let Some(id) = line.map_err(failed)?.strip_prefix('?').filter(|id| is_commit_id(id)) {
                writeln!(writer, "{id}").map_err(failed)?;
                any = true;
            }
        }
        writer.flush().map_err(failed)?;
        if any { File::open(&wanted).map(Some).map_err(failed) } else { Ok(None) }
    }

    /// The text of another branch's `slipway.yml`, if there is one.
    async fn file_of(&self, branch: &GitRef) -> Result<Option<String>, Failure> {
        const HERE: &str = "refs/slipway/rules";
        let answer = self.ask(&[WHOLE, "--depth=1"], &format!("+{branch}:{HERE}")).await?;
        if !answer.ok {
            return Err(self.failure(&answer));
        }
        let blob = format!("{HERE}:{}", pipeline::FILE_NAME);
        let size = self.git.run(&["cat-file", "-s", &blob]).await?;
        if !size.ok {
            return Ok(None);
        }
        if size.output.trim().parse::<u64>().is_ok_and(|size| size < READ_BYTES) {
            return self.git.must(&["cat-file", "blob", &blob]).await.map(Some);
        }
        let (name, most) = (pipeline::FILE_NAME, pipeline::MAX_BYTES);
        let message = format!("{name} of {} is larger than {most} bytes", branch.short());
        Err(Failure::new(FailureClass::PipelineInvalid, message))
    }

    async fn ask(&self, options: &[&str], what: &str) -> Result<Answer, Failure> {
        let args = self.remote(&[], &[options, &["--end-of-options", "origin", what]].concat());
        self.git.run(&borrowed(&args)).await
    }

    /// A fetch from the server, which has a name for this one command only: the repository's own configuration holds
    /// no address. A promisor is who may leave contents out.
    fn remote(&self, config: &[&str], args: &[&str]) -> Vec<String> {
        let url = format!("remote.origin.url={}", self.checked.url);
        let promisor = format!("remote.origin.promisor={}", self.kept);
        let named = ["-c", &url, "-c", &promisor];
        [&named, config, &FETCH, args].concat().into_iter().map(str::to_owned).collect()
    }

    /// Whether anything of the server is here that a fetch can build on.
    fn has_commits(&self) -> bool {
        std::fs::read_dir(self.git_dir.join(REFS)).is_ok_and(|mut refs| refs.next().is_some())
    }

    fn failure(&self, answer: &Answer) -> Failure {
        slipway_git::failure(&answer.errors, self.request.login.is_some())
    }
}

fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
