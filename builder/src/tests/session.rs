//! What a builder says about itself, and who it is let in as.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use slipway_domain::agent::{Decline, ToBuilder};
use slipway_domain::ids::ProjectId;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;

use super::engine;
use super::fake::{Fake, spec};
use crate::{agent, session};

#[tokio::test]
async fn without_its_engine_a_builder_takes_nothing_and_says_so() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let config = fake.config(dir.path(), &dir.path().join("engine.sock"));
    let _builder = life.task("builder", agent::run(config, Clock::system(), life.clone()));
    fake.until("a heartbeat", |told| !told.beats.is_empty()).await;
    fake.with(|told| {
        let beat = told.beats.first().expect("one");
        assert_eq!(beat.free, 0);
        assert!(beat.load.not_taking.as_deref().is_some_and(|reason| reason.contains("engine")), "{:?}", beat.load);
    });
    fake.offer(spec("https://127.0.0.1:1/a.git"));
    fake.until("a word of the offer", |told| !told.declined.is_empty()).await;
    fake.with(|told| assert_eq!(told.declined[0].1, Decline::Gated));
    let (_, _engine) = engine::start(&life, dir.path());
    fake.until("a free slot", |told| told.beats.last().is_some_and(|beat| beat.free == 1)).await;
    fake.with(|told| {
        assert!(told.claims.is_empty(), "the offer came too early");
        assert_eq!(told.beats.last().and_then(|beat| beat.load.not_taking.clone()), None);
    });
}

#[tokio::test]
async fn what_the_cache_knows_is_told_once_to_each_session() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let (home, project) = (dir.path().join("builder"), new_id::<ProjectId>());
    std::fs::create_dir_all(&home).expect("a folder");
    let former = json!({ "engine": "fake /data", "built": [
        { "project": project, "trusted": true, "used": "2020-01-01T00:00:00Z" },
    ] });
    std::fs::write(home.join("cache.json"), former.to_string()).expect("writes");
    let _builder = fake.builder(&life, dir.path(), &socket).await;
    fake.until("a second heartbeat", |told| told.beats.len() > 1).await;
    fake.with(|told| {
        let cache = told.beats[0].cache.as_deref().expect("a new session hears it all");
        assert!(
            matches!(cache, [one] if one.project == project && one.trusted && one.unused_secs > 86_400),
            "{cache:?}"
        );
        assert_eq!(told.beats[0].load.cached_projects, Some(1));
        assert_eq!(told.beats.last().map(|beat| &beat.cache), Some(&None), "the first one was answered");
    });
}

#[tokio::test]
async fn an_engine_that_lives_is_seldom_asked_what_it_is() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let asked = Arc::new(AtomicU32::new(0));
    let (socket, serving) = engine::start_counting(&life, dir.path(), Arc::clone(&asked));
    let config = fake.config(dir.path(), &socket);
    let (_agent, mut probe, tell) = agent::assemble(config, Clock::system(), life.clone()).await.expect("assembled");
    let mut seen = tell.borrow().clone();
    for _ in 0..30 {
        seen = probe.look(&seen).await;
        assert_eq!(seen.not_taking, None);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "twice at the start");
    drop(serving);
    seen = probe.look(&seen).await;
    assert!(seen.not_taking.is_some_and(|reason| reason.contains("engine")), "a sign of life was missing");
}

#[tokio::test]
async fn a_builder_that_makes_room_says_why_it_takes_nothing() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let config = fake.config(dir.path(), &socket);
    let (agent, _probe, _tell) = agent::assemble(config, Clock::system(), life.clone()).await.expect("assembled");
    assert_eq!((session::load(&agent).not_taking, session::unwilling(&agent)), (None, None));
    let alone = agent.slots.alone().expect("nothing is built");
    let said = session::load(&agent).not_taking.expect("a reason");
    assert!(said.contains("makes room"), "{said}");
    assert_eq!(session::unwilling(&agent), Some(Decline::Gated));
    drop(alone);
    assert_eq!(session::load(&agent).not_taking, None);
}

#[tokio::test]
async fn a_drain_from_the_dispatcher_ends_an_idle_builder() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let builder = fake.builder(&life, dir.path(), &socket).await;
    fake.say(ToBuilder::Drain);
    tokio::time::timeout(Duration::from_secs(10), builder.join()).await.expect("ends").expect("whole").expect("well");
    assert!(fake.with(|told| told.goodbye));
}

#[tokio::test]
async fn only_a_drain_of_the_dispatcher_is_taken_back() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let builder = fake.builder(&life, dir.path(), &socket).await;
    // A claim without an answer keeps it from leaving.
    fake.with(|told| told.lose_claims = 1000);
    fake.offer(spec("https://127.0.0.1:1/a.git"));
    fake.until("a claim", |told| !told.claims.is_empty()).await;
    let drains = async |what, wanted: bool| {
        fake.until(what, |told| told.beats.last().is_some_and(|beat| beat.draining == wanted)).await;
    };
    fake.say(ToBuilder::Drain);
    drains("a drain", true).await;
    fake.say(ToBuilder::Resume);
    drains("no drain", false).await;
    life.stop();
    drains("its own drain", true).await;
    let beats = fake.with(|told| told.beats.len());
    fake.say(ToBuilder::Resume);
    fake.until("another heartbeat", |told| told.beats.len() > beats).await;
    drains("still its own drain", true).await;
    life.kill();
    let _ = builder.join().await;
}

#[tokio::test]
async fn a_new_session_presents_the_claims_that_wait_for_their_answer() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let _builder = fake.builder(&life, dir.path(), &socket).await;
    fake.with(|told| told.lose_claims = 1000);
    fake.offer(spec("https://127.0.0.1:1/a.git"));
    fake.until("a claim", |told| !told.claims.is_empty()).await;
    fake.cut();
    fake.until("another session", |told| told.sessions.len() > 1).await;
    fake.with(|told| {
        let claiming = told.sessions.last().map(|open| open.claiming.clone());
        assert_eq!(claiming.as_deref(), told.claims.get(..1));
    });
}

#[tokio::test]
async fn a_wrong_join_token_is_said_at_the_start() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let config = fake.config(dir.path(), &dir.path().join("engine.sock"));
    let config = crate::config::BuilderConfig { join_token: "other".to_owned(), ..config };
    let refused = agent::run(config, Clock::system(), life).await.expect_err("refused").to_string();
    assert!(refused.contains("SLIPWAY_JOIN_TOKEN") && refused.contains("unknown join token"), "{refused}");
}
