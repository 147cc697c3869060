//! What BuildKit keeps between builds, and which of it goes first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{PruneRequest, UsageRecord};
use chrono::{DateTime, Utc};
use slipway_buildkit::error::SolveError;
use slipway_domain::failure::Failure;

use super::{Engine, down};

/// An engine that computes sizes of many layers for the first time reads them all.
const USAGE_WITHIN: Duration = Duration::from_secs(120);
/// A removal that is broken off may hang the engine, so that it has more time than it ever takes.
const PRUNE_WITHIN: Duration = Duration::from_secs(600);
/// Most records that go at once: an engine removes them one by one, and a job may wait.
const MAX_RECORDS: usize = 100;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many records.
    pub records: usize,
    /// As the engine counts them, bytes.
    pub bytes: u64,
    /// When the newest of them was used last.
    pub until: Option<DateTime<Utc>>,
}

/// Records that shall go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    ids: Vec<String>,
    bytes: u64,
    until: Option<DateTime<Utc>>,
}

impl Engine {
    /// Removes from the cache about so many bytes, what was not used for the longest time first, and nothing that a
    /// build uses or that an image holds anyway. To be called while nothing is built, and not to be broken off.
    pub async fn prune_cache(&self, bytes: u64) -> Result<Pruned, Failure> {
        let buildkit = self.buildkit();
        let records = buildkit.disk_usage(USAGE_WITHIN).await.map_err(no_answer)?;
        let Choice { ids, until, .. } = oldest(&records, bytes);
        if ids.is_empty() {
            return Ok(Pruned::default());
        }
        let filter = ids.iter().map(|id| format!("id=={id}")).collect();
        let request = PruneRequest { filter, ..PruneRequest::default() };
        let removed = buildkit.prune(request, PRUNE_WITHIN).await.map_err(no_answer)?;
        let bytes = removed.iter().map(size).sum();
        Ok(Pruned { records: removed.len(), bytes, until: until.filter(|_| !removed.is_empty()) })
    }
}

fn no_answer(error: SolveError) -> Failure {
    down(error)
}

/// The records that were not used for the longest time, until they have so many bytes. A layer is as new as the newest
/// that lies on it, and goes after it.
fn oldest(records: &[UsageRecord], bytes: u64) -> Choice {
    let used = last_uses(records);
    let known: BTreeMap<&str, &UsageRecord> = records.iter().map(|record| (record.id.as_str(), record)).collect();
    let depth = |record: &UsageRecord| {
        let mut seen = BTreeSet::from([record.id.as_str()]);
        let mut level = vec![record];
        let mut depth = 0_usize;
        // What an engine says may go in a circle.
        while !level.is_empty() {
            let lower = level.iter().flat_map(|record| below(record)).filter(|id| seen.insert(*id));
            level = lower.filter_map(|id| known.get(id).copied()).collect();
            depth += 1;
        }
        depth
    };
    let mut free: Vec<&UsageRecord> =
        records.iter().filter(|record| !record.in_use && !record.shared && is_plain(&record.id)).collect();
    free.sort_by_cached_key(|record| (used.get(record.id.as_str()).copied(), std::cmp::Reverse(depth(record))));
    let mut choice = Choice::default();
    for record in free.into_iter().take(MAX_RECORDS) {
        if choice.bytes >= bytes {
            break;
        }
        choice.ids.push(record.id.clone());
        choice.bytes = choice.bytes.saturating_add(size(record));
        choice.until = choice.until.max(used.get(record.id.as_str()).copied());
    }
    choice
}

/// When each record, or what lies on it, was used last.
fn last_uses(records: &[UsageRecord]) -> BTreeMap<&str, DateTime<Utc>> {
    let known: BTreeMap<&str, &UsageRecord> = records.iter().map(|record| (record.id.as_str(), record)).collect();
    let mut used: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    for record in records {
        let Some(time) = time(record.last_used_at.as_ref()).or_else(|| time(record.created_at.as_ref())) else {
            continue;
        };
        let mut open = vec![record];
        while let Some(record) = open.pop() {
            // Whoever is as new already has told those below, so that this ends in circles too.
            if used.get(record.id.as_str()).is_none_or(|known| *known < time) {
                used.insert(&record.id, time);
                open.extend(below(record).filter_map(|id| known.get(id).copied()));
            }
        }
    }
    used
}

/// What a record lies on; engines of API 1.41 name one only.
fn below(record: &UsageRecord) -> impl Iterator<Item = &str> {
    #[expect(deprecated, reason = "older engines know no other field")]
    let only = Some(&record.parent).filter(|parent| !parent.is_empty());
    record.parents.iter().chain(only).map(String::as_str)
}

/// The engine takes ids as words of a filter, in which others would mean something.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn size(record: &UsageRecord) -> u64 {
    u64::try_from(record.size).unwrap_or_default()
}

fn time(stamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let stamp = stamp?;
    DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(deprecated, reason = "as older engines say it")]
    fn record(id: &str, parent: &str, used: i64, size: i64) -> UsageRecord {
        let last_used_at = (used > 0).then_some(Timestamp { seconds: used, nanos: 0 });
        let created_at = Some(Timestamp { seconds: 1, nanos: 0 });
        UsageRecord {
            id: id.to_owned(),
            parent: parent.to_owned(),
            size,
            last_used_at,
            created_at,
            ..UsageRecord::default()
        }
    }

    fn ids(records: &[UsageRecord], bytes: u64) -> String {
        oldest(records, bytes).ids.join(" ")
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_no_more_than_needed() {
        let records = [record("b", "", 20, 5), record("a", "", 10, 5), record("c", "", 30, 5), record("n", "", 0, 5)];
        for (bytes, gone) in [(0, ""), (1, "n"), (5, "n"), (6, "n a"), (15, "n a b"), (99, "n a b c")] {
            assert_eq!(ids(&records, bytes), gone, "{bytes}");
        }
        assert_eq!(oldest(&records, 6).until, DateTime::from_timestamp(10, 0));
        assert_eq!(oldest(&records, 6).bytes, 10);
    }

    #[test]
    fn a_layer_is_as_new_as_what_lies_on_it_and_goes_after_it() {
        let records = [record("base", "", 5, 5), record("mid", "base", 6, 5), record("top", "mid", 30, 5)];
        let more = [record("lone", "", 20, 5)];
        let all = [&records[..], &more].concat();
        assert_eq!(ids(&all, 99), "lone top mid base");
        assert_eq!(ids(&all, 6), "lone top");
        let newer = |id: &str, parents: &[&str], used| UsageRecord {
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            ..record(id, "", used, 5)
        };
        let all = [newer("a", &[], 5), newer("b", &[], 6), newer("merged", &["a", "b"], 30), newer("lone", &[], 20)];
        assert_eq!(ids(&all, 99), "lone merged a b");
    }

    #[test]
    fn what_is_in_use_or_held_by_an_image_or_oddly_named_stays() {
        let used = UsageRecord { in_use: true, ..record("used", "", 1, 5) };
        let shared = UsageRecord { shared: true, ..record("shared", "", 1, 5) };
        assert_eq!(
            ids(&[used, shared, record("x,id!=y", "", 1, 5), record("", "", 1, 5), record("ok", "", 2, -1)], 9),
            "ok"
        );
    }

    proptest! {
        #[test]
        fn whatever_an_engine_says_ends_and_never_takes_a_newer_one_first(
            said in prop::collection::vec((0_u8..12, 0_u8..14, 0_i64..50, -5_i64..100, any::<bool>()), 0..40),
            bytes in 0_u64..500,
        ) {
            let records: Vec<UsageRecord> = said
                .iter()
                .map(|(id, parent, used, size, in_use)| UsageRecord {
                    in_use: *in_use,
                    ..record(&format!("r{id}"), &format!("r{parent}"), *used, *size)
                })
                .collect();
            let choice = oldest(&records, bytes);
            let used = last_uses(&records);
            let times: Vec<_> = choice.ids.iter().map(|id| used.get(id.as_str())).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(choice.ids.len() <= MAX_RECORDS);
            prop_assert_eq!(choice.until, times.last().copied().flatten().copied());
        }
    }
}
