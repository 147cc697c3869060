//! The inbox: stored once, worked by one at a time, never forgotten.

use futures_util::future::join_all;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{DeliveryId, ProcessId};
use slipway_domain::tenant::Role;
use slipway_domain::timing;
use slipway_runtime::ids::{new_id, random_id};
use slipway_store::builds::NewBuild;
use slipway_store::deliveries::{Accepted, DeliveryFilter, NewDelivery, Verdict};
use slipway_store::delivery_moves::Move;
use slipway_store::delivery_work::{DeliveryEnd, retry_pause};
use slipway_store::hooks::NewHook;
use slipway_store::{Scope, StoreError};

use crate::env::{both, commit, later, new_build, new_delivery, start};

const ALL: DeliveryFilter = DeliveryFilter { project: None, state: None, before: None, limit: 100 };

fn told(key: &str) -> Vec<Move> {
    vec![Move { event_index: 0, key: key.to_owned() }]
}

fn done() -> DeliveryEnd {
    DeliveryEnd { state: DeliveryState::Done, reason: None }
}

fn ignored() -> DeliveryEnd {
    DeliveryEnd { state: DeliveryState::Ignored, reason: Some("paused".to_owned()) }
}

both! {
    async fn two_equal_deliveries_at_once_are_stored_once(env) {
        let world = env.world("own").await;
        let new: Vec<NewDelivery> =
            (0..8).map(|_| NewDelivery { moves: told("a>b"), ..new_delivery(&world.hook, "guid") }).collect();
        let accepted = join_all(new.iter().map(|new| env.db.accept_delivery(new))).await;
        let accepted: Vec<Accepted> = accepted.into_iter().map(|accepted| accepted.unwrap()).collect();
        let winners: Vec<DeliveryId> = accepted
            .iter()
            .filter_map(|accepted| if let Accepted::New(id) = accepted { Some(*id) } else { None })
            .collect();
        assert_eq!(winners.len(), 1, "{accepted:?}");
        for accepted in accepted {
            match accepted {
                Accepted::New(id) => assert_eq!(id, winners[0]),
                Accepted::Duplicate { id, state, .. } => assert_eq!((id, state), (winners[0], DeliveryState::Received)),
                Accepted::Reopened(id) => panic!("{id} was worked already"),
            }
        }
        assert_eq!(env.db.list_deliveries(&Scope::Operator, &ALL).await.unwrap().len(), 1);
        assert_eq!(env.db.assign_moves(world.hook.id, winners[0], &told("a>b")).await.unwrap(), [1]);
    }
}

both! {
    async fn a_batch_is_answered_in_its_order_with_its_duplicates(env) {
        let world = env.world("own").await;
        let batch: Vec<NewDelivery> =
            ["b", "a", "b", "c"].iter().map(|key| new_delivery(&world.hook, key)).collect();
        let accepted = env.db.accept_deliveries(&batch).await.unwrap();
        assert_eq!(accepted[0], Accepted::New(batch[0].id));
        assert_eq!(accepted[1], Accepted::New(batch[1].id));
        assert!(matches!(accepted[2], Accepted::Duplicate { id, .. } if id == batch[0].id));
        assert_eq!(accepted[3], Accepted::New(batch[3].id));
    }
}

both! {
    async fn batches_of_the_same_rows_in_any_order_do_not_block_each_other(env) {
        let world = env.world("own").await;
        let batch = |order: Vec<usize>| -> Vec<NewDelivery> {
            let new = |index: &usize| {
                let key = format!("{index}.{}", random_id::<DeliveryId>());
                NewDelivery { moves: told(&format!("move {}", index % 3)), ..new_delivery(&world.hook, &key) }
            };
            order.iter().map(new).collect()
        };
        let batches = [batch((0..9).collect()), batch((0..9).rev().collect()), batch(vec![4, 2, 0, 8, 6, 1, 3, 7, 5])];
        for accepted in join_all(batches.iter().map(|batch| env.db.accept_deliveries(batch))).await {
            assert_eq!(accepted.unwrap().len(), 9);
        }
    }
}

both! {
    async fn moves_are_counted_per_hook_and_per_delivery(env) {
        let world = env.world("own").await;
        let second = NewHook { id: random_id(), secret: "x".to_owned(), now: start() };
        env.db.add_hook(&env.key, &Scope::Operator, world.project.id, &second).await.unwrap();
        let second = env.db.hook(&env.key, second.id).await.unwrap();

        let deliveries: Vec<NewDelivery> = (0..6)
            .map(|index| NewDelivery { moves: told("a>b"), ..new_delivery(&world.hook, &format!("guid {index}")) })
            .collect();
        for accepted in join_all(deliveries.iter().map(|new| env.db.accept_delivery(new))).await {
            assert!(matches!(accepted.unwrap(), Accepted::New(_)));
        }
        let mut numbers = Vec::new();
        for delivery in &deliveries {
            numbers.extend(env.db.assign_moves(world.hook.id, delivery.id, &told("a>b")).await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "each delivery of a move has its own number");

        let elsewhere = NewDelivery { moves: told("a>b"), ..new_delivery(&second, "guid 0") };
        env.db.accept_delivery(&elsewhere).await.unwrap();
        assert_eq!(env.db.assign_moves(second.id, elsewhere.id, &told("a>b")).await.unwrap(), [1]);

        let late = new_delivery(&second, "without moves");
        env.db.accept_delivery(&late).await.unwrap();
        let moves = [Move { event_index: 0, key: "z".to_owned() }, Move { event_index: 1, key: "a>b".to_owned() }];
        assert_eq!(env.db.assign_moves(second.id, late.id, &moves).await.unwrap(), [1, 2]);
        assert_eq!(env.db.assign_moves(second.id, late.id, &moves).await.unwrap(), [1, 2], "asking again counts nothing");
    }
}

both! {
    async fn a_delivery_is_leased_to_one_and_taken_over_when_the_lease_ends(env) {
        let world = env.world("own").await;
        let new = new_delivery(&world.hook, "guid");
        env.db.accept_delivery(&new).await.unwrap();
        let owners: Vec<ProcessId> = (0..6).map(|_| new_id()).collect();
        let leased = join_all(owners.iter().map(|owner| env.db.lease_deliveries(*owner, start(), 10))).await;
        let leased: Vec<_> = leased.into_iter().map(|leased| leased.unwrap()).collect();
        assert_eq!(leased.iter().map(Vec::len).sum::<usize>(), 1);
        let winner = owners[leased.iter().position(|leased| !leased.is_empty()).expect("one")];
        let row = leased.into_iter().flatten().next().expect("one");
        assert_eq!((row.id, row.hook_id, row.attempts), (new.id, world.hook.id, 1));
        assert_eq!((&row.headers.0, &row.body), (&new.headers, &new.body));

        let after = later(i64::try_from(timing::WORK_LEASE.as_secs()).unwrap() + 1);
        let other: ProcessId = new_id();
        let again = env.db.lease_deliveries(other, after, 10).await.unwrap();
        assert_eq!(again.iter().map(|row| row.attempts).collect::<Vec<_>>(), [2]);
        let late = env.db.finish_delivery(winner, new.id, &done(), after).await;
        assert!(matches!(late, Err(StoreError::Stale(_))));
        let late = env.db.retry_delivery_later(winner, new.id, "x", after).await;
        assert!(matches!(late, Err(StoreError::Stale(_))));
        env.db.finish_delivery(other, new.id, &done(), after).await.unwrap();
        assert!(env.db.lease_deliveries(other, later(10_000), 10).await.unwrap().is_empty());
        let view = env.db.delivery(&Scope::Operator, new.id).await.unwrap();
        assert_eq!((view.delivery.state, view.delivery.finished_at), (DeliveryState::Done, Some(after)));
    }
}

both! {
    async fn many_workers_never_share_a_delivery(env) {
        let world = env.world("own").await;
        let new: Vec<NewDelivery> = (0..20).map(|index| new_delivery(&world.hook, &index.to_string())).collect();
        env.db.accept_deliveries(&new).await.unwrap();
        let owners: Vec<ProcessId> = (0..8).map(|_| new_id()).collect();
        for round in 0..10 {
            let now = later(round * 100);
            let leased = join_all(owners.iter().map(|owner| env.db.lease_deliveries(*owner, now, 20))).await;
            let taken: usize = leased.into_iter().map(|leased| leased.unwrap().len()).sum();
            assert_eq!(taken, 20, "in round {round}");
        }
    }
}

both! {
    async fn a_delivery_that_is_put_off_comes_back_at_its_time(env) {
        let world = env.world("own").await;
        let new = new_delivery(&world.hook, "guid");
        env.db.accept_delivery(&new).await.unwrap();
        let owner: ProcessId = new_id();
        env.db.lease_deliveries(owner, start(), 1).await.unwrap();
        env.db.retry_delivery_later(owner, new.id, "the database sulks", later(20)).await.unwrap();
        let view = env.db.delivery(&Scope::Operator, new.id).await.unwrap();
        assert_eq!((view.delivery.state, view.delivery.reason.as_deref()), (DeliveryState::Received, Some("the database sulks")));
        assert!(env.db.lease_deliveries(owner, later(19), 1).await.unwrap().is_empty());
        assert_eq!(env.db.lease_deliveries(owner, later(20), 1).await.unwrap().len(), 1);
    }
}

both! {
    async fn a_redelivery_reopens_only_what_made_no_build(env) {
        let world = env.world("own").await;
        let new = NewDelivery { moves: told("a>b"), ..new_delivery(&world.hook, "guid") };
        env.db.accept_delivery(&new).await.unwrap();
        let owner: ProcessId = new_id();
        env.db.lease_deliveries(owner, start(), 1).await.unwrap();
        env.db.finish_delivery(owner, new.id, &ignored(), later(1)).await.unwrap();

        let again = NewDelivery { id: new_id(), now: later(2), ..new.clone() };
        let unreadable = NewDelivery { verdict: Verdict::Failed("ref is missing".to_owned()), ..again.clone() };
        let kept = env.db.accept_delivery(&unreadable).await.unwrap();
        assert!(matches!(kept, Accepted::Duplicate { state: DeliveryState::Ignored, .. }));
        assert_eq!(env.db.accept_delivery(&again).await.unwrap(), Accepted::Reopened(new.id));
        assert!(matches!(env.db.accept_delivery(&again).await.unwrap(), Accepted::Duplicate { .. }));
        let view = env.db.delivery(&Scope::Operator, new.id).await.unwrap();
        assert_eq!((view.delivery.state, view.delivery.reason, view.delivery.attempts), (DeliveryState::Received, None, 0));

        env.db.lease_deliveries(owner, later(3), 1).await.unwrap();
        let build = NewBuild { delivery: Some(new.id), ..new_build(&world.project, "push:1", commit('a')) };
        let build = env.db.create_build(&build).await.unwrap().build;
        env.db.finish_delivery(owner, new.id, &done(), later(3)).await.unwrap();
        assert!(matches!(
            env.db.accept_delivery(&again).await.unwrap(),
            Accepted::Duplicate { state: DeliveryState::Done, .. }
        ));
        assert_eq!(env.db.delivery(&Scope::Operator, new.id).await.unwrap().builds, [build]);
        assert_eq!(env.db.assign_moves(world.hook.id, new.id, &told("a>b")).await.unwrap(), [1]);
    }
}

both! {
    async fn a_verdict_is_stored_with_the_delivery(env) {
        let world = env.world("own").await;
        for (key, verdict, state, reason) in [
            ("ping", Verdict::Ignored("ping".to_owned()), DeliveryState::Ignored, "ping"),
            ("bad", Verdict::Failed("ref is missing".to_owned()), DeliveryState::Failed, "ref is missing"),
        ] {
            let new = NewDelivery { verdict, ..new_delivery(&world.hook, key) };
            env.db.accept_delivery(&new).await.unwrap();
            let delivery = env.db.delivery(&Scope::Operator, new.id).await.unwrap().delivery;
            assert_eq!((delivery.state, delivery.reason.as_deref()), (state, Some(reason)));
            assert_eq!(delivery.finished_at, Some(start()));
        }
        assert!(env.db.lease_deliveries(new_id(), later(1), 10).await.unwrap().is_empty());
    }
}

both! {
    async fn a_replay_opens_a_worked_delivery_of_the_own_tenant(env) {
        let (world, other) = (env.world("own").await, env.world("other").await);
        let new = new_delivery(&world.hook, "guid");
        env.db.accept_delivery(&new).await.unwrap();
        let member = Scope::Member { tenant: world.tenant, role: Role::Maintainer };
        assert!(matches!(env.db.replay_delivery(&member, new.id, later(1)).await, Err(StoreError::Conflict(_))));
        let owner: ProcessId = new_id();
        env.db.lease_deliveries(owner, start(), 1).await.unwrap();
        env.db.finish_delivery(owner, new.id, &ignored(), later(1)).await.unwrap();
        for scope in [Scope::Public, Scope::Member { tenant: other.tenant, role: Role::Owner }] {
            assert!(matches!(env.db.replay_delivery(&scope, new.id, later(2)).await, Err(StoreError::NotFound(_))));
        }
        env.db.replay_delivery(&member, new.id, later(2)).await.unwrap();
        assert_eq!(env.db.lease_deliveries(owner, later(2), 1).await.unwrap().len(), 1);
    }
}

both! {
    async fn a_tenant_lists_its_own_deliveries_newest_first(env) {
        let (world, other) = (env.world("own").await, env.world("other").await);
        let mut ids = Vec::new();
        for key in ["1", "2", "3"] {
            let new = new_delivery(&world.hook, key);
            env.db.accept_delivery(&new).await.unwrap();
            env.db.accept_delivery(&new_delivery(&other.hook, key)).await.unwrap();
            ids.insert(0, new.id);
        }
        let build = NewBuild { delivery: Some(ids[1]), ..new_build(&world.project, "push:1", commit('a')) };
        let build = env.db.create_build(&build).await.unwrap().build;
        let member = Scope::Member { tenant: world.tenant, role: Role::Viewer };
        let list = async |filter: DeliveryFilter| env.db.list_deliveries(&member, &filter).await.unwrap();
        let found = list(ALL).await;
        assert_eq!(found.iter().map(|view| view.delivery.id).collect::<Vec<_>>(), ids);
        assert_eq!(found.iter().map(|view| view.builds.clone()).collect::<Vec<_>>(), [vec![], vec![build], vec![]]);
        let rest = list(DeliveryFilter { before: Some(ids[0]), limit: 1, ..ALL }).await;
        assert_eq!(rest.iter().map(|view| view.delivery.id).collect::<Vec<_>>(), [ids[1]]);
        assert_eq!(list(DeliveryFilter { project: Some(other.project.id), ..ALL }).await, []);
        assert_eq!(list(DeliveryFilter { state: Some(DeliveryState::Done), ..ALL }).await, []);
        assert_eq!(list(DeliveryFilter { state: Some(DeliveryState::Received), ..ALL }).await.len(), 3);
        assert_eq!(env.db.list_deliveries(&Scope::Operator, &ALL).await.unwrap().len(), 6);

        let payload = env.db.delivery_payload(&member, ids[0]).await.unwrap();
        assert_eq!(payload.body, new_delivery(&world.hook, "1").body);
        for scope in [Scope::Public, Scope::Member { tenant: other.tenant, role: Role::Owner }] {
            assert!(matches!(env.db.delivery(&scope, ids[0]).await, Err(StoreError::NotFound(_))));
            assert!(matches!(env.db.delivery_payload(&scope, ids[0]).await, Err(StoreError::NotFound(_))));
        }
        assert!(env.db.list_deliveries(&Scope::Public, &ALL).await.unwrap().is_empty());
    }
}

#[test]
fn pauses_between_tries_double_up_to_a_limit() {
    let secs: Vec<u64> = [1, 2, 3, 8, 9, 40].map(|attempts| retry_pause(attempts).as_secs()).to_vec();
    assert_eq!(secs, [2, 4, 8, 256, 300, 300]);
}

both! {
    async fn many_ends_share_a_flush_and_a_stale_one_spoils_none(env) {
        let world = env.world("own").await;
        let (owner, other): (ProcessId, ProcessId) = (random_id(), random_id());
        let mine = new_delivery(&world.hook, "mine");
        let theirs = new_delivery(&world.hook, "theirs");
        env.db.accept_delivery(&mine).await.unwrap();
        assert_eq!(env.db.lease_deliveries(owner, start(), 10).await.unwrap().len(), 1);
        env.db.accept_delivery(&theirs).await.unwrap();
        assert_eq!(env.db.lease_deliveries(other, start(), 10).await.unwrap().len(), 1);
        let ends = [(mine.id, done()), (theirs.id, ignored())];
        assert_eq!(env.db.finish_deliveries(owner, &ends, later(1)).await.unwrap(), [theirs.id]);
        let state = async |id| env.db.delivery(&Scope::Operator, id).await.unwrap().delivery.state;
        assert_eq!((state(mine.id).await, state(theirs.id).await), (DeliveryState::Done, DeliveryState::Received));
    }
}

both! {
    async fn one_that_came_in_held_is_ended_by_its_holder_and_found_when_the_lease_ends(env) {
        let world = env.world("own").await;
        let (holder, other): (ProcessId, ProcessId) = (random_id(), random_id());
        let held = |key: &str, verdict| NewDelivery { held_by: Some(holder), verdict, ..new_delivery(&world.hook, key) };
        let new = [held("one", Verdict::Work), held("two", Verdict::Work), held("x", Verdict::Ignored("ping".to_owned()))];
        env.db.accept_deliveries(&new).await.unwrap();
        assert!(env.db.lease_deliveries(other, later(1), 10).await.unwrap().is_empty());
        assert!(matches!(env.db.finish_delivery(other, new[0].id, &done(), later(1)).await, Err(StoreError::Stale(_))));
        env.db.finish_delivery(holder, new[0].id, &done(), later(1)).await.unwrap();

        let late = start() + timing::WORK_LEASE + chrono::TimeDelta::seconds(1);
        let found = env.db.lease_deliveries(other, late, 10).await.unwrap();
        assert_eq!(found.iter().map(|found| (found.id, found.attempts)).collect::<Vec<_>>(), [(new[1].id, 2)]);
        assert_eq!(found[0].body, new[1].body);
        assert!(matches!(env.db.finish_delivery(holder, new[1].id, &done(), late).await, Err(StoreError::Stale(_))));

        // A redelivery opens the row for anybody.
        let again = NewDelivery { id: new_id(), now: later(40), ..new[0].clone() };
        assert_eq!(env.db.accept_delivery(&again).await.unwrap(), Accepted::Reopened(new[0].id));
        assert_eq!(env.db.lease_deliveries(other, later(41), 10).await.unwrap()[0].id, new[0].id);
    }
}
