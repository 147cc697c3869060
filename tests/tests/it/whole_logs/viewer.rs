//! Somebody who watches a log all the time: what comes is joined byte by byte, a broken connection is opened again with
//! the id of the last event, and a gap or a double is an error at once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use slipway_tests::api::{Api, SseEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A log ends within this time, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// Who wrote so many bytes of a log, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrote {
    pub bytes: usize,
    pub step: u32,
    pub stream: String,
    pub at: String,
}

/// The log of one attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    pub text: String,
    /// Neighbours differ.
    pub spans: Vec<Wrote>,
}

/// Everything that a viewer was told, by attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub logs: BTreeMap<i64, Log>,
    /// How it ended.
    pub state: String,
    /// Times that it had to come again.
    pub resumed: usize,
}

/// A viewer at work.
pub struct Viewer {
    task: JoinHandle<Result<Seen>>,
    far: watch::Receiver<(i64, usize)>,
}

impl Viewer {
    /// Watches a job's log by this client from where an event ended, to the end. With `leaves_after` it leaves after so many
    /// events and comes again.
    pub fn start(api: Api, job: &str, from: Option<&str>, leaves_after: Option<usize>) -> Self {
        let (tell, far) = watch::channel((0, 0));
        let watching = Watching { state: State::from(from), tell, leaves_after };
        let job = job.to_owned();
        Self { task: tokio::spawn(async move { watching.watch(&api, &job).await }), far }
    }

    /// Waits until so many bytes of an attempt were seen.
    pub async fn saw(&mut self, epoch: i64, bytes: usize) -> Result<()> {
        let far = self.far.wait_for(|(now, seen)| *now > epoch || (*now == epoch && *seen >= bytes));
        let left = tokio::time::timeout(PATIENCE, far).await.context("a viewer saw nothing new")?.is_err();
        if left {
            (&mut self.task).await??;
            anyhow::bail!("a viewer left before byte {bytes} of attempt {epoch}");
        }
        Ok(())
    }

    /// Waits for the end; everything that was told.
    pub async fn end(self) -> Result<Seen> {
        self.task.await?
    }
}

/// What a viewer knows.
#[derive(Debug, Default)]
struct State {
    id: Option<String>,
    epoch: i64,
    seen: Seen,
    /// Why it is right with nothing any more.
    wrong: Option<String>,
    ended: bool,
}

struct Watching {
    state: State,
    tell: watch::Sender<(i64, usize)>,
    leaves_after: Option<usize>,
}

#[derive(Deserialize)]
struct Data {
    epoch: i64,
    from: i64,
    to: i64,
    spans: Vec<TextSpan>,
}

#[derive(Deserialize)]
struct TextSpan {
    step: u32,
    stream: String,
    at: String,
    text: String,
}

impl Watching {
    async fn watch(self, api: &Api, job: &str) -> Result<Seen> {
        let Self { state, tell, leaves_after } = self;
        let (state, until) = (Mutex::new(state), Instant::now() + PATIENCE);
        let know = || state.lock().map_err(|_| anyhow::anyhow!("a viewer panicked"));
        loop {
            let id = know()?.id.clone();
            let events = Mutex::new(0);
            let is_last = |event: &SseEvent| {
                let Ok(mut state) = state.lock() else { return true };
                if let Err(error) = state.take(event) {
                    state.wrong = Some(format!("{error:#}, at {:?}", state.id));
                }
                let _ = tell.send((state.epoch, state.seen.logs.get(&state.epoch).map_or(0, |log| log.text.len())));
                let told = events.lock().map_or(0, |mut told| {
                    *told += 1;
                    *told
                });
                state.ended || state.wrong.is_some() || leaves_after.is_some_and(|most| told >= most)
            };
            let lost = api.log_stream_until(job, id.as_deref(), PATIENCE, is_last).await.err();
            {
                let mut state = know()?;
                if let Some(wrong) = state.wrong.take() {
                    anyhow::bail!(wrong);
                }
                if state.ended {
                    return Ok(std::mem::take(&mut state.seen));
                }
                state.seen.resumed += 1;
            }
            ensure!(Instant::now() < until, "a viewer waited {PATIENCE:?}; last: {lost:?}");
            if lost.is_some() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

impl State {
    /// One that has seen everything before this id.
    fn from(id: Option<&str>) -> Self {
        let epoch = id.and_then(|id| id.split_once(':')?.0.parse().ok()).unwrap_or(0);
        Self { id: id.map(str::to_owned), epoch, ..Self::default() }
    }

    fn take(&mut self, event: &SseEvent) -> Result<()> {
        self.id = Some(event.id.clone());
        match event.event.as_str() {
            "" => self.text(serde_json::from_str(&event.data)?),
            "attempt" => {
                let epoch = serde_json::from_str::<serde_json::Value>(&event.data)?["epoch"].as_i64();
                let epoch = epoch.context("an attempt has an epoch")?;
                ensure!(epoch > self.epoch, "attempt {epoch} after {}", self.epoch);
                self.epoch = epoch;
                Ok(())
            }
            "end" => {
                let data: serde_json::Value = serde_json::from_str(&event.data)?;
                data["state"].as_str().unwrap_or_default().clone_into(&mut self.seen.state);
                self.ended = true;
                Ok(())
            }
            other => anyhow::bail!("an event {other}"),
        }
    }

    fn text(&mut self, data: Data) -> Result<()> {
        if self.epoch == 0 {
            // It came when an attempt was there already.
            self.epoch = data.epoch;
        }
        let log = self.seen.logs.entry(data.epoch).or_default();
        let known = i64::try_from(log.text.len())?;
        ensure!(
            data.epoch == self.epoch && data.from == known,
            "bytes {} to {} of attempt {} after {known} of attempt {}",
            data.from,
            data.to,
            data.epoch,
            self.epoch
        );
        for span in data.spans {
            log.add(span);
        }
        let told = i64::try_from(log.text.len())?;
        ensure!(told == data.to, "{} bytes were told of those up to {}", told - known, data.to);
        Ok(())
    }
}

impl Log {
    fn add(&mut self, span: TextSpan) {
        self.text.push_str(&span.text);
        let wrote = Wrote { bytes: span.text.len(), step: span.step, stream: span.stream, at: span.at };
        match self.spans.last_mut() {
            Some(last) if (last.step, &last.stream, &last.at) == (wrote.step, &wrote.stream, &wrote.at) => {
                last.bytes += wrote.bytes;
            }
            _ => self.spans.push(wrote),
        }
    }

    /// The same up to a byte.
    pub fn head(&self, bytes: usize) -> Self {
        let (mut left, mut spans) = (bytes, Vec::new());
        for span in &self.spans {
            let bytes = span.bytes.min(left);
            left -= bytes;
            if bytes > 0 {
                spans.push(Wrote { bytes, ..span.clone() });
            }
        }
        Self { text: self.text.get(..bytes).unwrap_or_default().to_owned(), spans }
    }
}
