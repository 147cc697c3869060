//! What can happen, with every name written out: who, which job, which dispatch. Numbers are the ids.

use slipway_domain::agent::ClaimRefusal;
use slipway_domain::attempt::{AttemptOutcome, Phase};
use slipway_domain::job::JobState;
use slipway_store::attempt_ends::Ended;

/// (job, epoch)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Try(pub usize, pub i64);

impl std::fmt::Debug for Try {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// How often it is said, as when answers get lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Once,
    /// The first answer is lost.
    Twice,
    /// Whoever says it first dies after so many looks at how it goes, and then it is said again.
    AfterCut(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AClaim {
    pub session: u32,
    pub job: usize,
    pub dispatch: u32,
    pub claim: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AFinish {
    pub attempt: Try,
    pub outcome: AttemptOutcome,
    /// The tags that the builder says it moved.
    pub moved: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Wait {
        secs: i64,
    },
    Enqueue {
        build: usize,
    },
    /// A process takes or renews the lead.
    Lead {
        process: usize,
    },
    /// A process reads what is queued and what is ready, and works with that from then on.
    Look {
        process: usize,
    },
    Admit {
        process: usize,
        jobs: Vec<usize>,
    },
    Dispatch {
        process: usize,
        job: usize,
        dispatch: u32,
    },
    Decline {
        job: usize,
        dispatch: u32,
    },
    Claims(Vec<AClaim>),
    Report {
        attempt: Try,
        phase: Phase,
    },
    AskLeave {
        attempt: Try,
        tag: usize,
    },
    /// The registry gets the builder's PUT.
    Put {
        attempt: Try,
        tag: usize,
    },
    ReturnLeave {
        attempt: Try,
        tag: usize,
        moved: bool,
    },
    Finishes(Vec<AFinish>),
    /// Two heartbeats came without this attempt.
    Lose {
        attempt: Try,
    },
    Cancel {
        build: usize,
    },
    /// The pass over deadlines.
    Expire,
    Open {
        builder: usize,
        session: u32,
        held: Vec<Try>,
        claiming: Vec<u32>,
    },
    Renew {
        sessions: Vec<u32>,
        draining: bool,
    },
    ChannelCloses {
        session: u32,
    },
    Goodbye {
        session: u32,
    },
    /// The pass over silent and closed sessions.
    LoseOverdue,
    Drain {
        builder: usize,
        drained: bool,
    },
    /// The pass over unreturned leaves; without `ends` its process dies in the middle.
    Sweep {
        ends: bool,
    },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Enqueued {
        existing: bool,
    },
    /// The term, if it leads.
    Leads(Option<i64>),
    Sees {
        queued: Vec<usize>,
        ready: Vec<usize>,
    },
    Admitted(Result<Option<Vec<usize>>, Refused>),
    Changed(bool),
    Claimed(Vec<Result<Try, ClaimRefusal>>),
    /// Whether it shall stop.
    Reported(Result<bool, Refused>),
    Leave(Result<LeaveAnswer, Refused>),
    Ended(Result<Vec<Ended>, Refused>),
    Cancelled(CancelAnswer),
    Expired(Vec<(usize, JobState)>),
    Opened {
        stop: Vec<Try>,
        closed: Option<u32>,
        lost: Vec<Try>,
    },
    Renewed(Vec<u32>),
    Lost(Vec<(u32, Vec<Try>)>),
    Swept(Vec<Swept>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Stale(&'static str),
    NotFound(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveAnswer {
    Granted,
    NotMoved,
    Wait,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    Cancelled,
    Stopping(Vec<Try>),
    AlreadyPublishing,
    AlreadyFinished,
}

/// A leave that was looked into: whose it was, and what the registry is asked to show instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Swept {
    pub tag: usize,
    pub job: usize,
    pub look: Look,
}

/// What a look at the registry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    Booked,
    LetGo,
    Restored(Try),
}

/// The dispatcher's rule about an unreturned leave: from the holder's digest, the one that the row shows with whether
/// that is of a newer build, and the one that the registry shows.
pub fn verdict(holders: Try, row: Option<(Try, bool)>, shows: Option<Try>) -> Look {
    let Some(shows) = shows else { return Look::LetGo };
    if shows == holders && !row.is_some_and(|(_, newer)| newer) {
        return Look::Booked;
    }
    match row {
        Some((before, _)) if before != shows => Look::Restored(before),
        Some(_) | None => Look::LetGo,
    }
}

impl Op {
    /// Whether saying it again at the same moment leaves the rows as they are.
    pub fn is_idempotent(&self) -> bool {
        // A pass may find more to do; a session is opened under a new id each time.
        !matches!(self, Self::Wait { .. } | Self::Put { .. } | Self::Expire | Self::Open { .. } | Self::Sweep { .. })
    }

    /// Whether it is one transaction, so that after a cut its answer is that of the first or the second time.
    pub fn is_one_transaction(&self) -> bool {
        !matches!(self, Self::Cancel { .. } | Self::LoseOverdue | Self::Finishes(_))
    }
}
