//! Why a path that a COPY names is not in the context: left out by a rule, or not in the repository at all, where a
//! name like it may be.

use std::path::{Component, Path};

use slipway_domain::nearest::nearest;

use super::contents::shown;
use super::{ContextTar, ignore_rules};

/// So many names of a folder are compared.
const MAX_NAMES: usize = 5000;

/// A sentence about a path of the context that the engine did not find; `None` if nothing can be said. It reads the
/// checkout and follows no link.
pub fn why_absent(context: &ContextTar, path: &str) -> Option<String> {
    let wanted = Path::new(path.trim_start_matches('/'));
    let mut at = context.folder.clone();
    let mut names = Vec::new();
    for part in wanted.components() {
        let Component::Normal(name) = part else { return None };
        if at.symlink_metadata().ok()?.is_symlink() {
            return None;
        }
        if at.join(name).symlink_metadata().is_err() {
            return Some(not_there(&at, wanted, &names.join("/"), name.to_str()?));
        }
        at.push(name);
        names.push(name.to_str()?);
    }
    let (file, rules) = ignore_rules(&context.checkout, &context.folder, &context.dockerfile).ok()?;
    let line = rules.line_against(&names.join("/"))?;
    Some(format!(
        "{} is in the repository, but line {line} of {} leaves it out of the build context.",
        shown(wanted),
        shown(Path::new(&file))
    ))
}

fn not_there(folder: &Path, wanted: &Path, place: &str, name: &str) -> String {
    let place = if place.is_empty() { "the build context".to_owned() } else { shown(Path::new(place)) };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_NAMES);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(name, &known) {
        Some(near) => format!("there is {}", shown(Path::new(near))),
        None => "add it to the repository, or correct the path".to_owned(),
    };
    format!("{} is not in the repository: {place} has no {}; {hint}.", shown(wanted), shown(Path::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::context::{ContextRequest, make_context};
    use slipway_runtime::lifecycle::Life;

    #[tokio::test]
    async fn what_is_left_out_and_what_is_not_there_are_told_apart() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        for folder in ["src", "target"] {
            std::fs::create_dir(dir.path().join(folder)).expect("made");
        }
        write("Dockerfile", "FROM scratch\n");
        write(".dockerignore", "# what is made\ntarget\n");
        write("package.json", "{}");
        write("src/main.rs", "");
        write("target/app", "");
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).expect("linked");
        let request = ContextRequest {
            checkout: dir.path().to_owned(),
            context: None,
            dockerfile: None,
            tar: dir.path().join("context.tar"),
            max_bytes: 1 << 20,
            max_entries: 100,
            mtime: chrono::DateTime::UNIX_EPOCH,
        };
        let context = make_context(&Life::new(), request).await.expect("a context");
        for (path, wanted) in [
            ("/target/app", Some("line 2 of .dockerignore leaves it out")),
            ("/target", Some("target is in the repository, but line 2 of .dockerignore")),
            ("/Package.json", Some("the build context has no Package.json; there is package.json.")),
            ("/src/mian.rs", Some("src/mian.rs is not in the repository: src has no mian.rs; there is main.rs.")),
            ("/nothing-like-it", Some("add it to the repository, or correct the path.")),
            ("/no\x1b/x", Some("has no no\u{fffd};")),
            ("/src/main.rs", None),
            ("/link/passwd", None),
            ("/link/nope", None),
            ("/../x", None),
        ] {
            let said = why_absent(&context, path);
            assert!(
                said.as_deref().zip(wanted).is_some_and(|(said, wanted)| said.contains(wanted))
                    || said.as_deref() == wanted,
                "{path}: {said:?}"
            );
        }
    }
}
