//! What a context holds, for the log: how many entries, how large, and its ten largest files.

use std::path::Path;

use slipway_domain::size::bytes as in_words;

/// How many of the largest files are named.
const LARGEST: usize = 10;
/// A longer path is shown by its end, characters.
const SHOWN: usize = 100;

/// What a context holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// The largest files with their bytes, largest first.
    pub largest: Vec<(u64, String)>,
    /// Files that are pointers to LFS, where the repository says that it uses that.
    pub lfs_pointers: u64,
}

impl Contents {
    /// Counts a file.
    pub(super) fn file(&mut self, path: &Path, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let at = self.largest.partition_point(|(other, _)| *other >= bytes);
        if at < LARGEST {
            self.largest.insert(at, (bytes, shown(path)));
            self.largest.truncate(LARGEST);
        }
    }

    /// The lines of the log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let entries = if self.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", self.entries) };
        let head = format!("{entries}, {}; the largest:", in_words(self.bytes));
        let head = if self.largest.is_empty() { head.replace("; the largest:", "") } else { head };
        let files = self.largest.iter().map(|(bytes, path)| format!("{:>10}  {path}", in_words(*bytes)));
        let pointers = (self.lfs_pointers > 0).then(|| {
            let count = self.lfs_pointers;
            let what = if count == 1 { "file is a pointer" } else { "files are pointers" };
            format!("{count} {what} to LFS and built as such; `lfs: true` under `build` has their content fetched.")
        });
        std::iter::once(head).chain(files).chain(pointers)
    }
}

/// A path that is safe in a line of a log, whatever its bytes are.
pub(super) fn shown(path: &Path) -> String {
    let text: String = path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match text.char_indices().rev().nth(SHOWN) {
        Some((at, c)) => format!("…{}", &text[at + c.len_utf8()..]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_largest_are_named_in_order() {
        let mut contents = Contents { entries: 12, ..Contents::default() };
        for bytes in [5, 1, 12, 3, 8, 2, 11, 4, 9, 7, 10, 6] {
            contents.file(Path::new(&format!("f{bytes}")), bytes * 1000);
        }
        let lines: Vec<String> = contents.lines().collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[..3], ["12 entries, 76.1 KiB; the largest:", "  11.7 KiB  f12", "  10.7 KiB  f11"]);
        assert_eq!(lines[10], "   2.9 KiB  f3");
        let pointers = Contents { entries: 3, lfs_pointers: 2, ..Contents::default() };
        let last = pointers.lines().last().unwrap_or_default();
        assert!(last.starts_with("2 files are pointers to LFS") && last.contains("`lfs: true`"), "{last}");
        assert_eq!(Contents { entries: 1, ..Contents::default() }.lines().collect::<Vec<_>>(), ["1 entry, 0 B"]);
    }

    #[test]
    fn no_name_breaks_a_line() {
        assert_eq!(shown(Path::new("a\n\x1b[31m")), "a\u{fffd}\u{fffd}[31m");
        let long = shown(Path::new(&format!("{}/é", "d".repeat(300))));
        assert!(long.starts_with('…') && long.ends_with("/é") && long.chars().count() == SHOWN + 1, "{long}");
    }
}
