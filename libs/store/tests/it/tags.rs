//! Leave: one attempt moves a tag at a time, the newer build of a ref wins, and cancel and leave exclude each
//! other.

use slipway_domain::agent::{Finish, Leave, LeaveRequest, LeaveReturn, PushedImage};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::build::CancelledBy;
use slipway_domain::ids::BuildId;
use slipway_domain::plan::Plans;
use slipway_store::StoreError;
use slipway_store::builds::{NewBuild, RefOrder};
use slipway_store::job_cancels::CancelOutcome;
use slipway_store::unreturned_leaves::{Found, UnreturnedLeave};

use crate::crew::Crew;
use crate::env::{Env, World, both, commit, later, new_build, start};

fn tag(digest: &str) -> LeaveRequest {
    LeaveRequest {
        registry: "registry.example".to_owned(),
        repository: "acme/app".to_owned(),
        tag: "main".to_owned(),
        digest: digest.to_owned(),
    }
}

fn granted(leave: &Leave) -> bool {
    matches!(leave, Leave::Granted { .. })
}

async fn pushed(env: &Env, world: &World, crew: &Crew, before: Option<char>, after: char) -> (BuildId, AttemptRef) {
    let order = RefOrder::Move { before: before.map(commit), after: commit(after) };
    let new =
        NewBuild { order, before: before.map(commit), ..new_build(&world.project, &after.to_string(), commit(after)) };
    let build = env.db.create_build(&new).await.unwrap().build;
    let lead = env
        .db
        .take_lead(
            "scheduler",
            slipway_domain::ids::ProcessId::from(uuid::Uuid::from_u128(1)),
            std::time::Duration::from_secs(600),
            start(),
        )
        .await
        .unwrap()
        .unwrap();
    let attempt = env.running(crew, &lead, env.job_of(build).await.id, start()).await;
    (build, attempt)
}

both! {
    async fn the_newer_build_wins_whoever_asks_first(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(newer, &tag("sha256:b"), start()).await.unwrap()));
        assert!(matches!(env.db.request_leave(older, &tag("sha256:a"), start()).await.unwrap(), Leave::Wait { .. }));
        assert!(granted(&env.db.request_leave(newer, &tag("sha256:b"), start()).await.unwrap()), "repeated, same answer");
        let back = LeaveReturn { leave: tag("sha256:b"), moved: true, lease: None };
        env.db.return_leave(newer, &back, start()).await.unwrap();
        env.db.return_leave(newer, &back, start()).await.unwrap();
        assert!(matches!(env.db.request_leave(older, &tag("sha256:a"), start()).await.unwrap(), Leave::NotMoved { .. }));
        env.finish(newer, AttemptOutcome::Succeeded, later(1)).await;
    }
}

both! {
    async fn refs_that_share_a_tag_each_keep_their_order(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        let show = async |attempt, digest: &str| {
            let asked = env.db.request_leave(attempt, &tag(digest), start()).await.unwrap();
            if granted(&asked) {
                env.db.return_leave(attempt, &LeaveReturn { leave: tag(digest), moved: true, lease: None }, start()).await.unwrap();
            }
            granted(&asked)
        };
        assert!(show(newer, "sha256:b").await);
        env.finish(newer, AttemptOutcome::Succeeded, later(1)).await;
        let order = RefOrder::Move { before: None, after: commit('c') };
        let git_ref = Some(slipway_domain::git_ref::GitRef::parse("refs/heads/other").unwrap());
        let other = NewBuild { order, git_ref, ..new_build(&world.project, "c", commit('c')) };
        let other = env.db.create_build(&other).await.unwrap().build;
        let lead = env.lead(later(1000)).await;
        let other = env.running(&crew, &lead, env.job_of(other).await.id, later(1000)).await;
        assert!(show(other, "sha256:c").await, "between refs the later leave wins");
        assert!(!show(older, "sha256:a").await, "main showed a newer one before");
    }
}

both! {
    async fn a_dead_holder_blocks_a_tag_only_until_its_lease_ends(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, dead) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, next) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(dead, &tag("sha256:a"), start()).await.unwrap()));
        assert!(matches!(env.db.request_leave(next, &tag("sha256:b"), later(29)).await.unwrap(), Leave::Wait { .. }));
        let asked = env.db.request_leave(next, &tag("sha256:b"), later(30)).await.unwrap();
        assert!(matches!(asked, Leave::Granted { within_ms: 15_000, .. }), "half of the lease: {asked:?}");
        let late = LeaveReturn { leave: tag("sha256:a"), moved: true, lease: None };
        env.db.return_leave(dead, &late, later(30)).await.unwrap();
        let again = env.db.request_leave(dead, &tag("sha256:a"), later(32)).await.unwrap();
        assert!(matches!(again, Leave::Wait { .. }), "a late return takes nothing from the new holder");
    }
}

both! {
    async fn a_finish_returns_the_leave_whose_return_was_never_heard(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(newer, &tag("sha256:b"), start()).await.unwrap()));
        let image = |tag: &str, moved| PushedImage {
            reference: format!("registry.example/acme/app:{tag}"),
            digest: "sha256:b".to_owned(),
            size_bytes: 1,
            moved,
            lease: None,
        };
        let finish = Finish {
            outcome: AttemptOutcome::Succeeded,
            failure: None,
            images: vec![image("main", true), image("other", true), image("third", false)],
            built: Vec::new(),
            remarks: Default::default(),
            log_end: 0,
            log_sha256: String::new(),
        };
        env.db.finish_attempt(newer, &finish, later(40)).await.unwrap();
        let asked = env.db.request_leave(older, &tag("sha256:a"), later(41)).await.unwrap();
        assert!(matches!(asked, Leave::NotMoved { .. }), "{asked:?}");
    }
}

both! {
    async fn after_a_cancel_there_is_no_leave_and_after_leave_no_cancel(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (cancelled, attempt) = pushed(&env, &world, &crew, None, 'a').await;
        env.db.cancel_build(cancelled, CancelledBy::User, start()).await.unwrap();
        assert_eq!(env.db.request_leave(attempt, &tag("sha256:a"), start()).await.unwrap(), Leave::Cancelled);
        let (publishing, attempt) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(attempt, &tag("sha256:b"), start()).await.unwrap()));
        let cancel = env.db.cancel_build(publishing, CancelledBy::User, start()).await.unwrap();
        assert_eq!(cancel, CancelOutcome::AlreadyPublishing);
    }
}

both! {
    async fn a_lost_attempt_gets_no_leave(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (build, attempt) = pushed(&env, &world, &crew, None, 'a').await;
        env.db.lose_attempt(attempt, "on purpose", start()).await.unwrap();
        let refused = async || {
            let asked = env.db.request_leave(attempt, &tag("sha256:a"), start()).await;
            matches!(asked, Err(StoreError::Stale("attempt")))
        };
        assert!(refused().await);
        let lead = env.lead(later(1000)).await;
        let next = env.running(&crew, &lead, attempt.job, later(1000)).await;
        assert!(refused().await, "its job runs under another epoch");
        let cancelled = env.db.cancel_build(build, CancelledBy::User, later(1000)).await.unwrap();
        assert_eq!(cancelled, CancelOutcome::Stopping(vec![next]));
        assert!(refused().await, "it is not the one that was cancelled");
    }
}

both! {
    async fn a_move_that_is_told_late_wins_over_an_older_one_that_was_told_in_time(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        let returned = async |attempt, digest: &str, secs| {
            let back = LeaveReturn { leave: tag(digest), moved: true, lease: None };
            env.db.return_leave(attempt, &back, later(secs)).await.unwrap();
        };
        assert!(granted(&env.db.request_leave(newer, &tag("sha256:b"), start()).await.unwrap()));
        assert!(granted(&env.db.request_leave(older, &tag("sha256:a"), later(31)).await.unwrap()));
        returned(older, "sha256:a", 32).await;
        // For half a minute nobody had heard the newer one, which the registry had answered long ago.
        for secs in [33, 34] {
            returned(newer, "sha256:b", secs).await;
        }
        let asked = env.db.request_leave(older, &tag("sha256:a"), later(35)).await.unwrap();
        assert!(matches!(asked, Leave::NotMoved { .. }), "{asked:?}");
        assert!(due(&env, 62).await.is_empty());
        let leave = due(&env, 63).await.remove(0);
        assert_eq!((leave.job, leave.holder_digest.as_str()), (older.job, "sha256:a"));
        assert_eq!((leave.shown_digest.as_deref(), leave.shown_is_newer), (Some("sha256:b"), true), "to be put back");
    }
}

both! {
    async fn a_move_that_is_told_while_an_older_build_moves_the_tag_wins_as_well(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(newer, &tag("sha256:b"), start()).await.unwrap()));
        assert!(granted(&env.db.request_leave(older, &tag("sha256:a"), later(31)).await.unwrap()));
        for (attempt, digest) in [(newer, "sha256:b"), (older, "sha256:a")] {
            let back = LeaveReturn { leave: tag(digest), moved: true, lease: None };
            env.db.return_leave(attempt, &back, later(32)).await.unwrap();
        }
        let leave = due(&env, 62).await.remove(0);
        assert_eq!((leave.job, leave.holder_digest.as_str()), (older.job, "sha256:a"));
        assert_eq!((leave.shown_digest.as_deref(), leave.shown_is_newer), (Some("sha256:b"), true), "to be put back");
    }
}

both! {
    async fn a_late_copy_of_a_request_does_not_hide_what_an_older_build_did_in_between(env) {
        let world = env.world("own").await;
        env.db.change_tenant(world.tenant, None, Some(Some(3)), &Plans::default()).await.unwrap();
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, newer) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        let (_, newest) = pushed(&env, &world, &crew, Some('b'), 'c').await;
        let asked = async |attempt, digest: &str, secs| {
            match env.db.request_leave(attempt, &tag(digest), later(secs)).await.unwrap() {
                Leave::Granted { lease, .. } => lease,
                other => panic!("{other:?}"),
            }
        };
        let returned = async |attempt, digest: &str, lease, secs| {
            let back = LeaveReturn { leave: tag(digest), moved: true, lease };
            env.db.return_leave(attempt, &back, later(secs)).await.unwrap();
        };
        let first = asked(newer, "sha256:b", 0).await;
        let between = asked(older, "sha256:a", 31).await;
        returned(older, "sha256:a", between, 32).await;
        assert_ne!(asked(newer, "sha256:b", 33).await, first, "a leave of its own");
        for secs in [34, 35] {
            returned(newer, "sha256:b", first, secs).await;
        }
        let leave = due(&env, 64).await.remove(0);
        assert_eq!((leave.job, leave.holder_digest.as_str()), (older.job, "sha256:a"));
        assert_eq!((leave.shown_digest.as_deref(), leave.shown_is_newer), (Some("sha256:b"), true), "to be put back");
        assert!(env.db.settle_unreturned_leave(&leave, Found::NotMoved).await.unwrap());

        // With nobody in between the registry is asked as well, and shows what the row says.
        let first = asked(newest, "sha256:c", 70).await;
        asked(newest, "sha256:c", 71).await;
        returned(newest, "sha256:c", first, 72).await;
        let leave = due(&env, 102).await.remove(0);
        assert_eq!((leave.holder_digest.as_str(), leave.shown_digest.as_deref()), ("sha256:b", Some("sha256:c")));
    }
}

/// What a sweeper takes over so many seconds after the start.
async fn due(env: &Env, secs: i64) -> Vec<UnreturnedLeave> {
    let due = env.db.due_leaves(later(secs)).await.unwrap();
    env.db.take_leaves(later(secs), due).await.unwrap()
}

both! {
    async fn an_unreturned_leave_is_taken_by_one_once_no_put_can_be_on_its_way(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, dead) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, next) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(dead, &tag("sha256:a"), start()).await.unwrap()));
        assert!(due(&env, 59).await.is_empty(), "its lease ended 29 s ago");
        let (one, other) = tokio::join!(due(&env, 60), due(&env, 60));
        let taken: Vec<_> = one.into_iter().chain(other).collect();
        assert_eq!(taken.len(), 1, "of two processes one gets it");
        let leave = &taken[0];
        assert_eq!((leave.registry.as_str(), leave.repository.as_str(), leave.tag.as_str()), ("registry.example", "acme/app", "main"));
        assert_eq!((leave.job, leave.tenant, leave.holder_digest.as_str()), (dead.job, world.tenant, "sha256:a"));
        assert_eq!((leave.shown_digest.as_deref(), leave.shown_is_newer), (None, false));

        // While it is looked into, nobody moves the tag, not even the old holder.
        for (attempt, digest) in [(dead, "sha256:a"), (next, "sha256:b")] {
            let asked = env.db.request_leave(attempt, &tag(digest), later(61)).await.unwrap();
            assert!(matches!(asked, Leave::Wait { .. }), "{asked:?}");
        }
        assert!(due(&env, 61).await.is_empty());
        assert!(env.db.settle_unreturned_leave(leave, Found::NotMoved).await.unwrap());
        assert!(!env.db.settle_unreturned_leave(leave, Found::NotMoved).await.unwrap(), "only once");
        assert!(due(&env, 1000).await.is_empty());
        assert!(granted(&env.db.request_leave(next, &tag("sha256:b"), later(62)).await.unwrap()));
    }
}

both! {
    async fn a_tag_that_moved_without_a_word_is_booked_as_if_it_had_been_returned(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, older) = pushed(&env, &world, &crew, None, 'a').await;
        let (_, dead) = pushed(&env, &world, &crew, Some('a'), 'b').await;
        assert!(granted(&env.db.request_leave(dead, &tag("sha256:b"), start()).await.unwrap()));
        let leave = due(&env, 60).await.remove(0);
        assert!(env.db.settle_unreturned_leave(&leave, Found::Moved).await.unwrap());
        let asked = env.db.request_leave(older, &tag("sha256:a"), later(61)).await.unwrap();
        assert!(matches!(asked, Leave::NotMoved { .. }), "{asked:?}");
        // The next one that vanishes is looked into with what the row knows by now.
        assert!(granted(&env.db.request_leave(dead, &tag("sha256:b2"), later(61)).await.unwrap()));
        let leave = due(&env, 121).await.remove(0);
        assert_eq!((leave.shown_digest.as_deref(), leave.holder_digest.as_str()), (Some("sha256:b"), "sha256:b2"));
    }
}

both! {
    async fn a_registry_with_many_due_leaves_hides_no_other(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, dead) = pushed(&env, &world, &crew, None, 'a').await;
        let leave = |registry: &str, tag: &str| LeaveRequest { registry: registry.to_owned(), tag: tag.to_owned(), ..self::tag("sha256:a") };
        for n in 0..9 {
            assert!(granted(&env.db.request_leave(dead, &leave("many.example", &format!("t{n}")), start()).await.unwrap()));
        }
        assert!(granted(&env.db.request_leave(dead, &leave("one.example", "main"), later(9)).await.unwrap()));
        let found = env.db.due_leaves(later(100)).await.unwrap();
        let registries: Vec<_> = found.iter().map(|due| due.registry.as_str()).collect();
        assert_eq!(registries, ["many.example", "one.example", "many.example", "many.example", "many.example"]);
        let taken = env.db.take_leaves(later(100), found.clone()).await.unwrap();
        assert_eq!((taken.len(), env.db.take_leaves(later(100), found).await.unwrap().len()), (5, 0));
        assert_eq!(env.db.due_leaves(later(100)).await.unwrap().len(), 4, "the next of those that are left");
    }
}

both! {
    async fn a_returned_leave_is_never_looked_into_and_a_dead_looker_is_replaced(env) {
        let world = env.world("own").await;
        let crew = env.crew(start()).await;
        let (_, attempt) = pushed(&env, &world, &crew, None, 'a').await;
        for moved in [true, false] {
            assert!(granted(&env.db.request_leave(attempt, &tag("sha256:a"), start()).await.unwrap()));
            env.db.return_leave(attempt, &LeaveReturn { leave: tag("sha256:a"), moved, lease: None }, start()).await.unwrap();
            assert!(due(&env, 1000).await.is_empty());
        }
        assert!(granted(&env.db.request_leave(attempt, &tag("sha256:a2"), start()).await.unwrap()));
        let dead = due(&env, 60).await.remove(0);
        assert!(due(&env, 119).await.is_empty());
        let again = due(&env, 120).await.remove(0);
        assert!(!env.db.settle_unreturned_leave(&dead, Found::Moved).await.unwrap(), "the row is another's by now");
        assert_eq!((again.holder_digest.as_str(), again.shown_digest.as_deref()), ("sha256:a2", Some("sha256:a")));
        assert!(env.db.settle_unreturned_leave(&again, Found::NotMoved).await.unwrap());
    }
}
