//! Builders that may not have a job, and a pool's queue that gives it to them first.

use std::time::Duration;

use slipway_domain::agent::ToBuilder;
use slipway_runtime::ids::random_id;
use tokio::sync::mpsc;

use super::*;
use crate::fleet::Said;
use crate::offers::dispatch_once;
use crate::scene::{Scene, claims};

/// Builders of another tenant that look for jobs on the queue.
const OTHERS: usize = 6;
/// More than anybody would accept.
const ROUNDS_MAX: usize = 40;

#[tokio::test]
async fn a_job_that_many_may_not_have_reaches_who_may_in_two_rounds() {
    let scene = Scene::new().await;
    let (ours, theirs) = (scene.project("ours").await, scene.project("theirs").await);
    // One dispatcher dispatches, another one decides what the queue's builders claim; no one keeps their sessions.
    let (dispatching, deciding) = (Dispatcher::new(scene.deps.clone()), Dispatcher::new(scene.deps.clone()));
    let mut others = Vec::new();
    for number in 0..OTHERS {
        let session = scene.session(&format!("theirs {number}")).await;
        let (job, dispatch) = (scene.ready(&theirs).await, random_id());
        let (db, now) = (&scene.deps.db, scene.deps.clock.now());
        assert!(db.dispatch_job(job, dispatch, now).await.expect("an answer"));
        assert!(claims(&deciding, session, Offer { job, dispatch }).await, "its engine is bound now");
        scene.finish(AttemptRef { job, epoch: 1 }).await;
        others.push(session);
    }
    let own = scene.session("ours").await;
    let (channel, mut inbox) = mpsc::channel(64);
    let hash = token_hash("ours");
    let row = scene.deps.db.session_by_token(own, &hash).await.expect("an answer").expect("a session");
    dispatching.fleet.connect(&row, hash, channel);
    // Room for every offer that lies on the queue.
    dispatching.fleet.heard(own, Said { free: 99, ..Said::default() }, scene.deps.clock.monotonic());

    let job = scene.ready(&ours).await;
    let mut others = others.into_iter().cycle();
    let mut rounds = 0;
    let mut queue = scene.deps.bus.consume(&scene.pool);
    queue.credit(99).await;
    loop {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "it goes round and round");
        dispatch_once(&dispatching).await.expect("a pass");
        // Whoever waits at the queue is faster.
        if let Ok(delivery) = tokio::time::timeout(Duration::ZERO, queue.next()).await {
            let offer = delivery.offer;
            delivery.ack().await;
            assert_eq!(offer.job, job);
            assert!(!claims(&deciding, others.next().expect("they are many"), offer).await, "it is not theirs");
        } else if let Ok(ToBuilder::Offer(offer)) = inbox.try_recv() {
            assert!(claims(&deciding, own, offer).await, "it is ours");
            break;
        }
    }
    assert_eq!(rounds, 2, "one goes astray, the next one goes to the session");
}
