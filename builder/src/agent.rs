//! One builder process from start to end: ends what a former life left, keeps a session, and leaves when
//! it is drained or told to stop. Attempts run beside this loop and outlive it by a few seconds at most.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_bus::Bus;
use slipway_runtime::backoff::Backoff;
use slipway_runtime::breakers::Breakers;
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;
use slipway_runtime::lifecycle::Life;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::attempt::{base_registries, cache_registries, remove_dir, ship_in_background};
use crate::cache::EngineCache;
use crate::client::{AgentClient, CallError};
use crate::config::BuilderConfig;
use crate::gate::Readiness;
use crate::home::{Home, Identity};
use crate::probe::Probe;
use crate::session::{self, ChannelEnd};
use crate::shelf::Shelf;
use crate::slots::Slots;
use crate::spool::Spool;
use crate::watermarks::Watermarks;
use crate::work::cgroup::Cgroups;
use crate::work::engine::Engine;
use crate::work::mirror::{Keep, Mirrors};

/// A session that lasted this long was a good one: the next is opened without a pause.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// A builder that leaves waits this long for its logs to become durable; the rest is sent by its next life.
const LAST_LOGS: Duration = Duration::from_secs(30);
/// After a kill attempts get this long to be handed back.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// What nobody fetched for so long is not kept any more.
const MIRROR_UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);
/// All kept repositories together, bytes.
const MIRRORS_MAX_BYTES: u64 = 20 << 30;

/// What all parts of this builder share.
pub struct Agent {
    /// What the operator decided.
    pub config: BuilderConfig,
    /// Time.
    pub clock: Clock,
    /// Spawning and stopping.
    pub life: Life,
    /// The control plane.
    pub client: AgentClient,
    /// Who we are.
    pub identity: Identity,
    /// The data folder.
    pub home: Arc<Home>,
    /// The Docker engine.
    pub engine: Engine,
    /// Operating system and architecture of the engine.
    pub platform: String,
    /// What is kept of repositories.
    pub mirrors: Mirrors,
    /// What the engine's cache knows.
    pub cache: EngineCache,
    /// Limits of steps.
    pub cgroups: Cgroups,
    /// The pools' queues, if there is a path to them.
    pub bus: Option<Bus>,
    /// The guard for hosts that tenants chose.
    pub egress: Egress,
    /// Registries of base images that do not answer.
    pub base_registries: Breakers,
    /// Registries that do not take layers of stages.
    pub cache_registries: Breakers,
    /// Who sits where.
    pub slots: Slots,
    /// Whether jobs may be taken.
    pub readiness: watch::Receiver<Readiness>,
    /// True once nothing new is taken any more.
    pub draining: watch::Sender<bool>,
    /// Logs that are being sent.
    pub logs: TaskTracker,
    /// Cancelled when this builder ends.
    pub over: CancellationToken,
}

/// Runs a builder until it is stopped or drained. Errors when the data folder cannot be used or the
/// control plane refuses the join token at the start.
pub async fn run(config: BuilderConfig, clock: Clock, life: Life) -> anyhow::Result<()> {
    let (agent, probe, readiness) = assemble(config, clock, life.clone()).await?;
    recover(&agent).await?;
    let probing = life.task("probe", probe.watch(readiness));
    let _sweeping = life.task("kept repositories", agent.mirrors.clone().watch());
    let _looking = life.task("engine's cache", agent.cache.clone().watch(agent.engine.clone()));
    let _pruning = life.task("watermarks", Watermarks::new(Arc::clone(&agent)).watch());
    let stopping = Arc::clone(&agent);
    let _draining = life.task("drain", async move {
        stopping.life.stopping().await;
        stopping.draining.send_replace(true);
    });
    let kept = tokio::select! {
        kept = keep_session(&agent) => kept,
        never = probing.join() => match never {
            Ok(never) => match never {},
            Err(error) => Err(anyhow::Error::new(error).context("the probe of host and engine broke")),
        },
        () = life.killed() => {
            let _ = timeout(LAST_WORDS, agent.slots.empty()).await;
            Ok(())
        }
    };
    tokio::select! {
        // An engine that is left in the middle of a removal may hang.
        () = agent.slots.open() => {}
        () = life.killed() => {}
    }
    if timeout(LAST_WORDS, agent.cgroups.end_all()).await.is_err() {
        warn!("processes of builds do not die");
    }
    agent.logs.close();
    tokio::select! {
        waited = timeout(LAST_LOGS, agent.logs.wait()) => if waited.is_err() {
            warn!("some logs are not durable yet; the next start sends the rest");
        },
        () = life.killed() => {}
    }
    agent.over.cancel();
    kept
}

/// Puts the parts together, after a first look at host and engine that removes leftovers from the engine.
pub(crate) async fn assemble(
    config: BuilderConfig,
    clock: Clock,
    life: Life,
) -> anyhow::Result<(Arc<Agent>, Probe, watch::Sender<Readiness>)> {
    let home = Arc::new(Home::open(&config.data_dir)?);
    let identity = home.identity()?;
    let engine = Engine::new(life.clone(), clock.clone(), config.engine.clone());
    let slots = Slots::new(usize::try_from(config.slots).unwrap_or(usize::MAX));
    let cache = EngineCache::open(life.clone(), clock.clone(), home.cache_file());
    let mut probe = Probe {
        life: life.clone(),
        clock: clock.clone(),
        home: Arc::clone(&home),
        identity: identity.clone(),
        engine: engine.clone(),
        cache: cache.clone(),
        slots: slots.clone(),
        limits: config.limits,
        clean: false,
        short_looks: 0,
    };
    let first = probe.look(&Readiness::default()).await;
    if let Some(reason) = &first.not_taking {
        warn!(reason, "taking no jobs yet");
    }
    let platform = probe.engine_info().await.map_or_else(|_| own_platform(), |info| info.platform);
    let (tell, readiness) = watch::channel(first);
    let bus = config.bus_url.as_deref().map(|url| Bus::open(url, &life, &clock)).transpose();
    let bus = bus.context("SLIPWAY_BUS_URL")?;
    // They make room before the disk is so full that no job is taken.
    let min_free_bytes = config.limits.disk_free_min_bytes.saturating_mul(2);
    let keep = Keep { unused: MIRROR_UNUSED, max_bytes: MIRRORS_MAX_BYTES, min_free_bytes };
    let agent = Arc::new(Agent {
        cgroups: Cgroups::find(life.clone(), clock.clone(), identity.builder),
        mirrors: Mirrors::new(life.clone(), clock.clone(), home.mirror_dir(), keep),
        bus,
        client: AgentClient::new(&config.server_url, &config.trust)?,
        egress: Egress::new(config.fetch_allow.clone()).trusting(config.trust.clone()),
        base_registries: base_registries(clock.clone()),
        cache_registries: cache_registries(clock.clone()),
        draining: watch::Sender::new(false),
        logs: TaskTracker::new(),
        over: CancellationToken::new(),
        config,
        clock,
        life,
        identity,
        home,
        engine,
        cache,
        platform,
        slots,
        readiness,
    });
    Ok((agent, probe, tell))
}

/// Ends what a former life left on the disk: workspaces go, logs are sent on.
async fn recover(agent: &Arc<Agent>) -> anyhow::Result<()> {
    let (work_dir, spool_dir) = (agent.home.work_dir(), agent.home.spool_dir());
    let found = agent.life.blocking("recover", move || -> anyhow::Result<_> {
        for workspace in folders(&work_dir)? {
            let removed = remove_dir(&workspace);
            removed.with_context(|| format!("cannot remove the old workspace {}", workspace.display()))?;
        }
        let mut logs = Vec::new();
        for dir in folders(&spool_dir)? {
            match Spool::recover(&dir).and_then(|(owner, spool)| Ok((owner, Shelf::recovered(spool)?))) {
                Ok(found) => logs.push(found),
                Err(error) => {
                    warn!(dir = %dir.display(), error = format!("{error:#}"), "old log not readable, removed");
                    remove_dir(&dir).with_context(|| format!("cannot remove the old log {}", dir.display()))?;
                }
            }
        }
        Ok(logs)
    });
    for (owner, shelf) in found.await?? {
        info!(attempt = %owner.attempt, end = shelf.marks().end, "log of a former life is sent on");
        ship_in_background(agent, Arc::new(shelf), agent.client.attempt(owner.attempt, owner.token));
    }
    if timeout(LAST_WORDS, agent.cgroups.end_all()).await.is_err() {
        warn!("processes of a former life do not die");
    }
    Ok(())
}

fn folders(dir: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let entries: Result<Vec<_>, _> = list.map(|entry| entry.map(|entry| entry.path())).collect();
    entries.with_context(|| format!("cannot list {}", dir.display()))
}

/// Opens sessions, one after the other, until this builder has left.
async fn keep_session(agent: &Arc<Agent>) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let (mut welcome, mut absent) = (false, false);
    loop {
        let opened = tokio::select! {
            opened = session::open(agent) => opened,
            // Without a session there is nobody to say goodbye to.
            () = drained(agent) => return Ok(()),
        };
        match opened {
            Ok(opened) => {
                (welcome, absent) = (true, false);
                let began = agent.clock.monotonic();
                match session::attend(agent, &opened).await {
                    ChannelEnd::Left => return Ok(()),
                    ChannelEnd::Lost(reason) => {
                        warn!(session.id = %opened.session, reason, held = agent.slots.held().len(), "session lost");
                    }
                }
                if agent.clock.monotonic().duration_since(began) >= GOOD_SESSION {
                    backoff.reset();
                    continue;
                }
            }
            Err(error @ CallError::Refused { .. }) if !welcome && agent.slots.taken() == 0 => {
                bail!("this builder may not join: {error}; check SLIPWAY_JOIN_TOKEN and SLIPWAY_SERVER_URL");
            }
            Err(error) if std::mem::replace(&mut absent, true) => debug!(%error, "session not opened"),
            Err(error) => warn!(%error, "session not opened; trying again"),
        }
        tokio::select! {
            () = agent.clock.sleep(backoff.pause()) => {}
            () = drained(agent) => return Ok(()),
        }
    }
}

/// Returns once nothing new is taken and nothing is worked on.
async fn drained(agent: &Agent) {
    // The sender lives in `agent`, so that waiting cannot fail.
    let _ = agent.draining.subscribe().wait_for(|draining| *draining).await;
    agent.slots.empty().await;
}

/// The platform of this program, for as long as the engine does not tell its own.
fn own_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux-{architecture}")
}
