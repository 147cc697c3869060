//! The control group of one attempt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use slipway_domain::plan::Limits;

use super::mounts::Mounts;

/// Processor time is given out in periods of so many microseconds.
const PERIOD_MICROS: u64 = 100_000;
/// A step that forks while it is moved is tried so often at one look.
const ROUNDS: usize = 20;
const PROCS: &str = "cgroup.procs";

/// The limits of one attempt and where they are in force.
#[derive(Debug)]
pub struct Group {
    mounts: Mounts,
    name: PathBuf,
    limits: Limits,
}

/// How often limits were hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Processes that the kernel killed for the memory.
    pub oom_kills: u64,
    /// Processes or threads that were not made.
    pub pids_refused: u64,
}

impl Hits {
    /// What was hit after that.
    pub fn since(self, before: Self) -> Self {
        Self {
            oom_kills: self.oom_kills.saturating_sub(before.oom_kills),
            pids_refused: self.pids_refused.saturating_sub(before.pids_refused),
        }
    }

    /// The larger of each.
    pub fn or(self, other: Self) -> Self {
        Self { oom_kills: self.oom_kills.max(other.oom_kills), pids_refused: self.pids_refused.max(other.pids_refused) }
    }
}

impl Group {
    /// Makes it, with its limits.
    pub fn make(mounts: Mounts, name: &Path, limits: Limits) -> io::Result<Self> {
        if let Mounts::Each { memory, cpu, pids } = &mounts {
            for tree in mounts.trees() {
                fs::create_dir_all(tree.join(name))?;
            }
            let bytes = limits.memory_bytes.to_string();
            fs::write(memory.join(name).join("memory.limit_in_bytes"), &bytes)?;
            // Only there where swap is counted; otherwise there is none or it cannot be limited.
            let with_swap = memory.join(name).join("memory.memsw.limit_in_bytes");
            if with_swap.exists() {
                fs::write(with_swap, &bytes)?;
            }
            fs::write(cpu.join(name).join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
            fs::write(cpu.join(name).join("cpu.cfs_quota_us"), quota(limits).to_string())?;
            fs::write(pids.join(name).join("pids.max"), limits.pids.to_string())?;
        }
        Ok(Self { mounts, name: name.to_owned(), limits })
    }

    /// Puts the limits in force for the step in this group. To be done again and again while it runs.
    pub fn take_in(&self, step: &Path) {
        match &self.mounts {
            Mounts::Each { memory, cpu, pids } => {
                let source = memory.join(step).join(PROCS);
                for round in 0..ROUNDS {
                    let processes = processes(&source);
                    if processes.is_empty() {
                        return;
                    }
                    if round == 0 {
                        // Fewer are made while they are moved. One that ended meanwhile is no loss.
                        let _ = fs::write(pids.join(step).join("pids.max"), self.limits.pids.to_string());
                    }
                    for process in processes {
                        for tree in [pids, memory, cpu] {
                            let _ = fs::write(tree.join(&self.name).join(PROCS), process.as_raw_nonzero().to_string());
                        }
                    }
                }
            }
            Mounts::One(tree) => self.limit(&tree.join(step)),
        }
    }

    fn limit(&self, step: &Path) {
        let set = |file: &str, value: String| {
            let file = step.join(file);
            // Written only when it differs: this is done at every look. A step that is gone needs nothing.
            if fs::read_to_string(&file).is_ok_and(|now| now.trim() != value) {
                let _ = fs::write(file, value);
            }
        };
        set("pids.max", self.limits.pids.to_string());
        set("memory.max", self.limits.memory_bytes.to_string());
        set("memory.swap.max", "0".to_owned());
        set("cpu.max", format!("{} {PERIOD_MICROS}", quota(self.limits)));
    }

    /// What was hit so far where this step is counted: with all others of the attempt, or alone, and then nothing is
    /// known of one that is gone.
    pub fn hits(&self, step: &Path) -> Option<Hits> {
        let (memory, pids) = match &self.mounts {
            Mounts::Each { memory, pids, .. } => {
                (memory.join(&self.name).join("memory.oom_control"), pids.join(&self.name).join("pids.events"))
            }
            Mounts::One(tree) => (tree.join(step).join("memory.events"), tree.join(step).join("pids.events")),
        };
        Some(Hits { oom_kills: counter(&memory, "oom_kill")?, pids_refused: counter(&pids, "max").unwrap_or(0) })
    }

    /// What counts of a step that is seen for the first time have from others.
    pub fn hits_before(&self, step: &Path) -> Hits {
        match &self.mounts {
            Mounts::Each { .. } => self.hits(step).unwrap_or_default(),
            Mounts::One(_) => Hits::default(),
        }
    }

    /// Kills everything in the group of this name and removes it; false while something still lives.
    pub fn end(mounts: &Mounts, name: &Path) -> io::Result<bool> {
        let Mounts::Each { .. } = mounts else { return Ok(true) };
        let mut empty = true;
        for tree in mounts.trees() {
            for process in processes(&tree.join(name).join(PROCS)) {
                empty = false;
                // Gone already is what was wanted.
                let _ = kill_process(process, Signal::KILL);
            }
        }
        if !empty {
            return Ok(false);
        }
        for tree in mounts.trees() {
            match fs::remove_dir(tree.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(false),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(true)
    }
}

fn quota(limits: Limits) -> u64 {
    // The kernel takes no less than a millisecond.
    (limits.millicpus * (PERIOD_MICROS / 1000)).max(1000)
}

fn processes(file: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect()
}

/// A line `name number` of a file of counters.
fn counter(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok())
}
