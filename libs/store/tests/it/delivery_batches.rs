//! Batches of the inbox: what stands in one statement must come out as if each row had come alone.

use slipway_domain::delivery::DeliveryState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{DeliveryId, ProcessId};
use slipway_domain::tenant::Role;
use slipway_runtime::ids::{new_id, random_id};
use slipway_runtime::secret_key::SecretKey;
use slipway_store::deliveries::{Accepted, NewDelivery, Verdict};
use slipway_store::delivery_moves::Move;
use slipway_store::delivery_work::DeliveryEnd;
use slipway_store::hooks::NewHook;
use slipway_store::ref_heads::RefMove;
use slipway_store::{Scope, StoreError};

use crate::env::{Env, both, commit, later, new_delivery, start};

fn told(keys: &[&str]) -> Vec<Move> {
    keys.iter().zip(0..).map(|(key, event_index)| Move { event_index, key: (*key).to_owned() }).collect()
}

/// The bodies as they are stored.
async fn bodies(env: &Env, new: &[NewDelivery]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for new in new {
        bodies.push(env.db.delivery_payload(&Scope::Operator, new.id).await.unwrap().body);
    }
    bodies
}

async fn end(env: &Env, ids: &[DeliveryId], end: &DeliveryEnd) {
    let owner: ProcessId = random_id();
    assert_eq!(env.db.lease_deliveries(owner, later(1), 100).await.unwrap().len(), ids.len());
    let ends: Vec<_> = ids.iter().map(|id| (*id, end.clone())).collect();
    assert_eq!(env.db.finish_deliveries(owner, &ends, later(1)).await.unwrap(), []);
}

both! {
    async fn bodies_of_any_bytes_come_back_as_they_were(env) {
        let world = env.world("own").await;
        let every: Vec<u8> = (0..=255).collect();
        let given = [every.repeat(300), Vec::new(), vec![0], b"\xff\xfe\0\x80".to_vec(), b"{\"a\":\"\\u0000\"}".to_vec(), vec![0; 9000]];
        let new: Vec<NewDelivery> = given
            .iter()
            .enumerate()
            .map(|(index, body)| NewDelivery { body: body.clone(), ..new_delivery(&world.hook, &index.to_string()) })
            .collect();
        env.db.accept_deliveries(&new).await.unwrap();
        assert_eq!(bodies(&env, &new).await, given);
        let leased = env.db.lease_deliveries(random_id(), start(), 10).await.unwrap();
        assert_eq!(leased.iter().map(|row| row.body.clone()).collect::<Vec<_>>(), given);

        let empty = [new_delivery(&world.hook, "x"), new_delivery(&world.hook, "y")].map(|new| NewDelivery { body: Vec::new(), ..new });
        env.db.accept_deliveries(&empty).await.unwrap();
        assert_eq!(bodies(&env, &empty).await, [b"", b""]);
    }
}

both! {
    async fn texts_of_any_kind_come_back_as_they_were(env) {
        let world = env.world("own").await;
        let odd = "\" ' \\ \u{1} \t {} [] $1 \u{2028} \u{fffd} \u{1f980} ü";
        let new = NewDelivery {
            event: odd.to_owned(),
            headers: [(odd.to_owned(), odd.to_owned()), ("empty".to_owned(), String::new())].into(),
            verdict: Verdict::Ignored(odd.to_owned()),
            moves: told(&[odd]),
            ..new_delivery(&world.hook, odd)
        };
        env.db.accept_deliveries(std::slice::from_ref(&new)).await.unwrap();
        let delivery = env.db.delivery(&Scope::Operator, new.id).await.unwrap().delivery;
        assert_eq!((delivery.delivery_key.as_str(), delivery.event.as_str(), delivery.reason.as_deref()), (odd, odd, Some(odd)));
        assert_eq!((delivery.auth, delivery.received_at, delivery.finished_at), (new.auth, start(), Some(start())));
        assert_eq!(env.db.delivery_payload(&Scope::Operator, new.id).await.unwrap().headers.0, new.headers);
        assert_eq!(env.db.assign_moves(world.hook.id, new.id, &new.moves).await.unwrap(), [1]);
        let next = NewDelivery { moves: told(&[odd]), ..new_delivery(&world.hook, "next") };
        env.db.accept_delivery(&next).await.unwrap();
        assert_eq!(env.db.assign_moves(world.hook.id, next.id, &next.moves).await.unwrap(), [2]);
        end(&env, &[next.id], &DeliveryEnd { state: DeliveryState::Failed, reason: Some(odd.to_owned()) }).await;
        assert_eq!(env.db.delivery(&Scope::Operator, next.id).await.unwrap().delivery.reason.as_deref(), Some(odd));
    }
}

both! {
    async fn old_and_new_of_one_batch_each_get_their_answer_and_their_numbers(env) {
        let world = env.world("own").await;
        let with = |key: &str, moves: &[&str]| NewDelivery { moves: told(moves), ..new_delivery(&world.hook, key) };
        let (worked, waiting) = (with("worked", &["a>b"]), with("waiting", &["a>b"]));
        env.db.accept_delivery(&worked).await.unwrap();
        end(&env, &[worked.id], &DeliveryEnd { state: DeliveryState::Ignored, reason: None }).await;
        env.db.accept_delivery(&waiting).await.unwrap();

        let batch = [
            with("new", &["a>b", "b>c"]),
            with("worked", &["a>b"]),
            with("waiting", &["a>b"]),
            with("new", &["a>b", "b>c"]),
            with("another", &["a>b"]),
            with("worked", &["a>b"]),
        ];
        let accepted = env.db.accept_deliveries(&batch).await.unwrap();
        let duplicate = |id| Accepted::Duplicate { id, state: DeliveryState::Received, reason: None };
        let expected = [
            Accepted::New(batch[0].id),
            Accepted::Reopened(worked.id),
            duplicate(waiting.id),
            duplicate(batch[0].id),
            Accepted::New(batch[4].id),
            duplicate(worked.id),
        ];
        assert_eq!(accepted, expected);
        let numbers = async |id, moves: &[&str]| env.db.assign_moves(world.hook.id, id, &told(moves)).await.unwrap();
        assert_eq!(numbers(worked.id, &["a>b"]).await, [1]);
        assert_eq!(numbers(waiting.id, &["a>b"]).await, [2]);
        // Of one batch, in the order of their keys.
        let mut both = [numbers(batch[0].id, &["a>b", "b>c"]).await, numbers(batch[4].id, &["a>b"]).await];
        both.sort();
        assert_eq!(both.map(|numbers| numbers[0]), [3, 4]);
        assert_eq!(numbers(batch[0].id, &["a>b", "b>c"]).await[1], 1);
    }
}

both! {
    async fn what_is_opened_again_in_its_own_batch_keeps_the_last_payload(env) {
        let world = env.world("own").await;
        let told_first = NewDelivery { verdict: Verdict::Ignored("skipped".to_owned()), ..new_delivery(&world.hook, "x") };
        let told_again = NewDelivery { body: b"again".to_vec(), moves: told(&["a>b"]), ..new_delivery(&world.hook, "x") };
        let accepted = env.db.accept_deliveries(&[told_first.clone(), told_again.clone()]).await.unwrap();
        assert_eq!(accepted, [Accepted::New(told_first.id), Accepted::Reopened(told_first.id)]);
        assert_eq!(bodies(&env, std::slice::from_ref(&told_first)).await, [told_again.body]);
        assert_eq!(env.db.lease_deliveries(random_id(), start(), 10).await.unwrap().len(), 1);
    }
}

both! {
    async fn a_delivery_that_cannot_be_stored_leaves_nothing_of_its_batch(env) {
        let world = env.world("own").await;
        let good = NewDelivery { moves: told(&["a>b"]), ..new_delivery(&world.hook, "good") };
        let bad = NewDelivery { hook: random_id(), ..new_delivery(&world.hook, "bad") };
        assert!(env.db.accept_deliveries(&[good.clone(), bad.clone()]).await.is_err());
        assert!(matches!(env.db.delivery(&Scope::Operator, good.id).await, Err(StoreError::NotFound(_))));
        assert_eq!(env.db.accept_delivery(&good).await.unwrap(), Accepted::New(good.id));
        assert!(env.db.accept_delivery(&bad).await.is_err());
        assert_eq!(env.db.accept_deliveries(&[]).await.unwrap(), []);
    }
}

both! {
    async fn moves_of_many_deliveries_are_noted_in_their_order(env) {
        let (world, other) = (env.world("own").await, env.world("other").await);
        let [main, next] = ["refs/heads/main", "refs/heads/next"].map(|name| GitRef::parse(name).unwrap());
        let [a, b, c] = ['a', 'b', 'c'].map(commit);
        let of = |project, git_ref, before, after| RefMove { project, git_ref, before, after, now: later(1) };
        let own = world.project.id;
        let moves = [
            of(own, &next, None, Some(a.as_str())),
            of(own, &main, None, Some(&a)),
            of(other.project.id, &main, Some(&b), Some(&c)),
            of(own, &main, Some(&a), Some(&b)),
            of(own, &next, Some(&b), Some(&c)),
            of(own, &main, Some(&b), Some(&a)),
            of(own, &main, Some(&a), Some(&c)),
            of(own, &next, Some(&a), None),
        ];
        assert_eq!(env.db.note_moves(&moves).await.unwrap(), 7, "all but the one that comes from elsewhere");
        let head = async |project, git_ref| env.db.ref_head(project, git_ref).await.unwrap();
        assert_eq!(head(own, &main).await, Some(c.clone()));
        assert_eq!(head(own, &next).await, None);
        assert_eq!(head(other.project.id, &main).await, Some(c.clone()));
        assert_eq!(env.db.note_moves(&moves[..2]).await.unwrap(), 1, "next was deleted and is there again");
        assert_eq!(env.db.note_moves(&[]).await.unwrap(), 0);
    }
}

both! {
    async fn many_hooks_are_read_at_once_and_a_damaged_one_spoils_none(env) {
        let (world, other) = (env.world("own").await, env.world("other").await);
        let damaged = NewHook { id: random_id(), secret: "x".to_owned(), now: start() };
        env.db.add_hook(&SecretKey::generate(), &Scope::Operator, world.project.id, &damaged).await.unwrap();
        let ids = [world.hook.id, damaged.id, random_id(), other.hook.id];
        let mut hooks = env.db.hooks(&env.key, &ids).await.unwrap();
        assert_eq!(hooks.len(), 3);
        for expected in [&world, &other] {
            let hook = hooks.remove(&expected.hook.id).unwrap().unwrap();
            assert_eq!((hook.project_id, hook.tenant_id), (expected.project.id, expected.tenant));
            assert_eq!(hook.secrets, ["hook-secret"]);
        }
        assert!(matches!(hooks.remove(&damaged.id), Some(Err(StoreError::Damaged(..)))));
        assert!(env.db.hooks(&env.key, &[]).await.unwrap().is_empty());
    }
}

both! {
    async fn many_projects_are_read_at_once_and_only_those_that_the_scope_sees(env) {
        let (world, other) = (env.world("own").await, env.world("other").await);
        let ids = [world.project.id, other.project.id, new_id()];
        let all = env.db.projects(&Scope::Operator, &ids).await.unwrap();
        assert_eq!(Vec::from_iter(all.into_values()), [world.project.clone(), other.project]);
        let member = Scope::Member { tenant: world.tenant, role: Role::Viewer };
        let own = env.db.projects(&member, &ids).await.unwrap();
        assert_eq!(Vec::from_iter(own.into_values()), [world.project]);
        assert!(env.db.projects(&Scope::Public, &ids).await.unwrap().is_empty());
    }
}
