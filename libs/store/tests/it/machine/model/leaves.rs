//! Leaves, the registry behind them, and looks into those that nobody returned.

use slipway_domain::job::JobState;

use super::super::ops::{LeaveAnswer, Look, Refused, Swept, Try, verdict};
use super::{Holder, JOBS, Model, TAGS, is_newer, ref_of};

/// How long a leave is held, and the longest PUT.
const LEASE: i64 = 30;

impl Model {
    pub(super) fn ask_leave(&mut self, attempt: Try, tag: usize) -> Result<LeaveAnswer, Refused> {
        let Some(job) = self.jobs.get(&attempt.0) else { return Err(Refused::NotFound("job")) };
        match job.state {
            JobState::Running if job.epoch() == attempt.1 => {}
            JobState::Cancelling if job.epoch() == attempt.1 => return Ok(LeaveAnswer::Cancelled),
            _ => return Err(Refused::Stale("attempt")),
        }
        if self.showed_newer(tag, attempt.0) {
            return Ok(LeaveAnswer::NotMoved);
        }
        let held_by_other = |holder: &Holder| !holder.is(attempt) && holder.until > self.now;
        if self.tags[tag].holder.as_ref().is_some_and(held_by_other) {
            return Ok(LeaveAnswer::Wait);
        }
        self.leaves += 1;
        let (until, lease) = (self.now + LEASE, self.leaves);
        self.tags[tag].holder = Some(Holder { job: attempt.0, epoch: Some(attempt.1), until, digest: attempt, lease });
        self.grants.insert((attempt, tag), (self.now, lease));
        let job = self.job(attempt.0);
        job.leave = Some(attempt.1);
        job.version += 1;
        Ok(LeaveAnswer::Granted)
    }

    pub(super) fn put(&mut self, attempt: Try, tag: usize) {
        let grant = self.grants.get(&(attempt, tag)).filter(|(granted, _)| self.now <= granted + LEASE);
        if let Some((_, lease)) = grant {
            self.registry[tag] = Some(attempt);
            self.puts.push((attempt, tag));
            self.put_leases.insert((attempt, tag), *lease);
        }
    }

    pub(super) fn return_leave(&mut self, attempt: Try, tag: usize, moved: bool) {
        self.grants.remove(&(attempt, tag));
        let holder = self.tags[tag].holder.as_ref().filter(|holder| holder.is(attempt));
        let put_before = holder.is_some_and(|holder| self.put_leases.get(&(attempt, tag)) != Some(&holder.lease));
        match (holder.is_some(), moved) {
            (true, false) => self.tags[tag].holder = None,
            (true, true) if put_before => self.show_again(tag, attempt),
            (true, true) if self.showed_newer(tag, attempt.0) => self.look_soon(tag),
            (true, true) => {
                self.tags[tag].holder = None;
                self.tags[tag].shown = Some(attempt);
                self.note(tag, attempt.0);
            }
            (false, true) => self.hear_late(tag, attempt),
            (false, false) => {}
        }
    }

    /// A late copy of its request gave it another leave than the one that it moved the tag under. Where an older build of
    /// the ref is shown, the tag shall show this one again.
    fn show_again(&mut self, tag: usize, attempt: Try) {
        self.note(tag, attempt.0);
        let is_newest = self.shown_of(tag, attempt.0) == Some(JOBS[attempt.0]);
        let (now, row) = (self.now, &mut self.tags[tag]);
        match row.shown {
            Some(shown) if is_newest && is_newer(attempt.0, shown.0) => {
                row.holder = Some(Holder { job: shown.0, epoch: None, until: now, digest: shown, lease: 0 });
                row.shown = Some(attempt);
            }
            Some(_) | None => self.look_soon(tag),
        }
    }

    /// The registry took a PUT, but the leave has passed on. Where an older build of the ref got it, the tag shall
    /// show this one again.
    fn hear_late(&mut self, tag: usize, attempt: Try) {
        self.note(tag, attempt.0);
        let is_newest = self.shown_of(tag, attempt.0) == Some(JOBS[attempt.0]);
        let now = self.now;
        let row = &mut self.tags[tag];
        let holder = match (&row.holder, row.shown) {
            (Some(holder), _) => holder.clone(),
            (None, Some(shown)) => Holder { job: shown.0, epoch: None, until: now, digest: shown, lease: 0 },
            (None, None) => return,
        };
        if is_newest && is_newer(attempt.0, holder.job) {
            (row.holder, row.shown) = (Some(holder), Some(attempt));
        }
    }

    fn look_soon(&mut self, tag: usize) {
        let holder = self.tags[tag].holder.as_mut().expect("it is held");
        (holder.epoch, holder.until) = (None, self.now);
    }

    pub(super) fn sweep(&mut self, ends: bool) -> Vec<Swept> {
        let mut swept = Vec::new();
        for tag in 0..TAGS {
            let row = &mut self.tags[tag];
            let Some(holder) = row.holder.as_mut().filter(|holder| holder.until <= self.now - LEASE) else { continue };
            (holder.epoch, holder.until) = (None, self.now + LEASE);
            if !ends {
                continue;
            }
            let (job, holders) = (holder.job, holder.digest);
            let shown = row.shown.map(|shown| (shown, is_newer(shown.0, job)));
            let look = verdict(holders, shown, self.registry[tag]);
            row.holder = None;
            match look {
                Look::Booked => {
                    row.shown = Some(holders);
                    self.note(tag, job);
                }
                Look::Restored(to) => self.registry[tag] = Some(to),
                Look::LetGo => {}
            }
            swept.push(Swept { tag, job, look });
        }
        swept
    }

    fn shown_of(&self, tag: usize, job: usize) -> Option<usize> {
        let (tenant, git_ref) = ref_of(job);
        self.shown.get(&(tag, tenant, git_ref)).copied()
    }

    fn showed_newer(&self, tag: usize, job: usize) -> bool {
        self.shown_of(tag, job).is_some_and(|shown| shown > JOBS[job])
    }

    fn note(&mut self, tag: usize, job: usize) {
        let (tenant, git_ref) = ref_of(job);
        let shown = self.shown.entry((tag, tenant, git_ref)).or_insert(JOBS[job]);
        *shown = JOBS[job].max(*shown);
    }
}

impl Holder {
    fn is(&self, attempt: Try) -> bool {
        (self.job, self.epoch) == (attempt.0, Some(attempt.1))
    }
}
