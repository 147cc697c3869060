//! Which queued jobs to admit now: a pure function over what the rows say.

use std::collections::HashMap;

use slipway_domain::placement::Pool;
use slipway_store::jobs::Job;
use slipway_store::queues::PoolStatus;

/// Jobs admitted per pool beyond its free slots, so that a builder that becomes free finds one at once.
const LEAD: i64 = 1;

/// The jobs to admit, oldest first, as far as their pools have room. Tenants' limits are checked where they
/// are booked: in the transaction that admits.
pub fn choose<'a>(queued: &'a [Job], pools: &[PoolStatus]) -> Vec<&'a Job> {
    let mut room: HashMap<&Pool, i64> =
        pools.iter().map(|status| (&status.pool, window(status) - status.ready)).collect();
    queued
        .iter()
        .filter(|job| {
            room.get_mut(&job.pool).is_some_and(|left| {
                *left -= 1;
                *left >= 0
            })
        })
        .collect()
}

/// How many jobs of a pool may be admitted without a builder yet.
fn window(status: &PoolStatus) -> i64 {
    if status.builders == 0 { 0 } else { status.free + LEAD }
}

#[cfg(test)]
mod tests {
    use slipway_domain::job::{JobKind, JobState};
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn pool(name: &str) -> Pool {
        name.parse().expect("a valid pool")
    }

    fn job(pool_name: &str) -> Job {
        let now = Clock::system().now();
        Job {
            id: new_id(),
            build_id: new_id(),
            tenant_id: new_id(),
            project_id: new_id(),
            kind: JobKind::Image,
            state: JobState::Queued,
            pool: pool(pool_name),
            version: 0,
            epoch: 0,
            infra_retries: 0,
            dispatch_id: None,
            leave_epoch: None,
            avoid_builder: None,
            avoid_until: None,
            cancelled_by: None,
            timeout_secs: 60,
            queued_at: now,
            not_before: now,
            deadline_at: Some(now),
            finished_at: None,
        }
    }

    fn status(pool_name: &str, ready: i64, builders: i64, free: i64) -> PoolStatus {
        PoolStatus { pool: pool(pool_name), queued: 0, ready, running: 0, builders, free }
    }

    #[test]
    fn the_oldest_go_first_and_the_window_holds() {
        let queued = [job("a/b/c"), job("a/b/c"), job("a/b/c"), job("x/b/c")];
        let chosen = choose(&queued, &[status("a/b/c", 0, 1, 1)]);
        assert_eq!(chosen.iter().map(|job| job.id).collect::<Vec<_>>(), [queued[0].id, queued[1].id]);
    }

    #[test]
    fn ready_jobs_fill_the_window_and_pools_without_builders_have_none() {
        let queued = [job("a/b/c")];
        assert!(choose(&queued, &[status("a/b/c", 2, 1, 1)]).is_empty());
        assert!(choose(&queued, &[status("a/b/c", 0, 0, 0)]).is_empty());
        assert!(choose(&queued, &[]).is_empty());
        assert_eq!(choose(&queued, &[status("a/b/c", 0, 1, 0)]).len(), 1, "a busy pool gets one ahead");
    }
}
