//! The few numbers of a project's builds that are drawn, and what else pages ask of them.

use slipway_domain::agent::{Finish, PushedImage, Report, StepReport};
use slipway_domain::attempt::{AttemptOutcome, StepState};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::tenant::Role;
use slipway_store::Scope;
use slipway_store::builds::{BuildFilter, NewBuild};
use slipway_store::deliveries::Accepted;

use crate::env::{both, commit, later, new_build, new_delivery, start};

fn pushed(tag: &str, digest: &str, size_bytes: i64) -> PushedImage {
    PushedImage { reference: format!("r/app:{tag}"), digest: digest.to_owned(), size_bytes, moved: true, lease: None }
}

both! {
    async fn a_trend_has_steps_cached_ones_and_sizes(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let build = env.build(&world, "1", commit('a')).await;
        let attempt = env.running(&crew, &lead, env.job_of(build).await.id, later(1)).await;
        let step = |number: i64, cached, state| StepReport {
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new(),
            paused_ms: None,
            digest: format!("sha256:{number}"),
            number,
            name: "RUN make".to_owned(),
            state,
            cached,
            started_at: Some(later(1)),
            finished_at: Some(later(2)),
            exit_code: None,
        };
        let steps = vec![step(1, true, StepState::Succeeded), step(2, false, StepState::Succeeded), step(3, false, StepState::Failed)];
        env.db.report(attempt, &Report { phase: None, steps }).await.unwrap();
        let finish = Finish {
            outcome: AttemptOutcome::Succeeded,
            failure: None,
            images: vec![pushed("a", "sha256:1", 100), pushed("b", "sha256:1", 100), pushed("c", "sha256:2", 30)],
            built: Vec::new(),
            remarks: Default::default(),
            log_end: 0,
            log_sha256: "00".repeat(32),
        };
        env.db.finish_attempt(attempt, &finish, later(9)).await.unwrap();
        let tag = GitRef::parse("refs/tags/main").unwrap();
        let tagged = NewBuild { git_ref: Some(tag), ..new_build(&world.project, "2", commit('b')) };
        let tagged = env.db.create_build(&tagged).await.unwrap().build;

        let trend = env.db.project_trend(world.project.id, None).await.unwrap();
        assert_eq!(trend.iter().map(|it| it.build.id).collect::<Vec<_>>(), [tagged, build], "the newest first");
        let good = &trend[1];
        assert_eq!((good.build.state, good.build.steps, good.build.cached), (BuildState::Succeeded, 2, 1));
        assert_eq!((good.image_bytes, trend[0].image_bytes), (Some(130), None), "each image once");
        assert_eq!(good.build.finished_at, Some(later(9)));
        let of = async |name: &str| {
            let trend = env.db.project_trend(world.project.id, Some(name)).await.unwrap();
            let filter = BuildFilter { project: Some(world.project.id), ref_name: Some(name.to_owned()), limit: 9, ..BuildFilter::default() };
            let listed = env.db.list_builds(&Scope::Operator, &filter).await.unwrap();
            assert_eq!(listed.len(), trend.len());
            trend.len()
        };
        assert_eq!((of("main").await, of("refs/heads/main").await, of("refs/tags/main").await, of("mai").await), (2, 1, 1, 0));
    }
}

both! {
    async fn a_build_knows_its_deliveries_for_those_who_may_see_them(env) {
        let world = env.world("own").await;
        let Accepted::New(delivery) = env.db.accept_delivery(&new_delivery(&world.hook, "1")).await.unwrap() else {
            panic!("it is new");
        };
        let new = NewBuild { delivery: Some(delivery), ..new_build(&world.project, "1", commit('a')) };
        let build = env.db.create_build(&new).await.unwrap().build;
        let seen = async |scope: Scope| {
            let found = env.db.deliveries_of_build(&scope, build).await.unwrap();
            found.into_iter().map(|found| found.id).collect::<Vec<_>>()
        };
        assert_eq!(seen(Scope::Member { tenant: world.tenant, role: Role::Viewer }).await, [delivery]);
        assert_eq!(seen(Scope::Operator).await, [delivery]);
        let foreign = Scope::Member { tenant: env.tenant("other").await, role: Role::Owner };
        assert!(seen(foreign).await.is_empty() && seen(Scope::Public).await.is_empty());
    }
}
