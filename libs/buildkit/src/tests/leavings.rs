//! What remains after builds, and how much they take meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn is_long() -> bool {
    std::env::var("SLIPWAY_LONG").is_ok_and(|long| long == "1")
}

fn open_files(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("proc").count()
}

/// The engine's pipes are not counted: its runtime keeps some for copying until it tidies up.
fn sockets(process: &str) -> usize {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("proc").flatten();
    let socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(socket)).count()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

impl Site {
    /// The engine's process, where it is one of this host.
    async fn engine_process(&self) -> Option<String> {
        let Address::Unix(path) = &self.address else { return None };
        let stream = tokio::net::UnixStream::connect(path).await.expect("connected");
        stream.peer_cred().expect("credentials").pid().map(|pid| pid.to_string())
    }

    /// A build that only finds what an earlier one made.
    async fn again(&self) {
        let good = Solve { export: Export::Nothing, ..self.request("FROM BASE\nRUN echo SALT\n") };
        self.build(good).await.result.expect("built");
    }

    /// Its step is run each time: what failed is not kept.
    async fn fails(&self) {
        self.build(self.request("FROM BASE\nRUN echo SALT; exit 3\n")).await.result.expect_err("failed");
    }

    async fn is_cancelled(&self) {
        let slow = self.request("FROM BASE\nRUN echo begun SALT; sleep 600\n");
        let buildkit = self.buildkit();
        let stopped = self.build_by(&buildkit, slow, |seen, cancel| {
            if seen.text().contains("begun") {
                cancel.cancel();
            }
        });
        stopped.await.result.expect_err("cancelled");
    }

    /// Builds this many times: most of them cached, some fail, some are cancelled; in long runs some are all new.
    async fn build_many(&mut self, builds: usize) {
        for number in 1..=builds {
            match number % 10 {
                3 => self.fails().await,
                6 => self.is_cancelled().await,
                9 if is_long() => {
                    self.salt = hex::encode(random_bytes::<8>());
                    self.again().await;
                }
                _ => self.again().await,
            }
        }
    }
}

/// What builds could leave.
#[derive(Debug)]
struct Leavings {
    /// Open descriptors of this process.
    files: usize,
    /// Its tasks.
    tasks: usize,
    /// Its memory.
    resident_bytes: u64,
    /// Mounts that the engine made.
    mounts: usize,
    /// Open sockets of the engine.
    engine_sockets: usize,
}

impl Leavings {
    fn of(engine: &Option<String>, folder: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("proc");
        Self {
            files: open_files("self"),
            tasks: tasks(),
            resident_bytes: resident_bytes(),
            mounts: mounts.lines().filter(|mount| mount.contains(folder)).count(),
            engine_sockets: engine.as_deref().map_or(0, sockets),
        }
    }
}

#[tokio::test]
async fn two_hundred_builds_leave_nothing() {
    const FIRST: usize = 20;
    const ALL: usize = 200;
    let Some(mut site) = Site::alone().await else { return };
    let engine = site.engine_process().await;
    let folder = match &site.address {
        Address::Unix(path) => path.parent().expect("a folder").display().to_string(),
        Address::Tcp(_) => "no engine of this host".to_owned(),
    };
    let now = || Leavings::of(&engine, &folder);
    let at_first = now();
    // The engine ends what was cancelled a little later. Each build had at least four connections.
    let settled = || {
        let now = now();
        let engines = now.engine_sockets <= at_first.engine_sockets + 4 && now.mounts <= at_first.mounts;
        engines && now.files <= at_first.files
    };
    site.build_many(FIRST).await;
    until("all is as before the first build", PATIENCE, settled).await;
    let clock = slipway_runtime::clock::Clock::system();
    let (before, began) = (now(), clock.monotonic());
    site.build_many(ALL - FIRST).await;
    let each = clock.monotonic().duration_since(began) / u32::try_from(ALL - FIRST).expect("a few");
    until("all is as before the first build", PATIENCE, settled).await;
    let after = now();
    eprintln!("at first {at_first:?}\nafter {FIRST} builds {before:?}\nafter {ALL} builds {after:?}, {each:.1?} each");
    assert_eq!(after.tasks, before.tasks);
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(grown < 16 << 20, "{} KiB more memory", grown >> 10);
}

/// The step writes numbered lines as fast as it can; the reader sleeps at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_kept_whole_in_little_memory() {
    let Some(site) = Site::alone().await else { return };
    let lines: u64 = if is_long() { 10_000_000 } else { 700_000 };
    let wide = "x".repeat(90);
    let dockerfile = format!("FROM BASE\nRUN echo SALT; yes {wide} | head -n {lines} | cat -n | sed 's/^ *//'\n");
    let peak = Arc::new(AtomicU64::new(0));
    let highest = Arc::clone(&peak);
    let life = Life::new();
    // Also when the test fails: the sampler would keep its runtime alive.
    let stop = CancellationToken::new();
    let (ended, _guard) = (stop.clone(), stop.clone().drop_guard());
    let sampler = life.blocking("sampler", move || {
        while !stop.is_cancelled() {
            highest.fetch_max(resident_bytes(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let before = resident_bytes();
    let (reader, mut messages) = mpsc::channel::<StatusResponse>(4);
    let cancel = CancellationToken::new();
    let read = async {
        let (mut next, mut rest, mut bytes, mut largest) = (0_u64, Vec::new(), 0_u64, 0);
        let mut asleep = true;
        while let Some(message) = messages.recv().await {
            largest = largest.max(prost::Message::encoded_len(&message));
            for log in message.logs {
                bytes += log.msg.len() as u64;
                rest.extend_from_slice(&log.msg);
            }
            if asleep && bytes > 1 << 20 {
                // Long enough for the engine to be far ahead.
                tokio::time::sleep(Duration::from_secs(2)).await;
                asleep = false;
            }
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in rest[..whole].split(|byte| *byte == b'\n').filter(|line| line.ends_with(b"xxx")) {
                next += 1;
                let number = line.split(|byte| *byte == b'\t').next().and_then(|it| std::str::from_utf8(it).ok());
                assert_eq!(number, Some(next.to_string().as_str()));
            }
            rest.drain(..whole);
        }
        (next, bytes, largest)
    };
    let buildkit = site.buildkit();
    let request = Solve { export: Export::Nothing, ..site.request(&dockerfile) };
    let building = async {
        let result = buildkit.solve(request, reader, &cancel).await;
        ended.cancel();
        result
    };
    let (result, (seen, bytes, largest), sampled) = tokio::join!(building, read, sampler);
    sampled.expect("sampled");
    result.expect("built");
    assert_eq!(seen, lines);
    let grown = peak.load(Ordering::Relaxed).saturating_sub(before);
    eprintln!("{} MB of log, at most {} MB more memory, pieces up to {largest} bytes", bytes >> 20, grown >> 20);
    assert!(grown < 160 << 20, "{} MB", grown >> 20);
    assert_eq!(std::fs::read_dir(site.folder.path()).expect("a folder").count(), 1, "only the context is left");
}
