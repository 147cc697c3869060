//! A build is made once per key, takes its place within its ref, and is seen only by whom it concerns.

use slipway_domain::agent::{Finish, PushedImage, Report, StepReport};
use slipway_domain::attempt::{AttemptOutcome, StepState};
use slipway_domain::build::BuildState;
use slipway_domain::git_ref::GitRef;
use slipway_domain::image::{BuiltImage, Layer, MAX_LAYERS};
use slipway_domain::job::JobState;
use slipway_domain::remarks::{MAX_WARNINGS, Remarks, Warning};
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_store::builds::{BuildFilter, NewBuild, RefOrder};
use slipway_store::projects::Project;
use slipway_store::{Scope, StoreError};

use crate::env::{Env, World, both, commit, new_build, start};

/// The order of a push that moved main from `before` to `after`.
async fn push(env: &Env, world: &World, key: &str, before: Option<char>, after: char) -> i64 {
    let before = before.map(commit);
    let new = NewBuild {
        before: before.clone(),
        order: RefOrder::Move { before, after: commit(after) },
        ..new_build(&world.project, key, commit(after))
    };
    let created = env.db.create_build(&new).await.unwrap();
    assert!(!created.existing);
    env.db.build(&Scope::Operator, created.build).await.unwrap().ref_order.unwrap()
}

both! {
    async fn one_key_makes_one_build(env) {
        let world = env.world("own").await;
        let first = env.db.create_build(&new_build(&world.project, "k", commit('a'))).await.unwrap();
        let again = env.db.create_build(&new_build(&world.project, "k", commit('a'))).await.unwrap();
        assert_eq!((again.build, again.existing), (first.build, true));
        let build = env.db.build_view(&Scope::Operator, first.build).await.unwrap();
        assert_eq!((build.build.state, build.jobs.len()), (BuildState::Pending, 1));
        assert_eq!(build.jobs[0].job.state, JobState::Queued);
        assert_eq!(env.db.job_spec(build.jobs[0].job.id).await.unwrap().commit, commit('a'));
    }
}

both! {
    async fn two_wishes_at_once_make_one_build(env) {
        let world = env.world("own").await;
        let (one, two) = (new_build(&world.project, "k", commit('a')), new_build(&world.project, "k", commit('a')));
        let (one, two) = tokio::join!(env.db.create_build(&one), env.db.create_build(&two));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.build, two.build);
        assert!(one.existing != two.existing);
    }
}

both! {
    async fn moves_there_and_back_rise_and_a_late_one_takes_its_old_place(env) {
        let world = env.world("own").await;
        let created = push(&env, &world, "1", None, 'a').await;
        let there = push(&env, &world, "2", Some('a'), 'b').await;
        let back = push(&env, &world, "3", Some('b'), 'a').await;
        let again = push(&env, &world, "4", Some('a'), 'b').await;
        assert!(created < there && there < back && back < again);
        // c -> d arrives before b -> c.
        let newest = push(&env, &world, "5", Some('c'), 'd').await;
        let late = push(&env, &world, "6", Some('b'), 'c').await;
        assert!(again < late && late < newest, "{again} < {late} < {newest}");
        let main = GitRef::parse("refs/heads/main").unwrap();
        assert_eq!(env.db.ref_head(world.project.id, &main).await.unwrap(), Some(commit('d')));
    }
}

both! {
    async fn a_missing_piece_links_what_was_told_too_early_and_too_late(env) {
        let world = env.world("own").await;
        let order = async |key: &str| {
            let created = env.db.create_build(&new_build(&world.project, key, commit('0'))).await.unwrap();
            env.db.build(&Scope::Operator, created.build).await.unwrap().ref_order.unwrap()
        };
        push(&env, &world, "c-d", Some('c'), 'd').await;
        push(&env, &world, "a-b", Some('a'), 'b').await;
        push(&env, &world, "b-c", Some('b'), 'c').await;
        let orders = [order("a-b").await, order("b-c").await, order("c-d").await];
        assert!(orders.is_sorted_by(|a, b| a < b), "{orders:?}");
        let main = GitRef::parse("refs/heads/main").unwrap();
        assert_eq!(env.db.ref_head(world.project.id, &main).await.unwrap(), Some(commit('d')));
        assert!(push(&env, &world, "d-c", Some('d'), 'c').await > orders[2]);
        assert!(push(&env, &world, "z-a", Some('z'), 'a').await < orders[0], "its future is linked by its end");
    }
}

both! {
    async fn reruns_and_manual_builds_take_known_places_and_bare_commits_none(env) {
        let world = env.world("own").await;
        push(&env, &world, "1", None, 'a').await;
        let order = async |key: &str, order: RefOrder| {
            let new = NewBuild { order, ..new_build(&world.project, key, commit('a')) };
            let build = env.db.create_build(&new).await.unwrap().build;
            (build, env.db.build(&Scope::Operator, build).await.unwrap().ref_order)
        };
        let (first, head) = order("m1", RefOrder::Head).await;
        push(&env, &world, "2", Some('a'), 'b').await;
        assert_eq!(order("r1", RefOrder::SameAs(first)).await.1, head);
        assert!(order("m2", RefOrder::Head).await.1 > head);
        assert_eq!(order("c1", RefOrder::None).await.1, None);
    }
}

both! {
    async fn a_page_of_builds_shows_each_as_it_is_alone(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let done = env.build(&world, "1", commit('a')).await;
        let job = env.job_of(done).await.id;
        let first = env.running(&crew, &lead, job, start()).await;
        let step = |digest: &str| StepReport {
            digest: digest.to_owned(),
            number: 1,
            name: "RUN make".to_owned(),
            state: StepState::Running,
            cached: false,
            started_at: None,
            finished_at: None,
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new(),
            paused_ms: None,
        };
        env.db.report(first, &Report { phase: None, steps: vec![step("old")] }).await.unwrap();
        env.finish(first, AttemptOutcome::HandedBack, start()).await;
        let second = env.running(&crew, &lead, job, start()).await;
        env.db.report(second, &Report { phase: None, steps: vec![step("new")] }).await.unwrap();
        let waits = env.build(&world, "2", commit('b')).await;
        let filter = BuildFilter { limit: 10, ..BuildFilter::default() };
        let page = env.db.list_build_views(&Scope::Operator, &filter).await.unwrap();
        assert_eq!(page.iter().map(|view| view.build.id).collect::<Vec<_>>(), [waits, done]);
        for view in &page {
            let alone = env.db.build_view(&Scope::Operator, view.build.id).await.unwrap();
            assert_eq!(format!("{view:?}"), format!("{alone:?}"));
        }
        assert_eq!(page[1].jobs[0].steps.iter().map(|step| step.digest.as_str()).collect::<Vec<_>>(), ["new"]);
        let jobs: Vec<_> = page.iter().flat_map(|view| &view.jobs).map(|view| &view.job).collect();
        let waiting = env.db.waiting_jobs(&jobs, start()).await.unwrap();
        assert_eq!(waiting.keys().collect::<Vec<_>>(), [&page[0].jobs[0].job.id]);
        let stranger = Scope::Member { tenant: new_id(), role: Role::Owner };
        assert!(env.db.list_build_views(&stranger, &filter).await.unwrap().is_empty());
    }
}

both! {
    async fn builds_are_seen_and_listed_only_by_whom_they_concern(env) {
        let world = env.world("own").await;
        let other = env.world("other").await;
        let first = env.build(&world, "1", commit('a')).await;
        let second = env.build(&world, "2", commit('b')).await;
        let stranger = Scope::Member { tenant: other.tenant, role: Role::Owner };
        let member = Scope::Member { tenant: world.tenant, role: Role::Viewer };
        for scope in [stranger, Scope::Public] {
            assert!(matches!(env.db.build(&scope, first).await, Err(StoreError::NotFound("build"))));
            let job = env.job_of(first).await.id;
            assert!(matches!(env.db.job_view(&scope, job).await, Err(StoreError::NotFound("job"))));
        }
        let ids = async |filter: BuildFilter| -> Vec<_> {
            env.db.list_builds(&member, &filter).await.unwrap().into_iter().map(|build| build.id).collect()
        };
        assert_eq!(ids(BuildFilter { limit: 10, ..BuildFilter::default() }).await, [second, first]);
        assert_eq!(ids(BuildFilter { limit: 10, before: Some(second), ..BuildFilter::default() }).await, [first]);
        let failed = BuildFilter { limit: 10, state: Some(BuildState::Failed), ..BuildFilter::default() };
        assert!(ids(failed).await.is_empty());
        let foreign = BuildFilter { limit: 10, project: Some(other.project.id), ..BuildFilter::default() };
        assert!(ids(foreign).await.is_empty());
    }
}

both! {
    async fn what_was_built_is_read_with_its_build_and_found_by_the_next_of_its_ref(env) {
        let world = env.world("own").await;
        let other = env.world("other").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let main = GitRef::parse("refs/heads/main").unwrap();
        let mut builds = Vec::new();
        for (key, outcome, layers) in [
            ("1", AttemptOutcome::Succeeded, 2),
            ("2", AttemptOutcome::Succeeded, 0),
            ("3", AttemptOutcome::Failed, 1),
            ("4", AttemptOutcome::Succeeded, MAX_LAYERS + 1),
        ] {
            let build = env.db.create_build(&new_build(&world.project, key, commit('a'))).await.unwrap().build;
            let job = env.job_of(build).await.id;
            let attempt = env.running(&crew, &lead, job, start()).await;
            let layer = |n| Layer { diff_id: format!("sha256:{n}"), size_bytes: 5, ..Layer::default() };
            let image = BuiltImage { layers: (0..layers).map(layer).collect(), ..BuiltImage::default() };
            let built = if layers == 0 { Vec::new() } else { vec![image] };
            let log_sha256 = "00".repeat(32);
            let pushed = PushedImage {
                lease: None,
                reference: format!("r/a:{key}"),
                digest: format!("sha256:{key}"),
                size_bytes: 1,
                moved: false,
            };
            let images = if layers == 0 { Vec::new() } else { vec![pushed] };
            let warning = Warning { text: "w".repeat(1000), step: None, dockerfile: None, line: Some(3) };
            let remarks = Remarks { warnings: vec![warning; layers], log_left_out_bytes: 7, ..Remarks::default() };
            let finish = Finish { outcome, failure: None, images, built, remarks, log_end: 0, log_sha256 };
            env.db.finish_attempt(attempt, &finish, start()).await.unwrap();
            builds.push((build, job));
        }
        let member = Scope::Member { tenant: world.tenant, role: Role::Viewer };
        let built = env.db.built_images(&member, builds[0].0).await.unwrap();
        assert_eq!(built[&builds[0].1][0].layers[1].diff_id, "sha256:1");
        let stranger = Scope::Member { tenant: other.tenant, role: Role::Owner };
        for scope in [stranger, Scope::Public] {
            assert!(env.db.built_images(&scope, builds[0].0).await.unwrap().is_empty());
        }
        let told = async |place: usize| {
            let view = env.db.build_view(&member, builds[place].0).await.unwrap();
            view.jobs[0].attempts[0].remarks.0.clone()
        };
        assert_eq!((told(0).await.warnings[0].line, told(0).await.log_left_out_bytes), (Some(3), 7));
        assert_eq!((told(1).await.warning_count, told(1).await.log_left_out_bytes), (0, 7));
        let remarks = told(3).await;
        assert!(remarks.warnings.len() == MAX_WARNINGS && remarks.warnings[0].text.len() < 400, "whatever a builder says");
        let most = env.db.built_images(&Scope::Operator, builds[3].0).await.unwrap();
        assert_eq!(most[&builds[3].1][0].layers.len(), MAX_LAYERS, "whatever a builder says");
        let earlier = async |build| env.db.earlier_built(world.project.id, &main, build).await.unwrap();
        assert_eq!(earlier(builds[3].0).await, Some(builds[0].0), "the others failed or built nothing");
        assert_eq!(earlier(builds[0].0).await, None);
        let elsewhere = env.db.earlier_built(other.project.id, &main, builds[3].0).await.unwrap();
        assert_eq!(elsewhere, None, "another project's");
        let pushed = async |project: &Project, git_ref, build| {
            let images = env.db.pushed_before(project.id, git_ref, build).await.unwrap();
            images.into_iter().map(|image| image.digest).collect::<Vec<_>>()
        };
        let newest = builds[3].0;
        for git_ref in [Some(&main), None] {
            assert_eq!(pushed(&world.project, git_ref, newest).await, ["sha256:1"], "the others failed or pushed nothing");
            assert!(pushed(&world.project, git_ref, builds[0].0).await.is_empty());
            assert!(pushed(&other.project, git_ref, newest).await.is_empty(), "another project's");
        }
        assert!(pushed(&world.project, Some(&GitRef::parse("refs/heads/x").unwrap()), newest).await.is_empty());
    }
}
