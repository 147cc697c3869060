//! Builders and their sessions, which hold the leases of what runs.

use super::super::ops::{Answer, Try};
use super::{FAR, Model, Session, tenant_of};
use slipway_domain::attempt::AttemptOutcome;

impl Model {
    pub(super) fn open(&mut self, builder: usize, session: u32, held: &[Try], claiming: &[u32]) -> Answer {
        self.builders[builder].known = true;
        let older = self.session_of(builder);
        if let Some(older) = older {
            self.sessions.get_mut(&older).expect("it is open").open = false;
        }
        let new = Session { builder, open: true, draining: false, renewed_at: self.now, channel_closed_at: None };
        self.sessions.insert(session, new);
        let open = self.open_attempts(builder);
        let claimed: Vec<Try> = claiming.iter().filter_map(|claim| self.opened_by(*claim)).collect();
        let stop = held.iter().filter(|attempt| !open.contains(attempt)).copied().collect();
        let kept = |attempt: &Try| held.contains(attempt) || claimed.contains(attempt);
        let (kept, lost): (Vec<Try>, Vec<Try>) = open.into_iter().partition(kept);
        for attempt in kept {
            self.job(attempt.0).attempts.last_mut().expect("the open one").session = session;
        }
        self.lose(&lost);
        Answer::Opened { stop, closed: older, lost }
    }

    pub(super) fn renew(&mut self, sessions: &[u32], draining: bool) -> Vec<u32> {
        let mut renewed = Vec::new();
        for number in sessions {
            if let Some(session) = self.sessions.get_mut(number).filter(|session| session.open) {
                (session.renewed_at, session.channel_closed_at) = (self.now, None);
                session.draining = draining;
                renewed.push(*number);
            }
        }
        renewed
    }

    pub(super) fn channel_closes(&mut self, session: u32) {
        if let Some(session) = self.sessions.get_mut(&session).filter(|session| session.open) {
            session.channel_closed_at.get_or_insert(self.now);
        }
    }

    /// Closes a session that is still open; everything that its builder runs is lost.
    pub(super) fn close(&mut self, session: u32) -> Option<(u32, Vec<Try>)> {
        let row = self.sessions.get_mut(&session).filter(|session| session.open)?;
        row.open = false;
        let builder = row.builder;
        let lost = self.open_attempts(builder);
        self.lose(&lost);
        Some((session, lost))
    }

    pub(super) fn lose_overdue(&mut self) -> Vec<(u32, Vec<Try>)> {
        let now = self.now;
        let overdue = |session: &Session| {
            session.renewed_at < now - 20 || session.channel_closed_at.is_some_and(|at| at < now - 6)
        };
        let overdue: Vec<u32> =
            self.sessions.iter().filter(|(_, session)| session.open && overdue(session)).map(|(n, _)| *n).collect();
        overdue.into_iter().filter_map(|session| self.close(session)).collect()
    }

    pub(super) fn drain(&mut self, builder: usize, drained: bool) -> bool {
        let Some(row) = self.builders.get_mut(builder).filter(|builder| builder.known) else { return false };
        row.drained = drained;
        true
    }

    fn lose(&mut self, attempts: &[Try]) {
        for attempt in attempts {
            drop(self.end(*attempt, AttemptOutcome::Lost));
        }
    }

    pub fn session_of(&self, builder: usize) -> Option<u32> {
        let mut sessions = self.sessions.iter();
        sessions.find(|(_, session)| session.open && session.builder == builder).map(|(number, _)| *number)
    }

    /// All open attempts, or those of one builder.
    pub fn open_attempts(&self, builder: impl Into<Option<usize>>) -> Vec<Try> {
        let builder = builder.into();
        let open = |(number, job): (&usize, &super::Job)| {
            let attempt = job.attempts.last()?;
            let is_its = builder.is_none_or(|builder| attempt.builder == builder);
            (attempt.outcome.is_none() && is_its).then_some(Try(*number, job.epoch()))
        };
        self.jobs.iter().filter_map(open).collect()
    }

    /// The attempt that a claim opened, while it is open.
    pub(super) fn opened_by(&self, claim: u32) -> Option<Try> {
        self.open_attempts(None)
            .into_iter()
            .find(|attempt| self.attempt(*attempt).is_some_and(|row| row.claim == claim))
    }

    /// Whether the job waits for another builder than this one, and another could take it.
    pub(super) fn avoids(&self, job: usize, builder: usize) -> bool {
        let avoided = self.jobs[&job].avoid.is_some_and(|(avoided, until)| avoided == builder && self.now < until);
        let could = |session: &Session| {
            let other = &self.builders[session.builder];
            session.open
                && session.builder != builder
                && session.builder != FAR
                && session.channel_closed_at.is_none()
                && session.renewed_at > self.now - 10
                && !session.draining
                && !other.drained
                && other.serves.is_none_or(|tenant| tenant == tenant_of(job))
        };
        avoided && self.sessions.values().any(could)
    }
}
