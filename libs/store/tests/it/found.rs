//! Refs that were found elsewhere than all deliveries told: one build for each, which a late word of it joins.

use chrono::TimeDelta;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProcessId;
use slipway_domain::tenant::ProjectState;
use slipway_runtime::ids::random_id;
use slipway_store::builds::{BuildFilter, CreatedBuild, NewBuild, RefOrder};
use slipway_store::reconciliations::{FoundRef, KnownRef};
use slipway_store::{Scope, StoreError};

use crate::env::{Env, World, both, commit, later, new_build, start};

fn main_branch() -> GitRef {
    GitRef::parse("refs/heads/main").unwrap()
}

async fn push(env: &Env, world: &World, before: char, after: char) -> CreatedBuild {
    let new = NewBuild {
        before: Some(commit(before)),
        order: RefOrder::Move { before: Some(commit(before)), after: commit(after) },
        ..new_build(&world.project, &format!("push:{before}{after}:1"), commit(after))
    };
    env.db.create_build(&new).await.unwrap()
}

async fn find(env: &Env, world: &World, known: &KnownRef, after: char) -> Result<CreatedBuild, StoreError> {
    let order = RefOrder::Found { known: known.head.clone(), after: commit(after), version: known.version };
    let key = format!("found:refs/heads/main:{}:{}", commit(after), known.version);
    let new = NewBuild { before: known.head.clone(), order, ..new_build(&world.project, &key, commit(after)) };
    env.db.create_build(&new).await
}

async fn note(env: &Env, world: &World, version: Option<i64>, head: Option<char>) -> bool {
    let (git_ref, head) = (main_branch(), head.map(commit));
    let found = FoundRef { git_ref: &git_ref, version, head: head.as_deref() };
    env.db.note_found(world.project.id, &[found], start()).await.unwrap() == 1
}

async fn known(env: &Env, world: &World) -> KnownRef {
    env.db.known_refs(world.project.id).await.unwrap().remove(0)
}

both! {
    async fn a_late_word_of_what_was_found_joins_it_and_what_came_before_goes_before(env) {
        for (name, late) in [("in turn", [('a', 'b'), ('b', 'c')]), ("reversed", [('b', 'c'), ('a', 'b')])] {
            let world = env.world(name).await;
            assert!(note(&env, &world, None, Some('a')).await);
            let found = find(&env, &world, &known(&env, &world).await, 'c').await.unwrap();
            let mut made = Vec::new();
            for (before, after) in late {
                made.push((after, push(&env, &world, before, after).await));
            }
            let (_, joined) = made.iter().find(|(after, _)| *after == 'c').unwrap();
            assert_eq!((joined.build, joined.existing), (found.build, true), "{name}");
            assert!(made.iter().all(|(after, made)| *after == 'c' || !made.existing), "{name}");
            assert_eq!(shown(&env, &world).await, "bc", "{name}");
            assert_eq!(known(&env, &world).await.head, Some(commit('c')), "{name}: the head stays where it was found");
            // Told again, or worked again after a crash: the same builds.
            assert_eq!(push(&env, &world, 'b', 'c').await.build, found.build);
            // And what follows is the newest.
            push(&env, &world, 'c', 'd').await;
            assert_eq!(shown(&env, &world).await, "bcd", "{name}");
        }
    }
}

/// The commits of the ref's builds, by their first digit, in their order.
async fn shown(env: &Env, world: &World) -> String {
    let filter = BuildFilter { project: Some(world.project.id), limit: 100, ..Default::default() };
    let mut builds = env.db.list_builds(&Scope::Operator, &filter).await.unwrap();
    builds.sort_by_key(|build| build.ref_order);
    assert!(builds.windows(2).all(|pair| pair[0].ref_order < pair[1].ref_order));
    builds.iter().filter_map(|build| build.commit_id.chars().next()).collect()
}

both! {
    async fn a_push_to_the_same_commit_that_leaves_the_head_is_a_move_of_its_own(env) {
        let world = env.world("own").await;
        push(&env, &world, 'a', 'b').await;
        let found = find(&env, &world, &known(&env, &world).await, 'c').await.unwrap();
        push(&env, &world, 'c', 'd').await;
        let again = push(&env, &world, 'd', 'c').await;
        assert!(!again.existing && again.build != found.build);
        assert_eq!(shown(&env, &world).await, "bcdc");
    }
}

both! {
    async fn a_late_word_of_an_annotated_tag_joins_what_was_found(env) {
        let world = env.world("own").await;
        // Found, and told, by the tag object; built of its commit.
        let order = RefOrder::Found { known: None, after: commit('f'), version: 0 };
        let found = NewBuild { order, ..new_build(&world.project, "found:refs/heads/main:f:0", commit('c')) };
        let found = env.db.create_build(&found).await.unwrap();
        for after in ['f', 'c'] {
            let order = RefOrder::Move { before: None, after: commit(after) };
            let told = NewBuild { order, ..new_build(&world.project, "push:f:1", commit('c')) };
            assert_eq!(env.db.create_build(&told).await.unwrap(), CreatedBuild { build: found.build, existing: true });
        }
    }
}

both! {
    async fn what_moved_since_it_was_read_is_not_found(env) {
        let world = env.world("own").await;
        push(&env, &world, 'a', 'b').await;
        let read = known(&env, &world).await;
        push(&env, &world, 'b', 'c').await;
        assert!(matches!(find(&env, &world, &read, 'd').await, Err(StoreError::Stale(_))));
        assert!(!note(&env, &world, Some(read.version), None).await);
        assert!(!note(&env, &world, None, None).await);
        // Found twice, as after a lost answer: nothing is there for the second.
        let read = known(&env, &world).await;
        find(&env, &world, &read, 'd').await.unwrap();
        assert!(matches!(find(&env, &world, &read, 'd').await, Err(StoreError::Stale(_))));
        assert_eq!(shown(&env, &world).await, "bcd");
    }
}

both! {
    async fn looks_are_taken_one_at_a_time_and_come_again(env) {
        let world = env.world("own").await;
        let (one, two): (ProcessId, ProcessId) = (random_id(), random_id());
        let lease = TimeDelta::seconds(60);
        let taken = env.db.lease_looks(one, start(), lease, 10).await.unwrap();
        assert_eq!((taken.len(), taken[0].noted_at, taken[0].failures), (1, None, 0));
        assert!(env.db.lease_looks(two, start(), lease, 10).await.unwrap().is_empty());
        assert_eq!(env.db.lease_looks(two, later(61), lease, 10).await.unwrap().len(), 1, "the lease ended");
        let project = world.project.id;
        let end = env.db.finish_look(one, project, None, (later(62), later(100))).await;
        assert!(matches!(end, Err(StoreError::Stale(_))), "it went elsewhere");
        env.db.finish_look(two, project, Some("no answer"), (later(62), later(100))).await.unwrap();
        assert!(env.db.lease_looks(one, later(99), lease, 10).await.unwrap().is_empty());
        assert_eq!(env.db.lease_looks(one, later(100), lease, 10).await.unwrap()[0].failures, 1);
        env.db.finish_look(one, project, None, (later(101), later(200))).await.unwrap();
        let view = env.db.look_view(project).await.unwrap().unwrap();
        assert_eq!((view.looked_at, view.last_error), (Some(later(101)), None));
        let taken = env.db.lease_looks(one, later(200), lease, 10).await.unwrap();
        assert_eq!((taken[0].noted_at, taken[0].failures), (Some(later(101)), 0));
        // What moves while a project is paused is not owed afterwards.
        for state in [ProjectState::Paused, ProjectState::Active] {
            env.db.set_project_state(&Scope::Operator, project, state, later(300)).await.unwrap();
            // Said twice, it is said once.
            env.db.set_project_state(&Scope::Operator, project, state, later(301)).await.unwrap();
            let due = env.db.lease_looks(one, later(400), lease, 10).await.unwrap();
            assert_eq!(due.len(), usize::from(state == ProjectState::Active), "{state}");
            assert!(due.iter().all(|look| look.noted_at.is_none()));
        }
    }
}
