//! `make bench`: every figure is measured beside a baseline that runs interleaved in the same process group,
//! because a shared machine drifts; CPU per operation goes with it.

pub mod backlog;
pub mod builder_idle;
pub mod claim;
pub mod context_tar;
pub mod docker_build;
pub mod elsewhere;
pub mod fake_builder;
pub mod git_mirror;
pub mod idle;
pub mod idle_builders;
pub mod large_logs;
pub mod log_chromium;
pub mod log_fan_out;
pub mod log_feed;
pub mod log_ingest;
pub mod log_lag;
pub mod log_memory;
pub mod log_range;
pub mod log_search;
pub mod log_text;
pub mod log_viewer;
pub mod noop;
pub mod object_reads;
pub mod overhead;
pub mod pending;
pub mod redis_gone;
pub mod roles_idle;
pub mod sealed_log;
pub mod split;
pub mod stats;
pub mod viewer_assets;
pub mod webhook;

use std::fs;

use anyhow::{Context, Result};

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub figure: &'static str,
    /// The baseline's value, with unit.
    pub baseline: String,
    /// Ours, with unit.
    pub ours: String,
    /// Ours against the baseline, with its 95 % interval where there is one.
    pub ratio: String,
    /// CPU of the service per operation.
    pub cpu: String,
    /// What was asked for.
    pub target: &'static str,
    /// Whether it was reached.
    pub reached: bool,
}

/// The rows as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| figure | baseline | ours | ratio | CPU per operation | target | reached |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let reached = if row.reached { "yes" } else { "no" };
        let cells = [row.figure, &row.baseline, &row.ours, &row.ratio, &row.cpu, row.target, reached];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// A size or a count, divided by `SLIPWAY_BENCH_SHRINK` where that is set: for trying the rows of large logs.
pub fn shrunk(full: usize) -> usize {
    let divisor = std::env::var("SLIPWAY_BENCH_SHRINK").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    (full / usize::max(divisor, 1)).max(1)
}

/// CPU time that a process has used, seconds (proc(5), fields 14 and 15 of `stat`).
pub fn cpu_secs(pid: u32) -> Result<f64> {
    cpu_of(pid, [11, 12])
}

/// CPU time of those of its children that have ended and were waited for, seconds (fields 16 and 17).
pub fn ended_children_cpu_secs(pid: u32) -> Result<f64> {
    cpu_of(pid, [13, 14])
}

/// Fields of `stat`, counted from the one after the name.
fn cpu_of(pid: u32, fields: [usize; 2]) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process's times")?;
    let after_name = stat.rsplit_once(')').context("stat has a name in brackets")?.1;
    let words: Vec<&str> = after_name.split_whitespace().collect();
    let mut ticks = 0;
    for field in fields {
        ticks += words.get(field).context("stat is short")?.parse::<u64>().context("ticks are whole")?;
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process, MB.
pub fn resident_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmRSS:")
}

/// The most that a process ever held, or since [`forget_peak`], MB.
pub fn peak_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmHWM:")
}

/// Lets the kernel begin anew to keep a process's peak.
pub fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting a process's peak")
}

/// A line of `status`, MB.
fn memory_mb(pid: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's memory")?;
    let line = status.lines().find(|line| line.starts_with(field)).context("status has the field")?;
    let kib: f64 = line.split_whitespace().nth(1).context("it has a value")?.parse().context("it is a number")?;
    Ok(kib / 1024.0)
}
