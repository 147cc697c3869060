//! What a repository has, without its content: its refs, and the files in which two of its commits differ.

use std::path::Path;
use std::time::Duration;

use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::is_commit_id;
use slipway_runtime::egress::Egress;

use crate::run::{Access, Git};
use crate::{check, internal};

/// Most that is read of what git lists, bytes: about 200,000 refs.
const LIST_BYTES: usize = 16 * 1024 * 1024;
/// Trees of two commits are small; more than this is no repository of source.
const TREES_BYTES: u64 = 256 * 1024 * 1024;

/// A repository and how to reach it.
#[derive(Clone, Copy)]
pub struct Remote<'a> {
    /// The project's clone URL.
    pub clone_url: &'a str,
    /// The credential. Over ssh, its password is a private key.
    pub login: Option<&'a Login>,
    /// Longest time for everything.
    pub timeout: Duration,
}

/// A branch or tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// `refs/heads/…` or `refs/tags/…`, as the server says it.
    pub name: String,
    /// The object that it points to: for an annotated tag the tag object.
    pub target: String,
    /// The commit behind it.
    pub commit: String,
}

/// The branches and tags of a repository.
pub async fn ls_remote(egress: &Egress, remote: &Remote<'_>) -> Result<Vec<RemoteRef>, Failure> {
    let listed = in_folder(egress, remote, async |git, url| git.must(&["ls-remote", "--heads", "--tags", url]).await);
    Ok(refs(&listed.await?))
}

/// The names of the files in which two commits differ, renamed ones under both names. Only trees are fetched where the
/// server can leave out the files' content.
pub async fn changed_files(
    egress: &Egress,
    remote: &Remote<'_>,
    (before, after): (&str, &str),
) -> Result<Vec<String>, Failure> {
    if !is_commit_id(before) || !is_commit_id(after) {
        return Err(Failure::new(FailureClass::CommitMissing, "the commit is not named by its full id"));
    }
    let format = if after.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    let named = in_folder(egress, remote, async |git, url| {
        git.must(&["init", "--quiet", "--bare", "--template=", format]).await?;
        git.must(&["remote", "add", "origin", url]).await?;
        let fetch =
            ["fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--depth=1"];
        let commits = ["--filter=blob:none", "--end-of-options", "origin", before, after];
        git.must(&[fetch.as_slice(), &commits].concat()).await?;
        git.must(&["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", before, after]).await
    });
    Ok(named.await?.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Does something with git in a folder of its own, which is gone afterwards.
async fn in_folder(
    egress: &Egress,
    remote: &Remote<'_>,
    work: impl AsyncFnOnce(&Git<'_>, &str) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let within = async {
        let checked = check(egress, remote.clone_url).await?;
        let folder = tempfile::tempdir().map_err(|error| internal("the folder for git", error))?;
        let root = folder.path().join("repository");
        std::fs::create_dir(&root).map_err(|error| internal("the folder for git", error))?;
        let git = git(egress, remote, (&checked, folder.path(), &root))?;
        work(&git, checked.url.as_str()).await
    };
    let late = |_| {
        let secs = remote.timeout.as_secs();
        Failure::new(FailureClass::SourceUnreachable, format!("asking the repository took longer than {secs} s"))
    };
    tokio::time::timeout(remote.timeout, within).await.map_err(late)?
}

fn git<'a>(
    egress: &Egress,
    remote: &Remote<'_>,
    (checked, dir, root): (&slipway_runtime::egress::CheckedHost, &Path, &'a Path),
) -> Result<Git<'a>, Failure> {
    let access =
        Access { dir, login: remote.login, silence: remote.timeout, max_bytes: TREES_BYTES, output_bytes: LIST_BYTES };
    let mut git = Git::new(checked, &access, root, None)?;
    git.trust(egress.trust())?;
    Ok(git)
}

/// Reads `<id> TAB <ref>`; `<ref>^{}` is the commit behind the annotated tag of the line before.
fn refs(listed: &str) -> Vec<RemoteRef> {
    let mut refs: Vec<RemoteRef> = Vec::new();
    for line in listed.lines() {
        let Some((id, name)) = line.split_once('\t').filter(|(id, _)| is_commit_id(id)) else { continue };
        match name.strip_suffix("^{}") {
            Some(tag) => {
                if let Some(last) = refs.last_mut().filter(|last| last.name == tag) {
                    last.commit = id.to_owned();
                }
            }
            None => refs.push(RemoteRef { name: name.to_owned(), target: id.to_owned(), commit: id.to_owned() }),
        }
    }
    refs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotated_tags_are_told_with_their_commit() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let listed =
            format!("{a}\trefs/heads/main\n{b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\nwarning: x\nshort\trefs/x\n");
        let found: Vec<_> = refs(&listed).into_iter().map(|it| (it.name, it.target, it.commit)).collect();
        let (main, tag) = ("refs/heads/main".to_owned(), "refs/tags/v1".to_owned());
        assert_eq!(found, [(main, a.clone(), a), (tag, b, c)]);
    }
}
