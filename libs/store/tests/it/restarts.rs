//! A SQLite file has one process at a time, and the next one waits for nothing that the last one held.

use std::time::Duration;

use slipway_runtime::ids::random_id;
use slipway_store::{Db, StoreError};

use crate::env::{Env, new_delivery, start};

#[tokio::test]
async fn a_second_process_is_refused_and_the_next_one_waits_for_no_lease() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    let env = Env::connect(&url).await;
    let world = env.world("own").await;
    let delivery = new_delivery(&world.hook, "1");
    env.db.accept_delivery(&delivery).await.expect("stored");
    let lease = Duration::from_secs(10);
    let dead = env.db.take_lead("scheduler", random_id(), lease, start()).await.expect("an answer").expect("free");
    assert_eq!(env.db.lease_deliveries(random_id(), start(), 10).await.expect("an answer").len(), 1);
    assert!(matches!(Db::connect(&url).await, Err(StoreError::Conflict(_))));
    // As after a kill: nothing is given up in words.
    drop(env);

    let db = Db::connect(&url).await.expect("the lock went with its process");
    let lead = db.take_lead("scheduler", random_id(), lease, start()).await.expect("an answer").expect("free");
    assert!(lead.term > dead.term, "the dead leader's commits stay fenced");
    assert_eq!(db.lease_deliveries(random_id(), start(), 10).await.expect("an answer")[0].id, delivery.id);
}
