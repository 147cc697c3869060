//! A Git repository of a test: a working copy and the bare repository that the server shows, both driven by
//! the git command line with an environment of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::host;
use super::process;

/// The branch that a new repository begins with.
pub const MAIN: &str = "main";

/// One move of a ref, as a forge tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The full ref.
    pub git_ref: String,
    /// Where it was; `None` when it is new.
    pub before: Option<String>,
    /// Where it is; `None` when it was deleted. Of an annotated tag the tag object.
    pub after: Option<String>,
    /// The commit that it is at.
    pub commit: Option<String>,
    /// Whether commits were left behind.
    pub forced: bool,
    /// The message of the commit it is at.
    pub message: String,
}

/// A repository.
#[derive(Debug)]
pub struct Repo {
    full_path: String,
    clone_url: String,
    bare: PathBuf,
    work: PathBuf,
}

impl Repo {
    /// Makes an empty repository that is served from `bare` under `clone_url`.
    pub(super) fn create(full_path: &str, clone_url: String, bare: PathBuf, work: PathBuf) -> Result<Self> {
        fs::create_dir_all(&bare)?;
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch", MAIN])?;
        // Forges give any commit by its id, whole or in part.
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"])?;
        git(&bare, &["config", "uploadpack.allowFilter", "true"])?;
        fs::create_dir_all(&work)?;
        git(&work, &["init", "--quiet", "--initial-branch", MAIN])?;
        git(&work, &["remote", "add", "origin", &bare.display().to_string()])?;
        Ok(Self { full_path: full_path.to_owned(), clone_url, bare, work })
    }

    /// `owner/name`.
    pub fn full_path(&self) -> &str {
        &self.full_path
    }

    /// Where a builder fetches it.
    pub fn clone_url(&self) -> &str {
        &self.clone_url
    }

    /// The repository on the server.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The working copy, for what the methods here do not do.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Writes files, commits them on the current branch and pushes it.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> Result<Move> {
        for (path, content) in files {
            let path = self.work.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.work))?;
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        git(&self.work, &["add", "--all"])?;
        git(&self.work, &["commit", "--quiet", "--allow-empty", "--message", message])?;
        let branch = git(&self.work, &["symbolic-ref", "HEAD"])?;
        self.push(&branch, "HEAD")
    }

    /// Continues on another branch, made here if there is none.
    pub fn switch(&self, branch: &str) -> Result<()> {
        git(&self.work, &["checkout", "--quiet", "-B", branch]).map(drop)
    }

    /// Moves a branch to any commit, as `git push --force` does.
    pub fn force_push(&self, branch: &str, commit: &str) -> Result<Move> {
        if git(&self.work, &["symbolic-ref", "--short", "HEAD"])? == branch {
            git(&self.work, &["reset", "--quiet", "--hard", commit])?;
        }
        self.push(&format!("refs/heads/{branch}"), commit)
    }

    /// Makes an annotated tag at the current commit and pushes it.
    pub fn tag(&self, name: &str) -> Result<Move> {
        git(&self.work, &["tag", "--annotate", "--force", "--message", name, name])?;
        self.push(&format!("refs/tags/{name}"), &format!("refs/tags/{name}"))
    }

    /// Deletes a ref on the server.
    pub fn delete(&self, git_ref: &str) -> Result<Move> {
        let before = self.remote(git_ref);
        git(&self.work, &["push", "--quiet", "origin", &format!(":{git_ref}")])?;
        Ok(Move {
            git_ref: git_ref.to_owned(),
            before,
            after: None,
            commit: None,
            forced: false,
            message: String::new(),
        })
    }

    /// The commit that a name stands for in the working copy.
    pub fn resolve(&self, name: &str) -> Result<String> {
        git(&self.work, &["rev-parse", &format!("{name}^{{commit}}")])
    }

    fn push(&self, git_ref: &str, source: &str) -> Result<Move> {
        let before = self.remote(git_ref);
        git(&self.work, &["push", "--quiet", "--force", "origin", &format!("{source}:{git_ref}")])?;
        let after = self.remote(git_ref);
        let forced = match (&before, &after) {
            (Some(before), Some(after)) => git(&self.bare, &["merge-base", "--is-ancestor", before, after]).is_err(),
            _ => false,
        };
        let message = git(&self.work, &["log", "-1", "--format=%B", source])?;
        let commit = Some(self.resolve(source)?);
        Ok(Move { git_ref: git_ref.to_owned(), before, after, commit, forced, message })
    }

    /// The object that a ref of the server points to.
    fn remote(&self, git_ref: &str) -> Option<String> {
        git(&self.bare, &["rev-parse", "--verify", "--quiet", git_ref]).ok()
    }
}

/// Runs git without the user's configuration; what it printed, trimmed.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = process::run(command().current_dir(folder).args(arguments));
    let output = output.with_context(|| format!("git {}", arguments.join(" ")))?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// git with a clean environment and a fixed author.
pub(super) fn command() -> Command {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", host::PATH).env("LC_ALL", "C.UTF-8");
    command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_TERMINAL_PROMPT", "0")]);
    command.envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")]);
    command.envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")]);
    command
}
