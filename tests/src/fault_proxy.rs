//! A TCP proxy that breaks connections to order, as networks and hosts do: refused, reset, half-open, deaf in one
//! direction, slow. Bytes that were swallowed are never followed by others: as TCP has it, a connection that lost
//! some is reset when the way is free again.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[cfg(test)]
mod tests;

/// Read at once where nothing is slow.
const PIECE_BYTES: usize = 16 * 1024;
/// A slow connection moves in steps of about this length, so that a change is soon felt.
const STEPS_PER_SEC: u32 = 20;
/// Connections that may wait to be taken.
const BACKLOG: u32 = 1024;
/// Between two tries to hold the port without listening.
const HOLD_PAUSE: Duration = Duration::from_millis(2);

/// What happens to connections, old and new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    #[default]
    Pass,
    /// New connections are refused by the kernel, as when nobody listens; old ones pass.
    Refuse,
    /// Nothing passes in either direction, ends and resets included, and nobody is told.
    HalfOpen,
    /// Nothing passes in this direction; the other one works.
    Drop(Direction),
    /// Each piece waits, in each direction.
    Slow {
        /// For so long.
        latency: Duration,
        /// And for its share of a second.
        bytes_per_sec: Option<u32>,
    },
}

/// One way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What was seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken.
    pub accepted: u64,
    /// Those that are open now.
    pub open: u64,
    /// Those that were reset by [`FaultProxy::cut_all`].
    pub cut: u64,
    /// Bytes that arrived at the other side.
    pub passed_bytes: u64,
    /// Bytes that did not.
    pub swallowed_bytes: u64,
}

/// A proxy on a free port of the loopback address. Everything ends on drop.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    to: String,
    mode: watch::Sender<Mode>,
    /// Rings to cut what is open.
    cuts: watch::Sender<()>,
    accepted: AtomicU64,
    ended: AtomicU64,
    cut: AtomicU64,
    passed_bytes: AtomicU64,
    swallowed_bytes: AtomicU64,
}

impl FaultProxy {
    /// Listens and forwards to `to`, `host:port`, which is looked up for each connection.
    pub async fn start(to: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening as a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to: to.to_owned(),
            mode: watch::Sender::default(),
            cuts: watch::Sender::default(),
            accepted: AtomicU64::default(),
            ended: AtomicU64::default(),
            cut: AtomicU64::default(),
            passed_bytes: AtomicU64::default(),
            swallowed_bytes: AtomicU64::default(),
        });
        let task = tokio::spawn(accept_all(listener, address, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on; refusing and listening again take a moment.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Resets every open connection at both ends; the mode stays.
    pub fn cut_all(&self) {
        self.shared.cuts.send_replace(());
    }

    /// What was seen so far.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        let shared = &self.shared;
        let ended = read(&shared.ended);
        let accepted = read(&shared.accepted);
        Counts {
            accepted,
            open: accepted.saturating_sub(ended),
            cut: read(&shared.cut),
            passed_bytes: read(&shared.passed_bytes),
            swallowed_bytes: read(&shared.swallowed_bytes),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mode {
    fn swallows(self, direction: Direction) -> bool {
        match self {
            Self::HalfOpen => true,
            Self::Drop(dropped) => dropped == direction,
            Self::Pass | Self::Refuse | Self::Slow { .. } => false,
        }
    }

    /// How much is read at once.
    fn piece_bytes(self) -> usize {
        match self {
            Self::Slow { bytes_per_sec: Some(rate), .. } => {
                usize::try_from((rate / STEPS_PER_SEC).max(1)).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)
            }
            Self::Slow { bytes_per_sec: None, .. } | Self::Pass | Self::Refuse | Self::HalfOpen | Self::Drop(_) => {
                PIECE_BYTES
            }
        }
    }

    /// How long so many bytes wait.
    fn delay(self, bytes: usize) -> Duration {
        match self {
            Self::Slow { latency, bytes_per_sec } => {
                let rate = bytes_per_sec.map_or(f64::INFINITY, |rate| f64::from(rate.max(1)));
                latency + Duration::from_secs_f64(bytes as f64 / rate)
            }
            Self::Pass | Self::Refuse | Self::HalfOpen | Self::Drop(_) => Duration::ZERO,
        }
    }
}

async fn accept_all(mut listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    // Ended with this task.
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            drop(listener);
            let held = hold(address).await;
            let _ = mode.wait_for(|mode| *mode != Mode::Refuse).await;
            match held.listen(BACKLOG) {
                Ok(listening) => listener = listening,
                Err(error) => return eprintln!("the proxy at {address} cannot listen again: {error}"),
            }
        }
        tokio::select! {
            _ = mode.changed() => {}
            Some(_) = connections.join_next() => {}
            taken = listener.accept() => if let Ok((near, _)) = taken {
                shared.accepted.fetch_add(1, Ordering::AcqRel);
                connections.spawn(carry(near, Arc::clone(&shared)));
            },
        }
    }
}

/// Keeps the port without listening, so that nobody else gets it and connections are refused.
async fn hold(address: SocketAddr) -> TcpSocket {
    loop {
        let held = TcpSocket::new_v4().and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        });
        match held {
            Ok(socket) => return socket,
            // The listener may need a moment to go.
            Err(_) => tokio::time::sleep(HOLD_PAUSE).await,
        }
    }
}

/// The other side was lost or bytes were, so that only a reset is left.
struct Broken;

async fn carry(mut near: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let far = tokio::select! {
        far = TcpStream::connect(&shared.to) => far.ok(),
        _ = cuts.changed() => None,
    };
    let mut broken = true;
    if let Some(mut far) = far {
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let both = async {
            tokio::try_join!(
                pump(Direction::ToServer, near_read, far_write, &shared),
                pump(Direction::ToClient, far_read, near_write, &shared),
            )
        };
        tokio::select! {
            ended = both => broken = ended.is_err(),
            _ = cuts.changed() => { shared.cut.fetch_add(1, Ordering::AcqRel); }
        }
        if broken {
            let _ = far.set_zero_linger();
        }
    }
    if broken {
        let _ = near.set_zero_linger();
    }
    drop(near);
    shared.ended.fetch_add(1, Ordering::AcqRel);
}

async fn pump(
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
) -> Result<(), Broken> {
    let mut modes = shared.mode.subscribe();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut lost = false;
    loop {
        let mode = *modes.borrow_and_update();
        if lost && !mode.swallows(direction) {
            return Err(Broken);
        }
        let read = tokio::select! {
            biased;
            _ = modes.changed() => continue,
            read = from.read(&mut buffer[..mode.piece_bytes()]) => read,
        };
        match read {
            // That it ended is lost, too.
            Ok(0) | Err(_) if mode.swallows(direction) => {
                lost = true;
                let _ = modes.changed().await;
            }
            Ok(0) => return to.shutdown().await.map_err(|_| Broken),
            Err(_) => return Err(Broken),
            Ok(count) if mode.swallows(direction) => {
                lost = true;
                shared.swallowed_bytes.fetch_add(count as u64, Ordering::AcqRel);
            }
            Ok(count) => {
                wait(mode.delay(count), &mut modes).await;
                to.write_all(&buffer[..count]).await.map_err(|_| Broken)?;
                shared.passed_bytes.fetch_add(count as u64, Ordering::AcqRel);
            }
        }
    }
}

/// For so long, or until the mode changes.
async fn wait(delay: Duration, modes: &mut watch::Receiver<Mode>) {
    if !delay.is_zero() {
        let mut changed = modes.clone();
        let sleep = pin!(tokio::time::sleep(delay));
        tokio::select! {
            () = sleep => {}
            _ = changed.changed() => {}
        }
    }
}
