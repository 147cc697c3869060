//! Publishing: one connection for all pools, on it a channel and a task per pool, so that a queue that is slow to
//! confirm holds up nobody else. Any error of a channel drops the connection, and everything is built anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Event;
use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::backoff::Backoff;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::board::Line;
use super::link::Link;
use super::pool::{self, Request};
use super::words::explain;
use super::{Core, FIRST_PAUSE, LONG_ENOUGH, LONGEST_PAUSE, LOOK};
use crate::BusError;

/// Longest wait for a confirm. The row's deadline rings again, so nobody needs to wait longer.
pub(crate) const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait of a declare.
const DECLARE_WITHIN: Duration = Duration::from_secs(10);

/// What the pools' tasks see of the connection.
#[derive(Clone)]
pub(crate) enum State {
    /// There is none, and why.
    Down(String),
    /// It can be used.
    Up(Arc<Link>),
    /// It is there, but the broker reads nothing from it, and why.
    Blocked(Arc<Link>, String),
}

/// The way in to the pools' tasks. Made when it is asked for or first used: who only consumes has no such connection.
#[derive(Default)]
pub(crate) struct Publisher(Mutex<Option<Running>>);

struct Running {
    state: watch::Receiver<State>,
    // Weak, so that the connection ends when the last pool's task has.
    broken: mpsc::WeakSender<Broken>,
    pools: HashMap<Pool, mpsc::UnboundedSender<Request>>,
}

/// A connection that somebody found unusable, and why.
pub(crate) struct Broken {
    pub(crate) link: Arc<Link>,
    pub(crate) why: String,
}

impl Publisher {
    /// Puts an offer onto the pool's queue and waits for the broker's word.
    pub(crate) async fn publish(&self, core: &Arc<Core>, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        let (reply, answer) = oneshot::channel();
        self.send(core, pool, Request::Publish { offer, reply })?;
        match timeout(CONFIRM_WITHIN, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(BusError::Unavailable(format!("{} did not confirm in time", core.address))),
        }
    }

    /// Makes the pool's queue now and after each new connection.
    pub(crate) async fn declare(&self, core: &Arc<Core>, pool: &Pool) -> Result<(), BusError> {
        let (reply, answer) = oneshot::channel();
        self.send(core, pool, Request::Declare { reply })?;
        match timeout(DECLARE_WITHIN, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(BusError::Unavailable(format!("{} did not make the queue in time", core.address))),
        }
    }

    /// Connects before there is anything to publish, and stays connected until the process stops.
    pub(crate) fn connect(&self, core: &Arc<Core>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let (started, first) = start(core);
            *running = Some(started);
            let life = core.life.clone();
            core.life.errand("publisher", async move {
                life.stopping().await;
                drop(first);
            });
        }
    }

    fn send(&self, core: &Arc<Core>, pool: &Pool, request: Request) -> Result<(), BusError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first user's own hold keeps the connection until its task has one.
        let _first = match &*running {
            Some(_) => None,
            None => {
                let (started, first) = start(core);
                *running = Some(started);
                Some(first)
            }
        };
        let Some(running) = running.as_mut() else { return Err(stopped()) };
        if let Some(sender) = running.pools.get(pool) {
            return sender.send(request).map_err(|_| stopped());
        }
        let broken = running.broken.upgrade().ok_or_else(stopped)?;
        let (sender, requests) = mpsc::unbounded_channel();
        let ends = pool::Ends { requests, state: running.state.clone(), broken };
        core.life.errand("offers of a pool", pool::run(Arc::clone(core), pool.clone(), ends));
        let sent = sender.send(request).map_err(|_| stopped());
        running.pools.insert(pool.clone(), sender);
        sent
    }
}

fn stopped() -> BusError {
    BusError::Unavailable("this process is stopping".to_owned())
}

fn start(core: &Arc<Core>) -> (Running, mpsc::Sender<Broken>) {
    let connecting = format!("connecting to {}", core.address);
    let line = core.board.line("publish", Some(connecting.clone()));
    let (say, state) = watch::channel(State::Down(connecting));
    let (broken, found) = mpsc::channel(8);
    let keeper = Keeper { core: Arc::clone(core), say, line, found };
    core.life.errand("publishing connection", keeper.run());
    (Running { state, broken: broken.downgrade(), pools: HashMap::new() }, broken)
}

/// Holds the connection until nobody uses it any more.
struct Keeper {
    core: Arc<Core>,
    say: watch::Sender<State>,
    line: Line,
    found: mpsc::Receiver<Broken>,
}

impl Keeper {
    async fn run(mut self) {
        let core = Arc::clone(&self.core);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let why = tokio::select! {
                opened = Link::open(&core.address, "publish") => match opened {
                    Err(why) => why,
                    Ok(link) => {
                        let since = core.clock.monotonic();
                        let Some(why) = self.hold(Arc::new(link)).await else { return };
                        if core.clock.monotonic().duration_since(since) > LONG_ENOUGH {
                            backoff.reset();
                        }
                        why
                    }
                },
                () = self.unused() => return,
            };
            let pause = backoff.pause();
            if self.line.set(Some(why.clone())) {
                warn!(retry_ms = pause.as_millis(), "offers cannot be published: {why}");
            }
            self.say.send_replace(State::Down(why));
            tokio::select! {
                () = core.clock.sleep(pause) => {}
                () = self.unused() => return,
            }
        }
    }

    /// Lets the pools use the connection as long as it works; why it does not. `None` when nobody needs it.
    async fn hold(&mut self, link: Arc<Link>) -> Option<String> {
        self.say.send_replace(State::Up(Arc::clone(&link)));
        self.line.set(None);
        info!("publishing to {}", self.core.address);
        let why = self.watch_over(&link).await;
        self.say.send_replace(State::Down(why.clone().unwrap_or_default()));
        // Whoever still holds it lets go on seeing that it is down, and the last one cuts it.
        if let Ok(link) = Arc::try_unwrap(link) {
            link.close().await;
        }
        why
    }

    async fn watch_over(&mut self, link: &Arc<Link>) -> Option<String> {
        let life = self.core.life.clone();
        let mut events = link.events();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => if let Some(why) = self.hear(link, event) { return Some(why) },
                    None => return Some(format!("the connection to {} ended", self.core.address)),
                },
                broken = self.found.recv() => match broken {
                    Some(broken) if Arc::ptr_eq(&broken.link, link) => return Some(broken.why),
                    Some(_) => {}
                    None => return None,
                },
                _ = look.tick() => if !link.is_up() {
                    return Some(format!("the connection to {} broke", self.core.address));
                },
                () = life.killed() => return None,
            }
        }
    }

    /// Takes in what the broker says of the connection; an end has a reason.
    fn hear(&self, link: &Arc<Link>, event: Event) -> Option<String> {
        match event {
            Event::ConnectionBlocked(reason) => {
                let why = format!("{} has blocked publishing: {reason}", self.core.address);
                warn!("{why}");
                self.line.set(Some(why.clone()));
                self.say.send_replace(State::Blocked(Arc::clone(link), why));
            }
            Event::ConnectionUnblocked => {
                info!("{} takes offers again", self.core.address);
                self.line.set(None);
                self.say.send_replace(State::Up(Arc::clone(link)));
            }
            Event::Error(error) => return Some(explain(&self.core.address, &error)),
            _ => {}
        }
        None
    }

    /// Returns once no pool's task is left, or the process must end.
    async fn unused(&mut self) {
        let life = self.core.life.clone();
        tokio::select! {
            // Reports of earlier connections say nothing new.
            () = async { while self.found.recv().await.is_some() {} } => {}
            () = life.killed() => {}
        }
    }
}
