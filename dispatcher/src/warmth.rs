//! Which sessions have an engine whose cache knows a project, as their builders told it. In memory only: a builder tells
//! it anew to whoever keeps its next session.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use slipway_domain::builder::{CACHED_PROJECTS_MAX, CachedProject};
use slipway_domain::ids::{ProjectId, SessionId};

/// The caches of the sessions that are connected here.
#[derive(Debug, Default)]
pub struct Warmth {
    by_project: HashMap<ProjectId, HashMap<SessionId, LastUse>>,
    by_session: HashMap<SessionId, Vec<ProjectId>>,
}

/// When a project was last built, by the clock of this process.
#[derive(Debug, Clone, Copy)]
struct LastUse {
    told: Instant,
    /// So long before.
    unused: Duration,
}

impl LastUse {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.told).saturating_add(self.unused)
    }
}

impl Warmth {
    /// A builder told all that its cache knows. Strangers' work shares no layers, so it warms nothing.
    pub fn told(&mut self, session: SessionId, cache: &[CachedProject], now: Instant) {
        self.forget(session);
        let own: Vec<_> = cache.iter().take(CACHED_PROJECTS_MAX).filter(|one| one.trusted).collect();
        for one in &own {
            let last = LastUse { told: now, unused: Duration::from_secs(one.unused_secs) };
            self.by_project.entry(one.project).or_default().insert(session, last);
        }
        if !own.is_empty() {
            self.by_session.insert(session, own.iter().map(|one| one.project).collect());
        }
    }

    /// The session is gone.
    pub fn forget(&mut self, session: SessionId) {
        for project in self.by_session.remove(&session).unwrap_or_default() {
            self.cool(session, project);
        }
    }

    /// It is not sent there for its cache any more, until the builder tells it anew.
    pub fn cool(&mut self, session: SessionId, project: ProjectId) {
        if let Some(sessions) = self.by_project.get_mut(&project) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.by_project.remove(&project);
            }
        }
    }

    /// The sessions whose caches know a project, the one that built it last first.
    pub fn of(&self, project: ProjectId, now: Instant) -> Vec<SessionId> {
        let Some(sessions) = self.by_project.get(&project) else { return Vec::new() };
        let mut by_age: Vec<_> = sessions.iter().map(|(session, last)| (last.age(now), *session)).collect();
        by_age.sort_unstable();
        by_age.into_iter().map(|(_, session)| session).collect()
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn cached(project: ProjectId, trusted: bool, unused_secs: u64) -> CachedProject {
        CachedProject { project, trusted, unused_secs }
    }

    #[test]
    fn who_built_a_project_last_is_first_however_the_news_came() {
        let (mut warmth, now) = (Warmth::default(), Clock::system().monotonic());
        let at = |secs| now + Duration::from_secs(secs);
        let [one, two, three] = [(); 3].map(|()| new_id::<SessionId>());
        let [project, other] = [(); 2].map(|()| new_id());
        warmth.told(one, &[cached(other, true, 0), cached(project, true, 100)], at(0));
        warmth.told(two, &[cached(project, true, 150)], at(100));
        warmth.told(three, &[cached(project, false, 0)], at(100));
        assert_eq!(warmth.of(project, at(100)), [two, one], "150 s and 200 s ago; strangers' work warms nothing");
        warmth.told(one, &[cached(project, true, 3)], at(110));
        assert_eq!(warmth.of(project, at(120)), [one, two]);
        assert_eq!(warmth.of(other, at(120)), [], "the newest report is all that it knows");
        warmth.cool(one, project);
        assert_eq!(warmth.of(project, at(120)), [two]);
        warmth.told(one, &[cached(project, true, 3)], at(120));
        warmth.told(two, &[], at(120));
        warmth.forget(one);
        assert_eq!(warmth.of(project, at(120)), []);
        assert!(warmth.by_project.is_empty() && warmth.by_session.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn a_report_is_heeded_only_so_far() {
        let (mut warmth, now, session) = (Warmth::default(), Clock::system().monotonic(), new_id());
        let many: Vec<_> = (0..CACHED_PROJECTS_MAX + 9).map(|_| cached(new_id(), true, u64::MAX)).collect();
        warmth.told(session, &many, now);
        assert_eq!(warmth.by_project.len(), CACHED_PROJECTS_MAX);
        assert_eq!(warmth.of(many[0].project, now), [session]);
    }
}
