//! Every reading function of the store over the rows that the first release left behind (`samples/0001.sql`).

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::failure::FailureClass;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{Id, JobId, ProcessId, TenantId};
use slipway_domain::plan::Plans;
use slipway_domain::remarks::Remarks;
use slipway_domain::spec::JobSpec;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::builds::BuildFilter;
use slipway_store::connections::AppInstallation;
use slipway_store::deliveries::DeliveryFilter;
use slipway_store::fleet_samples::SampleFilter;
use slipway_store::projects::ProjectFilter;
use slipway_store::secrets::SecretOwner;
use slipway_store::{Db, Scope};
use uuid::Uuid;

/// Sealed what is secret in the samples.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// What only writes, or answers with what it was given; tests of their own call these.
const WRITES: &str = "abandon_idempotent accept_deliveries accept_delivery add_hook add_log_segments admit_job admit_jobs archive_log \
    approve_build assign_moves begin_idempotent cancel_build change_tenant channel_closed claim_job claim_jobs close close_change complete_idempotent \
    connect connect_sized create_build create_connection create_github_app create_join_token create_project create_tenant \
    create_token create_web_session decline_job delete_deliveries_without_build delete_delivery_bodies delete_github_app \
    delete_expired_web_sessions delete_old_idempotency_keys delete_registry delete_secret delete_web_session dispatch_job \
    dispatch_jobs drain_builder end_logs end_session ensure_bootstrap_token ensure_default_tenant ensure_deploy_key expire_jobs \
    finish_attempt finish_attempts finish_deliveries finish_delivery finish_github_app finish_look follow_repo give_up_status keep_registry_cache \
    lease_deliveries lease_github_apps lease_looks leave_lead note_found note_repo_id pause_if_nothing_succeeds \
    \
    lose_attempt lose_session mark_status_sent note_moves now open_session patch_project ping postpone_admission \
    postpone_seal put_registry put_secret refuse_job remove_deploy_key renew_token report renew_sessions sample_fleet replay_delivery request_leave retry_delivery_later \
    retry_status_later return_leave revoke_token rotate_hook_secret seal_log set_project_state settle_archive unarchive_log \
    settle_unreturned_leave stop_builds_of_change supersede_builds supersede_changes_of take_lead want_statuses";

/// The ids of the samples.
fn id<T: Id>(number: u128) -> T {
    T::from(Uuid::from_u128(number))
}

/// Five minutes after the first row.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + 300, 0).expect("a time")
}

/// Reads every table in every way.
pub async fn read_everything(db: &Db) {
    let key = SecretKey::from_base64(KEY).unwrap_or_else(|_| panic!("a key"));
    tenants(db, &key).await;
    projects(db, &key).await;
    deliveries(db).await;
    builds(db).await;
    jobs(db).await;
    attempts(db).await;
    fleet(db).await;
    logs(db).await;
    tags_and_statuses(db).await;
}

async fn tenants(db: &Db, key: &SecretKey) {
    let own: TenantId = id(1);
    let scope = Scope::Operator;
    assert_eq!(db.tenant(&scope, own).await.unwrap().name, "sample");
    assert_eq!(db.tenant_by_name(&scope, "sample").await.unwrap().id, own);
    assert_eq!(db.list_tenants(&scope).await.unwrap().len(), 1);
    db.follow_plans(&Plans::default()).await.unwrap();
    let running = db.tenant_running(own).await.unwrap();
    assert_eq!((running.running, running.running_limit, running.own_limit), (3, 5, true));
    assert!(db.has_tokens().await.unwrap());
    assert_eq!(db.list_tokens(&scope).await.unwrap().len(), 1);
    assert_eq!(db.scope_for_token(&[0xaa]).await.unwrap().unwrap().0, id(2));
    assert_eq!(db.scope_for_web_session(&[0xbb], now()).await.unwrap().unwrap().0, id(2));
    assert_eq!(db.connection(&scope, id(3)).await.unwrap().id, id(3));
    assert_eq!(db.list_connections(&scope, Some(own)).await.unwrap().len(), 1);
    assert_eq!(db.connection_access(key, id(3)).await.unwrap().token.as_deref(), Some("forge-token"));
    assert_eq!(db.list_github_apps(&scope).await.unwrap()[0].slug, "slipway");
    assert_eq!(db.github_app(&scope, id(31)).await.unwrap().app_id, 7);
    assert!(db.github_app_access(key, id(31)).await.is_err(), "the sample's secrets are none");
    let none = AppInstallation { app: id(31), id: 1 };
    assert_eq!(db.connection_of_installation(none).await.unwrap(), None);
    assert_eq!(db.hooks_of_installation(none, ("1", "acme/app")).await.unwrap(), []);
    assert_eq!(db.deploy_key(key, id(4)).await.unwrap(), None);
    assert_eq!(db.list_registries(&scope, None).await.unwrap()[0].host, "registry.example");
    let owner = SecretOwner { tenant: own, project: Some(id(4)) };
    let secrets = db.list_secrets(&scope, owner).await.unwrap();
    assert_eq!((secrets[0].name.as_str(), secrets[0].reach.branches.is_some()), ("npm", true));
    assert!(db.open_secrets(key, (own, id(4)), &["other".to_owned()]).await.unwrap().is_empty());
    assert_eq!(db.registry_credentials(key, own).await.unwrap()[0].password, "password");
}

async fn projects(db: &Db, key: &SecretKey) {
    let scope = Scope::Operator;
    let project = db.project(&scope, id(4)).await.unwrap();
    assert_eq!((project.name.as_str(), project.options.target.as_deref()), ("app", Some("run")));
    assert_eq!(project.images()[1].target.as_deref(), Some("debug"));
    assert_eq!(db.registry_cache(id(4), "r:5000/cache").await.unwrap().unwrap().digest, "sha256:1");
    assert_eq!(db.registry_cache(id(4), "r:5000/other").await.unwrap(), None);
    assert_eq!(db.projects(&scope, &[id(4), id(5)]).await.unwrap().len(), 1);
    assert_eq!(db.project_by_name(&scope, id(1), "app").await.unwrap().id, id(4));
    assert_eq!(
        db.list_projects(&scope, &ProjectFilter { limit: 10, ..ProjectFilter::default() }).await.unwrap().len(),
        1
    );
    assert_eq!(db.hook(key, id(5)).await.unwrap().secrets, ["hook-secret"]);
    assert!(db.hooks(key, &[id(5)]).await.unwrap()[&id(5)].is_ok());
    assert_eq!(db.hooks_of_project(&scope, id(4)).await.unwrap(), [id(5)]);
    let git_ref = GitRef::parse("refs/heads/main").unwrap();
    assert_eq!(db.ref_head(id(4), &git_ref).await.unwrap(), Some("a".repeat(40)));
    assert_eq!(db.known_refs(id(4)).await.unwrap()[0].head, Some("a".repeat(40)));
    assert_eq!(db.change_build_of(id(4), 5, &"c".repeat(40)).await.unwrap(), Some(id(30)));
    assert_eq!(db.newest_build_of(id(4), &"c".repeat(40)).await.unwrap().unwrap().id, id(30));
    assert!(db.has_build(id(4), "push:1").await.unwrap() && !db.has_build(id(4), "push:none").await.unwrap());
    assert!(db.change_closed_at(id(4), 5).await.unwrap().is_some());
    assert_eq!(db.push_build_of(id(4), &git_ref, &"f".repeat(40)).await.unwrap(), None);
    assert_eq!(db.look_view(id(4)).await.unwrap().unwrap().last_error.as_deref(), Some("no answer"));
}

async fn deliveries(db: &Db) {
    let scope = Scope::Operator;
    assert_eq!(db.delivery(&scope, id(6)).await.unwrap().builds, [id(7)]);
    assert_eq!(db.deliveries_of_build(&scope, id(7)).await.unwrap()[0].id, id(6));
    let filter = DeliveryFilter { project: None, state: None, before: None, limit: 10 };
    assert_eq!(db.list_deliveries(&scope, &filter).await.unwrap().len(), 1);
    assert_eq!(db.delivery_payload(&scope, id(6)).await.unwrap().body, [0]);
    assert_eq!(db.known_bodies(&[id(6)]).await.unwrap(), []);
}

async fn builds(db: &Db) {
    let scope = Scope::Operator;
    assert_eq!(db.build(&scope, id(9)).await.unwrap().title.as_deref(), Some("a title"));
    assert_eq!(db.build_view(&scope, id(7)).await.unwrap().jobs.len(), 1);
    let filter = BuildFilter { limit: 10, ..BuildFilter::default() };
    assert_eq!(db.list_builds(&scope, &filter).await.unwrap().len(), 6);
    let views = db.list_build_views(&scope, &filter).await.unwrap();
    let failed = views.iter().find(|view| view.build.id == id(16)).unwrap();
    assert_eq!((failed.jobs[0].attempts.len(), failed.jobs[0].steps.len()), (2, 2));
    assert!(!db.project_trend(id(4), Some("main")).await.unwrap().is_empty());
    let steps = db.job_view(&scope, id(17)).await.unwrap().steps;
    assert_eq!((steps[0].moved_bytes, steps[1].exit_code), (Some(12_300_000), Some(2)));
    assert_eq!(
        (steps[0].inputs.0.len(), steps[1].inputs.0.as_slice(), steps[1].paused_ms),
        (0, [1].as_slice(), Some(1500))
    );
}

async fn jobs(db: &Db) {
    let own = "local/standard/linux-amd64".parse().unwrap();
    assert_eq!(db.jobs_of_build(id(16)).await.unwrap()[0].avoid_builder, Some(id(11)));
    let recorded: JobSpec = serde_json::from_str(include_str!("samples/0001/job_spec.json")).unwrap();
    assert_eq!(db.job_spec(id(8)).await.unwrap(), recorded);
    assert_eq!(db.job_specs(&[id(8), id(10), id(17)]).await.unwrap().len(), 2);
    let queued = db.queued_jobs(&own, now(), 10).await.unwrap();
    assert_eq!(queued.iter().map(|job| job.id).collect::<Vec<_>>(), [id(8)]);
    assert_eq!(db.tenant_rooms(&queued).await.unwrap()[&id(1)], 2);
    let ready = db.ready_jobs(10).await.unwrap();
    assert_eq!(ready.iter().map(|job| job.id).collect::<Vec<_>>(), [id(20)]);
    assert_eq!(db.avoided_builder(&db.job(id(17)).await.unwrap(), now()).await.unwrap(), None);
    assert!(db.waiting(&ready[0], now()).await.unwrap().is_some());
    assert_eq!(db.waiting_jobs(&[&ready[0], &queued[0]], now()).await.unwrap().len(), 2);
    assert_eq!(db.job_counts().await.unwrap().len(), 4);
    let pools = db.pools().await.unwrap();
    assert_eq!((pools[0].queued, pools[0].ready, pools[0].running, pools[0].free), (1, 1, 2, 1));
    assert_eq!(db.pool_rooms().await.unwrap()[0].ready, 1);
}

async fn attempts(db: &Db) {
    let failed = AttemptRef { job: id(17), epoch: 2 };
    let attempt = db.attempt(failed).await.unwrap();
    assert_eq!(attempt.outcome, Some(AttemptOutcome::Failed));
    assert_eq!(attempt.failure.unwrap().class, FailureClass::RunFailed);
    assert_eq!(attempt.images[0].size_bytes, 1234);
    let Remarks { warning_count, warnings, log_left_out_bytes, cut_steps } = attempt.remarks.0;
    assert_eq!((warning_count, warnings[0].line, log_left_out_bytes, cut_steps), (7, Some(3), 1024, vec![2]));
    assert_eq!(db.attempts(id(17)).await.unwrap().len(), 2);
    assert_eq!(db.built_images(&Scope::Operator, id(16)).await.unwrap()[&id(17)][0].layers[0].size_bytes, 1500);
    let main = GitRef::parse("refs/heads/main").unwrap();
    assert_eq!(db.earlier_built(id(4), &main, id(30)).await.unwrap(), None, "none succeeded");
    assert!(db.pushed_before(id(4), Some(&main), id(30)).await.unwrap().is_empty(), "none succeeded");
    assert!(db.steps(failed).await.unwrap()[0].cached);
}

async fn fleet(db: &Db) {
    let builders = db.list_builders(now()).await.unwrap();
    assert_eq!(builders[0].load.not_taking.as_deref(), Some("the disk is nearly full"));
    assert!(builders[0].drained && builders[0].busy == 2);
    assert_eq!(db.untold_drains().await.unwrap(), [(id(12), true)]);
    assert!(db.session_by_token(id(12), &[0xa3]).await.unwrap().unwrap().open);
    let overdue = async |silent, closed| {
        db.overdue_sessions(now() - TimeDelta::seconds(silent), now() - TimeDelta::seconds(closed)).await.unwrap()
    };
    assert_eq!(overdue(59, 60).await, [id(12)]);
    assert_eq!(overdue(60, 58).await, [id(12)]);
    assert!(overdue(60, 59).await.is_empty());
    assert_eq!(db.open_session_count().await.unwrap(), 1);
    let samples = db.fleet_samples(&SampleFilter { pool: None, since: 0, step: 60 }).await.unwrap();
    assert_eq!((samples[0].minute, samples[0].slots, samples[0].wanted), (29_453_760, 4, 5));
    assert_eq!(db.held_attempts(&[id(12), id(18)]).await.unwrap()[&id(12)].len(), 2);
    assert_eq!(db.cancelling_attempts().await.unwrap(), [(id(12), AttemptRef { job: id(22), epoch: 1 })]);
}

async fn logs(db: &Db) {
    let (open, sealed) = (AttemptRef { job: id(10), epoch: 1 }, AttemptRef { job: id(17), epoch: 2 });
    assert_eq!(db.attempt_log(open).await.unwrap().durable, 10);
    let view = db.log_view(&Scope::Operator, id::<JobId>(17), None).await.unwrap();
    assert_eq!((view.newest_epoch, view.log.unwrap().end_offset), (2, Some(40)));
    assert_eq!(db.log_segment_at(sealed, 30).await.unwrap().unwrap().first_line, 2);
    let outlines = db.log_outlines(sealed, 0, 10).await.unwrap();
    assert_eq!(outlines[0].outline.as_ref().unwrap()["steps"][0][1], 2);
    assert_eq!(db.log_segment_of_break(sealed, 1).await.unwrap().unwrap().end_offset, 25);
    let segments = db.log_segments(sealed, 24, 10).await.unwrap();
    let lies = |at: usize| (segments[at].archived, segments[at].object_start, segments[at].object_bytes);
    assert_eq!((lies(0), lies(1)), ((true, Some(0), Some(50)), (true, Some(50), Some(40))));
    let due = db.lease_archives(now(), now() + TimeDelta::seconds(60), 10).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.attempt(), due.archived)).collect::<Vec<_>>(), [(sealed, true)]);
    let unsealed = db.unsealed_logs(now(), now() - TimeDelta::seconds(600), 10).await.unwrap();
    assert_eq!(unsealed.iter().map(|log| log.job_id).collect::<Vec<_>>(), [id(10)]);
}

/// Last, because who takes a row over changes it.
async fn tags_and_statuses(db: &Db) {
    assert_eq!(db.unreported_builds(10).await.unwrap().len(), 6);
    assert!(db.statuses_of_build(id(7)).await.unwrap()[0].sent_at.is_some());
    assert_eq!(db.statuses_of_builds(&[id(7), id(9)]).await.unwrap().len(), 1);
    let due = db.due_statuses(now()).await.unwrap();
    let due = due.into_iter().map(|status| status.key).collect();
    assert_eq!(db.lease_statuses(id::<ProcessId>(41), now(), due).await.unwrap().len(), 1);
    let due = db.due_leaves(now()).await.unwrap();
    let taken = db.take_leaves(now(), due).await.unwrap();
    assert_eq!((taken.len(), taken[0].job, taken[0].shown_is_newer), (1, id(10), false));
}

#[test]
fn every_function_is_called_here_or_only_writes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let here = include_str!("samples.rs");
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("it reads").path();
        let source = if path.is_file() { std::fs::read_to_string(path).expect("it reads") } else { continue };
        let functions = source.lines().filter_map(|line| line.trim().strip_prefix("pub async fn "));
        for name in functions.filter_map(|rest| rest.split(['(', '<']).next()) {
            let known = WRITES.split(' ').any(|write| write == name);
            assert!(known || here.contains(&format!("db.{name}(")), "{name} does not read the samples");
        }
    }
}
