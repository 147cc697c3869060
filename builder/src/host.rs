//! How busy the host is, as the kernel says it.

use std::path::Path;

use crate::gate::to_f64;

/// One reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// One-minute load average divided by the number of cores.
    pub cpu: f64,
    /// Share of memory in use, 0 to 1; what the kernel can reclaim counts as free.
    pub memory: f64,
    /// Bytes that we may still write on the disk with the workspaces.
    pub disk_free_bytes: u64,
}

/// The disk under an engine's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// What the disk holds, bytes.
    pub total_bytes: u64,
    /// What is free of it for the engine, bytes.
    pub free_bytes: u64,
}

impl Store {
    /// How full it is, 0 to 1.
    pub fn used(&self) -> f64 {
        to_f64(self.total_bytes.saturating_sub(self.free_bytes)) / to_f64(self.total_bytes.max(1))
    }

    /// How many bytes must go until no more than this share is used.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mark may be off by a few bytes")]
    pub fn over(&self, share: f64) -> u64 {
        let kept = (to_f64(self.total_bytes) * share.clamp(0.0, 1.0)) as u64;
        self.total_bytes.saturating_sub(self.free_bytes).saturating_sub(kept)
    }
}

/// Looks at an engine's data, if this host sees it. Blocks for as long as the disk takes to answer.
pub fn store(data_root: &Path) -> Option<Store> {
    let disk = rustix::fs::statvfs(data_root).ok()?;
    Some(Store {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// Reads the host now. Blocks for as long as the disk takes to answer.
pub fn read(work_dir: &Path) -> anyhow::Result<Reading> {
    use anyhow::Context as _;
    let loadavg = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let disk =
        rustix::fs::statvfs(work_dir).with_context(|| format!("cannot ask for the disk of {}", work_dir.display()))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Reading {
        cpu: load_per_core(&loadavg, cores).context("/proc/loadavg does not begin with a number")?,
        memory: memory_share(&meminfo).context("/proc/meminfo does not tell MemTotal and MemAvailable")?,
        disk_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 cores")]
fn load_per_core(loadavg: &str, cores: usize) -> Option<f64> {
    let minute: f64 = loadavg.split_whitespace().next()?.parse().ok()?;
    Some(minute / cores.max(1) as f64)
}

fn memory_share(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let (total, available) = (kib("MemTotal")?, kib("MemAvailable")?);
    (total > 0.0).then(|| 1.0 - available / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(load_per_core("3.00 0.18 0.30 1/234 5678\n", 2), Some(1.5));
        assert_eq!(load_per_core("", 2), None);
        let meminfo = "MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     250 kB\n";
        assert_eq!(memory_share(meminfo), Some(0.75));
        assert_eq!(memory_share("MemTotal: 1000 kB\n"), None);
    }

    #[test]
    fn this_host_can_be_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let reading = read(dir.path()).expect("Linux tells");
        assert!(reading.memory > 0.0 && reading.memory < 1.0, "{reading:?}");
        assert!(reading.disk_free_bytes > 0, "{reading:?}");
        assert!(read(&dir.path().join("missing")).is_err());
    }
}
