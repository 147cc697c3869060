//! Follows a build: waits until it begins, shows the log of one job and its steps while they grow over broken
//! connections and new attempts, and ends as the build ends.

use std::time::{Duration, Instant};

use serde_json::Value;
use slipway_runtime::clock::Clock;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::cursor::{Cursor, Piece, Taken};
use crate::client::exit::{Exit, Failed};
use crate::client::logs::incomplete;
use crate::client::problem::not_ours;
use crate::client::progress::Form;
use crate::client::progress::view::View;
use crate::client::screen::Screen;
use crate::client::shapes::{Build, Job, read};
use crate::client::sse::{EventTooLarge, SseEvent, SseParser};
use crate::client::summary::{ending, waiting};

/// Between two looks at a build that is not there yet.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at the steps of a build whose log comes in.
const LOOK_AT_STEPS: Duration = Duration::from_secs(1);
/// The same when the log is ahead of the steps that we know.
const LOOK_FOR_NAMES: Duration = Duration::from_millis(100);
/// Between two looks at the clock while the log is silent.
const TICK: Duration = Duration::from_millis(200);
/// First pause after a broken connection; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a server may be away, a restart included, before we give up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that has lived this long counts as good, even if the log is silent.
const STEADY: Duration = Duration::from_secs(10);

/// What is followed.
#[derive(Debug)]
pub enum Followed {
    /// A build, with the log of its first job. With JSON, its last word may be the finished build, and then the
    /// log goes to standard error.
    Build { id: String, ends_with_object: bool },
    /// One job of a build.
    Job { build: String, job: String },
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Stream {
    /// The log is complete.
    Ended,
    /// Bytes are missing: ask again.
    Gap,
}

struct Follower<'a> {
    api: &'a Api,
    clock: &'a Clock,
    screen: &'a mut Screen,
    view: View,
    build: String,
    job: Option<String>,
    ends_with_object: bool,
    cursor: Cursor,
    /// Attempts up to this one have been shown to their end.
    shown_epoch: i64,
    /// Where bytes were missing the last time.
    gap: Option<(i64, i64)>,
    said: Option<String>,
    pause: Duration,
    failing_since: Option<Instant>,
}

/// Shows the log and ends with the build's exit code. Ctrl-C ends the watching, never the build.
pub async fn follow(
    followed: Followed,
    form: Form,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    let (Followed::Build { id, .. } | Followed::Job { build: id, .. }) = &followed;
    let shown_id = id.clone();
    let mut follower = Follower::new(followed, form, api, setting, screen);
    tokio::select! {
        exit = follower.run() => exit,
        _ = tokio::signal::ctrl_c() => {
            follower.view.finish(follower.screen)?;
            screen.say(&format!("The build goes on. Watch it: slipway logs -f {shown_id}. Stop it: slipway cancel {shown_id}."));
            Ok(Exit::Cancelled)
        }
    }
}

/// Shows the log of a job that is over, with its steps, as it would have been followed.
pub async fn replay(job: Followed, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    Follower::new(job, Form::Plain, api, setting, screen).run_once().await
}

impl<'a> Follower<'a> {
    fn new(followed: Followed, form: Form, api: &'a Api, setting: &'a Setting<'_>, screen: &'a mut Screen) -> Self {
        let (build, job, ends_with_object) = match followed {
            Followed::Build { id, ends_with_object } => (id, None, ends_with_object),
            Followed::Job { build, job } => (build, Some(job), false),
        };
        let view = View::new(form, ends_with_object, screen);
        Self {
            api,
            clock: &setting.clock,
            screen,
            view,
            build,
            job,
            ends_with_object,
            cursor: Cursor::default(),
            shown_epoch: 0,
            gap: None,
            said: None,
            pause: FIRST_PAUSE,
            failing_since: None,
        }
    }

    async fn run(&mut self) -> Result<Exit, Failed> {
        loop {
            let (answer, build) = self.look().await?;
            let job = self.job_of(&build);
            match job {
                Some(job) if job.newest_epoch() > self.shown_epoch => {
                    let (id, newest, is_over) = (job.id.clone(), job.newest_epoch(), job.is_over());
                    self.show(&id, newest, is_over).await?;
                }
                Some(job) if !job.is_over() => self.wait(&build).await,
                Some(_) | None => match Exit::of_build(&build.state) {
                    Some(exit) => return self.end(&answer, &build, exit),
                    None => self.wait(&build).await,
                },
            }
        }
    }

    async fn run_once(&mut self) -> Result<Exit, Failed> {
        loop {
            let (_, build) = self.look().await?;
            match self.job_of(&build) {
                Some(job) if !job.is_over() => {
                    return Err(Failed::usage(
                        "The job is not over; follow it with -f, or read what is there with --raw.",
                    ));
                }
                Some(job) if job.newest_epoch() > self.shown_epoch => {
                    let (id, newest) = (job.id.clone(), job.newest_epoch());
                    self.show(&id, newest, true).await?;
                }
                Some(_) | None => {
                    self.view.finish(self.screen)?;
                    return Ok(Exit::Fine);
                }
            }
        }
    }

    fn job_of<'b>(&self, build: &'b Build) -> Option<&'b Job> {
        match &self.job {
            Some(id) => build.jobs.iter().find(|job| job.id == *id),
            None => build.jobs.first(),
        }
    }

    /// The build as it is now, over a server that restarts.
    async fn look(&mut self) -> Result<(Value, Build), Failed> {
        loop {
            match self.api.get(&["builds", &self.build], &[]).await {
                Ok(answer) => {
                    let build = read(&answer)?;
                    self.take_steps(&build)?;
                    return Ok((answer, build));
                }
                Err(failed) => self.endure(failed).await?,
            }
        }
    }

    fn take_steps(&mut self, build: &Build) -> Result<(), Failed> {
        if let Some(job) = self.job_of(build) {
            self.view.job(job);
        }
        self.view.paint(self.clock.now(), self.screen)
    }

    async fn wait(&mut self, build: &Build) {
        self.recovered();
        if let Some(reason) = waiting(build) {
            self.say_once(format!("Waiting: {reason}"));
        }
        self.clock.sleep(LOOK).await;
    }

    /// Shows the log of a job's attempts up to where it ends for now.
    async fn show(&mut self, job: &str, newest: i64, is_over: bool) -> Result<(), Failed> {
        match self.stream(job).await {
            Ok(Stream::Ended) => {
                self.view.end_log();
                self.shown_epoch = self.cursor.epoch().max(newest);
            }
            Ok(Stream::Gap) => self.clock.sleep(FIRST_PAUSE).await,
            // The attempt has begun and has not said a word yet; or it is over and its log was thrown away.
            Err(failed) if failed.exit() == Exit::NotFound && is_over => {
                self.screen.say("The log is not kept any more.");
                self.shown_epoch = newest;
            }
            Err(failed) if failed.exit() == Exit::NotFound => self.clock.sleep(LOOK).await,
            Err(failed) => self.endure(failed).await?,
        }
        Ok(())
    }

    /// One connection to the live log.
    async fn stream(&mut self, job: &str) -> Result<Stream, Failed> {
        let from = self.cursor.last_event_id();
        let ansi = if self.view.wants_escapes() { "1" } else { "0" };
        let query = [("ansi", ansi.to_owned())];
        let mut answer = self.api.open(&["jobs", job, "log", "stream"], &query, from.as_deref()).await?;
        let (api, clock, wants_steps) = (self.api, self.clock, self.view.wants_steps());
        let look = |build: &str, pause| Box::pin(look_later(api, clock, build.to_owned(), pause));
        let mut looking = look(&self.build, LOOK_AT_STEPS);
        let mut is_urgent = false;
        let opened = clock.monotonic();
        let mut ticked = opened;
        let mut parser = SseParser::default();
        loop {
            let piece = tokio::select! {
                piece = answer.chunk() => Some(piece),
                looked = &mut looking, if wants_steps => {
                    self.take_look(looked)?;
                    (looking, is_urgent) = (look(&self.build, LOOK_AT_STEPS), false);
                    None
                }
                () = clock.sleep(TICK), if wants_steps => None,
            };
            let now = clock.monotonic();
            self.view.tick(now.duration_since(ticked));
            ticked = now;
            // The server says something now and then, also while the log is silent.
            if piece.is_some() && now.duration_since(opened) >= STEADY {
                self.recovered();
            }
            let ended = match piece {
                Some(piece) => match piece.map_err(|error| self.api.broken(&error))? {
                    Some(bytes) => self.take_bytes(&mut parser, &bytes)?,
                    None => break,
                },
                None => None,
            };
            self.view.paint(clock.now(), self.screen)?;
            if let Some(ended) = ended {
                return Ok(ended);
            }
            if self.view.misses_names() && !std::mem::replace(&mut is_urgent, true) {
                looking = look(&self.build, LOOK_FOR_NAMES);
            }
        }
        Err(Failed::server(format!("{} closed the log before its end.", self.api.server())))
    }

    /// The steps as they are now; a server that does not answer is the log's business.
    fn take_look(&mut self, looked: Result<Value, Failed>) -> Result<(), Failed> {
        match looked {
            Ok(answer) => self.take_steps(&read(&answer)?),
            Err(failed) if failed.exit() == Exit::ServerError => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    fn take_bytes(&mut self, parser: &mut SseParser, bytes: &[u8]) -> Result<Option<Stream>, Failed> {
        for event in parser.push(bytes).map_err(|EventTooLarge| not_ours(self.api.server()))? {
            if let Some(ended) = self.take(&event)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Takes one event; says how the stream ends, if it does.
    fn take(&mut self, event: &SseEvent) -> Result<Option<Stream>, Failed> {
        match event.name.as_str() {
            "end" => {
                if let Some(notice) = field(&event.data, "state").as_ref().and_then(Value::as_str).and_then(incomplete)
                {
                    self.screen.say(notice);
                }
                return Ok(Some(Stream::Ended));
            }
            "attempt" => {
                let before = self.cursor.epoch();
                let epoch = epoch_of(&event.data);
                if epoch.is_some_and(|epoch| self.cursor.begin_attempt(epoch, event.id.as_deref())) {
                    self.new_attempt(before)?;
                }
            }
            "message" => return self.take_piece(event),
            // Later servers may say more.
            _ => {}
        }
        self.recovered();
        Ok(None)
    }

    fn take_piece(&mut self, event: &SseEvent) -> Result<Option<Stream>, Failed> {
        let mut piece: Piece = serde_json::from_str(&event.data).map_err(|_| {
            Failed::usage("The server's log is not what this client knows; use a client of the server's version.")
        })?;
        let before = self.cursor.epoch();
        let mut taken = self.cursor.take(&mut piece, event.id.as_deref());
        if let Taken::Gap { missing_bytes } = taken {
            let place = (piece.epoch, piece.from);
            if self.gap.replace(place) != Some(place) {
                return Ok(Some(Stream::Gap));
            }
            self.view.tear(self.screen)?;
            self.screen.say(&format!("[{missing_bytes} bytes of the log are missing here]"));
            self.cursor.skip_to(&piece);
            taken = self.cursor.take(&mut piece, event.id.as_deref());
        }
        self.recovered();
        if let Taken::Fresh { new_attempt } = taken {
            if new_attempt {
                self.new_attempt(before)?;
            }
            self.view.piece(&piece, self.screen)?;
        }
        Ok(None)
    }

    fn new_attempt(&mut self, before: i64) -> Result<(), Failed> {
        self.view.attempt(self.cursor.epoch(), self.screen)?;
        self.view.paint(self.clock.now(), self.screen)?;
        if before > 0 {
            self.screen.say(&format!("[attempt {} begins; attempt {before} did not finish]", self.cursor.epoch()));
        }
        Ok(())
    }

    fn end(&mut self, answer: &Value, build: &Build, exit: Exit) -> Result<Exit, Failed> {
        let told = self.view.finish(self.screen)?;
        if self.screen.wants_json() && self.ends_with_object {
            self.screen.object(answer)?;
        }
        let shown = self.job_of(build).map(|job| job.id.as_str());
        let is_told = |job: &Job, step: &String| shown == Some(job.id.as_str()) && told.contains(step);
        let text = ending(build, self.clock.now(), is_told);
        self.screen.say(&text);
        Ok(exit)
    }

    /// Waits a moment if the server may come back; gives up otherwise.
    async fn endure(&mut self, failed: Failed) -> Result<(), Failed> {
        if failed.exit() != Exit::ServerError {
            return Err(failed);
        }
        let now = self.clock.monotonic();
        let since = *self.failing_since.get_or_insert(now);
        if now.duration_since(since) >= PATIENCE {
            return Err(failed);
        }
        self.say_once("The connection broke; reconnecting…".to_owned());
        self.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    fn recovered(&mut self) {
        self.failing_since = None;
        self.pause = FIRST_PAUSE;
    }

    fn say_once(&mut self, text: String) {
        if self.said.as_ref() != Some(&text) {
            self.screen.say(&text);
            self.said = Some(text);
        }
    }
}

/// The build as it is after a pause.
async fn look_later(api: &Api, clock: &Clock, build: String, pause: Duration) -> Result<Value, Failed> {
    clock.sleep(pause).await;
    api.get(&["builds", &build], &[]).await
}

/// The attempt that an `attempt` event names: a number, alone or as `epoch`.
fn epoch_of(data: &str) -> Option<i64> {
    data.parse().ok().or_else(|| field(data, "epoch")?.as_i64())
}

fn field(data: &str, name: &str) -> Option<Value> {
    serde_json::from_str::<Value>(data).ok()?.get_mut(name).map(Value::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_named_in_two_ways() {
        for (data, expected) in [("3", Some(3)), ("{\"epoch\":2}", Some(2)), ("", None), ("{}", None), ("x", None)] {
            assert_eq!(epoch_of(data), expected, "{data}");
        }
    }
}
