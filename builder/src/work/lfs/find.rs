//! Which files of a checkout are pointers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slipway_domain::failure::{Failure, FailureClass};
use tokio_util::sync::CancellationToken;

use super::pointer::{FIRST_LINE, Found, MAX_BYTES, Pointer, parse};
use crate::work::{cancelled, io_failure};

/// More files of a build do not lie in LFS.
const MAX_FILES: usize = 50_000;

/// The pointers of one repository's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pointers {
    /// Each content once, with the files that have it.
    pub(super) objects: BTreeMap<Pointer, Vec<PathBuf>>,
    /// So many have extensions.
    pub(super) extended: usize,
}

/// Looks for them in a folder, but not in `others`, whose files are another repository's. No link is followed.
pub(super) fn find(root: &Path, others: &[PathBuf], stop: &CancellationToken) -> Result<Pointers, Failure> {
    let failed = |error: std::io::Error| io_failure("reading the checkout", &error);
    let (mut pointers, mut files) = (Pointers::default(), 0);
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            if stop.is_cancelled() {
                return Err(cancelled());
            }
            let path = entry.map_err(failed)?.path();
            let meta = path.symlink_metadata().map_err(failed)?;
            if meta.is_dir() {
                if path != root.join(".git") && !others.contains(&path) {
                    open.push(path);
                }
                continue;
            }
            let may_be = meta.is_file() && meta.len() > FIRST_LINE.len() as u64 && meta.len() <= MAX_BYTES;
            let found = if may_be { parse(&std::fs::read(&path).map_err(failed)?) } else { None };
            match found {
                Some(Found::Plain(pointer)) => pointers.objects.entry(pointer).or_default().push(path),
                Some(Found::Extended) => pointers.extended += 1,
                None => continue,
            }
            files += 1;
            if files > MAX_FILES {
                let message = format!("more than {MAX_FILES} files lie in LFS");
                return Err(Failure::new(FailureClass::SourceTooLarge, message));
            }
        }
    }
    Ok(pointers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_is_found_once_and_nothing_behind_links_or_in_other_repositories() {
        let here = tempfile::tempdir().expect("a folder");
        let root = here.path().join("root");
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let text = |oid: &str, ext: &str| format!("{FIRST_LINE}\n{ext}oid sha256:{oid}\nsize 5\n");
        for (path, text) in [
            ("root/a", text(&one, "")),
            ("root/b/c", text(&one, "")),
            ("root/b/d", text(&two, "")),
            ("root/e", text(&two, "ext-0-x y\n")),
            ("root/.git/x", text(&two, "")),
            ("root/module/x", text(&two, "")),
            ("outside/x", text(&two, "")),
            ("root/plain", "text\n".repeat(20)),
            ("root/large", text(&two, "") + &"x".repeat(2000)),
        ] {
            let path = here.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        std::os::unix::fs::symlink(here.path().join("outside"), root.join("folder")).expect("a link");
        std::os::unix::fs::symlink(here.path().join("outside/x"), root.join("file")).expect("a link");
        let stop = CancellationToken::new();
        let found = find(&root, &[root.join("module")], &stop).expect("read");
        let of = |oid: &str| Pointer { oid: oid.to_owned(), size: 5 };
        let mut paths = found.objects[&of(&one)].clone();
        paths.sort();
        assert_eq!(paths, [root.join("a"), root.join("b/c")]);
        assert_eq!((&found.objects[&of(&two)], found.extended), (&vec![root.join("b/d")], 1));
        stop.cancel();
        assert_eq!(find(&root, &[], &stop).expect_err("stopped").class, FailureClass::Cancelled);
    }
}
