//! How answers that go on come to an end: with words where a log is not whole, and broken off where it is not over.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use slipway_domain::timing::LOG_SEAL_CUT;
use slipway_live::Topic;

use super::world::{World, sha256};
use crate::access::RENEW_EVERY;
use crate::flush::flush_once;
use crate::seal::seal_once;

const SECOND: Duration = Duration::from_secs(1);

/// All that whoever follows gets; an error where it was broken off.
async fn rest(body: Body) -> Result<String, axum::Error> {
    let rest = tokio::time::timeout(20 * SECOND, body.collect()).await.expect("it ends in time")?;
    Ok(String::from_utf8(rest.to_bytes().to_vec()).expect("text"))
}

async fn followed(world: &World) -> Body {
    world.open("log?follow=1", &[]).await.into_body()
}

async fn first(body: &mut Body) -> Vec<u8> {
    body.frame().await.expect("bytes").expect("read").into_data().expect("data").to_vec()
}

fn wake(world: &World) {
    world.logs.live().publish(Topic::Build(world.build), bytes::Bytes::new());
}

#[tokio::test]
async fn text_that_is_followed_says_how_a_log_ended() {
    for (place, words) in [
        ("cut", "one\n[slipway] This log is cut at byte 3: its builder was gone before it had sent the rest.\n"),
        ("open", "one\n[slipway] This log is shown up to byte 3: its builder was gone before it had sent the rest.\n"),
        (
            "damaged",
            "one\n[slipway] This log is damaged: what is stored is not what the builder announced (SHA-256 differs).\n",
        ),
        ("complete", "one"),
    ] {
        for ansi in ["", "&ansi=1"] {
            let mut world = World::without_loops().await;
            world.send(1, 0, b"one").await;
            let body = world.open(&format!("log?follow=1{ansi}"), &[]).await.into_body();
            flush_once(&world.logs, true).await;
            match place {
                "damaged" => assert!(world.end_with(1, 3, &sha256(b"two")).await.0.is_success()),
                "complete" => assert!(world.end(1, b"one").await.0.is_success()),
                _ => {}
            }
            world.close_attempt(1, "failed", "failed").await;
            world.clock.advance(LOG_SEAL_CUT + SECOND);
            if place != "open" {
                seal_once(&world.logs).await.expect("a pass");
            }
            assert_eq!(rest(body).await.expect("a clean end"), words, "{place}{ansi}");
        }
    }
}

#[tokio::test]
async fn text_that_is_followed_breaks_off_when_the_process_stops() {
    let world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    let mut body = followed(&world).await;
    assert_eq!(first(&mut body).await, b"one\n");
    world.logs.life().stop();
    assert!(rest(body).await.is_err(), "a clean end would look like that of the log");
}

#[tokio::test]
async fn a_revoked_token_sees_no_more() {
    let mut world = World::without_loops().await;
    world.send(1, 0, b"one\n").await;
    let (mut text, mut events) = (followed(&world).await, world.open("log/stream", &[]).await.into_body());
    assert_eq!(first(&mut text).await, b"one\n");
    first(&mut events).await;
    first(&mut events).await;
    // Those who may go on.
    for line in 1..4 {
        world.clock.advance(RENEW_EVERY + SECOND);
        world.send(1, line * 4, b"two\n").await;
        assert_eq!(first(&mut text).await, b"two\n");
    }
    world.revoke_tokens().await;
    world.clock.advance(RENEW_EVERY + SECOND);
    // Neither what is here already nor what comes.
    world.send(1, 16, b"secret\n").await;
    let (text, events) = (rest(text).await, rest(events).await);
    assert!(text.is_err() && events.is_err(), "{text:?} {events:?}");
}

#[tokio::test]
async fn who_waits_for_more_is_looked_up_too() {
    let mut world = World::without_loops().await;
    world.log_in("cookie-of-a-page").await;
    let headers = [("authorization", ""), ("cookie", "__Host-slipway=cookie-of-a-page")];
    world.send(1, 0, b"one\n").await;
    let mut body = world.open("log?follow=1", &headers).await.into_body();
    assert_eq!(first(&mut body).await, b"one\n");
    world.log_out("cookie-of-a-page").await;
    world.clock.advance(RENEW_EVERY + SECOND);
    wake(&world);
    assert!(rest(body).await.is_err(), "the page session is over");
}

#[tokio::test]
async fn what_is_private_now_is_shown_no_more_though_it_always_grows() {
    let mut world = World::without_loops().await;
    world.publish_project().await;
    for line in 0..20 {
        world.send(1, line * 4, b"one\n").await;
    }
    let mut body = world.open("log?follow=1", &[("authorization", "")]).await.into_body();
    assert_eq!(first(&mut body).await, b"one\n");
    world.hide_project().await;
    world.clock.advance(RENEW_EVERY + SECOND);
    assert!(body.frame().await.expect("an end").is_err());
}
