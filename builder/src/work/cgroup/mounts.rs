//! Where the control groups of this host are mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// The trees that hold memory, processor time and processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounts {
    /// A tree for each (version 1).
    Each {
        /// Memory.
        memory: PathBuf,
        /// Processor time.
        cpu: PathBuf,
        /// Processes.
        pids: PathBuf,
    },
    /// One for all (version 2).
    One(PathBuf),
}

impl Mounts {
    /// From `/proc/self/mountinfo` (proc(5)); `None` where there are none.
    pub fn parse(mountinfo: &str) -> Option<Self> {
        let mounted: Vec<(&str, &str, &str)> = mountinfo.lines().filter_map(mounted).collect();
        let with = |controller: &str| {
            let has = |options: &str| options.split(',').any(|option| option == controller);
            let found = mounted.iter().find(|(_, kind, options)| *kind == "cgroup" && has(options));
            found.map(|(at, _, _)| PathBuf::from(at))
        };
        match (with("memory"), with("cpu"), with("pids")) {
            (Some(memory), Some(cpu), Some(pids)) => Some(Self::Each { memory, cpu, pids }),
            _ => mounted.iter().find(|(_, kind, _)| *kind == "cgroup2").map(|(at, _, _)| Self::One(at.into())),
        }
    }

    /// The trees.
    pub fn trees(&self) -> Vec<&Path> {
        match self {
            Self::Each { memory, cpu, pids } => vec![memory, cpu, pids],
            Self::One(tree) => vec![tree],
        }
    }

    /// The groups below this one, as paths from the trees' roots.
    pub fn names_below(&self, folder: &Path) -> Vec<PathBuf> {
        let Some(tree) = self.trees().first().map(|tree| tree.join(folder)) else { return Vec::new() };
        let entries = fs::read_dir(tree).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| folder.join(entry.file_name())).collect()
    }
}

/// Where something is mounted, what it is, and its own options.
fn mounted(line: &str) -> Option<(&str, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let at = left.split(' ').nth(4)?;
    let mut right = right.split(' ');
    Some((at, right.next()?, right.nth(1)?))
}
