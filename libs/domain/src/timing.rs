//! Every interval that two processes must agree on, and the relations between them.

use std::time::Duration;

/// A builder sends a heartbeat this often.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats are answered in batches of this length.
pub const RENEWAL_BATCH: Duration = Duration::from_secs(1);
/// A builder without an answer for this long opens a session at another dispatcher.
pub const REATTACH_AFTER: Duration = Duration::from_secs(7);
/// A session whose channel closed is lost after this long without re-attaching.
pub const LOST_AFTER_CLOSE: Duration = Duration::from_secs(6);
/// A silent session is lost after this long.
pub const LOST_AFTER_SILENCE: Duration = Duration::from_secs(20);
/// Losses wait for this long of committed renewals after a control-plane start.
pub const LOSS_GRACE: Duration = Duration::from_secs(10);
/// An offer nobody claimed is void after this long.
pub const DISPATCH_DEADLINE: Duration = Duration::from_secs(10);
/// A builder that lost a job is avoided for this long, while another could take it.
pub const AVOID_BUILDER: Duration = Duration::from_secs(10);
/// How often a job is tried again after a fault of ours.
pub const INFRA_RETRIES: i64 = 3;
/// First pause before a retry after an infra fault (after `lost` there is none); doubles.
pub const INFRA_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest pause before a retry.
pub const INFRA_RETRY_MAX: Duration = Duration::from_secs(120);
/// A job may wait this long for an approval.
pub const APPROVAL_DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A job may wait this long in `queued` or `ready`.
pub const WAIT_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// A job's own time when nobody says otherwise.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest time a project may give a job.
pub const JOB_TIMEOUT_MAX: Duration = Duration::from_secs(6 * 3600);
/// The row's deadline lies this far behind the job's own timeout, so that the builder speaks first.
pub const RUNNING_GRACE: Duration = Duration::from_secs(60);
/// A cancelled job whose builder says nothing is cancelled after this long.
pub const CANCEL_DEADLINE: Duration = Duration::from_secs(30);
/// The processes of a cancelled step are gone within this time.
pub const KILL_WITHIN: Duration = Duration::from_secs(5);
/// A tag lease is held at most this long; also the longest manifest PUT.
pub const LEAVE_LEASE: Duration = Duration::from_secs(30);
/// The scheduler's leader lease.
pub const LEADER_LEASE: Duration = Duration::from_secs(10);
/// The leader renews its lease this often.
pub const LEADER_RENEW: Duration = Duration::from_secs(3);
/// A worked row (delivery, status) is leased for this long.
pub const WORK_LEASE: Duration = Duration::from_secs(30);
/// Every pass runs at least this often, whether a wake came or not.
pub const POLL: Duration = Duration::from_secs(2);
/// The builder waits this long for `durable` to reach the log's end before it reports the finish.
pub const LOG_DURABLE_WAIT: Duration = Duration::from_secs(10);
/// An unfinished log is sealed as cut when its attempt is over and nothing of it came for this long.
pub const LOG_SEAL_CUT: Duration = Duration::from_secs(600);
/// Log bytes lie in memory at most this long before they become a segment.
pub const LOG_FLUSH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intervals_fit_together() {
        assert!(HEARTBEAT * 3 < LOST_AFTER_SILENCE, "three heartbeats may get lost before a builder is");
        assert!(HEARTBEAT + RENEWAL_BATCH < REATTACH_AFTER, "one late answer is no reason to move");
        assert!(REATTACH_AFTER + HEARTBEAT < LOST_AFTER_SILENCE, "a builder re-attaches before it is lost");
        assert!(HEARTBEAT < LOST_AFTER_CLOSE, "a closed channel may re-attach");
        assert!(LOSS_GRACE >= HEARTBEAT * 2, "losses wait for two heartbeat periods");
        assert!(LEADER_RENEW * 3 < LEADER_LEASE + LEADER_RENEW, "a leader may miss two renewals");
        assert!(CANCEL_DEADLINE > KILL_WITHIN, "the builder has time to say that it stopped");
        assert!(INFRA_RETRY_FIRST <= INFRA_RETRY_MAX);
        assert!(JOB_TIMEOUT <= JOB_TIMEOUT_MAX);
        assert!(LOG_DURABLE_WAIT > LOG_FLUSH, "a flush fits into the wait for durable");
        assert!(POLL < DISPATCH_DEADLINE);
    }
}
