//! Offers that go where the engine's cache is warm, and what becomes of those that are not decided there.

use std::time::{Duration, Instant};

use slipway_domain::agent::Offer;
use slipway_domain::builder::CachedProject;
use slipway_domain::ids::{ProjectId, SessionId};
use slipway_store::jobs::Job;

use super::{Fleet, ForWarmth, count};
use crate::choice::{Climate, Crowd};

/// Who was sent an offer for its warm cache and says nothing for this long has no place in it: the pool has.
pub(super) const WARM_WAIT: Duration = Duration::from_secs(2);
/// A job that waited in vain for a warm cache is not sent to one again for this long.
const WAITED: Duration = Duration::from_secs(60);

impl Fleet {
    /// A heartbeat told what its engine's cache knows.
    pub fn caches(&self, session: SessionId, cache: &[CachedProject], now: Instant) {
        let mut table = self.lock();
        if table.sessions.contains_key(&session) {
            table.warmth.told(session, cache, now);
        }
    }

    /// Whose caches are warm for these jobs.
    pub fn climate<'a>(&self, jobs: impl Iterator<Item = &'a Job>, now: Instant) -> Climate {
        let mut table = self.lock();
        table.waited.retain(|_, since| now.duration_since(*since) < WAITED);
        let mut climate = Climate::default();
        for job in jobs.filter(|job| !table.waited.contains_key(&job.id)) {
            let warm = table.warmth.of(job.project_id, now);
            if !warm.is_empty() {
                climate.warm.insert(job.project_id, warm);
            }
        }
        if !climate.warm.is_empty() {
            for connected in table.sessions.values().filter(|connected| !connected.is_silent(now)) {
                let busy = connected.said.busy + count(connected.offered.len());
                let crowd: &mut Crowd = climate.crowds.entry(connected.pool.clone()).or_default();
                crowd.busy += busy;
                // Who takes nothing is as good as full.
                crowd.slots += (connected.said.busy + connected.said.free).max(busy);
            }
        }
        climate
    }

    /// Sends an offer because the session's cache is warm for this project; decided soon, or [`Self::late`].
    pub fn offer_for_warmth(&self, session: SessionId, offer: Offer, project: ProjectId, now: Instant) -> bool {
        let mut table = self.lock();
        let sent = table.sessions.get_mut(&session).is_some_and(|connected| connected.send(offer, None, now).is_ok());
        if sent {
            table.for_warmth.insert(offer.dispatch, ForWarmth { session, offer, project, at: now });
        }
        sent
    }

    /// Takes back the offers that were sent for a warm cache and not decided in time. Their sessions have no room until
    /// the next heartbeat, and are not taken for warm until they say so again; their jobs go to anybody.
    pub fn late(&self, now: Instant) -> Vec<Offer> {
        let mut table = self.lock();
        let late = |sent: &ForWarmth| now.duration_since(sent.at) >= WARM_WAIT;
        let late: Vec<_> = table.for_warmth.extract_if(|_, sent| late(sent)).map(|(_, sent)| sent).collect();
        for ForWarmth { session, offer, project, .. } in &late {
            if let Some(connected) = table.sessions.get_mut(session) {
                connected.said.free = 0;
                connected.offered.remove(&offer.dispatch);
            }
            table.warmth.cool(*session, *project);
            table.waited.insert(offer.job, now);
        }
        late.into_iter().map(|sent| sent.offer).collect()
    }

    /// How long until the next offer is late.
    pub fn next_late(&self, now: Instant) -> Option<Duration> {
        let table = self.lock();
        let left = |sent: &ForWarmth| WARM_WAIT.saturating_sub(now.duration_since(sent.at));
        table.for_warmth.values().map(left).min()
    }
}
