//! The loops over the inbox: over what came in here, and over the rows that nobody holds. A row is leased, worked and ended; what fails by our fault is tried again later,
//! and after enough tries the delivery says so. One bad row never stops the pass.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use metrics::counter;
use slipway_domain::delivery::DeliveryState;
use slipway_domain::ids::{DeliveryId, ProcessId, ProjectId};
use slipway_domain::timing;
use slipway_live::{Topic, WakeKind};
use slipway_runtime::ids::random_id;
use slipway_runtime::wake::Wake;
use slipway_store::Scope;
use slipway_store::delivery_work::{DeliveryEnd, retry_pause};
use slipway_store::projects::Project;
use slipway_store::ref_heads::RefMove;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::intake::handover::{Handed, Held};
use crate::intake::rules::RefMoved;
use crate::intake::work::{Act, Plan, act_on, plan};
use crate::intake::{app_look, reconcile};
use crate::state::ApiState;

/// Deliveries of one pass. With [`AT_ONCE`] of them at a time, each waiting 3 s for its forge, the pass ends
/// long before its leases do.
const BATCH: i64 = 32;
/// The same for those that this process took in.
const HANDED: usize = 64;
/// Deliveries that are worked at the same time.
const AT_ONCE: usize = 16;
/// After this many tries a delivery is given up; replaying it starts again.
const MAX_TRIES: i64 = 10;
/// A body in object storage comes within this time, or later: others wait behind it.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// One delivery may take this long; then it is tried again.
pub(super) const WORK_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts working the inbox for as long as the process lives.
pub fn start(state: &ApiState) {
    let (wake, owner) = (Wake::default(), random_id());
    state.life.spawn("intake wakes", forward_wakes(state.clone(), wake.clone()));
    state.life.spawn("intake of rows", run(state.clone(), owner, wake));
    state.life.spawn("intake", run_handed(state.clone(), owner, state.handover.open(owner)));
    reconcile::start(state);
    app_look::start(state);
}

/// Works the deliveries that are due, at most one batch; returns how many there were.
pub async fn work_deliveries_once(state: &ApiState, owner: ProcessId, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let leased_at = state.clock.monotonic();
    let leased = state.db.lease_deliveries(owner, now, BATCH).await?;
    if leased.is_empty() {
        return Ok(0);
    }
    let count = leased.len();
    let pass = Pass { state, owner, now };
    let (large, leased): (Vec<_>, Vec<_>) = leased.into_iter().partition(|row| row.body_blob.is_some());
    pass.work(leased.into_iter().map(|row| Held::leased(row, leased_at)).collect()).await;
    // One body in memory at a time, and each ended at once: what is behind it may find its lease over.
    for mut row in large {
        match body_of(state, Vec::new(), row.body_blob.as_deref()).await {
            Ok(body) => {
                row.body = body;
                pass.work(vec![Held::leased(row, leased_at)]).await;
            }
            Err(error) => {
                let ended = pass.ended(&Held::leased(row, leased_at), Err(error)).await;
                pass.finish(Vec::from_iter(ended)).await;
            }
        }
    }
    Ok(count)
}

/// A delivery that builds nothing.
struct Unbuilt<'a> {
    row: &'a Held,
    end: DeliveryEnd,
    /// To be noted before it ends.
    moved: Vec<RefMoved>,
}

impl Unbuilt<'_> {
    fn moves(&self, now: DateTime<Utc>) -> impl Iterator<Item = RefMove<'_>> {
        self.moved.iter().map(move |moved| moved.noted(self.row.project_id, now))
    }
}

/// What the work on one batch has in common.
#[derive(Clone, Copy)]
struct Pass<'a> {
    state: &'a ApiState,
    owner: ProcessId,
    now: DateTime<Utc>,
}

impl Pass<'_> {
    /// Works deliveries that can be read.
    async fn work(self, leased: Vec<Held>) {
        let projects = self.projects(&leased).await;
        let (mut ends, mut unbuilt, mut behind, mut building) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut acts_on: BTreeSet<ProjectId> = BTreeSet::new();
        for row in &leased {
            match projects.get(&row.project_id).map(|project| (project, plan(row, project))) {
                // A move that follows from one that is built is noted behind it, or it would find another head.
                Some((project, Plan::End(end, moved))) if acts_on.contains(&project.id) => {
                    behind.push(Unbuilt { row, end, moved });
                }
                Some((_, Plan::End(end, moved))) => unbuilt.push(Unbuilt { row, end, moved }),
                Some((project, Plan::Act(act))) => {
                    acts_on.insert(project.id);
                    building.push(self.act(row, project, act));
                }
                None => ends.extend(self.ended(row, Err(anyhow::anyhow!("read the project"))).await),
            }
        }
        // First what is only noted: a build waits for its forge.
        ends.extend(self.note(unbuilt).await);
        let mut building = futures_util::stream::iter(building).buffer_unordered(AT_ONCE);
        while let Some(end) = building.next().await {
            ends.extend(end);
        }
        ends.extend(self.note(behind).await);
        self.finish(ends).await;
    }

    /// The projects of these deliveries; what cannot be read together, one by one.
    async fn projects(self, leased: &[Held]) -> BTreeMap<ProjectId, Project> {
        let ids: BTreeSet<ProjectId> = leased.iter().map(|row| row.project_id).collect();
        let ids = Vec::from_iter(ids);
        if let Ok(projects) = self.state.db.projects(&Scope::Operator, &ids).await {
            return projects;
        }
        let mut projects = BTreeMap::new();
        for id in ids {
            match self.state.db.project(&Scope::Operator, id).await {
                Ok(project) => drop(projects.insert(id, project)),
                Err(error) => warn!(project.id = %id, %error, "the project of a delivery could not be read"),
            }
        }
        projects
    }

    /// Notes the moves of deliveries that build nothing, all with one flush; what cannot be stored that way,
    /// one by one. Returns those that can be ended.
    async fn note(self, unbuilt: Vec<Unbuilt<'_>>) -> Vec<(DeliveryId, DeliveryEnd)> {
        let moves: Vec<RefMove<'_>> = unbuilt.iter().flat_map(|unbuilt| unbuilt.moves(self.now)).collect();
        let together = self.state.db.note_moves(&moves).await.is_ok();
        let mut ends = Vec::with_capacity(unbuilt.len());
        for unbuilt in &unbuilt {
            let mut end = Ok(unbuilt.end.clone());
            if !together {
                let moves: Vec<RefMove<'_>> = unbuilt.moves(self.now).collect();
                let noted = self.state.db.note_moves(&moves).await.context("note the move");
                end = noted.and(end);
            }
            ends.extend(self.ended(unbuilt.row, end).await);
        }
        ends
    }

    async fn act(self, row: &Held, project: &Project, act: Act) -> Option<(DeliveryId, DeliveryEnd)> {
        if !row.has_time(self.state.clock.monotonic()) {
            // Slow ones went before it. Its lease ends soon, and the row is found again.
            info!(delivery.id = %row.id, "delivery waited too long, and comes again");
            return None;
        }
        let building = act_on(self.state, (row, project), act, self.now);
        let built = tokio::time::timeout(WORK_TIMEOUT, building).await;
        self.ended(row, built.map_err(anyhow::Error::from).and_then(|built| built)).await
    }

    /// How a worked delivery ends; `None` when it was put off.
    async fn ended(self, row: &Held, end: anyhow::Result<DeliveryEnd>) -> Option<(DeliveryId, DeliveryEnd)> {
        let error = match end {
            Ok(end) => {
                info!(delivery.id = %row.id, state = %end.state, "delivery worked");
                return Some((row.id, end));
            }
            Err(error) => format!("{error:#}"),
        };
        if row.attempts >= MAX_TRIES {
            error!(delivery.id = %row.id, error, attempts = row.attempts, "delivery given up");
            let reason =
                format!("It could not be worked in {MAX_TRIES} tries, by a fault of the service; replay it later.");
            return Some((row.id, DeliveryEnd { state: DeliveryState::Failed, reason: Some(reason) }));
        }
        warn!(delivery.id = %row.id, error, attempts = row.attempts, "delivery will be tried again");
        let pause = TimeDelta::from_std(retry_pause(row.attempts)).unwrap_or(TimeDelta::MAX);
        let reason = format!("Try {} failed by a fault of the service; it is tried again.", row.attempts);
        if let Err(error) = self.state.db.retry_delivery_later(self.owner, row.id, &reason, self.now + pause).await {
            // Whoever has the lease now goes on, or the lease ends by itself and the row is found again.
            warn!(delivery.id = %row.id, %error, "a delivery could not be put off");
        }
        None
    }

    /// Ends what was worked, all with one flush; what cannot be stored that way, one by one.
    async fn finish(self, ends: Vec<(DeliveryId, DeliveryEnd)>) {
        if ends.is_empty() {
            return;
        }
        match self.state.db.finish_deliveries(self.owner, &ends, self.now).await {
            Ok(stale) => {
                ends.iter().filter(|(id, _)| !stale.contains(id)).for_each(|(_, end)| count(end));
                if !stale.is_empty() {
                    // Whoever has the lease now goes on.
                    info!(deliveries = stale.len(), "leases of deliveries went elsewhere");
                }
            }
            Err(_) => {
                for (id, end) in &ends {
                    match self.state.db.finish_delivery(self.owner, *id, end, self.now).await {
                        Ok(()) => count(end),
                        // The lease ends by itself, and the row is found again.
                        Err(error) => error!(delivery.id = %id, %error, "a delivery's end could not be stored"),
                    }
                }
            }
        }
    }
}

/// The body of a delivery, wherever it lies.
pub(crate) async fn body_of(state: &ApiState, body: Vec<u8>, blob: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let Some(name) = blob else { return Ok(body) };
    let blobs =
        state.blobs.as_ref().context("the body lies in object storage, and SLIPWAY_BLOB_URL is not set here")?;
    let name: DeliveryId = name.parse().context("the name of a body")?;
    let body = tokio::time::timeout(BODY_TIMEOUT, blobs.get_body(name)).await;
    Ok(body.context("object storage does not answer")?.context("read the body")?.into())
}

fn count(end: &DeliveryEnd) {
    counter!("slipway_deliveries_ended_total", "state" => end.state.as_str()).increment(1);
}

/// Works what this process took in. While it stops, what was promised to it is still worked, and no more comes.
async fn run_handed(state: ApiState, owner: ProcessId, mut queue: mpsc::Receiver<Handed>) -> anyhow::Result<()> {
    let mut handed = Vec::with_capacity(HANDED);
    let mut is_closed = false;
    loop {
        let count = tokio::select! {
            count = queue.recv_many(&mut handed, HANDED) => count,
            () = state.life.stopping(), if !is_closed => {
                queue.close();
                is_closed = true;
                continue;
            }
        };
        if count == 0 {
            return Ok(());
        }
        let Some(now) = handed.iter().map(|handed| handed.now(&state.clock)).max() else { continue };
        let held = handed.drain(..).map(|handed| handed.held).collect();
        Pass { state: &state, owner, now }.work(held).await;
    }
}

async fn run(state: ApiState, owner: ProcessId, wake: Wake) -> anyhow::Result<()> {
    loop {
        let full = match pass(&state, owner).await {
            Ok(count) => i64::try_from(count).is_ok_and(|count| count == BATCH),
            Err(error) => {
                error!(error = format!("{error:#}"), "intake pass failed");
                false
            }
        };
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            () = wake.wait(timing::POLL), if !full => {}
            () = std::future::ready(()), if full => {}
        }
    }
}

async fn pass(state: &ApiState, owner: ProcessId) -> anyhow::Result<usize> {
    let now = state.db.now(&state.clock).await?;
    work_deliveries_once(state, owner, now).await
}

async fn forward_wakes(state: ApiState, wake: Wake) -> anyhow::Result<()> {
    let mut deliveries = state.live.subscribe(Topic::Wake(WakeKind::Deliveries)).await;
    loop {
        tokio::select! {
            () = state.life.stopping() => return Ok(()),
            _ = deliveries.next() => wake.ring(),
        }
    }
}
