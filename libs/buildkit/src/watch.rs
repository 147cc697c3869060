//! The progress of one build as the engine has it, message by message, and nothing twice.
//!
//! BuildKit 0.8, which is in Docker 20.10, has a fault here: once more than 1 MiB of logs wait for one reader, it
//! sends those, and after them empty messages for ever. Nothing that came later reaches this reader, and a new one
//! gets only what is still to come. So there is always a second reader, opened before the first one can fall behind,
//! which is not read: a narrow window holds it up, and what does not fit into that waits in the engine as one batch.
//! When the first reader gets nothing but empty messages, a third one is opened, then the second one is read, from
//! where the first one left off. So that the engine need not keep a whole log, a reader that waits is replaced
//! after some output, once the first one has come to where the new one began.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{StatusRequest, StatusResponse, VertexLog};
use slipway_runtime::lifecycle::{Life, Task};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::call::{Calls, STREAM_WINDOW_BYTES};
use crate::endpoint::Endpoint;
use crate::error::{Said, SolveError};

/// After the build, progress ends when the engine says so, or when it says nothing for this long. An engine that never
/// knew the build takes 3 s to say that.
const SILENCE: Duration = Duration::from_secs(6);
/// What an engine answers for a build that it does not know, or not yet.
const UNKNOWN_BUILD: &str = "no such job";
/// What may be on its way to the first reader, so that the engine seldom waits.
const WIDE_BYTES: u32 = 16 << 20;
/// So many empty messages in a row are no accident.
const EMPTIES: usize = 32;
/// After so much output a reader that waits is replaced.
const ROTATE_BYTES: u64 = 16 << 20;
/// How long the opening of a reader may take before an engine that says nothing is believed to have opened it.
const OPENING: Duration = Duration::from_secs(1);
/// The last words of a build take so long inside the engine.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most states of steps that are remembered in order to know them again.
const MAX_KNOWN: usize = 200_000;

/// Reads one build's progress.
pub struct Watch {
    /// Tracks the connections.
    pub life: Life,
    /// Where to ask.
    pub endpoint: Endpoint,
    /// The build's reference.
    pub reference: String,
    /// Cancelled when the build has ended.
    pub solved: CancellationToken,
}

/// One reader.
struct Subscription {
    stream: Streaming<StatusResponse>,
    /// What was read of it before its turn.
    first: Vec<StatusResponse>,
    _calls: Calls,
}

/// A reader that waits for its turn.
struct Standby {
    /// Ends with the first output that it gets; `None` if the engine knows no such build although it has ended.
    task: Task<Result<Option<Subscription>, SolveError>>,
    /// Cancelled when the engine answers.
    opened: CancellationToken,
    /// When the first output was written that it gets.
    begin: Arc<OnceLock<Stamp>>,
}

/// The reader that waits, and the one that will take its place.
struct Spare {
    old: Standby,
    since_bytes: u64,
    new: Option<Standby>,
}

/// How a reader ended.
enum End {
    /// The engine has said everything.
    Done,
    /// The engine says nothing more, and not that this was all.
    Stuck,
}

/// Seconds and nanoseconds, by the engine's clock.
type Stamp = (i64, i32);

/// What was said already.
#[derive(Default)]
struct Known {
    log_bytes: u64,
    /// When what was written last, by step and stream.
    logs: HashMap<(String, i64), Stamp>,
    /// When the last of it was written.
    latest: Stamp,
    /// Hashes of what was said of steps.
    vertices: HashSet<u64>,
}

impl Watch {
    /// Gives everything to `out`, until the engine has said all of it.
    pub async fn run(self, out: mpsc::Sender<StatusResponse>) -> Result<(), SolveError> {
        let mut known = Known::default();
        let mut spare = Some(self.spare(&known));
        let Some(mut reader) = self.reader().subscribe(WIDE_BYTES).await? else { return Ok(()) };
        loop {
            // Whoever begins to be read after the end gets everything.
            let is_last = self.solved.is_cancelled();
            if let End::Done = self.drain(reader, &mut known, &mut spare, &out).await? {
                return Ok(());
            }
            let Some(Spare { old, .. }) = spare.take().filter(|_| !is_last) else { return Ok(()) };
            if self.solved.is_cancelled() {
                tokio::time::sleep(LAST_WORDS).await;
            } else {
                spare = Some(self.next_spare(&known).await);
            }
            let next = old.task.join().await.map_err(|error| SolveError::Lost(error.to_string()))??;
            match next {
                Some(next) => reader = next,
                None => return Ok(()),
            }
        }
    }

    /// A spare reader that the engine has opened, unless the build has ended meanwhile.
    async fn next_spare(&self, known: &Known) -> Spare {
        let spare = self.spare(known);
        tokio::select! {
            () = spare.old.opened.cancelled() => {}
            () = self.solved.cancelled() => tokio::time::sleep(LAST_WORDS).await,
            () = tokio::time::sleep(OPENING) => {}
        }
        spare
    }

    fn spare(&self, known: &Known) -> Spare {
        Spare { old: self.standby(), since_bytes: known.log_bytes, new: None }
    }

    fn standby(&self) -> Standby {
        let (opened, begin) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let reader = self.reader();
        let (answered, begun) = (opened.clone(), Arc::clone(&begin));
        let task = self.life.task("build progress in reserve", async move {
            let Some(mut subscription) = reader.subscribe(STREAM_WINDOW_BYTES).await? else { return Ok(None) };
            answered.cancel();
            while begun.get().is_none() {
                let Some(message) = subscription.next().await? else { break };
                if let Some(at) = message.logs.iter().map(stamp).min() {
                    let _ = begun.set(at);
                }
                subscription.first.push(message);
            }
            Ok(Some(subscription))
        });
        Standby { task, opened, begin }
    }

    fn reader(&self) -> Reader {
        let (life, endpoint) = (self.life.clone(), self.endpoint.clone());
        Reader { life, endpoint, reference: self.reference.clone(), solved: self.solved.clone() }
    }

    async fn drain(
        &self,
        mut reader: Subscription,
        known: &mut Known,
        spare: &mut Option<Spare>,
        out: &mpsc::Sender<StatusResponse>,
    ) -> Result<End, SolveError> {
        let (mut empties, mut before) = (0, std::mem::take(&mut reader.first).into_iter());
        while empties < EMPTIES {
            let message = match before.next() {
                Some(message) => Some(message),
                None => tokio::select! {
                    message = reader.next() => message?,
                    () = silence(&self.solved) => None,
                },
            };
            let Some(message) = message else { return Ok(End::Done) };
            if is_empty(&message) {
                empties += 1;
                continue;
            }
            empties = 0;
            let message = known.news(message);
            // A reader that has gone is told by its owner.
            if !is_empty(&message) && out.send(message).await.is_err() {
                return Ok(End::Done);
            }
            if let Some(spare) = spare {
                spare.renew(known, || self.standby());
            }
        }
        Ok(End::Stuck)
    }
}

/// What a task of its own needs to open a reader.
struct Reader {
    life: Life,
    endpoint: Endpoint,
    reference: String,
    solved: CancellationToken,
}

impl Reader {
    /// A new reader, with a window of this size; `None` if the engine knows no such build although it has ended.
    async fn subscribe(&self, window_bytes: u32) -> Result<Option<Subscription>, SolveError> {
        let calls = self.endpoint.calls(&self.life, window_bytes).await?;
        loop {
            let is_over = self.solved.is_cancelled();
            let mut control = calls.control();
            let asked = control.status(StatusRequest { r#ref: self.reference.clone() });
            let answer = tokio::select! {
                answer = asked => answer,
                () = silence(&self.solved) => return Ok(None),
            };
            match answer {
                Ok(answer) => {
                    return Ok(Some(Subscription { stream: answer.into_inner(), first: Vec::new(), _calls: calls }));
                }
                Err(status) => match SolveError::of(&status) {
                    // Not begun yet; or refused before it began, so that there is no progress.
                    SolveError::Said(said) if is_unknown(&said) && is_over => return Ok(None),
                    SolveError::Said(said) if is_unknown(&said) => {}
                    error => return Err(error),
                },
            }
        }
    }
}

impl Subscription {
    /// The next message; `None` when the engine has said everything.
    async fn next(&mut self) -> Result<Option<StatusResponse>, SolveError> {
        match self.stream.message().await {
            Ok(message) => Ok(message),
            Err(status) => match SolveError::of(&status) {
                SolveError::Said(said) if is_unknown(&said) => Ok(None),
                error => Err(error),
            },
        }
    }
}

impl Spare {
    /// Lets a new reader take the old one's place when there was much output since.
    fn renew(&mut self, known: &Known, standby: impl FnOnce() -> Standby) {
        if let Some(begin) = self.new.as_ref().and_then(|new| new.begin.get()) {
            if *begin <= known.latest
                && let Some(new) = self.new.take()
            {
                self.old = new;
                self.since_bytes = known.log_bytes;
            }
        } else if self.new.is_none() && known.log_bytes - self.since_bytes > ROTATE_BYTES {
            self.new = Some(standby());
        }
    }
}

impl Known {
    /// Leaves out what was said before.
    fn news(&mut self, mut message: StatusResponse) -> StatusResponse {
        if self.vertices.len() > MAX_KNOWN || self.logs.len() > MAX_KNOWN {
            self.vertices.clear();
            self.logs.clear();
        }
        message.vertexes.retain(|vertex| {
            let mut hasher = DefaultHasher::new();
            vertex.hash(&mut hasher);
            self.vertices.insert(hasher.finish())
        });
        message.logs.retain(|log| {
            let at = stamp(log);
            match self.logs.get_mut(&(log.vertex.clone(), log.stream)) {
                Some(last) if *last >= at && at != (0, 0) => return false,
                Some(last) => *last = at,
                None => drop(self.logs.insert((log.vertex.clone(), log.stream), at)),
            }
            self.log_bytes += log.msg.len() as u64;
            self.latest = self.latest.max(at);
            true
        });
        message
    }
}

fn is_empty(message: &StatusResponse) -> bool {
    let StatusResponse { vertexes, statuses, logs, warnings } = message;
    vertexes.is_empty() && statuses.is_empty() && logs.is_empty() && warnings.is_empty()
}

fn is_unknown(said: &Said) -> bool {
    said.message.contains(UNKNOWN_BUILD)
}

fn stamp(log: &VertexLog) -> Stamp {
    log.timestamp.as_ref().map_or((0, 0), |at| (at.seconds, at.nanos))
}

async fn silence(solved: &CancellationToken) {
    solved.cancelled().await;
    tokio::time::sleep(SILENCE).await;
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::google::protobuf::Timestamp;
    use bollard_buildkit_proto::moby::buildkit::v1::Vertex;

    use super::*;

    fn message(vertices: &[(&str, bool)], logs: &[(&str, i64, i32)]) -> StatusResponse {
        let vertex = |(digest, cached): &(&str, bool)| Vertex {
            digest: (*digest).to_owned(),
            cached: *cached,
            ..Vertex::default()
        };
        let log = |(vertex, stream, nanos): &(&str, i64, i32)| VertexLog {
            vertex: (*vertex).to_owned(),
            stream: *stream,
            timestamp: Some(Timestamp { seconds: 1, nanos: *nanos }),
            msg: b"x".to_vec(),
        };
        StatusResponse {
            vertexes: vertices.iter().map(vertex).collect(),
            logs: logs.iter().map(log).collect(),
            ..StatusResponse::default()
        }
    }

    #[test]
    fn a_history_that_is_told_again_brings_only_what_is_new() {
        let mut known = Known::default();
        let first = message(&[("a", false), ("b", false)], &[("a", 1, 1), ("a", 2, 1), ("a", 1, 2), ("b", 1, 1)]);
        assert_eq!(known.news(first.clone()), first);
        let again = message(
            &[("a", false), ("b", true)],
            &[("a", 1, 1), ("a", 2, 1), ("a", 1, 2), ("b", 1, 1), ("a", 1, 3), ("b", 1, 2)],
        );
        assert_eq!(known.news(again), message(&[("b", true)], &[("a", 1, 3), ("b", 1, 2)]));
        assert_eq!(known.log_bytes, 6);
    }
}
