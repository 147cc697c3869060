//! The most that the log service holds while a log of 1 GB is fed to it, searched, jumped about in, and read to its end.

use anyhow::{Result, ensure};

use crate::bench::log_text::RARE;
use crate::bench::sealed_log::SealedLog;
use crate::bench::{Row, forget_peak, peak_mb, resident_mb};
use crate::env::cluster::Role;

const JUMPS: u64 = 100;
const LIMIT_MB: f64 = 150.0;

/// Measures.
pub async fn run(log: &SealedLog) -> Result<Row> {
    let logsvc = log.split.id(Role::Logsvc)?;
    forget_peak(logsvc)?;
    log.get(&format!("/search?q={}&limit=500", RARE.replace(' ', "%20"))).await?;
    let searched = peak_mb(logsvc)?;
    forget_peak(logsvc)?;
    for jump in 0..JUMPS {
        let from = log.lines * jump / JUMPS + 1;
        log.get(&format!("/lines?from={from}&count=100&runs=1")).await?;
    }
    let jumped = peak_mb(logsvc)?;
    forget_peak(logsvc)?;
    let length = log.length("").await?;
    ensure!(length >= log.bytes, "of {} bytes {length} were read", log.bytes);
    let (read, resident) = (peak_mb(logsvc)?, resident_mb(logsvc)?);
    let most = [log.fed_peak_mb, searched, jumped, read].into_iter().fold(0.0, f64::max);
    Ok(Row {
        figure: "log service's memory at a log of 1 GB",
        baseline: "none".to_owned(),
        ours: format!(
            "at most {:.0} MB fed (in {:.0} s), {searched:.0} searched, {jumped:.0} jumped about in, {read:.0} read to \
             its end, of {:.0} MB; {resident:.0} MB afterwards",
            log.fed_peak_mb,
            log.fed_in.as_secs_f64(),
            log.megabytes(),
        ),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "under 150 MB",
        reached: most < LIMIT_MB,
    })
}
