//! A row that nobody can work stops no pass, and keeps no place from the rows behind it.

use slipway_domain::job::JobState;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::env::{Env, commit, later};

#[tokio::test]
async fn an_overdue_job_that_does_not_read_lets_the_next_one_be_worked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    let env = Env::connect(&url).await;
    let world = env.world("own").await;
    env.build(&world, "1", commit('a')).await;
    let mut raw = SqliteConnection::connect(&url).await.expect("opens");
    raw.execute("update jobs set kind = 'nonsense'").await.expect("damages");
    raw.close().await.expect("a clean goodbye");
    let good = env.job_of(env.build(&world, "2", commit('b')).await).await.id;
    let (day, mut worked) = (24 * 3600, Vec::new());
    for secs in [1, 2] {
        worked.extend(env.db.expire_jobs(later(day + secs), 1).await.expect("the pass goes on"));
    }
    assert_eq!(worked.iter().map(|job| (job.id, job.state)).collect::<Vec<_>>(), [(good, JobState::Errored)]);
}
