//! What is deleted of deliveries, and what never is.

use std::collections::BTreeSet;

use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{DeliveryId, ProcessId};
use slipway_runtime::ids::{new_id, random_id};
use slipway_store::builds::NewBuild;
use slipway_store::deliveries::{Accepted, DeliveryFilter, NewDelivery};
use slipway_store::delivery_moves::Move;
use slipway_store::delivery_work::DeliveryEnd;
use slipway_store::{Scope, StoreError};

use crate::env::{Env, World, both, commit, later, new_build, new_delivery, start};

const ALL: DeliveryFilter = DeliveryFilter { project: None, state: None, before: None, limit: 100 };

/// A delivery that ended so many seconds after the start.
async fn ended(env: &Env, world: &World, key: &str, secs: i64) -> NewDelivery {
    let told = Move { event_index: 0, key: "a>b".to_owned() };
    let new = NewDelivery { moves: vec![told], ..new_delivery(&world.hook, key) };
    env.db.accept_delivery(&new).await.unwrap();
    end(env, new.id, secs).await;
    new
}

async fn end(env: &Env, id: DeliveryId, secs: i64) {
    let owner: ProcessId = random_id();
    let leased = env.db.lease_deliveries(owner, later(secs), 10).await.unwrap();
    assert_eq!(leased.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
    let ignored = DeliveryEnd { state: DeliveryState::Ignored, reason: Some("paused".to_owned()) };
    env.db.finish_delivery(owner, id, &ignored, later(secs)).await.unwrap();
}

async fn kept(env: &Env, id: DeliveryId) -> Vec<u8> {
    env.db.delivery_payload(&Scope::Operator, id).await.unwrap().body
}

async fn all(env: &Env) -> BTreeSet<DeliveryId> {
    env.db.list_deliveries(&Scope::Operator, &ALL).await.unwrap().iter().map(|view| view.delivery.id).collect()
}

both! {
    async fn bodies_of_old_deliveries_go_and_the_rest_of_them_stays(env) {
        let world = env.world("own").await;
        let old = ended(&env, &world, "old", 10).await;
        let older = ended(&env, &world, "older", 5).await;
        let young = ended(&env, &world, "young", 20).await;
        let waiting = new_delivery(&world.hook, "waiting");
        env.db.accept_delivery(&waiting).await.unwrap();
        assert_eq!(env.db.delete_delivery_bodies(later(20), later(100), 1).await.unwrap(), 1);
        assert!(kept(&env, older.id).await.is_empty() && !kept(&env, old.id).await.is_empty(), "the oldest first");
        assert_eq!(env.db.delete_delivery_bodies(later(20), later(100), 10).await.unwrap(), 1);
        assert_eq!(env.db.delete_delivery_bodies(later(20), later(100), 10).await.unwrap(), 0, "once is enough");
        assert!(kept(&env, old.id).await.is_empty());
        assert_eq!((kept(&env, young.id).await, kept(&env, waiting.id).await), (young.body, waiting.body));
        let view = env.db.delivery(&Scope::Operator, old.id).await.unwrap().delivery;
        assert_eq!((view.state, view.reason.as_deref()), (DeliveryState::Ignored, Some("paused")));
    }
}

both! {
    async fn without_its_body_a_delivery_is_not_replayed_but_a_redelivery_brings_it_back(env) {
        let world = env.world("own").await;
        let old = ended(&env, &world, "old", 10).await;
        env.db.delete_delivery_bodies(later(20), later(20), 10).await.unwrap();
        let refused = env.db.replay_delivery(&Scope::Operator, old.id, later(21)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(ref why)) if why.contains("deliver it again")), "{refused:?}");
        let again = NewDelivery { id: new_id(), now: later(22), body: b"{\"whole\":1}".to_vec(), ..old.clone() };
        assert_eq!(env.db.accept_delivery(&again).await.unwrap(), Accepted::Reopened(old.id));
        assert_eq!(kept(&env, old.id).await, again.body);
        assert_eq!(env.db.delete_delivery_bodies(later(1000), later(1000), 10).await.unwrap(), 0, "it waits to be worked");
        end(&env, old.id, 30).await;
        env.db.replay_delivery(&Scope::Operator, old.id, later(31)).await.unwrap();
    }
}

both! {
    async fn old_rows_go_unless_they_made_a_build_or_wait(env) {
        let world = env.world("own").await;
        let gone = ended(&env, &world, "gone", 10).await;
        let young = ended(&env, &world, "young", 20).await;
        let built = ended(&env, &world, "built", 10).await;
        let build = NewBuild { delivery: Some(built.id), ..new_build(&world.project, "push:1", commit('a')) };
        env.db.create_build(&build).await.unwrap();
        let waiting = new_delivery(&world.hook, "waiting");
        env.db.accept_delivery(&waiting).await.unwrap();
        assert_eq!(env.db.delete_deliveries_without_build(later(20), 10).await.unwrap(), 1);
        assert_eq!(all(&env).await, [young.id, built.id, waiting.id].into());
        assert_eq!(env.db.delete_deliveries_without_build(later(20), 10).await.unwrap(), 0);
        // Delivered again after that long, it is a new one.
        let again = NewDelivery { id: new_id(), now: start(), ..gone };
        assert_eq!(env.db.accept_delivery(&again).await.unwrap(), Accepted::New(again.id));
    }
}

both! {
    async fn a_number_that_a_build_stands_for_is_never_given_again(env) {
        let world = env.world("own").await;
        let told = Move { event_index: 0, key: "a>b".to_owned() };
        let first = ended(&env, &world, "1", 10).await;
        // Told of by another hook, the second time made a build; here it did not.
        let second = ended(&env, &world, "2", 10).await;
        env.db.create_build(&new_build(&world.project, &told.dedupe_key(2), commit('a'))).await.unwrap();
        assert_eq!(env.db.delete_deliveries_without_build(later(20), 10).await.unwrap(), 1);
        assert_eq!(all(&env).await, [second.id].into(), "{} had number 1", first.id);
        let third = new_delivery(&world.hook, "3");
        env.db.accept_delivery(&third).await.unwrap();
        assert_eq!(env.db.assign_moves(world.hook.id, third.id, &[told]).await.unwrap(), [3]);
    }
}
