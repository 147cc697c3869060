//! Walks along a log while it grows, and on to the next attempt when the job is tried again. Whoever
//! watches asks for the next piece when they can take it; nobody waits for them.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use slipway_domain::attempt::{AttemptRef, AttemptState};
use slipway_domain::ids::JobId;
use slipway_domain::timing;
use slipway_live::{Event, Subscription, Topic};
use slipway_logfmt::chunk::Chunk;
use slipway_store::logs::{LogRow, LogState, LogView};

use crate::access::Caller;
use crate::logs::Logs;
use crate::problem::ReadError;
use crate::reader;
use crate::tail::Piece;

/// A closed attempt's log whose end nobody announced is awaited this long while somebody watches.
const UNANNOUNCED_WAIT: chrono::TimeDelta = chrono::TimeDelta::seconds(30);

/// What the watcher gets next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes: the piece, of which the watcher has seen everything before `from`.
    Piece {
        /// The piece.
        piece: Arc<Piece>,
        /// Where its news begins.
        from: i64,
    },
    /// The job is tried again; what follows is this attempt's log from its beginning.
    Attempt(i64),
    /// Nothing will follow.
    End(&'static str),
    /// The process stops; the watcher may come again.
    Stopped,
}

/// One watcher of one job.
pub(crate) struct Follower {
    logs: Logs,
    caller: Caller,
    job: JobId,
    /// Only this epoch.
    pinned: bool,
    epoch: i64,
    at: i64,
    recheck: bool,
    /// The row is looked at again when nothing was shown until then, whatever else is told meanwhile.
    recheck_at: Instant,
    attempt_live: Subscription,
    build_live: Subscription,
}

/// Where a watcher begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// The job.
    pub(crate) job: JobId,
    /// The attempt's epoch; 0 if there is none yet.
    pub(crate) epoch: i64,
    /// First byte.
    pub(crate) at: i64,
    /// Stay with this attempt.
    pub(crate) pinned: bool,
}

/// What the row says to a watcher who has seen everything that can be read.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Switch(i64),
    End(&'static str),
}

impl Follower {
    /// Listens from now on, so that nothing falls between reading and waiting.
    pub(crate) async fn new(logs: &Logs, caller: Caller, view: &LogView, start: Start) -> Self {
        let Start { job, epoch, at, pinned } = start;
        let attempt_live = logs.live().subscribe(Topic::Log(AttemptRef { job, epoch })).await;
        let build_live = logs.live().subscribe(Topic::Build(view.build)).await;
        let recheck_at = logs.clock().monotonic();
        Self { logs: logs.clone(), caller, job, pinned, epoch, at, recheck: true, recheck_at, attempt_live, build_live }
    }

    /// The attempt that is being read.
    pub(crate) fn attempt(&self) -> AttemptRef {
        AttemptRef { job: self.job, epoch: self.epoch }
    }

    /// Its epoch.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The next byte.
    pub(crate) fn at(&self) -> i64 {
        self.at
    }

    /// The next piece, if it is in memory here and the caller need not be looked up again.
    pub(crate) fn ready(&mut self) -> Option<Step> {
        if self.caller.is_due(&self.logs) {
            return None;
        }
        let log = self.logs.open_log(self.attempt());
        if let Some(piece) = log.and_then(|log| self.logs.with_tail(&log, |tail| tail.piece_at(self.at))) {
            return Some(self.take(piece));
        }
        // It grows elsewhere: everything that was told of it meanwhile.
        while let Some(event) = self.attempt_live.next().now_or_never() {
            if let Some(chunk) = self.told(event) {
                return Some(self.take(Piece::stored(chunk)));
            }
        }
        None
    }

    /// Waits for the next step. Dropped while it waits, it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Step, ReadError> {
        let attempt = self.attempt();
        loop {
            self.caller.renew(&self.logs, self.job).await?;
            if let Some(piece) = reader::piece_at(&self.logs, (attempt, 0), self.at).await? {
                return Ok(self.take(piece));
            }
            if self.recheck {
                let epoch = (self.epoch > 0).then_some(self.epoch);
                let view = self.logs.db().log_view(self.caller.scope(), self.job, epoch).await?;
                // Another service may take in this log: then only storage tells.
                if view.log.as_ref().is_some_and(|log| log.durable > self.at)
                    && let Some(piece) = reader::stored_piece_at(&self.logs, attempt, self.at).await?
                {
                    return Ok(self.take(piece));
                }
                match self.verdict(&view).await? {
                    Verdict::Wait => {
                        self.recheck = false;
                        self.postpone_recheck();
                    }
                    Verdict::Switch(epoch) => return Ok(self.switch(epoch).await),
                    Verdict::End(state) => return Ok(Step::End(state)),
                }
            }
            if let Some(step) = self.wait().await {
                return Ok(step);
            }
        }
    }

    fn take(&mut self, piece: Arc<Piece>) -> Step {
        let from = self.at;
        self.at = piece.chunk.end();
        self.postpone_recheck();
        Step::Piece { piece, from }
    }

    fn postpone_recheck(&mut self) {
        self.recheck_at = self.logs.clock().monotonic() + timing::POLL;
    }

    async fn switch(&mut self, epoch: i64) -> Step {
        self.epoch = epoch;
        self.at = 0;
        self.recheck = true;
        self.attempt_live = self.logs.live().subscribe(Topic::Log(self.attempt())).await;
        Step::Attempt(epoch)
    }

    /// A message brings bytes, or asks to look again.
    async fn wait(&mut self) -> Option<Step> {
        let quiet = self.recheck_at.saturating_duration_since(self.logs.clock().monotonic());
        let event = tokio::select! {
            event = self.attempt_live.next() => event,
            _ = self.build_live.next() => {
                self.recheck = true;
                return None;
            }
            () = self.logs.clock().sleep(quiet) => {
                self.recheck = true;
                return None;
            }
            () = self.logs.life().stopping() => return Some(Step::Stopped),
        };
        self.told(event).map(|chunk| self.take(Piece::stored(chunk)))
    }

    /// The bytes of a message, if they are wanted and not here; else it may be time to look.
    fn told(&mut self, event: Event) -> Option<Chunk> {
        let chunk = match event {
            Event::Message(message) => match Chunk::range(&message).filter(|range| !range.is_empty()) {
                // It was shown, or what stands before it was not and must be found first.
                Some(range) if !range.contains(&self.at) => return None,
                // For all viewers.
                Some(_) if self.is_here() => return None,
                Some(_) => Chunk::decode(&message).ok(),
                None => None,
            },
            Event::Lagged => None,
        };
        self.recheck |= chunk.is_none();
        chunk
    }

    /// Whether the next byte is in memory here. Where the log grows elsewhere, a tail that it left here says nothing of it.
    fn is_here(&self) -> bool {
        self.logs
            .open_log(self.attempt())
            .is_some_and(|log| self.logs.with_tail(&log, |tail| tail.ack().received) > self.at)
    }

    async fn verdict(&self, view: &LogView) -> Result<Verdict, ReadError> {
        let now = self.logs.db().now(self.logs.clock()).await?;
        Ok(verdict(view, Reader { epoch: self.epoch, at: self.at, pinned: self.pinned }, now))
    }
}

/// How far a watcher is.
#[derive(Debug, Clone, Copy)]
struct Reader {
    epoch: i64,
    at: i64,
    pinned: bool,
}

fn verdict(view: &LogView, reader: Reader, now: chrono::DateTime<chrono::Utc>) -> Verdict {
    if !reader.pinned && view.newest_epoch > reader.epoch {
        return Verdict::Switch(view.newest_epoch);
    }
    let over = reader.pinned || view.job_state.is_terminal();
    let Some(log) = &view.log else {
        return if over { Verdict::End("none") } else { Verdict::Wait };
    };
    if !over || log.attempt_state == AttemptState::Open {
        return Verdict::Wait;
    }
    match log.state {
        LogState::Open if log.end_offset.is_some_and(|end| reader.at >= end) => Verdict::End("complete"),
        LogState::Open if log.finished_at.is_some_and(|finished| now - finished > UNANNOUNCED_WAIT) => {
            Verdict::End("incomplete")
        }
        LogState::Open => Verdict::Wait,
        LogState::Sealed | LogState::Cut | LogState::Damaged => Verdict::End(state_word(log)),
    }
}

/// How whole a log is, in a word for readers.
pub(crate) fn state_word(log: &LogRow) -> &'static str {
    match log.state {
        LogState::Open => "live",
        LogState::Sealed => "complete",
        LogState::Cut => "cut",
        LogState::Damaged => "damaged",
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use slipway_domain::ids::BuildId;
    use slipway_domain::job::JobState;

    use super::*;

    fn view(job_state: JobState, newest_epoch: i64, log: Option<(LogState, bool, Option<i64>)>) -> LogView {
        let zero = uuid::Uuid::nil();
        let log = log.map(|(state, open, end_offset)| LogRow {
            job_id: JobId::from(zero),
            epoch: 1,
            state,
            durable: 5,
            lines: 0,
            end_offset,
            sha256: None,
            token_hash: Vec::new(),
            attempt_state: if open { AttemptState::Open } else { AttemptState::Closed },
            finished_at: (!open).then_some(DateTime::UNIX_EPOCH),
        });
        LogView { build: BuildId::from(zero), job_state, newest_epoch, log }
    }

    #[test]
    fn a_watcher_waits_switches_or_ends() {
        use JobState::{Cancelled, Queued, Running, Succeeded};
        use LogState::{Cut, Damaged, Open, Sealed};
        let (here, pinned) = (Reader { epoch: 1, at: 5, pinned: false }, Reader { epoch: 1, at: 5, pinned: true });
        let none = Reader { epoch: 0, at: 0, pinned: false };
        let cases = [
            (view(Queued, 0, None), none, 0, Verdict::Wait),
            (view(Cancelled, 0, None), none, 0, Verdict::End("none")),
            (view(Running, 1, Some((Open, true, None))), none, 0, Verdict::Switch(1)),
            (view(Running, 1, Some((Open, true, Some(5)))), here, 0, Verdict::Wait),
            (view(Running, 2, Some((Open, false, None))), here, 0, Verdict::Switch(2)),
            (view(Running, 2, Some((Open, false, None))), pinned, 0, Verdict::Wait),
            (view(Running, 2, Some((Cut, false, None))), pinned, 0, Verdict::End("cut")),
            (view(Queued, 1, Some((Sealed, false, Some(5)))), here, 99, Verdict::Wait),
            (view(Succeeded, 1, Some((Open, false, Some(5)))), here, 0, Verdict::End("complete")),
            (view(Succeeded, 1, Some((Open, false, Some(6)))), here, 0, Verdict::Wait),
            (view(Succeeded, 1, Some((Open, false, Some(6)))), here, 31, Verdict::End("incomplete")),
            (view(Succeeded, 1, Some((Sealed, false, Some(5)))), here, 0, Verdict::End("complete")),
            (view(Succeeded, 1, Some((Damaged, false, Some(5)))), here, 0, Verdict::End("damaged")),
        ];
        for (view, reader, secs, expected) in cases {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(secs);
            assert_eq!(verdict(&view, reader, now), expected, "{view:?} {reader:?}");
        }
    }
}
