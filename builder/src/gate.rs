//! The load gate: a free slot is not enough to take a job. Under pressure, or while the engine does not
//! answer, the builder offers no room and says why; jobs then wait for another builder at no cost to
//! their attempts.

use std::path::PathBuf;

use slipway_domain::builder::Load;

use crate::host::Reading;

/// Once closed, a limit opens again only when the reading is better by this share, so that a builder at
/// its limit does not flap.
const RELIEF: f64 = 0.1;

/// Beyond these a builder takes nothing new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Free bytes on the disk with the workspaces.
    pub disk_free_min_bytes: u64,
    /// Share of memory in use.
    pub memory_max: f64,
    /// Load average per core. Only heeded while jobs run: an idle builder on a busy host still takes one.
    pub cpu_max: f64,
    /// Share of the engine's disk above which its cache is pruned; at 1 it never is.
    pub cache_high: f64,
    /// Share down to which it is.
    pub cache_low: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { disk_free_min_bytes: 1 << 30, memory_max: 0.95, cpu_max: 4.0, cache_high: 0.8, cache_low: 0.7 }
    }
}

/// What the last probe of the engine gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineHealth {
    /// It answers and holds nothing of a former life.
    Ready,
    /// It does not, for this reason.
    Down(String),
}

/// What the heartbeat tells about taking jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readiness {
    /// The host.
    pub reading: Reading,
    /// Why nothing is taken, in words.
    pub not_taking: Option<String>,
    /// Where the engine's data lies on its host, as it last said.
    pub data_root: Option<PathBuf>,
}

impl Readiness {
    /// The load as a heartbeat carries it.
    pub fn load(&self, busy: i64, draining: bool) -> Load {
        Load {
            busy,
            cpu: self.reading.cpu,
            memory: self.reading.memory,
            disk_free_bytes: i64::try_from(self.reading.disk_free_bytes).unwrap_or(i64::MAX),
            not_taking: if draining { Some("it drains".to_owned()) } else { self.not_taking.clone() },
            cached_projects: None,
            cache_bytes: None,
        }
    }
}

/// Why nothing may be taken now, or `None`. `closed` says whether that was so at the last look.
pub fn not_taking(
    limits: &Limits,
    engine: &EngineHealth,
    reading: &Reading,
    busy: i64,
    closed: bool,
) -> Option<String> {
    if let EngineHealth::Down(reason) = engine {
        return Some(format!("the engine does not answer: {reason}"));
    }
    let relief = if closed { RELIEF } else { 0.0 };
    let disk_min = to_f64(limits.disk_free_min_bytes) * (1.0 + relief);
    if to_f64(reading.disk_free_bytes) < disk_min {
        let mib = reading.disk_free_bytes >> 20;
        return Some(format!(
            "the disk is nearly full: {mib} MiB free, it wants {} MiB",
            limits.disk_free_min_bytes >> 20
        ));
    }
    if reading.memory > limits.memory_max * (1.0 - relief) {
        return Some(format!("memory is nearly used up: {:.0} %", reading.memory * 100.0));
    }
    if busy > 0 && reading.cpu > limits.cpu_max * (1.0 - relief) {
        return Some(format!("the processor is overloaded: {:.1} per core", reading.cpu));
    }
    None
}

#[expect(clippy::cast_precision_loss, reason = "a limit may be off by a few bytes")]
pub(crate) fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { disk_free_min_bytes: 1000, memory_max: 0.9, cpu_max: 4.0, cache_high: 1.0, cache_low: 1.0 };
    const CALM: Reading = Reading { cpu: 0.5, memory: 0.5, disk_free_bytes: 5000 };

    fn words(engine: &EngineHealth, reading: Reading, busy: i64, closed: bool) -> String {
        not_taking(&LIMITS, engine, &reading, busy, closed).unwrap_or_default()
    }

    #[test]
    fn each_pressure_closes_the_gate_and_says_so() {
        let ready = EngineHealth::Ready;
        assert_eq!(words(&ready, CALM, 1, false), "");
        assert!(words(&ready, Reading { disk_free_bytes: 999, ..CALM }, 0, false).contains("disk"));
        assert!(words(&ready, Reading { memory: 0.91, ..CALM }, 0, false).contains("memory"));
        assert!(words(&ready, Reading { cpu: 4.1, ..CALM }, 1, false).contains("processor"));
        let down = EngineHealth::Down("connection refused".to_owned());
        assert!(words(&down, CALM, 0, false).contains("connection refused"));
    }

    #[test]
    fn an_idle_builder_on_a_busy_host_takes_one() {
        assert_eq!(words(&EngineHealth::Ready, Reading { cpu: 40.0, ..CALM }, 0, false), "");
    }

    #[test]
    fn the_gate_does_not_flap_at_its_limit() {
        let edge = Reading { disk_free_bytes: 1050, ..CALM };
        assert_eq!(words(&EngineHealth::Ready, edge, 0, false), "");
        assert!(words(&EngineHealth::Ready, edge, 0, true).contains("disk"));
        assert_eq!(words(&EngineHealth::Ready, Reading { disk_free_bytes: 1101, ..CALM }, 0, true), "");
    }

    #[test]
    fn draining_is_said_before_any_pressure() {
        let readiness = Readiness { reading: CALM, not_taking: Some("x".to_owned()), data_root: None };
        assert_eq!(readiness.load(2, true).not_taking.as_deref(), Some("it drains"));
        assert_eq!(readiness.load(2, false).not_taking.as_deref(), Some("x"));
    }
}
