//! What two processes do at the same moment on PostgreSQL. The test is the other process: it holds a lock, waits
//! until the store is blocked by it, and goes on. On SQLite one writer at a time leaves nothing to race.

use std::time::Duration;

use slipway_domain::agent::ClaimRefusal;
use slipway_runtime::ids::new_id;
use slipway_store::Db;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use uuid::Uuid;

use crate::env::{Env, World, commit, later, on_postgres, start};

/// The other process, in the middle of a transaction.
struct Other {
    pool: PgPool,
    tx: PoolConnection<Postgres>,
}

impl Other {
    async fn begin(env: &Env) -> Self {
        let Db::Postgres(pool) = &env.db else { panic!("a test of PostgreSQL") };
        let mut tx = pool.acquire().await.expect("a connection");
        sqlx::query("begin").execute(&mut *tx).await.expect("begins");
        Self { pool: pool.clone(), tx }
    }

    async fn locks(&mut self, sql: &'static str, id: impl ToString) {
        let id: Uuid = id.to_string().parse().expect("ids are UUIDs");
        let locked = sqlx::query(sql).bind(id).execute(&mut *self.tx).await.expect("no deadlock");
        assert_eq!(locked.rows_affected(), 1, "{sql}");
    }

    /// Returns once somebody waits for a lock, or after two seconds.
    async fn until_waited_for(&self) {
        const WAITING: &str = "select count(*) from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock'";
        for _ in 0..200 {
            let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&self.pool).await.expect("answers");
            if waiting > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn commits(mut self) {
        sqlx::query("commit").execute(&mut *self.tx).await.expect("commits");
    }
}

async fn job(env: &Env, world: &World, key: &str) -> slipway_domain::ids::JobId {
    env.job_of(env.build(world, key, commit('a')).await).await.id
}

#[tokio::test]
async fn a_session_that_is_being_closed_wins_no_claim() {
    on_postgres(async |env: Env| {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = job(&env, &world, "1").await;
        let dispatch = env.dispatched(&lead, job, start()).await;
        let mut other = Other::begin(&env).await;
        other.locks("update sessions set state = 'closed', closed_at = now() where id = $1", crew.session).await;
        let (claimed, ()) = tokio::join!(env.claim(crew.session, job, dispatch, new_id(), start()), async {
            other.until_waited_for().await;
            other.commits().await;
        });
        assert_eq!(claimed, Err(ClaimRefusal::Session), "nobody would repair an attempt of a closed session");
    })
    .await;
}

#[tokio::test]
async fn a_lost_session_and_a_finish_of_its_second_job_do_not_lock_each_other_out() {
    on_postgres(async |env: Env| {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let mut attempts = Vec::new();
        for key in ["1", "2"] {
            attempts.push(env.running(&crew, &lead, job(&env, &world, key).await, start()).await);
        }
        let mut other = Other::begin(&env).await;
        other.locks("update attempts set phase = phase where job_id = $1", attempts[1].job).await;
        let (lost, ()) = tokio::join!(env.db.lose_session(crew.session, later(20)), async {
            other.until_waited_for().await;
            other.locks("update tenant_running set running = running where tenant_id = $1", world.tenant).await;
            other.commits().await;
        });
        assert_eq!(lost.expect("no deadlock").expect("it was open").attempts, attempts);
    })
    .await;
}
