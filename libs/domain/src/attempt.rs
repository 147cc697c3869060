//! One try of a job. An attempt is open in one phase, or closed with one outcome, forever.

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::text_enum::text_enum;

text_enum! {
    /// What an open attempt is doing.
    Phase {
        /// Claimed; the workspace is being made.
        Preparing = "preparing",
        /// The source is being fetched.
        Fetching = "fetching",
        /// The engine builds.
        Building = "building",
        /// Tests of the built image run.
        Testing = "testing",
        /// Images are being pushed and tags moved.
        Pushing = "pushing",
    }
}

text_enum! {
    /// Whether an attempt still runs.
    AttemptState {
        /// A builder works on it.
        Open = "open",
        /// It ended; nothing about it changes any more.
        Closed = "closed",
    }
}

text_enum! {
    /// How an attempt ended.
    AttemptOutcome {
        /// It did what it should.
        Succeeded = "succeeded",
        /// The user's fault.
        Failed = "failed",
        /// It ran longer than it may.
        TimedOut = "timed_out",
        /// Our fault: engine, disk, network.
        Infra = "infra",
        /// Its builder vanished.
        Lost = "lost",
        /// A draining builder gave it back unharmed.
        HandedBack = "handed_back",
        /// It was stopped on request.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Where a step stands.
    StepState {
        /// Known, not begun.
        Pending = "pending",
        /// Working.
        Running = "running",
        /// Done, or taken from the cache.
        Succeeded = "succeeded",
        /// Ended with an error.
        Failed = "failed",
        /// Stopped with its attempt.
        Cancelled = "cancelled",
    }
}

/// (job, epoch): the fencing token of every effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The job.
    pub job: JobId,
    /// Strictly rising per job, from 1.
    pub epoch: i64,
}

impl std::fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.job, self.epoch)
    }
}

impl Phase {
    /// Phases only move forward; a late report of an earlier one changes nothing.
    pub fn advance(self, reported: Phase) -> Phase {
        self.max(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::Phase;

    #[test]
    fn phases_only_move_forward() {
        assert_eq!(Phase::Building.advance(Phase::Fetching), Phase::Building);
        assert_eq!(Phase::Fetching.advance(Phase::Pushing), Phase::Pushing);
    }
}
