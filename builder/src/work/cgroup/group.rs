//! The control group of one attempt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Of steps that have limits of their own: what their groups said when they were last seen.
    oom_kills: AtomicU64,
    pids_refused: AtomicU64,
}

/// How often limits were hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Processes that the kernel killed for the memory.
    pub oom_kills: u64,
    /// Processes or threads that were not made.
    pub pids_refused: u64,
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
        let (oom_kills, pids_refused) = Default::default();
        Ok(Self { mounts, name: name.to_owned(), limits, oom_kills, pids_refused })
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
        self.oom_kills.fetch_max(counter(&step.join("memory.events"), "oom_kill"), Ordering::Relaxed);
        self.pids_refused.fetch_max(counter(&step.join("pids.events"), "max"), Ordering::Relaxed);
    }

    /// What was hit so far.
    pub fn hits(&self) -> Hits {
        match &self.mounts {
            Mounts::Each { memory, pids, .. } => Hits {
                oom_kills: counter(&memory.join(&self.name).join("memory.oom_control"), "oom_kill"),
                pids_refused: counter(&pids.join(&self.name).join("pids.events"), "max"),
            },
            Mounts::One(_) => Hits {
                oom_kills: self.oom_kills.load(Ordering::Relaxed),
                pids_refused: self.pids_refused.load(Ordering::Relaxed),
            },
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

/// A line `name number` of a file of counters; 0 where there is none.
fn counter(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}
