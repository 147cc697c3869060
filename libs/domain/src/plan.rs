//! Plans: what a tenant buys, as numbers that somebody enforces.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::size;

/// The plan of tenants that name none.
pub const DEFAULT_PLAN: &str = "team";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a job may use, and how many of them a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Processor time of all steps together, thousandths of a core. By the builder, in cgroups.
    pub millicpus: u64,
    /// Memory of all steps together, bytes; beyond it the kernel kills. By the builder, in cgroups.
    pub memory_bytes: u64,
    /// Processes and threads of all steps together. By the builder, in cgroups.
    pub pids: u64,
    /// Seconds that a job may run, whatever it asks for. By api when it is made, then by builder and scheduler.
    pub wall_secs: u64,
    /// Seconds without any output or progress of a build. By the builder.
    pub silence_secs: u64,
    /// Largest context, bytes. By the builder.
    pub context_bytes: u64,
    /// Most entries of a context. By the builder.
    pub context_entries: u64,
    /// Longest log, bytes; of a longer one the beginning and the end are kept. By the builder.
    pub log_bytes: u64,
    /// Largest image, unpacked bytes. By the builder, before it is pushed.
    pub image_bytes: u64,
    /// Most tags of a build. By the builder, before it pushes.
    pub tags: u64,
    /// Jobs that a tenant runs at once. By the scheduler.
    pub jobs: u64,
}

impl Limits {
    const FREE: Self = Self {
        millicpus: 1000,
        memory_bytes: 2 * GIB,
        pids: 512,
        wall_secs: 15 * 60,
        silence_secs: 5 * 60,
        context_bytes: 200 * MIB,
        context_entries: 50_000,
        log_bytes: 64 * MIB,
        image_bytes: 2 * GIB,
        tags: 5,
        jobs: 1,
    };
    const PRO: Self = Self {
        millicpus: 2000,
        memory_bytes: 4 * GIB,
        pids: 2048,
        wall_secs: 45 * 60,
        silence_secs: 10 * 60,
        context_bytes: GIB,
        context_entries: 200_000,
        log_bytes: 512 * MIB,
        image_bytes: 10 * GIB,
        tags: 20,
        jobs: 3,
    };
    const TEAM: Self = Self {
        millicpus: 4000,
        memory_bytes: 8 * GIB,
        pids: 4096,
        wall_secs: 120 * 60,
        silence_secs: 20 * 60,
        context_bytes: 4 * GIB,
        context_entries: 500_000,
        log_bytes: 4 * GIB,
        image_bytes: 20 * GIB,
        tags: 50,
        jobs: 10,
    };
}

/// What a job has whose spec says nothing: the default plan's.
impl Default for Limits {
    fn default() -> Self {
        Self::TEAM
    }
}

/// For the reader of a log.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpus, rest) = (self.millicpus / 1000, self.millicpus % 1000);
        let cpus = format!("{cpus}.{rest:03}");
        let cpus = cpus.trim_end_matches('0').trim_end_matches('.');
        let cores = if cpus == "1" { "core" } else { "cores" };
        write!(
            f,
            "{cpus} {cores}, {} of memory, {} processes, {} without output, {} of log, images of {}, {} tags, \
             a context of {} and {} entries, {} in all",
            size::bytes(self.memory_bytes),
            self.pids,
            duration(self.silence_secs),
            size::bytes(self.log_bytes),
            size::bytes(self.image_bytes),
            self.tags,
            size::bytes(self.context_bytes),
            self.context_entries,
            duration(self.wall_secs)
        )
    }
}

/// Seconds as people read them: `20 min`, `90 s`.
pub fn duration(secs: u64) -> String {
    if secs >= 60 && secs.is_multiple_of(60) { format!("{} min", secs / 60) } else { format!("{secs} s") }
}

/// Every plan of an installation, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans(BTreeMap<String, Limits>);

impl Default for Plans {
    fn default() -> Self {
        let plans = [("free", Limits::FREE), ("pro", Limits::PRO), (DEFAULT_PLAN, Limits::TEAM)];
        Self(plans.map(|(name, limits)| (name.to_owned(), limits)).into())
    }
}

/// What an operator writes of one plan; unset fields are those of the plan it is like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenPlan {
    like: Option<String>,
    millicpus: Option<u64>,
    #[serde(deserialize_with = "bytes")]
    memory_bytes: Option<u64>,
    pids: Option<u64>,
    wall_secs: Option<u64>,
    silence_secs: Option<u64>,
    #[serde(deserialize_with = "bytes")]
    context_bytes: Option<u64>,
    context_entries: Option<u64>,
    #[serde(deserialize_with = "bytes")]
    log_bytes: Option<u64>,
    #[serde(deserialize_with = "bytes")]
    image_bytes: Option<u64>,
    tags: Option<u64>,
    jobs: Option<u64>,
}

fn bytes<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(source)? {
        Either::Number(bytes) => Ok(Some(bytes)),
        Either::Text(text) => size::parse(&text)
            .map(Some)
            .ok_or_else(|| serde::de::Error::custom(format!("\"{text}\" is no size: write 512 MiB, 8 GiB or bytes"))),
    }
}

/// Why a plan cannot be what an operator wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// It is like one that is not there.
    #[error("plan {0} is like \"{1}\", which is not there; a plan that is not free, pro or team names one of these")]
    Like(String, String),
    /// A limit under which nothing runs.
    #[error("plan {0}: {1} must be more than 0")]
    Zero(String, &'static str),
}

impl Plans {
    /// The built-in plans with what an operator says of them, and the operator's own.
    pub fn with(written: BTreeMap<String, WrittenPlan>) -> Result<Self, BadPlan> {
        let built_in = Self::default();
        let mut plans = built_in.clone();
        for (name, plan) in written {
            let like = plan.like.as_ref().unwrap_or(&name);
            let base = built_in.get(like).ok_or_else(|| BadPlan::Like(name.clone(), like.clone()))?;
            let limits = plan.over(base);
            if let Some((field, _)) = limits.fields().into_iter().find(|(_, value)| *value == 0) {
                return Err(BadPlan::Zero(name, field));
            }
            plans.0.insert(name, limits);
        }
        Ok(plans)
    }

    /// One plan.
    pub fn get(&self, name: &str) -> Option<Limits> {
        self.0.get(name).copied()
    }

    /// What a tenant of this plan may use; of one that is there no more, what the default plan gives.
    pub fn limits(&self, name: &str) -> Limits {
        self.get(name).or_else(|| self.get(DEFAULT_PLAN)).unwrap_or_default()
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Limits)> {
        self.0.iter().map(|(name, limits)| (name.as_str(), *limits))
    }
}

impl WrittenPlan {
    fn over(&self, base: Limits) -> Limits {
        Limits {
            millicpus: self.millicpus.unwrap_or(base.millicpus),
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
            pids: self.pids.unwrap_or(base.pids),
            wall_secs: self.wall_secs.unwrap_or(base.wall_secs),
            silence_secs: self.silence_secs.unwrap_or(base.silence_secs),
            context_bytes: self.context_bytes.unwrap_or(base.context_bytes),
            context_entries: self.context_entries.unwrap_or(base.context_entries),
            log_bytes: self.log_bytes.unwrap_or(base.log_bytes),
            image_bytes: self.image_bytes.unwrap_or(base.image_bytes),
            tags: self.tags.unwrap_or(base.tags),
            jobs: self.jobs.unwrap_or(base.jobs),
        }
    }
}

impl Limits {
    fn fields(&self) -> [(&'static str, u64); 11] {
        [
            ("millicpus", self.millicpus),
            ("memory_bytes", self.memory_bytes),
            ("pids", self.pids),
            ("wall_secs", self.wall_secs),
            ("silence_secs", self.silence_secs),
            ("context_bytes", self.context_bytes),
            ("context_entries", self.context_entries),
            ("log_bytes", self.log_bytes),
            ("image_bytes", self.image_bytes),
            ("tags", self.tags),
            ("jobs", self.jobs),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Plans, String> {
        let written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Plans::with(written).map_err(|error| error.to_string())
    }

    #[test]
    fn an_operator_changes_and_adds_plans() {
        let plans = written(
            r#"{"team": {"memory_bytes": "16 GiB", "jobs": 40}, "tiny": {"like": "free", "memory_bytes": 1000, "tags": 1}}"#,
        );
        let plans = plans.expect("plans");
        assert_eq!(plans.limits("team"), Limits { memory_bytes: 16 * GIB, jobs: 40, ..Limits::TEAM });
        assert_eq!(plans.limits("tiny"), Limits { memory_bytes: 1000, tags: 1, ..Limits::FREE });
        assert_eq!(plans.limits("pro"), Limits::PRO);
        assert_eq!(plans.limits("gone").jobs, 40, "a plan that was taken away");
        assert_eq!(plans.iter().count(), 4);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (text, part) in [
            (r#"{"own": {}}"#, "is like \"own\""),
            (r#"{"own": {"like": "other"}}"#, "is like \"other\""),
            (r#"{"free": {"pids": 0}}"#, "plan free: pids must be more than 0"),
            (r#"{"free": {"memory": 1}}"#, "unknown field `memory`"),
            (r#"{"free": {"memory_bytes": "2 GB"}}"#, "\"2 GB\" is no size"),
            (r#"{"free": {"memory_bytes": -1}}"#, "did not match"),
        ] {
            let said = written(text).expect_err(text);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_newer_release_may_know_more_limits_and_an_older_one_less() {
        let read: Limits = serde_json::from_str(r#"{"pids": 7, "x_newer": 1}"#).expect("read");
        assert_eq!(read, Limits { pids: 7, ..Limits::default() });
        assert_eq!(
            Limits::FREE.to_string(),
            "1 core, 2.0 GiB of memory, 512 processes, 5 min without output, 64.0 MiB of log, images of 2.0 GiB, \
             5 tags, a context of 200.0 MiB and 50000 entries, 15 min in all"
        );
        assert_eq!(Limits { millicpus: 1500, ..Limits::FREE }.to_string().split(' ').next(), Some("1.5"));
    }
}
