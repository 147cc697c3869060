//! The limits of an attempt over its steps: puts them in force for each, and tells which hits were the last step's. One
//! that was killed for its memory while its command went on is no reason for what fails later.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::group::{Group, Hits};
use super::steps::Steps;

/// What is seen of an attempt's steps.
pub struct Watch {
    group: Group,
    steps: Steps,
    running: BTreeMap<PathBuf, Counted>,
    /// Of the step that ended last.
    ended: Hits,
}

struct Counted {
    before: Hits,
    now: Hits,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(group: Group, steps: Steps) -> Self {
        Self { group, steps, running: BTreeMap::new(), ended: Hits::default() }
    }

    /// Looks for new steps, and after those that are known. Blocks for a few reads of files of the kernel.
    pub fn look(&mut self) {
        self.steps.look();
        for step in self.steps.iter() {
            let before = self.group.hits_before(step);
            let counted = self.running.entry(step.to_owned()).or_insert(Counted { before, now: before });
            self.group.take_in(step);
            counted.now = self.group.hits(step).unwrap_or(counted.now);
        }
        let runs = |step: &PathBuf| self.steps.iter().any(|running| running == step);
        let gone: Vec<PathBuf> = self.running.keys().filter(|step| !runs(step)).cloned().collect();
        for step in gone {
            if let Some(counted) = self.running.remove(&step) {
                self.ended = self.group.hits(&step).unwrap_or(counted.now).since(counted.before);
            }
        }
    }

    /// How often limits were hit by the step that ended last, or by one that runs.
    pub fn hits(&self) -> Hits {
        self.running.values().fold(self.ended, |hits, counted| hits.or(counted.now.since(counted.before)))
    }
}
