//! What a commit says of its submodules: the links in its tree, each with the commit that belongs there, and
//! `.gitmodules`, which says where that lies. It is read while the repository is at hand, and judged only when somebody
//! wants the submodules.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use slipway_domain::failure::Failure;
use slipway_domain::git_ref::is_commit_id;
use slipway_git::{Git, Pipes};

use super::OUTPUT_BYTES;
use crate::work::io_failure;

/// Where a repository says it.
pub(super) const FILE_NAME: &str = ".gitmodules";
/// A longer file is not read.
const MAX_BYTES: u64 = 64 * 1024;
/// Of more links than these the rest is not told.
const MAX_LINKS: usize = 1000;
/// The mode of a link to a commit.
const LINK: &[u8] = b"160000 commit ";

/// What a commit says of its submodules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// The addresses by path, or what is wrong with the file. One of `None` has a path and no address.
    pub(super) addresses: Result<BTreeMap<String, Option<String>>, String>,
    /// In the order of paths.
    pub(super) links: Vec<Link>,
}

/// A place of the tree where another repository's commit belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) path: String,
    pub(super) commit: String,
}

/// Reads what a commit, whose files lie in `root`, says; `None` if it has no `.gitmodules`.
pub(super) async fn read(git: &Git<'_>, root: &Path, commit: &str) -> Result<Option<Declared>, Failure> {
    let Some(file) = open(&root.join(FILE_NAME))? else { return Ok(None) };
    let addresses = addresses(git, file).await?;
    Ok(Some(Declared { addresses, links: links(git, commit).await? }))
}

/// A link in its place is none: it could lead anywhere.
fn open(path: &Path) -> Result<Option<File>, Failure> {
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure("reading the checkout", &error)),
    }
}

async fn addresses(git: &Git<'_>, file: File) -> Result<Result<BTreeMap<String, Option<String>>, String>, Failure> {
    let length = file.metadata().map_err(|error| io_failure("reading the checkout", &error))?.len();
    if length > MAX_BYTES {
        return Ok(Err(format!("it is longer than {} KiB", MAX_BYTES >> 10)));
    }
    // Given as a stream it is no file of a repository, so nothing that it names is read, either.
    let args = ["config", "--file", "-", "--no-includes", "--list", "-z"];
    let answer = git.run_with(&args, Pipes { input: Some(file), output: None }).await?;
    if !answer.ok {
        let words = answer.errors.lines().next().unwrap_or_default();
        return Ok(Err(words.chars().filter(|c| !c.is_control()).take(200).collect()));
    }
    if answer.output.len() > OUTPUT_BYTES {
        return Ok(Err("it says too much".to_owned()));
    }
    Ok(Ok(by_path(&answer.output)))
}

/// The addresses by path, from `submodule.<name>.<key> LF <value> NUL`. A name is only what holds the two together.
fn by_path(listed: &str) -> BTreeMap<String, Option<String>> {
    let mut named: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for entry in listed.split('\0') {
        let Some((key, value)) = entry.split_once('\n') else { continue };
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else { continue };
        match key {
            "path" => named.entry(name).or_default().0 = Some(value),
            "url" => named.entry(name).or_default().1 = Some(value),
            // How to update, which branch, what to ignore: nothing of it is heeded.
            _ => {}
        }
    }
    let with_path = named.into_values().filter_map(|(path, url)| Some((path?.to_owned(), url.map(str::to_owned))));
    with_path.collect()
}

async fn links(git: &Git<'_>, commit: &str) -> Result<Vec<Link>, Failure> {
    let failed = |error: std::io::Error| io_failure("the list of submodules", &error);
    let listed = git.private().join("tree");
    let output = Some(File::create(&listed).map_err(failed)?);
    let args = ["ls-tree", "-r", "-z", "--full-tree", commit];
    let answer = git.run_with(&args, Pipes { input: None, output }).await?;
    if !answer.ok {
        return Err(slipway_git::failure(&answer.errors, false));
    }
    let mut links = Vec::new();
    for entry in BufReader::new(File::open(&listed).map_err(failed)?).split(0) {
        links.extend(link(&entry.map_err(failed)?));
        if links.len() == MAX_LINKS {
            break;
        }
    }
    Ok(links)
}

/// Reads `<mode> <type> <id> TAB <path>`.
fn link(entry: &[u8]) -> Option<Link> {
    let entry = String::from_utf8_lossy(entry.strip_prefix(LINK)?);
    let (commit, path) = entry.split_once('\t').filter(|(id, _)| is_commit_id(id))?;
    Some(Link { path: path.to_owned(), commit: commit.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_path_whatever_the_name_is() {
        let listed = "submodule.a.b.path\nlib/b\0submodule.a.b.url\nhttps://h/b\0submodule.a.b.update\n!id\0\
            submodule.x.url\n../x\0submodule.y.path\ny\0core.path\nz\0submodule.path\nq\0submodule.b.path\0";
        let found: Vec<_> = by_path(listed).into_iter().collect();
        let (b, y) = (Some("https://h/b".to_owned()), None);
        assert_eq!(found, [("lib/b".to_owned(), b), ("y".to_owned(), y)]);
    }

    #[test]
    fn only_links_of_the_tree_are_links() {
        let id = "a".repeat(40);
        let read = |text: String| link(text.as_bytes()).map(|link| (link.path, link.commit));
        assert_eq!(read(format!("160000 commit {id}\tlib/a b")), Some(("lib/a b".to_owned(), id.clone())));
        for other in [format!("100644 blob {id}\ta"), "160000 commit short\ta".to_owned(), String::new()] {
            assert_eq!(read(other.clone()), None, "{other}");
        }
    }
}
