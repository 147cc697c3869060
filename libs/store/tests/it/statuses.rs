//! Wanted statuses rise, are sent by one at a time, and an older one never follows a newer one.

use slipway_domain::build::{BuildState, CancelledBy};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ConnectionId, ProcessId};
use slipway_domain::status::StatusState;
use slipway_runtime::ids::new_id;
use slipway_store::StoreError;
use slipway_store::projects::ProjectConnection;
use slipway_store::statuses::{ForgeAnswer, LeasedStatus, Reported, StatusKey, WantedStatus};

use crate::env::{Env, World, both, commit, later, new_project, start};

fn reported(world: &World, build_id: BuildId, state: BuildState, seq: i64) -> Reported {
    let wanted = WantedStatus {
        key: StatusKey {
            connection_id: world.project.connection_id,
            repo_path: world.project.repo_path.clone(),
            commit_id: commit('a'),
            context: "slipway/app".to_owned(),
        },
        tenant_id: world.tenant,
        build_id,
        git_ref: Some(GitRef::parse("refs/heads/main").expect("a good ref")),
        wanted: state,
        seq,
    };
    Reported { build_id, state, wanted: Some(wanted) }
}

async fn want(env: &Env, reported: Reported) {
    env.db.want_statuses(&[reported], start()).await.unwrap();
}

async fn lease(env: &Env, owner: ProcessId, secs: i64) -> Option<LeasedStatus> {
    let due = env.db.due_statuses(later(secs)).await.unwrap().into_iter().map(|due| due.key).collect();
    let mut leased = env.db.lease_statuses(owner, later(secs), due).await.unwrap();
    assert!(leased.len() <= 1);
    leased.pop()
}

both! {
    async fn builds_are_reported_once_per_state(env) {
        let world = env.world("own").await;
        let build = env.build(&world, "push:1", commit('a')).await;
        let found = env.db.unreported_builds(10).await.unwrap();
        assert_eq!(found.iter().map(|found| (found.build_id, found.state)).collect::<Vec<_>>(), [(build, BuildState::Pending)]);
        let row = &found[0];
        assert_eq!((row.repo_path.as_str(), row.project_name.as_str(), row.has_token), ("acme/app", "app", true));
        assert_eq!((row.git_ref.as_deref(), row.commit_id.clone()), (Some("refs/heads/main"), commit('a')));
        want(&env, reported(&world, build, BuildState::Pending, 1)).await;
        assert!(env.db.unreported_builds(10).await.unwrap().is_empty());

        env.db.cancel_build(build, CancelledBy::User, later(1)).await.unwrap();
        let found = env.db.unreported_builds(10).await.unwrap();
        assert_eq!(found.iter().map(|found| found.state).collect::<Vec<_>>(), [BuildState::Cancelled]);
        // A reporter that looked before the cancel must not hide it.
        want(&env, reported(&world, build, BuildState::Pending, 1)).await;
        assert_eq!(env.db.unreported_builds(10).await.unwrap().len(), 1);
    }
}

both! {
    async fn an_older_status_never_replaces_a_newer_one(env) {
        let world = env.world("own").await;
        let build = env.build(&world, "push:1", commit('a')).await;
        want(&env, reported(&world, build, BuildState::Succeeded, 5)).await;
        want(&env, reported(&world, build, BuildState::Running, 4)).await;
        let owner: ProcessId = new_id();
        let leased = lease(&env, owner, 1).await.expect("due");
        assert_eq!((leased.wanted, leased.wanted_seq, leased.attempts), (BuildState::Succeeded, 5, 1));
        assert_eq!((leased.key.commit_id.clone(), leased.git_ref.as_deref()), (commit('a'), Some("refs/heads/main")));
        env.db.mark_status_sent(owner, &leased, ForgeAnswer { pipeline_id: Some(77), check_run_id: None }, later(1)).await.unwrap();
        want(&env, reported(&world, build, BuildState::Running, 4)).await;
        assert!(lease(&env, owner, 2).await.is_none());
        want(&env, reported(&world, build, BuildState::Failed, 6)).await;
        assert_eq!(lease(&env, owner, 3).await.expect("due").pipeline_id, Some(77));
    }
}

both! {
    async fn a_newer_wish_waits_for_the_older_one_on_its_way(env) {
        let world = env.world("own").await;
        let build = env.build(&world, "push:1", commit('a')).await;
        want(&env, reported(&world, build, BuildState::Pending, 1)).await;
        let (owner, other): (ProcessId, ProcessId) = (new_id(), new_id());
        let first = lease(&env, owner, 1).await.expect("due");
        want(&env, reported(&world, build, BuildState::Succeeded, 3)).await;
        assert!(lease(&env, other, 2).await.is_none(), "the older one may still be on its way");
        env.db.mark_status_sent(owner, &first, ForgeAnswer::default(), later(2)).await.unwrap();
        let second = lease(&env, other, 2).await.expect("due");
        assert_eq!((second.wanted, second.attempts), (BuildState::Succeeded, 1));
        assert!(matches!(env.db.mark_status_sent(owner, &first, ForgeAnswer::default(), later(2)).await, Err(StoreError::Stale(_))));
        env.db.mark_status_sent(other, &second, ForgeAnswer::default(), later(3)).await.unwrap();
        let views = env.db.statuses_of_build(build).await.unwrap();
        assert_eq!(views.iter().map(|view| (view.wanted, view.state)).collect::<Vec<_>>(), [(BuildState::Succeeded, StatusState::Sent)]);
        assert_eq!((views[0].sent_at, views[0].attempts), (Some(later(3)), 1));
    }
}

/// A project on a connection of its own, with statuses due for these commits, each a second after the other.
async fn told_of(env: &Env, name: &str, base_url: Option<&str>, commits: &str) -> ConnectionId {
    let tenant = env.tenant(name).await;
    let mut new = new_project(tenant, name);
    if let ProjectConnection::New(connection) = &mut new.connection {
        connection.base_url = base_url.map(str::to_owned);
    }
    let project = env.db.create_project(&env.key, &new).await.unwrap();
    let hook = env.db.hook(&env.key, new.hook.id).await.unwrap();
    let world = World { tenant, project, hook };
    let build = env.build(&world, "push:1", commit('a')).await;
    for (digit, secs) in commits.chars().zip(0..) {
        let mut seen = reported(&world, build, BuildState::Pending, 1);
        if let Some(wanted) = &mut seen.wanted {
            wanted.key.commit_id = commit(digit);
        }
        env.db.want_statuses(&[seen], later(secs)).await.unwrap();
    }
    world.project.connection_id
}

both! {
    async fn whoever_has_many_hides_nobody_elses(env) {
        let many = told_of(&env, "many", None, "0123456789abcdef").await;
        let few = told_of(&env, "few", None, "01").await;
        let elsewhere = told_of(&env, "elsewhere", Some("https://git.example"), "0123456789").await;
        let due = env.db.due_statuses(later(100)).await.unwrap();
        let of = |connection: ConnectionId| due.iter().filter(|due| due.key.connection_id == connection).count();
        assert_eq!((of(many), of(few), of(elsewhere)), (6, 2, 8), "8 of each forge, both connections in turn");
        let first: Vec<_> = due.iter().take(4).map(|due| due.forge.base_url.is_some()).collect();
        assert_eq!(first.iter().filter(|elsewhere| **elsewhere).count(), 2, "the forges in turn: {first:?}");
        assert_eq!(env.db.due_statuses(start()).await.unwrap().len(), 3, "only what is due");

        // What is taken is due for nobody, and what follows takes its place.
        let owner: ProcessId = new_id();
        let keys: Vec<StatusKey> = due.iter().map(|due| due.key.clone()).collect();
        assert_eq!(env.db.lease_statuses(owner, later(100), keys.clone()).await.unwrap().len(), 16);
        assert!(env.db.lease_statuses(new_id(), later(100), keys).await.unwrap().is_empty());
        let rest = env.db.due_statuses(later(100)).await.unwrap();
        assert_eq!((rest.len(), rest.iter().filter(|due| due.key.connection_id == many).count()), (10, 8));
    }
}

both! {
    async fn a_limited_status_waits_and_a_refused_one_is_given_up_until_a_newer_one(env) {
        let world = env.world("own").await;
        let build = env.build(&world, "push:1", commit('a')).await;
        want(&env, reported(&world, build, BuildState::Pending, 1)).await;
        let owner: ProcessId = new_id();
        let leased = lease(&env, owner, 1).await.expect("due");
        env.db.retry_status_later(owner, &leased, "asked to wait", later(100)).await.unwrap();
        want(&env, reported(&world, build, BuildState::Running, 2)).await;
        assert!(lease(&env, owner, 99).await.is_none(), "a newer wish does not shorten the wait");
        let leased = lease(&env, owner, 100).await.expect("due");
        assert_eq!(leased.wanted_seq, 2);
        env.db.give_up_status(owner, &leased, "the token is refused").await.unwrap();
        assert!(lease(&env, owner, 1000).await.is_none());
        let view = env.db.statuses_of_build(build).await.unwrap().remove(0);
        assert_eq!((view.state, view.last_error.as_deref()), (StatusState::GivenUp, Some("the token is refused")));
        want(&env, reported(&world, build, BuildState::Succeeded, 3)).await;
        assert_eq!(lease(&env, owner, 1001).await.expect("due").wanted, BuildState::Succeeded);
    }
}
