//! Where a submodule's files go: into the empty folder that git made for it, beneath the checkout, and nowhere else.

use std::path::{Component, Path};

use slipway_domain::failure::{Detail, Failure, FailureClass};

use crate::work::io_failure;

/// Characters that a Mac's file system does not tell names apart by.
const UNSEEN: [std::ops::RangeInclusive<char>; 4] =
    ['\u{200c}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{206a}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

/// Refuses a path that leads out of the checkout, or that some system could take for a repository's own folder.
pub(super) fn check(path: &str) -> Result<(), Failure> {
    let parts = || path.split(['/', '\\']);
    let leads_out = path.is_empty() || parts().any(|part| matches!(part, "" | "." | ".."));
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if leads_out || !is_plain {
        return Err(refused(path, "does not lie beneath the repository"));
    }
    if path.starts_with('-') || path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(refused(path, "has a character that no path of a submodule has"));
    }
    if parts().any(is_gits_own) {
        return Err(refused(path, "is where a repository keeps itself"));
    }
    Ok(())
}

/// Puts the files, which lie in `from`, in place.
pub(super) fn put(root: &Path, path: &str, from: &Path) -> Result<(), Failure> {
    check(path)?;
    let mut folder = root.to_path_buf();
    for part in Path::new(path).components() {
        folder.push(part);
        // Links are not followed: what they lead to is not git's folder for this.
        if !folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(refused(path, "is no folder of the repository"));
        }
    }
    std::fs::rename(from, &folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::DirectoryNotEmpty => refused(path, "is a folder with other files"),
        _ => io_failure("the folder of a submodule", &error),
    })
}

/// `.git` in any spelling that some file system takes for it.
fn is_gits_own(part: &str) -> bool {
    let seen: String = part.chars().filter(|c| !UNSEEN.iter().any(|range| range.contains(c))).collect();
    let name = seen.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_lowercase();
    name == ".git" || name.strip_prefix("git~").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

fn refused(path: &str, why: &str) -> Failure {
    let shown: String = path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect();
    let hint = "Correct the path in .gitmodules; `git mv` does it in both places.";
    let detail = Box::new(Detail { hint: Some(hint.to_owned()), ..Detail::default() });
    let message = format!("the submodule {shown:?} is refused: its path {why}");
    Failure { detail, ..Failure::new(FailureClass::ContextInvalid, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_the_checkout() {
        for good in ["a", "a/b", "lib/a b", ".github", "a.git", ".gitx", "git~x", "a..b", "...", "é"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let refused = [
            "",
            ".",
            "..",
            "../x",
            "../../x",
            "a/../b",
            "a/..",
            "/etc",
            "a//b",
            "a/",
            "./a",
            "a\\..\\b",
            "-x",
            "a\r",
            "a\nb",
            ".git",
            ".GIT",
            "a/.Git/b",
            ".git.",
            ".git ",
            ".git. .",
            "git~1",
            "GIT~12",
            ".g\u{200c}it",
            ".git::$INDEX_ALLOCATION",
            "a/.git/hooks",
            "\0",
        ];
        for bad in refused {
            let failure = check(bad).expect_err(bad);
            assert_eq!(failure.class, FailureClass::ContextInvalid, "{bad:?}");
            assert!(!failure.message.contains(['\r', '\n']), "{failure:?}");
        }
    }

    #[test]
    fn files_go_into_an_empty_folder_and_through_no_link() {
        let here = tempfile::tempdir().expect("a folder");
        let (root, outside) = (here.path().join("root"), here.path().join("outside"));
        for folder in ["root/lib/x", "root/full", "outside/x"] {
            std::fs::create_dir_all(here.path().join(folder)).expect("a folder");
        }
        std::fs::write(root.join("full/file"), "").expect("a file");
        std::fs::write(root.join("file"), "").expect("a file");
        std::os::unix::fs::symlink(&outside, root.join("link")).expect("a link");
        let from = here.path().join("from");
        std::fs::create_dir(&from).expect("a folder");
        std::fs::write(from.join("new"), "").expect("a file");
        for bad in ["link/x", "link", "full", "file", "gone", "lib/gone", "../outside/x"] {
            assert_eq!(put(&root, bad, &from).expect_err(bad).class, FailureClass::ContextInvalid, "{bad}");
        }
        assert!(!outside.join("x/new").exists() && from.join("new").exists());
        put(&root, "lib/x", &from).expect("put in place");
        assert!(root.join("lib/x/new").is_file());
    }
}
