//! A build's state is a pure function of its jobs; nothing stores an opinion of its own.

use crate::job::JobState;
use crate::text_enum::text_enum;

text_enum! {
    /// Why a build exists.
    Trigger {
        /// A branch moved.
        Push = "push",
        /// A tag appeared or moved.
        Tag = "tag",
        /// A pull or merge request.
        Change = "change",
        /// A time table.
        Schedule = "schedule",
        /// A person or program asked through the API.
        Manual = "manual",
        /// A context sent by the client.
        Upload = "upload",
        /// A repeat of an older build.
        Rerun = "rerun",
    }
}

text_enum! {
    /// What a user sees of a build.
    BuildState {
        /// No job has been claimed yet.
        Pending = "pending",
        /// At least one job was claimed and one is not finished.
        Running = "running",
        /// Every job that ran succeeded.
        Succeeded = "succeeded",
        /// A job failed by the user's fault, or timed out.
        Failed = "failed",
        /// A job failed by ours.
        Errored = "errored",
        /// Stopped on request.
        Cancelled = "cancelled",
        /// Stopped because a newer build of the same ref exists.
        Superseded = "superseded",
        /// Nothing of it ran.
        Skipped = "skipped",
    }
}

text_enum! {
    /// Who cancelled a job.
    CancelledBy {
        /// A person or program through the API.
        User = "user",
        /// A newer build of the same ref.
        NewerBuild = "newer_build",
        /// The row's deadline.
        Deadline = "deadline",
    }
}

impl BuildState {
    /// True for the states that never change again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Errored | Self::Cancelled | Self::Superseded | Self::Skipped => true,
        }
    }
}

/// The state of a build with these jobs, each with who cancelled it, if anybody did.
/// A build without jobs is `Skipped`.
pub fn build_state(jobs: &[(JobState, Option<CancelledBy>)]) -> BuildState {
    let any = |wanted: JobState| jobs.iter().any(|(state, _)| *state == wanted);
    if jobs.iter().any(|(state, _)| !state.is_terminal()) {
        let untouched = jobs.iter().all(|(state, _)| {
            matches!(state, JobState::Blocked | JobState::Queued | JobState::Ready | JobState::Dispatched)
        });
        return if untouched { BuildState::Pending } else { BuildState::Running };
    }
    if any(JobState::Errored) {
        BuildState::Errored
    } else if any(JobState::Failed) || any(JobState::TimedOut) {
        BuildState::Failed
    } else if any(JobState::Cancelled) {
        let superseded = jobs
            .iter()
            .filter(|(state, _)| *state == JobState::Cancelled)
            .all(|(_, by)| *by == Some(CancelledBy::NewerBuild));
        if superseded { BuildState::Superseded } else { BuildState::Cancelled }
    } else if any(JobState::Succeeded) {
        BuildState::Succeeded
    } else {
        BuildState::Skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_what_its_jobs_are() {
        use JobState as J;
        let table: &[(&[JobState], BuildState)] = &[
            (&[], BuildState::Skipped),
            (&[J::Queued], BuildState::Pending),
            (&[J::Blocked, J::Dispatched], BuildState::Pending),
            (&[J::Running, J::Queued], BuildState::Running),
            (&[J::Succeeded, J::Blocked], BuildState::Running),
            (&[J::Cancelling], BuildState::Running),
            (&[J::Succeeded, J::Succeeded], BuildState::Succeeded),
            (&[J::Succeeded, J::Skipped], BuildState::Succeeded),
            (&[J::Failed, J::Errored], BuildState::Errored),
            (&[J::TimedOut, J::Skipped], BuildState::Failed),
            (&[J::Failed, J::Cancelled], BuildState::Failed),
            (&[J::Cancelled, J::Succeeded], BuildState::Cancelled),
            (&[J::Skipped, J::Skipped], BuildState::Skipped),
        ];
        for (states, expected) in table {
            let jobs: Vec<_> = states.iter().map(|state| (*state, None)).collect();
            assert_eq!(build_state(&jobs), *expected, "{states:?}");
        }
    }

    #[test]
    fn only_a_newer_build_supersedes() {
        let newer = (JobState::Cancelled, Some(CancelledBy::NewerBuild));
        let user = (JobState::Cancelled, Some(CancelledBy::User));
        assert_eq!(build_state(&[newer]), BuildState::Superseded);
        assert_eq!(build_state(&[newer, user]), BuildState::Cancelled);
    }
}
