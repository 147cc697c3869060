//! Deliveries that the process which took them in works from memory. It holds their lease from the insert on, so that
//! nothing is leased and read back in between. What is not handed over, or not worked in time, is found in its row.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::event::ForgeKind;
use slipway_domain::ids::{DeliveryId, HookId, ProcessId, ProjectId};
use slipway_domain::timing;
use slipway_forges::headers;
use slipway_forges::hook::{Parsed, Received, parse};
use slipway_runtime::clock::Clock;
use slipway_store::deliveries::{Accepted, NewDelivery};
use slipway_store::delivery_work::LeasedDelivery;
use tokio::sync::mpsc;

use crate::intake::pass::WORK_TIMEOUT;

/// Deliveries that wait in memory; those beyond are found in their rows.
const PLACES: usize = 256;

/// A delivery whose lease this process has.
pub(super) struct Held {
    pub(super) id: DeliveryId,
    pub(super) hook_id: HookId,
    pub(super) project_id: ProjectId,
    /// How often it was tried, this time included.
    pub(super) attempts: i64,
    content: Content,
    leased_at: Instant,
}

enum Content {
    Row(LeasedDelivery),
    Read(Parsed),
}

impl Held {
    /// One whose row was leased at this moment or later.
    pub(super) fn leased(row: LeasedDelivery, at: Instant) -> Self {
        let (id, hook_id, project_id, attempts) = (row.id, row.hook_id, row.project_id, row.attempts);
        Self { id, hook_id, project_id, attempts, content: Content::Row(row), leased_at: at }
    }

    /// What it says; an error is a fault of the delivery.
    pub(super) fn parsed(&self, kind: ForgeKind) -> Result<Cow<'_, Parsed>, String> {
        match &self.content {
            Content::Read(parsed) => Ok(Cow::Borrowed(parsed)),
            Content::Row(row) => {
                let headers = headers::from_map(&row.headers)?;
                let parsed = parse(&Received { kind, headers: &headers, body: &row.body });
                parsed.map(Cow::Owned).map_err(|error| error.to_string())
            }
        }
    }

    /// True while work that is begun now ends before the lease does.
    pub(super) fn has_time(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.leased_at) + WORK_TIMEOUT <= timing::WORK_LEASE
    }
}

/// Where deliveries wait for the loop of this process; closed until that runs. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handover(Arc<OnceLock<Open>>);

struct Open {
    owner: ProcessId,
    queue: mpsc::Sender<Handed>,
}

/// What comes out of the queue.
pub(crate) struct Handed {
    pub(super) held: Held,
    /// When it came in, by the database's clock.
    pub(super) came_in: DateTime<Utc>,
}

impl Handed {
    /// The database's time now, as far as our own clock kept pace since it came in.
    pub(super) fn now(&self, clock: &Clock) -> DateTime<Utc> {
        let since = clock.monotonic().saturating_duration_since(self.held.leased_at);
        self.came_in + TimeDelta::from_std(since).unwrap_or_default()
    }
}

/// A place in the queue for one delivery; given back when dropped.
pub(super) struct Place {
    pub(super) owner: ProcessId,
    queue: mpsc::OwnedPermit<Handed>,
    parsed: Parsed,
    taken_at: Instant,
}

impl Handover {
    /// Opens it for the loop that holds leases as `owner`. Nothing comes out where it was open already.
    pub(crate) fn open(&self, owner: ProcessId) -> mpsc::Receiver<Handed> {
        let (queue, handed) = mpsc::channel(PLACES);
        // The sender is gone if another loop has it, and so this one ends.
        let _ = self.0.set(Open { owner, queue });
        handed
    }

    /// A place for a delivery that says this, if there is one.
    pub(super) fn place(&self, parsed: &Parsed, clock: &Clock) -> Option<Place> {
        let open = self.0.get()?;
        let queue = open.queue.clone().try_reserve_owned().ok()?;
        Some(Place { owner: open.owner, queue, parsed: parsed.clone(), taken_at: clock.monotonic() })
    }
}

impl Place {
    /// Hands a stored delivery over, if it was stored with our lease.
    pub(super) fn fill(self, new: &NewDelivery, accepted: &Accepted) {
        if *accepted != Accepted::New(new.id) {
            return;
        }
        let held = Held {
            id: new.id,
            hook_id: new.hook,
            project_id: new.project,
            attempts: 1,
            content: Content::Read(self.parsed),
            leased_at: self.taken_at,
        };
        self.queue.send(Handed { held, came_in: new.now });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipway_runtime::ids::random_id;
    use sqlx::types::Json;

    use super::*;

    #[test]
    fn work_is_begun_only_if_it_ends_before_the_lease() {
        let leased_at = Clock::system().monotonic();
        let row = LeasedDelivery {
            id: random_id(),
            hook_id: random_id(),
            project_id: random_id(),
            headers: Json([].into()),
            body: Vec::new(),
            body_blob: None,
            attempts: 1,
        };
        let held = Held::leased(row, leased_at);
        let last = leased_at + timing::WORK_LEASE - WORK_TIMEOUT;
        assert!(held.has_time(last));
        assert!(!held.has_time(last + Duration::from_millis(1)));
    }
}
