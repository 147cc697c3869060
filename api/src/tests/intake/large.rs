//! Bodies that are too large for a row lie in object storage, and in the row while that is out.

use super::*;

/// A push whose body is larger than what a row takes.
fn padded() -> Value {
    let mut body = push("refs/heads/main", &id('a'), &id('b'));
    body["padding"] = json!("x".repeat(300 * 1024));
    body
}

async fn payload(hooked: &Hooked, delivery: &Value) -> (usize, Option<String>) {
    let id = delivery["id"].as_str().expect("an id").parse().expect("an id");
    let stored = hooked.app.state.db.delivery_payload(&Scope::Operator, id).await.expect("a payload");
    (stored.body.len(), stored.body_blob)
}

#[tokio::test]
async fn a_large_body_lies_in_object_storage_until_it_is_not_needed() {
    let hooked = Hooked::new().await;
    let delivery = hooked.pushed("1", &padded()).await;
    assert_eq!((delivery["state"].as_str(), delivery["builds"].as_array().map(Vec::len)), (Some("done"), Some(1)));
    let (in_row, blob) = payload(&hooked, &delivery).await;
    let name = blob.expect("it lies elsewhere").parse().expect("a name");
    let blobs = hooked.app.state.blobs.clone().expect("a store");
    assert_eq!((in_row, blobs.get_body(name).await.expect("the body").len()), (0, padded().to_string().len()));

    // Replayed from there.
    let path = format!("/api/v1/deliveries/{}/replay", delivery["id"].as_str().expect("an id"));
    assert_eq!(hooked.app.post(&path, json!({})).await.status, StatusCode::OK);
    hooked.work().await;
    assert_eq!(hooked.deliveries().await[0]["state"], "done");

    // What a row refers to stays; after the row let go of it, it is removed.
    let (db, now) = (&hooked.app.state.db, hooked.app.state.clock.now());
    crate::sweep::delete_lost_bodies(db, &blobs, now + TimeDelta::hours(25)).await;
    assert!(blobs.get_body(name).await.is_ok(), "a row refers to it");
    sweep_once(db, now + TimeDelta::days(8)).await;
    crate::sweep::delete_lost_bodies(db, &blobs, now).await;
    assert!(blobs.get_body(name).await.is_ok(), "it is not old enough");
    crate::sweep::delete_lost_bodies(db, &blobs, now + TimeDelta::hours(25)).await;
    assert!(blobs.get_body(name).await.is_err(), "nobody needs it");
}

#[tokio::test]
async fn without_object_storage_the_row_takes_it_and_without_the_body_the_work_waits() {
    let hooked = Hooked::new().await;
    let folder = hooked.app.blobs_folder();
    let aside = folder.with_extension("aside");
    let take_away = || {
        std::fs::rename(&folder, &aside).expect("it is gone");
        std::fs::write(&folder, "no folder").expect("and something else in its place");
    };
    let bring_back = || {
        std::fs::remove_file(&folder).expect("out of the way");
        std::fs::rename(&aside, &folder).expect("it is back");
    };
    take_away();
    let delivery = hooked.pushed("1", &padded()).await;
    assert_eq!(delivery["state"], "done");
    assert_eq!(payload(&hooked, &delivery).await, (padded().to_string().len(), None));

    bring_back();
    let mut body = padded();
    (body["before"], body["after"], body["head_commit"]["id"]) = (json!(id('b')), json!(id('c')), json!(id('c')));
    let answer = hooked.deliver("push", "2", &body).await;
    take_away();
    hooked.work().await;
    let waiting = hooked.delivery(&answer).await;
    assert_eq!(waiting["state"], "received");
    assert!(waiting["reason"].as_str().is_some_and(|reason| reason.contains("tried again")), "{waiting}");
    bring_back();
    hooked.work_at(hooked.now() + TimeDelta::minutes(10)).await;
    assert_eq!(hooked.delivery(&answer).await["state"], "done");
}
