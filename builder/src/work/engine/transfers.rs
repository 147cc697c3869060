//! How much the steps of one build have moved: layers and files that the engine pulls, sends and pushes.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::VertexStatus;
use chrono::{DateTime, TimeDelta, Utc};

/// A step that moves bytes is told so often at most.
const TOLD_EVERY: TimeDelta = TimeDelta::seconds(1);

/// All transfers of one build.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    by_step: HashMap<String, OfStep>,
}

#[derive(Debug, Default)]
struct OfStep {
    /// Bytes so far and of the whole, 0 where the engine does not know, by the transfer's name.
    parts: HashMap<String, (i64, i64)>,
    told_at: Option<DateTime<Utc>>,
}

/// What a step has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Bytes so far; none where it moves nothing.
    pub(super) bytes: Option<i64>,
    /// Bytes of all transfers, where that is known of each.
    pub(super) total: Option<i64>,
}

impl Transfers {
    /// Takes how far one is. False where it stands still, which an engine repeats.
    pub(super) fn take(&mut self, status: VertexStatus) -> bool {
        let parts = &mut self.by_step.entry(status.vertex).or_default().parts;
        let now = (status.current.max(0), status.total.max(0));
        parts.insert(status.id, now).map(|(current, _)| current) != Some(now.0)
    }

    /// What a step has moved so far.
    pub(super) fn of(&self, digest: &str) -> Moved {
        let parts = self.by_step.get(digest).into_iter().flat_map(|step| step.parts.values());
        let sum = |sum: Moved, (current, total): &(i64, i64)| Moved {
            bytes: Some(sum.bytes.unwrap_or(0).saturating_add(*current)),
            total: if sum.bytes.is_none() { Some(0) } else { sum.total }
                .filter(|_| *total > 0)
                .map(|sum| sum.saturating_add(*total)),
        };
        parts.filter(|part| **part != (0, 0)).fold(Moved::default(), sum)
    }

    /// Whether a step may be told again, which it then is.
    pub(super) fn is_due(&mut self, digest: &str, now: DateTime<Utc>) -> bool {
        let Some(step) = self.by_step.get_mut(digest) else { return false };
        let is_due = step.told_at.is_none_or(|told| now >= told + TOLD_EVERY || now < told);
        if is_due {
            step.told_at = Some(now);
        }
        is_due
    }
}
