//! Which queued jobs to admit now: a pure function over what the rows say.

use std::collections::HashMap;

use slipway_domain::ids::TenantId;
use slipway_store::jobs::Job;
use slipway_store::queues::PoolRoom;

/// Jobs admitted per pool beyond its free slots, so that a builder that becomes free finds one at once.
const LEAD: i64 = 1;

/// How many jobs of a pool may be admitted now.
pub fn window(room: &PoolRoom) -> i64 {
    room.free + LEAD - room.ready
}

/// The jobs to admit among the oldest of a pool, oldest first, as far as their tenants have room. The limit itself
/// is kept where it is booked: in the transaction that admits.
pub fn choose(queued: &[Job], mut rooms: HashMap<TenantId, i64>) -> Vec<&Job> {
    let mut fits = |job: &&Job| {
        rooms.get_mut(&job.tenant_id).is_some_and(|room| {
            *room -= 1;
            *room >= 0
        })
    };
    queued.iter().filter(|job| fits(job)).collect()
}

#[cfg(test)]
mod tests {
    use slipway_domain::job::{JobKind, JobState};
    use slipway_domain::placement::Pool;
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn pool(name: &str) -> Pool {
        name.parse().expect("a valid pool")
    }

    fn job(tenant: TenantId) -> Job {
        let now = Clock::system().now();
        Job {
            id: new_id(),
            build_id: new_id(),
            tenant_id: tenant,
            project_id: new_id(),
            kind: JobKind::Image,
            state: JobState::Queued,
            pool: pool("a/b/c"),
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

    #[test]
    fn the_oldest_go_first_and_each_tenant_as_far_as_it_may() {
        let (one, other, unknown) = (new_id(), new_id(), new_id());
        let queued = [job(one), job(unknown), job(one), job(other), job(one)];
        let chosen = choose(&queued, [(one, 2), (other, 1)].into());
        assert_eq!(chosen.iter().map(|job| job.id).collect::<Vec<_>>(), [0, 2, 3].map(|at: usize| queued[at].id));
        assert!(choose(&queued, [(one, 0), (other, -1)].into()).is_empty(), "a lowered limit");
    }

    #[test]
    fn a_pool_gets_one_job_ahead_of_its_free_slots() {
        let window = |ready, free| window(&PoolRoom { pool: pool("a/b/c"), ready, free });
        assert_eq!((window(0, 0), window(0, 3), window(1, 0), window(5, 1)), (1, 4, 0, -3));
    }
}
