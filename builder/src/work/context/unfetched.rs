//! Which files of a context are still pointers to LFS, so that nobody has to find out from a program that cannot read
//! its data. Only a repository that says that it uses LFS is looked through.

use std::io::Read as _;
use std::path::Path;

use super::read_small;
use super::walk::{Kind, Plan};
use crate::work::lfs::pointer::{FIRST_LINE, MAX_BYTES};

/// Where a repository says it.
const ATTRIBUTES: &str = ".gitattributes";
/// Of a longer file nothing is believed.
const MAX_ATTRIBUTES_BYTES: u64 = 1 << 20;

/// How many of them there are.
pub(super) fn lfs_pointers(checkout: &Path, root: &Path, plan: &Plan) -> u64 {
    // What cannot be read says nothing; the build itself has no use for it.
    let Ok(Some(attributes)) = read_small(checkout, checkout, ATTRIBUTES, MAX_ATTRIBUTES_BYTES) else { return 0 };
    if !String::from_utf8_lossy(&attributes).lines().any(uses_lfs) {
        return 0;
    }
    let small = plan.entries.iter().filter(|entry| match &entry.kind {
        Kind::File { bytes, .. } => *bytes > FIRST_LINE.len() as u64 && *bytes <= MAX_BYTES,
        Kind::Folder | Kind::Link { .. } => false,
    });
    small.filter(|entry| is_pointer(&root.join(&entry.path))).count() as u64
}

/// `*.bin filter=lfs diff=lfs merge=lfs -text`
fn uses_lfs(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.split_whitespace().any(|word| word == "filter=lfs")
}

fn is_pointer(path: &Path) -> bool {
    let mut beginning = [0; FIRST_LINE.len() + 1];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut beginning));
    read.is_ok() && beginning.strip_suffix(b"\n") == Some(FIRST_LINE.as_bytes())
}
