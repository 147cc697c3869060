//! From offer to last word.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use slipway_domain::agent::{Login, ToBuilder};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, Phase, StepState};
use slipway_domain::failure::FailureClass;
use slipway_domain::spec::{BuildOptions, ChangeSpec, JobSpec};
use slipway_domain::timing::KILL_WITHIN;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::{Life, Task};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::engine;
use super::fake::{Fake, PASSWORD, spec};
use crate::work::source::tests::{Forge, Manners};

struct Story {
    life: Life,
    fake: Fake,
    dir: TempDir,
    builder: Option<Task<anyhow::Result<()>>>,
    _engine: Task<()>,
}

impl Story {
    async fn begin() -> Self {
        let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
        let fake = Fake::start(&life).await;
        let (socket, engine) = engine::start(&life, dir.path());
        let builder = fake.builder(&life, dir.path(), &socket).await;
        Self { life, fake, dir, builder: Some(builder), _engine: engine }
    }

    /// Nothing of the attempt is left: no slot, no folder.
    async fn nothing_left(&self, attempt: AttemptRef) {
        self.fake
            .until("a heartbeat without the attempt", |told| {
                told.beats.last().is_some_and(|beat| beat.held.is_empty() && beat.load.busy == 0)
            })
            .await;
        let home = self.dir.path().join("builder");
        assert!(!home.join("work").join(attempt.to_string()).exists());
        let spool = home.join("spool").join(attempt.to_string());
        let clock = Clock::system();
        let gone = async {
            while spool.exists() {
                clock.sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("a durable log leaves no spool");
    }
}

/// A source that accepts connections and never answers.
async fn silent_source() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/a.git", listener.local_addr().expect("an address"));
    (listener, url)
}

#[tokio::test]
async fn a_failing_fetch_ends_in_one_last_word_and_a_whole_log() {
    let story = Story::begin().await;
    let fake = &story.fake;
    fake.with(|told| {
        told.lose_claims = 1;
        told.lose_finishes = 1;
        told.forget_chunks = 1;
        told.source = Some(Login { user: "u".to_owned(), password: PASSWORD.to_owned() });
    });
    // Nobody listens on the port of a listener that was dropped.
    let (listener, url) = silent_source().await;
    drop(listener);
    let attempt = fake.offer(spec(&url));
    fake.until("the finish, repeated", |told| told.finishes.len() == 2).await;
    story.nothing_left(attempt).await;
    fake.with(|told| {
        assert_eq!(told.claims.len(), 2, "the claim without an answer was repeated");
        assert_eq!(told.claims.first(), told.claims.last(), "under the same id");
        let refusals: Vec<_> = told.answered.iter().map(|(_, refusal)| *refusal).collect();
        assert_eq!(refusals, [None], "the session hears once that it won");
        assert_eq!(told.finishes.first(), told.finishes.last(), "the last word does not change");
        let finish = told.finishes.first().expect("one");
        assert_eq!(finish.outcome, AttemptOutcome::Infra);
        let failure = finish.failure.as_ref().expect("a reason");
        assert_eq!(failure.class, FailureClass::SourceUnreachable, "{}", failure.message);
        assert_eq!(failure.step.as_deref(), Some("[slipway] fetch source"));
        assert_eq!(usize::try_from(finish.log_end), Ok(told.log.len()));
        assert_eq!(finish.log_sha256, hex::encode(Sha256::digest(&told.log)), "every byte arrived once");
        let text = String::from_utf8_lossy(&told.log);
        assert!(text.starts_with("Building story at 0123"), "{text}");
        assert!(!text.contains("on test") && text.contains("Cold cache: "), "anybody may read it: {text}");
        assert!(text.contains(&failure.message), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        assert!(told.reports.iter().any(|report| report.phase == Some(Phase::Fetching)));
        let last = told.reports.iter().flat_map(|report| &report.steps).last().expect("a step");
        assert_eq!((last.number, last.state), (1, StepState::Failed));
        assert!(told.beats.iter().any(|beat| beat.held == [attempt] && beat.free == 0), "the slot was taken");
    });
}

#[tokio::test]
async fn a_cancel_ends_a_hanging_fetch() {
    let story = Story::begin().await;
    let fake = &story.fake;
    let (source, url) = silent_source().await;
    let attempt = fake.offer(spec(&url));
    let (_connection, _) = source.accept().await.expect("the fetch connects");
    let clock = Clock::system();
    let asked = clock.monotonic();
    fake.say(ToBuilder::Cancel { attempt });
    fake.until("the finish", |told| !told.finishes.is_empty()).await;
    assert!(clock.monotonic().duration_since(asked) < KILL_WITHIN + Duration::from_secs(1));
    story.nothing_left(attempt).await;
    fake.with(|told| {
        let finish = told.finishes.first().expect("one");
        assert_eq!(finish.outcome, AttemptOutcome::Cancelled);
        let last = told.reports.iter().flat_map(|report| &report.steps).last().expect("a step");
        assert_eq!(last.state, StepState::Cancelled);
    });
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_times_out() {
    let story = Story::begin().await;
    let (_source, url) = silent_source().await;
    story.fake.with(|told| told.timeout_secs = 1);
    let attempt = story.fake.offer(spec(&url));
    story.fake.until("the finish", |told| !told.finishes.is_empty()).await;
    story.nothing_left(attempt).await;
    story
        .fake
        .with(|told| assert_eq!(told.finishes.first().map(|finish| finish.outcome), Some(AttemptOutcome::TimedOut)));
}

#[tokio::test]
async fn a_cut_channel_changes_nothing_for_the_attempt() {
    let story = Story::begin().await;
    let fake = &story.fake;
    let (source, url) = silent_source().await;
    let attempt = fake.offer(spec(&url));
    let (connection, _) = source.accept().await.expect("the fetch connects");
    fake.cut();
    fake.until("a second session", |told| told.sessions.len() == 2).await;
    fake.with(|told| {
        assert_eq!(told.sessions.last().map(|open| open.held.clone()), Some(vec![attempt]));
        let identity = |open: &slipway_domain::agent::OpenSession| (open.builder, open.builder_key.clone());
        assert_eq!(told.sessions.first().map(identity), told.sessions.last().map(identity));
    });
    // The source fails only now: the attempt was still at work.
    drop((connection, source));
    fake.until("the finish", |told| !told.finishes.is_empty()).await;
    story.nothing_left(attempt).await;
}

#[tokio::test]
async fn what_is_not_ours_any_more_is_stopped_without_a_word() {
    let story = Story::begin().await;
    let fake = &story.fake;
    let (source, url) = silent_source().await;
    let attempt = fake.offer(spec(&url));
    let (_connection, _) = source.accept().await.expect("the fetch connects");
    fake.with(|told| told.stop_held = true);
    fake.cut();
    story.nothing_left(attempt).await;
    fake.with(|told| {
        assert!(told.finishes.is_empty());
        assert_eq!(told.log_ends.last().map(|end| end.end), i64::try_from(told.log.len()).ok(), "its log is kept");
    });
}

#[tokio::test]
async fn a_stop_lets_work_end_and_says_goodbye() {
    let mut story = Story::begin().await;
    let (source, url) = silent_source().await;
    let attempt = story.fake.offer(spec(&url));
    let (connection, _) = source.accept().await.expect("the fetch connects");
    story.life.stop();
    story
        .fake
        .until("a draining heartbeat", |told| {
            told.beats.last().is_some_and(|beat| beat.draining && beat.held == [attempt])
        })
        .await;
    assert!(!story.fake.with(|told| told.goodbye), "it still works");
    drop((connection, source));
    let builder = story.builder.take().expect("running");
    tokio::time::timeout(Duration::from_secs(20), builder.join()).await.expect("ends").expect("whole").expect("well");
    story.fake.with(|told| {
        assert!(told.goodbye);
        assert_eq!(told.finishes.len(), 1);
    });
}

#[tokio::test]
async fn a_kill_hands_the_job_back() {
    let story = Story::begin().await;
    let (source, url) = silent_source().await;
    story.fake.offer(spec(&url));
    let (_connection, _) = source.accept().await.expect("the fetch connects");
    let clock = Clock::system();
    let asked = clock.monotonic();
    story.life.kill();
    story.fake.until("the finish", |told| !told.finishes.is_empty()).await;
    assert!(clock.monotonic().duration_since(asked) < Duration::from_secs(6));
    story
        .fake
        .with(|told| assert_eq!(told.finishes.first().map(|finish| finish.outcome), Some(AttemptOutcome::HandedBack)));
}

#[tokio::test]
async fn only_the_projects_own_options_lend_its_credential_to_submodules() {
    let story = Story::begin().await;
    let fake = &story.fake;
    let forge = Forge::start(Manners::closed("u:password-of-the-source")).await;
    fake.with(|told| told.source = Some(Login { user: "u".to_owned(), password: PASSWORD.to_owned() }));
    let inner = forge.commit_to("inner", &[("word", b"inner")], &[]).await;
    let file: (&str, &[u8]) = ("slipway.yml", b"build:\n  submodules: true\n");
    let commit = forge.commit_to("repo", &[file], &[("lib", "../inner", &inner)]).await;
    let url = format!("http://127.0.0.1:{}/repo", forge.port);
    let project_options = BuildOptions { submodules: Some(true), ..BuildOptions::default() };
    let own = JobSpec { commit, project_options, ..spec(&url) };
    let strangers = JobSpec { change: Some(ChangeSpec { number: 1, target: None, trusted: false }), ..own.clone() };
    let with_login = || forge.asked().iter().any(|line| line.starts_with("/inner") && line.contains("Basic"));
    let pushers = JobSpec { project_options: BuildOptions::default(), ..own.clone() };
    for (count, spec, lent) in [(1, strangers, false), (2, pushers, false), (3, own, true)] {
        let attempt = fake.offer(spec);
        fake.until("the finish", |told| told.finishes.len() == count).await;
        story.nothing_left(attempt).await;
        assert_eq!(with_login(), lent, "{:?}", forge.asked());
        let (failure, log) = fake.with(|told| {
            let failure = told.finishes.last().and_then(|finish| finish.failure.clone()).expect("no engine builds it");
            (failure, String::from_utf8_lossy(&told.log).into_owned())
        });
        assert!(log.contains("Submodule lib: http://127.0.0.1"), "{log}");
        let of_it = failure.message.contains("submodule lib") && failure.class == FailureClass::SourceMissing;
        assert_eq!(of_it, !lent, "{failure:?}");
        assert!(lent || failure.advice().contains("strangers"), "{failure:?}");
    }
}
