//! Deliveries that the process which took them in works from memory: nobody else may, until its lease ends.

use std::time::Duration;

use slipway_domain::timing;

use super::*;

/// What a pass over the rows finds.
const OPEN: usize = 1;

async fn state_of(hooked: &Hooked, answer: &Answer) -> (Value, usize, Value) {
    let delivery = hooked.delivery(answer).await;
    let builds = delivery["builds"].as_array().map(Vec::len).unwrap_or_default();
    (delivery["state"].clone(), builds, delivery["attempts"].clone())
}

#[tokio::test]
async fn it_is_worked_without_its_row_being_leased_again() {
    let hooked = Hooked::new().await;
    crate::intake::start(&hooked.app.state);
    let answer = hooked.deliver("push", "1", &push("refs/heads/main", ZERO, &id('a'))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let ended = async {
        while hooked.delivery(&answer).await["state"] == "received" {
            hooked.app.state.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends");
    assert_eq!(state_of(&hooked, &answer).await, (json!("done"), 1, json!(1)));
}

#[tokio::test]
async fn a_process_that_dies_with_it_leaves_it_to_others_when_its_lease_ends() {
    let hooked = Hooked::new().await;
    let queue = hooked.app.state.handover.open(new_id());
    let answer = hooked.deliver("push", "1", &push("refs/heads/main", ZERO, &id('a'))).await;
    assert_eq!(queue.len(), 1);
    drop(queue);
    assert_eq!(hooked.work().await, 0, "somebody holds it");
    let late = hooked.now() + timing::WORK_LEASE + TimeDelta::seconds(1);
    assert_eq!(hooked.work_at(late).await, 1);
    assert_eq!(state_of(&hooked, &answer).await, (json!("done"), 1, json!(2)));
    let next = hooked.deliver("push", "2", &push("refs/heads/main", &id('a'), &id('b'))).await;
    assert_eq!((next.status, hooked.work().await), (StatusCode::ACCEPTED, OPEN), "nobody is there to take it");
}

#[tokio::test]
async fn what_finds_no_place_or_nothing_to_do_is_held_by_nobody() {
    let hooked = Hooked::new().await;
    let mut queue = hooked.app.state.handover.open(new_id());
    let first = hooked.deliver("push", "1", &push("refs/heads/main", ZERO, &id('a'))).await;
    let again = hooked.deliver("push", "1", &push("refs/heads/main", ZERO, &id('a'))).await;
    assert_eq!((again.status, queue.len()), (StatusCode::OK, 1), "a repetition gives its place back");
    assert_eq!(again.json()["delivery"], first.json()["delivery"]);
    let ping = hooked.deliver("ping", "2", &json!({"zen": "x", "hook": {"id": 1}})).await;
    assert_eq!((ping.status, queue.len()), (StatusCode::OK, 1));
    let mut large = push("refs/heads/main", &id('a'), &id('b'));
    large["padding"] = json!("x".repeat(300 * 1024));
    hooked.deliver("push", "3", &large).await;
    assert_eq!(queue.len(), 1, "a large body is read where it lies");
    assert_eq!(hooked.work().await, OPEN);
    for n in 0..260 {
        let answer = hooked.deliver("push", &format!("more {n}"), &push("refs/heads/x", ZERO, &id('c'))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    }
    assert_eq!((queue.len(), hooked.work().await), (256, 5), "what is beyond the queue is left to anybody");
    queue.close();
    hooked.deliver("push", "last", &push("refs/heads/y", ZERO, &id('d'))).await;
    assert_eq!(hooked.work().await, OPEN, "a process that stops takes nothing more");
}
