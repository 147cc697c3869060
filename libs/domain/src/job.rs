//! The life of a job. `JobState::next` is the only place where a job's state is decided.

use crate::attempt::AttemptOutcome;
use crate::text_enum::text_enum;

text_enum! {
    /// What a job does.
    JobKind {
        /// Builds and pushes a container image.
        Image = "image",
        /// Runs commands in a container.
        Run = "run",
        /// Changes something outside.
        Deploy = "deploy",
    }
}

text_enum! {
    /// Where a job stands. The data of a state (since when, which builder, who cancelled) lies in the
    /// job's other columns.
    JobState {
        /// Waits for other jobs or for an approval.
        Blocked = "blocked",
        /// May run; waits for the scheduler.
        Queued = "queued",
        /// Admitted within the tenant's limits; waits for the dispatcher.
        Ready = "ready",
        /// Offered to builders under one dispatch id.
        Dispatched = "dispatched",
        /// Claimed: one attempt is open.
        Running = "running",
        /// Cancelled after the claim; waits for the builder's last word.
        Cancelling = "cancelling",
        /// The job did what it should.
        Succeeded = "succeeded",
        /// The user's fault: a command, the Dockerfile, a wrong password.
        Failed = "failed",
        /// Ran longer than it may.
        TimedOut = "timed_out",
        /// Our fault, after all retries.
        Errored = "errored",
        /// Cancelled by a person, a newer build or a deadline.
        Cancelled = "cancelled",
        /// Never ran, because a job it needs did not succeed.
        Skipped = "skipped",
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// Its needs are met, or it was approved.
    Unblocked,
    /// A job it needs did not succeed.
    NeedNotMet,
    /// The scheduler lets it run.
    Admitted,
    /// The dispatcher chose a dispatch id and offers it.
    Dispatched,
    /// The builder that got the offer does not want it.
    OfferDeclined,
    /// A builder claimed it.
    Claimed,
    /// The open attempt ended. `retry_left` counts only for infra faults and losses.
    AttemptEnded { outcome: AttemptOutcome, retry_left: bool },
    /// A person, a newer build or an operator wants it to stop.
    CancelRequested,
    /// The row's own deadline passed; its owner repairs it.
    DeadlinePassed,
}

/// An event that this state does not know: the caller raced with somebody, or has a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The state that refused.
    pub state: JobState,
    /// What it refused.
    pub event: JobEvent,
}

impl JobState {
    /// The state after `event`, or why there is none. Terminal states take nothing.
    pub fn next(self, event: JobEvent) -> Result<JobState, IllegalTransition> {
        use JobEvent as E;
        use JobState as S;
        let illegal = Err(IllegalTransition { state: self, event });
        match (self, event) {
            (S::Blocked, E::Unblocked) => Ok(S::Queued),
            (S::Blocked, E::NeedNotMet) => Ok(S::Skipped),
            (S::Queued, E::Admitted) => Ok(S::Ready),
            (S::Ready, E::Dispatched) => Ok(S::Dispatched),
            (S::Dispatched, E::OfferDeclined | E::DeadlinePassed) => Ok(S::Ready),
            (S::Dispatched, E::Claimed) => Ok(S::Running),
            (S::Running, E::AttemptEnded { outcome, retry_left }) => match outcome {
                AttemptOutcome::Succeeded => Ok(S::Succeeded),
                AttemptOutcome::Failed => Ok(S::Failed),
                AttemptOutcome::TimedOut => Ok(S::TimedOut),
                AttemptOutcome::HandedBack => Ok(S::Queued),
                AttemptOutcome::Infra | AttemptOutcome::Lost if retry_left => Ok(S::Queued),
                AttemptOutcome::Infra | AttemptOutcome::Lost => Ok(S::Errored),
                // Nobody asked for it: a builder must not end a job this way on its own.
                AttemptOutcome::Cancelled => illegal,
            },
            // Whatever the builder says last: after a cancel no result becomes visible.
            (S::Cancelling, E::AttemptEnded { .. } | E::DeadlinePassed) => Ok(S::Cancelled),
            (S::Blocked | S::Queued | S::Ready | S::Dispatched, E::CancelRequested) => Ok(S::Cancelled),
            (S::Running | S::Cancelling, E::CancelRequested) => Ok(S::Cancelling),
            (S::Blocked, E::DeadlinePassed) => Ok(S::Cancelled),
            (S::Queued | S::Ready, E::DeadlinePassed) => Ok(S::Errored),
            (S::Running, E::DeadlinePassed) => Ok(S::TimedOut),
            (
                S::Blocked
                | S::Queued
                | S::Ready
                | S::Dispatched
                | S::Running
                | S::Cancelling
                | S::Succeeded
                | S::Failed
                | S::TimedOut
                | S::Errored
                | S::Cancelled
                | S::Skipped,
                E::Unblocked
                | E::NeedNotMet
                | E::Admitted
                | E::Dispatched
                | E::OfferDeclined
                | E::Claimed
                | E::AttemptEnded { .. }
                | E::CancelRequested
                | E::DeadlinePassed,
            ) => illegal,
        }
    }

    /// True for the states that never change again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Blocked | Self::Queued | Self::Ready | Self::Dispatched | Self::Running | Self::Cancelling => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Errored | Self::Cancelled | Self::Skipped => true,
        }
    }

    /// True while the job counts against its tenant's limit (ready..cancelling).
    pub fn is_admitted(self) -> bool {
        match self {
            Self::Ready | Self::Dispatched | Self::Running | Self::Cancelling => true,
            Self::Blocked
            | Self::Queued
            | Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Errored
            | Self::Cancelled
            | Self::Skipped => false,
        }
    }
}

#[cfg(test)]
mod tests;
