//! A row that nobody can work stops no pass, and keeps no place from the rows behind it.

use slipway_domain::agent::{Leave, LeaveRequest, LogEnd};
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::ids::{BuildId, JobId};
use slipway_domain::job::JobState;
use slipway_runtime::ids::{new_id, random_id};
use slipway_store::jobs::Job;
use slipway_store::statuses::{Reported, StatusKey, UnreportedBuild, WantedStatus};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::crew::pool;
use crate::env::{Database, Env, World, commit, later, new_delivery, postgres_server, start};

/// The way past the store, for whoever damages rows.
struct Raw {
    url: String,
}

impl Raw {
    async fn run(&self, sql: impl Into<String>) -> u64 {
        let sql = sqlx::AssertSqlSafe(sql.into());
        if self.url.starts_with("sqlite:") {
            let mut raw = SqliteConnection::connect(&self.url).await.expect("opens");
            let changed = raw.execute(sql).await.expect("damages").rows_affected();
            raw.close().await.expect("a clean goodbye");
            changed
        } else {
            let mut raw = PgConnection::connect(&self.url).await.expect("opens");
            let changed = raw.execute(sql).await.expect("damages").rows_affected();
            raw.close().await.expect("a clean goodbye");
            changed
        }
    }

    /// An id as SQL of this database.
    fn id(&self, id: impl std::fmt::Display) -> String {
        let digits = id.to_string();
        if self.url.starts_with("sqlite:") { format!("x'{}'", digits.replace('-', "")) } else { format!("'{digits}'") }
    }
}

async fn on_sqlite<F: Future<Output = ()>>(body: impl FnOnce(Env, Raw) -> F) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    body(Env::connect(&url).await, Raw { url }).await;
}

async fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(Env, Raw) -> F) {
    let Some(server) = postgres_server() else { return };
    let database = Database::create(&server).await;
    let (env, url) = (Env::connect(&database.url).await, database.url.clone());
    body(env.clone(), Raw { url }).await;
    env.db.close().await;
    database.drop().await;
}

macro_rules! both_raw {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::on_sqlite(super::$name).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::on_postgres(super::$name).await;
            }
        })+
    };
}

both_raw!(
    an_overdue_job_that_does_not_read_lets_the_next_one_be_worked,
    queued_jobs_that_do_not_read_take_no_place,
    ready_jobs_that_do_not_read_take_no_place,
    unsealed_logs_that_do_not_read_take_no_place,
    statuses_that_do_not_read_take_no_place,
    a_delivery_that_does_not_read_is_passed_over,
    a_pool_and_a_spec_that_do_not_read_are_passed_over,
);

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// So many builds, the oldest first, with their jobs.
async fn builds(env: &Env, world: &World, number: usize) -> Vec<(BuildId, JobId)> {
    let mut made = Vec::new();
    for digit in ['a', 'b', 'c', 'd', 'e', 'f'].into_iter().take(number) {
        let build = env.build(world, &digit.to_string(), commit(digit)).await;
        made.push((build, env.job_of(build).await.id));
    }
    made
}

async fn an_overdue_job_that_does_not_read_lets_the_next_one_be_worked(env: Env, raw: Raw) {
    let world = env.world("own").await;
    env.build(&world, "1", commit('a')).await;
    raw.run("update jobs set kind = 'nonsense'").await;
    let good = env.job_of(env.build(&world, "2", commit('b')).await).await.id;
    let (day, mut worked) = (24 * 3600, Vec::new());
    for secs in [1, 2] {
        worked.extend(env.db.expire_jobs(later(day + secs), 1).await.expect("the pass goes on"));
    }
    assert_eq!(worked.iter().map(|job| (job.id, job.state)).collect::<Vec<_>>(), [(good, JobState::Errored)]);
}

async fn queued_jobs_that_do_not_read_take_no_place(env: Env, raw: Raw) {
    let world = env.world("own").await;
    env.crew(start()).await;
    let made = builds(&env, &world, 6).await;
    for (number, (_, job)) in made.iter().take(4).enumerate() {
        let damage = ["kind = 'nonsense'", "pool = 'local/standard/linux-amd64', cancelled_by = 'nobody'"][number % 2];
        raw.run(format!("update jobs set {damage} where id = {}", raw.id(job))).await;
    }
    let queued = async |limit| ids(&env.db.queued_jobs(&pool(), start(), limit).await.expect("the pass goes on"));
    assert_eq!(queued(1).await, [made[4].1], "as many bad ones before it as fill four batches");
    assert_eq!(queued(2).await, [made[4].1, made[5].1]);
    assert_eq!(queued(10).await, [made[4].1, made[5].1]);
    raw.run("update jobs set kind = 'nonsense'").await;
    assert!(queued(1).await.is_empty(), "and it ends where there are no good ones");
}

async fn ready_jobs_that_do_not_read_take_no_place(env: Env, raw: Raw) {
    let world = env.world("own").await;
    let made = builds(&env, &world, 5).await;
    raw.run("update jobs set state = 'ready'").await;
    for (_, job) in &made[..3] {
        raw.run(format!("update jobs set kind = 'nonsense' where id = {}", raw.id(job))).await;
    }
    for (limit, expected) in [(1, &made[3..4]), (2, &made[3..5]), (9, &made[3..5])] {
        let ready = ids(&env.db.ready_jobs(limit).await.expect("the pass goes on"));
        assert_eq!(ready, expected.iter().map(|(_, job)| *job).collect::<Vec<_>>(), "{limit}");
    }
}

async fn unsealed_logs_that_do_not_read_take_no_place(env: Env, raw: Raw) {
    let world = env.world("own").await;
    let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
    let mut attempts = Vec::new();
    for (second, (_, job)) in (0..).zip(builds(&env, &world, 4).await) {
        let attempt = env.running(&crew, &lead, job, later(second)).await;
        env.finish(attempt, AttemptOutcome::Succeeded, later(second)).await;
        attempts.push(attempt);
    }
    for attempt in &attempts[..3] {
        raw.run(format!("update attempts set state = 'nonsense' where job_id = {}", raw.id(attempt.job))).await;
    }
    for limit in [1, 2] {
        let unsealed = env.db.unsealed_logs(later(9_999), later(9_999), limit).await.expect("the pass goes on");
        assert_eq!(unsealed.iter().map(|log| log.attempt()).collect::<Vec<_>>(), [attempts[3]], "{limit}");
    }
    let end = LogEnd { end: 0, sha256: "00".repeat(32) };
    env.db.end_logs(&[(attempts[3], end)], later(9_999)).await.expect("the good one can be worked");
}

async fn statuses_that_do_not_read_take_no_place(env: Env, raw: Raw) {
    let world = env.world("own").await;
    let made = builds(&env, &world, 4).await;
    for (build, _) in &made[..2] {
        raw.run(format!("update builds set state = 'nonsense' where id = {}", raw.id(build))).await;
    }
    let unreported = env.db.unreported_builds(1).await.expect("the pass goes on");
    assert_eq!(unreported.iter().map(|build| build.build_id).next(), Some(made[2].0));
    let reported: Vec<_> = env.db.unreported_builds(9).await.expect("the pass goes on").iter().map(wanted).collect();
    env.db.want_statuses(&reported, start()).await.expect("booked");
    raw.run(format!("update statuses set wanted = 'nonsense' where build_id = {}", raw.id(made[2].0))).await;
    let due = env.db.due_statuses(later(1)).await.expect("the pass goes on");
    assert_eq!(due.len(), 2);
    let keys = due.into_iter().map(|due| due.key).collect();
    let leased = env.db.lease_statuses(random_id(), later(1), keys).await.expect("the pass goes on");
    assert_eq!(leased.iter().map(|status| status.build_id).collect::<Vec<_>>(), [made[3].0]);
    raw.run("update statuses set lease_until = null").await;
    raw.run("update connections set kind = 'nonsense'").await;
    assert_eq!(env.db.due_statuses(later(2)).await.expect("the pass goes on"), []);
}

fn wanted(build: &UnreportedBuild) -> Reported {
    let key = StatusKey {
        connection_id: build.connection_id,
        repo_path: build.repo_path.clone(),
        commit_id: build.commit_id.clone(),
        context: "slipway/app".to_owned(),
    };
    let wanted = WantedStatus {
        key,
        tenant_id: build.tenant_id,
        build_id: build.build_id,
        git_ref: None,
        wanted: build.state,
        seq: 1,
    };
    Reported { build_id: build.build_id, state: build.state, wanted: Some(wanted) }
}

async fn a_delivery_that_does_not_read_is_passed_over(env: Env, raw: Raw) {
    let world = env.world("own").await;
    let [bad, good] = ["1", "2"].map(|key| new_delivery(&world.hook, key));
    for new in [&bad, &good] {
        env.db.accept_delivery(new).await.expect("stored");
    }
    raw.run(format!("delete from delivery_payloads where delivery_id = {}", raw.id(bad.id))).await;
    let owner = random_id();
    let mut leased = Vec::new();
    for second in [1, 2] {
        leased.extend(env.db.lease_deliveries(owner, later(second), 1).await.expect("the pass goes on"));
    }
    assert_eq!(leased.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [good.id]);
}

async fn a_pool_and_a_spec_that_do_not_read_are_passed_over(env: Env, raw: Raw) {
    let world = env.world("own").await;
    let made = builds(&env, &world, 2).await;
    raw.run(format!("update job_specs set spec = '[]' where job_id = {}", raw.id(made[0].1))).await;
    let specs = env.db.job_specs(&[made[0].1, made[1].1]).await.expect("the others are told");
    assert_eq!(specs.keys().copied().collect::<Vec<_>>(), [made[1].1]);
    let bad = env.crew(start()).await;
    raw.run(format!("update sessions set pool = 'nonsense' where id = {}", raw.id(bad.session))).await;
    env.open(new_id(), "key", &[], start()).await.1.expect("another builder");
    let rooms = env.db.pool_rooms().await.expect("the pass goes on");
    assert_eq!(rooms.iter().map(|room| room.pool.clone()).collect::<Vec<_>>(), [pool()]);
}

/// PostgreSQL keeps every column of this reading to its type.
#[tokio::test]
async fn unreturned_leaves_that_do_not_read_take_no_place() {
    on_sqlite(async |env, raw| {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let (_, job) = builds(&env, &world, 1).await[0];
        let attempt = env.running(&crew, &lead, job, start()).await;
        for number in 0..8 {
            let leave = LeaveRequest {
                registry: "registry.example".to_owned(),
                repository: "acme/app".to_owned(),
                tag: format!("t{number}"),
                digest: "sha256:a".to_owned(),
            };
            let given = env.db.request_leave(attempt, &leave, later(number)).await.expect("the store answers");
            assert!(matches!(given, Leave::Granted { .. }), "{given:?}");
        }
        assert_eq!(raw.run("update tag_leases set shown_digest = cast(x'ff' as text) where tag < 't6'").await, 6);
        let due = env.db.due_leaves(later(9_999)).await.expect("the pass goes on");
        assert_eq!(due.iter().map(|leave| leave.tag.as_str()).collect::<Vec<_>>(), ["t6", "t7"]);
        let taken = env.db.take_leaves(later(9_999), due).await.expect("the good ones can be worked");
        assert_eq!(taken.len(), 2);
    })
    .await;
}
