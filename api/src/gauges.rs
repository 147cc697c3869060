//! Gauges over the rows, measured again and again by every api process, so that `/metrics` costs no query and
//! all of them say the same. What is gone reads 0: an alert on a missing series never rings.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::gauge;
use slipway_domain::builder::BuilderState;
use slipway_domain::job::JobState;
use slipway_domain::placement::Pool;
use slipway_store::census::JobCount;
use slipway_store::{Db, StoreError};
use tracing::warn;

use crate::state::ApiState;

/// How old the gauges may be.
const PAUSE: Duration = Duration::from_secs(10);

/// What the rows say at one time.
struct Measured {
    jobs: Vec<JobCount>,
    builders: Vec<(Pool, BuilderState)>,
    now: DateTime<Utc>,
}

/// Runs until the process stops.
pub async fn run(state: ApiState) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    while !state.life.is_stopping() {
        let measured = measure(&state.db, &state).await;
        gauge!("slipway_database_up").set(if measured.is_ok() { 1.0 } else { 0.0 });
        match measured {
            Ok(measured) => show(&measured, &mut seen),
            Err(error) => warn!(%error, "metrics are older than they should be"),
        }
        tokio::select! {
            () = state.life.stopping() => {}
            () = state.clock.sleep(PAUSE) => {}
        }
    }
    Ok(())
}

async fn measure(db: &Db, state: &ApiState) -> Result<Measured, StoreError> {
    let now = db.now(&state.clock).await?;
    let jobs = db.job_counts().await?;
    let builders = db.list_builders(now).await?.into_iter().map(|builder| (builder.pool, builder.state)).collect();
    Ok(Measured { jobs, builders, now })
}

/// Sets every gauge of every pool that was ever seen.
fn show(measured: &Measured, seen: &mut BTreeSet<String>) {
    seen.extend(measured.jobs.iter().map(|count| count.pool.to_string()));
    seen.extend(measured.builders.iter().map(|(pool, _)| pool.to_string()));
    for pool in seen.iter() {
        let jobs: Vec<&JobCount> = measured.jobs.iter().filter(|count| count.pool.to_string() == *pool).collect();
        for state in JobState::ALL.iter().filter(|state| !state.is_terminal()) {
            let count = jobs.iter().find(|count| count.state == *state).map_or(0, |count| count.jobs);
            gauge!("slipway_jobs", "pool" => pool.clone(), "state" => state.as_str()).set(count as f64);
        }
        let oldest = jobs.iter().filter(|count| waits(count.state)).map(|count| count.oldest).min();
        gauge!("slipway_queue_oldest_seconds", "pool" => pool.clone()).set(age_secs(oldest, measured.now));
        for state in BuilderState::ALL {
            let count = measured.builders.iter().filter(|(own, at)| own.to_string() == *pool && at == state).count();
            gauge!("slipway_builders", "pool" => pool.clone(), "state" => state.as_str()).set(count as f64);
        }
    }
}

/// Waits for its turn or for a builder. A job goes forth and back between these.
fn waits(state: JobState) -> bool {
    matches!(state, JobState::Queued | JobState::Ready | JobState::Dispatched)
}

/// A job that may run only later, after a fault of ours, does not wait yet.
fn age_secs(since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> f64 {
    since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use slipway_runtime::clock::Clock;

    use super::*;

    fn pool(region: &str) -> Pool {
        format!("{region}/standard/linux-amd64").parse().expect("a pool")
    }

    fn count(state: JobState, jobs: i64, oldest: DateTime<Utc>) -> JobCount {
        JobCount { pool: pool("eu"), state, jobs, oldest }
    }

    /// The lines of one metric, without the labels' punctuation.
    fn lines(text: &str, name: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(name)).map(|line| line[name.len()..].replace('"', "")).collect()
    }

    #[test]
    fn every_pool_and_live_state_has_a_number_and_what_is_gone_reads_nought() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let (now, mut seen) = (Clock::system().now(), BTreeSet::new());
        let ago = |secs| now - TimeDelta::seconds(secs);
        let busy = Measured {
            jobs: vec![
                count(JobState::Queued, 3, ago(20)),
                count(JobState::Ready, 1, ago(90)),
                count(JobState::Running, 2, ago(900)),
            ],
            builders: vec![(pool("eu"), BuilderState::Online), (pool("us"), BuilderState::Lost)],
            now,
        };
        metrics::with_local_recorder(&recorder, || show(&busy, &mut seen));
        let text = recorder.handle().render();
        let has = |text: &str, name: &str, line: &str| {
            assert!(lines(text, name).iter().any(|found| found == line), "{name}{line} in\n{text}");
        };
        has(&text, "slipway_jobs", "{pool=eu/standard/linux-amd64,state=queued} 3");
        has(&text, "slipway_jobs", "{pool=eu/standard/linux-amd64,state=running} 2");
        has(&text, "slipway_jobs", "{pool=us/standard/linux-amd64,state=queued} 0");
        has(&text, "slipway_queue_oldest_seconds", "{pool=eu/standard/linux-amd64} 90");
        has(&text, "slipway_queue_oldest_seconds", "{pool=us/standard/linux-amd64} 0");
        has(&text, "slipway_builders", "{pool=eu/standard/linux-amd64,state=online} 1");
        has(&text, "slipway_builders", "{pool=us/standard/linux-amd64,state=lost} 1");
        assert_eq!(lines(&text, "slipway_jobs{").len(), 2 * 6, "{text}");

        let idle =
            Measured { jobs: vec![count(JobState::Queued, 1, now + TimeDelta::seconds(5))], builders: vec![], now };
        metrics::with_local_recorder(&recorder, || show(&idle, &mut seen));
        let text = recorder.handle().render();
        has(&text, "slipway_jobs", "{pool=eu/standard/linux-amd64,state=running} 0");
        has(&text, "slipway_queue_oldest_seconds", "{pool=eu/standard/linux-amd64} 0");
        has(&text, "slipway_builders", "{pool=us/standard/linux-amd64,state=lost} 0");
    }
}
