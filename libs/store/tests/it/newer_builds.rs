//! Builds with a newer one, builds of closed changes, and projects of which nothing succeeds.

use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::build::{BuildState, CancelledBy, Trigger};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProcessId};
use slipway_domain::tenant::ProjectState;
use slipway_store::Scope;
use slipway_store::builds::{NewBuild, RefOrder};
use slipway_store::job_cancels::{CancelOutcome, Reach};
use slipway_store::leaders::Lead;
use slipway_store::newer_builds::Line;
use slipway_store::trigger_breaker::FAILURES_IN_A_ROW;

use crate::env::{Env, World, both, commit, later, new_build, start};

async fn push(env: &Env, world: &World, before: char, after: char) -> BuildId {
    let new = NewBuild {
        before: Some(commit(before)),
        order: RefOrder::Move { before: Some(commit(before)), after: commit(after) },
        ..new_build(&world.project, &format!("push:{before}{after}:1"), commit(after))
    };
    env.db.create_build(&new).await.unwrap().build
}

async fn change(env: &Env, world: &World, head: char, told: i64) -> BuildId {
    let new = NewBuild {
        trigger: Trigger::Change,
        order: RefOrder::None,
        change_number: Some(7),
        told_at: Some(later(told)),
        ..new_build(&world.project, &format!("change:7:{head}"), commit(head))
    };
    env.db.create_build(&new).await.unwrap().build
}

async fn state_of(env: &Env, build: BuildId) -> BuildState {
    env.db.build(&Scope::Operator, build).await.unwrap().state
}

async fn lead(env: &Env) -> Lead {
    let holder = ProcessId::from(uuid::Uuid::from_u128(1));
    let lead = env.db.take_lead("scheduler", holder, std::time::Duration::from_secs(100_000), start());
    lead.await.unwrap().unwrap()
}

both! {
    async fn older_builds_of_a_branch_are_stopped_by_their_place_not_their_arrival(env) {
        let world = env.world("own").await;
        let git_ref = GitRef::parse("refs/heads/main").unwrap();
        let project = world.project.id;
        // Told in the wrong order: c is the newest all the same.
        let c = push(&env, &world, 'b', 'c').await;
        let b = push(&env, &world, 'a', 'b').await;
        let other = new_build(&world.project, "manual", commit('b'));
        let by_hand = env.db.create_build(&NewBuild { trigger: Trigger::Manual, ..other }).await.unwrap().build;
        let crew = env.crew(start()).await;
        env.running(&crew, &lead(&env).await, env.job_of(b).await.id, start()).await;
        let line = Line::Ref(&git_ref);
        let stopped = env.db.supersede_builds(project, line, Reach::Waiting, later(1)).await.unwrap();
        assert_eq!(stopped, [], "it runs, and only waiting ones are meant");
        let stopped = env.db.supersede_builds(project, line, Reach::Running, later(1)).await.unwrap();
        assert_eq!((stopped.len(), stopped[0].0, stopped[0].1.len()), (1, b, 1));
        assert_eq!((state_of(&env, c).await, state_of(&env, by_hand).await), (BuildState::Pending, BuildState::Pending));
        let d = push(&env, &world, 'c', 'd').await;
        env.db.supersede_builds(project, line, Reach::Waiting, later(1)).await.unwrap();
        assert_eq!((state_of(&env, c).await, state_of(&env, d).await), (BuildState::Superseded, BuildState::Pending));
        assert_eq!(env.db.push_build_of(project, &git_ref, &commit('d')).await.unwrap(), Some(d));
        assert_eq!(env.db.push_build_of(project, &git_ref, &commit('e')).await.unwrap(), None);
    }
}

both! {
    async fn builds_of_a_change_go_by_the_forges_clock_and_end_with_it(env) {
        let world = env.world("own").await;
        let project = world.project.id;
        let newer = change(&env, &world, 'b', 20).await;
        let older = change(&env, &world, 'a', 10).await;
        let pushed = push(&env, &world, 'x', 'b').await;
        env.db.supersede_builds(project, Line::Change(7), Reach::Waiting, later(30)).await.unwrap();
        assert_eq!((state_of(&env, older).await, state_of(&env, newer).await), (BuildState::Superseded, BuildState::Pending));
        assert!(env.db.supersede_changes_of(project, &commit('z'), later(30)).await.unwrap().is_empty());
        let same = change(&env, &world, 'd', 21).await;
        let of_push = env.db.supersede_changes_of(project, &commit('d'), later(30)).await.unwrap();
        assert_eq!((of_push, state_of(&env, same).await), (vec![(same, Vec::new())], BuildState::Superseded));
        let close = async |number, at| env.db.close_change(project, (number, later(at)), later(30)).await.unwrap();
        assert!(close(8, 30).await.is_empty());
        assert!(close(7, 15).await.is_empty(), "it was reopened since");
        assert_eq!(close(7, 25).await, [(newer, Vec::new())]);
        close(7, 5).await;
        assert_eq!(env.db.change_closed_at(project, 7).await.unwrap(), Some(later(25)), "told late");
        assert_eq!(env.db.change_closed_at(project, 9).await.unwrap(), None);
        assert_eq!((state_of(&env, newer).await, state_of(&env, pushed).await), (BuildState::Cancelled, BuildState::Pending));
        assert!(close(7, 26).await.is_empty(), "once is enough");
    }
}

both! {
    async fn a_project_of_which_nothing_succeeds_is_paused_and_begins_anew_when_resumed(env) {
        let world = env.world("own").await;
        let project = world.project.id;
        let (crew, lead) = (env.crew(start()).await, lead(&env).await);
        let fail = async |count: i64, from: i64| {
            for number in 0..count {
                let new = new_build(&world.project, &format!("{from}:{number}"), commit('a'));
                let new = NewBuild { now: later(from + number), ..new };
                let build = env.db.create_build(&new).await.unwrap().build;
                let at = later(from + number);
                let attempt = env.running(&crew, &lead, env.job_of(build).await.id, at).await;
                env.finish(attempt, AttemptOutcome::Failed, at).await;
            }
        };
        fail(FAILURES_IN_A_ROW - 1, 1).await;
        assert!(!env.db.pause_if_nothing_succeeds(project, later(500)).await.unwrap());
        fail(1, 200).await;
        assert!(env.db.pause_if_nothing_succeeds(project, later(500)).await.unwrap());
        assert!(!env.db.pause_if_nothing_succeeds(project, later(500)).await.unwrap(), "it is paused already");
        let paused = env.db.project(&Scope::Operator, project).await.unwrap();
        assert_eq!(paused.state, ProjectState::Paused);
        assert!(paused.paused_reason.is_some_and(|reason| reason.contains("100 builds")));
        let resumed = env.db.set_project_state(&Scope::Operator, project, ProjectState::Active, later(600)).await.unwrap();
        assert_eq!(resumed.paused_reason, None);
        assert!(!env.db.pause_if_nothing_succeeds(project, later(700)).await.unwrap(), "it counts anew");
        let outcome = env.db.cancel_build(push(&env, &world, 'a', 'b').await, CancelledBy::User, later(700)).await;
        assert_eq!(outcome.unwrap(), CancelOutcome::Cancelled);
    }
}

both! {
    async fn a_project_follows_its_repository_by_its_id(env) {
        let world = env.world("own").await;
        let (project, old) = (world.project.id, world.project.repo_path.clone());
        env.db.note_repo_id(project, &old, "42").await.unwrap();
        env.db.note_repo_id(project, "elsewhere", "43").await.unwrap();
        assert_eq!(env.db.project(&Scope::Operator, project).await.unwrap().repo_id.as_deref(), Some("42"));
        assert!(env.db.follow_repo(project, (&old, "new/name"), None, later(1)).await.unwrap());
        assert!(!env.db.follow_repo(project, (&old, "other/name"), None, later(1)).await.unwrap(), "it went already");
        let moved = env.db.project(&Scope::Operator, project).await.unwrap();
        assert_eq!((moved.repo_path.as_str(), &moved.clone_url), ("new/name", &world.project.clone_url));
        let url = "https://git.example/new/name.git";
        assert!(env.db.follow_repo(project, ("new/name", "team/app"), Some(url), later(2)).await.unwrap());
        assert_eq!(env.db.project(&Scope::Operator, project).await.unwrap().clone_url, url);
    }
}
