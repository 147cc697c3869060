//! Which projects the engine's cache knows, for whoever chooses a builder. Kept in the data folder over restarts,
//! and no longer than the cache itself: an entry goes when the engine is another one, or when everything that its cache
//! holds was made after the project was last built here. Of a cache that lost only a part, nobody knows whose part.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use slipway_domain::builder::{CACHED_PROJECTS_MAX, CachedProject, Load};
use slipway_domain::ids::ProjectId;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;
use tracing::{debug, info, warn};

use crate::home::write_private;
use crate::work::engine::{CacheUsage, Engine, EngineInfo};

/// Between two looks at the engine's cache.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is known of the engine's cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    life: Life,
    clock: Clock,
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the file is written, so that the newest state is written last.
    file: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    /// Rises with every change of what heartbeats tell.
    version: u64,
    bytes: Option<i64>,
}

/// What lies in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    engine: Option<String>,
    /// The ones used last are first.
    built: Vec<Built>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    project: ProjectId,
    trusted: bool,
    used: DateTime<Utc>,
}

impl EngineCache {
    /// Reads what a former life wrote. What cannot be read is as good as nothing.
    pub fn open(life: Life, clock: Clock, path: PathBuf) -> Self {
        let ledger = read(&path).unwrap_or_else(|error| {
            warn!(error = format!("{error:#}"), "what the engine's cache knows is forgotten");
            Ledger::default()
        });
        let state = Mutex::new(State { ledger, version: 1, bytes: None });
        Self(Arc::new(Inner { life, clock, path, state, file: Mutex::default() }))
    }

    /// A build of this project went through the engine.
    pub async fn built(&self, project: ProjectId, trusted: bool) {
        let used = self.0.clock.now();
        self.change(|ledger| {
            ledger.note(Built { project, trusted, used });
            true
        })
        .await;
    }

    /// What was used last at or before this time is no longer there.
    pub async fn pruned(&self, until: DateTime<Utc>) {
        self.change(|ledger| ledger.lost(until)).await;
    }

    /// The engine says which one it is.
    pub async fn engine_is(&self, info: &EngineInfo) {
        let engine = format!("{} {}", info.id, info.data_root.display());
        self.change(|ledger| ledger.moved_to(engine)).await;
    }

    /// Looks again and again whether the engine's cache still is what it was.
    pub async fn watch(self, engine: Engine) -> Infallible {
        loop {
            let asked = self.0.clock.now();
            match engine.cache_usage().await {
                Ok(CacheUsage { bytes, oldest }) => {
                    self.state().bytes = Some(bytes);
                    if self.change(|ledger| ledger.shrunk_to(oldest, asked)).await {
                        info!(bytes, "the engine's cache was emptied");
                    }
                }
                Err(failure) => debug!(reason = failure.message, "the engine does not tell of its cache"),
            }
            self.0.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// This load, with what is known of the cache.
    pub fn beside(&self, load: Load) -> Load {
        let state = self.state();
        let projects: BTreeSet<_> = state.ledger.built.iter().map(|built| built.project).collect();
        Load { cached_projects: i64::try_from(projects.len()).ok(), cache_bytes: state.bytes, ..load }
    }

    /// Whether a project's own builds find anything here.
    pub fn knows(&self, project: ProjectId) -> bool {
        self.state().ledger.built.iter().any(|built| built.project == project && built.trusted)
    }

    /// What a project's own builds find here, for their log; without the builder's name, since anybody may read the log of
    /// a public project.
    pub fn words(&self, project: ProjectId) -> String {
        let now = self.0.clock.now();
        match self.state().ledger.built.iter().find(|built| built.project == project && built.trusted) {
            Some(built) => format!("Warm cache: this builder built the project {}.", ago(now - built.used)),
            None => "Cold cache: this builder has not built the project lately.".to_owned(),
        }
    }

    /// Everything, with the version of it.
    fn report(&self) -> (u64, Vec<CachedProject>) {
        let (now, state) = (self.0.clock.now(), self.state());
        let tell = |built: &Built| CachedProject {
            project: built.project,
            trusted: built.trusted,
            unused_secs: u64::try_from((now - built.used).num_seconds()).unwrap_or(0),
        };
        (state.version, state.ledger.built.iter().map(tell).collect())
    }

    fn version(&self) -> u64 {
        self.state().version
    }

    /// True if it changed anything. What cannot be written is known until this process ends.
    async fn change(&self, change: impl FnOnce(&mut Ledger) -> bool) -> bool {
        {
            let mut state = self.state();
            if !change(&mut state.ledger) {
                return false;
            }
            state.version += 1;
        }
        let own = self.clone();
        let written = self.0.life.blocking("write what the cache knows", move || own.write()).await;
        if let Err(error) = written.map_err(anyhow::Error::new).flatten() {
            warn!(error = format!("{error:#}"), "what the engine's cache knows is not kept over a restart");
        }
        true
    }

    fn write(&self) -> anyhow::Result<()> {
        let _file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = serde_json::to_vec(&self.state().ledger).context("cannot write JSON")?;
        write_private(&self.0.path, &bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn note(&mut self, new: Built) {
        self.built.retain(|built| (built.project, built.trusted) != (new.project, new.trusted));
        self.built.insert(0, new);
        self.built.truncate(CACHED_PROJECTS_MAX);
    }

    fn lost(&mut self, until: DateTime<Utc>) -> bool {
        let before = self.built.len();
        self.built.retain(|built| built.used > until);
        self.built.len() < before
    }

    fn moved_to(&mut self, engine: String) -> bool {
        if self.engine.as_ref() == Some(&engine) {
            return false;
        }
        *self = Self { engine: Some(engine), built: Vec::new() };
        true
    }

    /// The oldest layer was made at this time. What was built after the asking may have layers that are not counted.
    fn shrunk_to(&mut self, oldest: Option<DateTime<Utc>>, asked: DateTime<Utc>) -> bool {
        let before = self.built.len();
        self.built.retain(|built| built.used >= asked || oldest.is_some_and(|oldest| oldest <= built.used));
        self.built.len() < before
    }
}

fn read(path: &Path) -> anyhow::Result<Ledger> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ledger::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn ago(unused: TimeDelta) -> String {
    let secs = unused.num_seconds().max(0);
    match secs {
        0..120 => format!("{secs} s ago"),
        120..7200 => format!("{} min ago", secs / 60),
        7200..172_800 => format!("{} h ago", secs / 3600),
        _ => format!("{} days ago", secs / 86_400),
    }
}

/// What a session's heartbeats have told of the cache.
#[derive(Debug, Default)]
pub struct Telling {
    /// The last heartbeat with a report, and the version that it told.
    told: Option<(u64, u64)>,
    /// The version that was answered.
    heard: Option<u64>,
}

impl Telling {
    /// What the heartbeat of this number tells.
    pub fn next(&mut self, cache: &EngineCache, seq: u64) -> Option<Vec<CachedProject>> {
        if self.heard == Some(cache.version()) {
            return None;
        }
        let (version, report) = cache.report();
        self.told = Some((seq, version));
        Some(report)
    }

    /// All heartbeats up to this number were heard.
    pub fn answered(&mut self, seq: u64) {
        if let Some((_, version)) = self.told.take_if(|(told, _)| *told <= seq) {
            self.heard = Some(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    fn cache(dir: &Path) -> EngineCache {
        EngineCache::open(Life::new(), Clock::system(), dir.join("cache.json"))
    }

    fn info(id: &str) -> EngineInfo {
        EngineInfo {
            id: id.to_owned(),
            version: "1".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux-amd64".to_owned(),
            storage_driver: "overlay2".to_owned(),
            data_root: "/var/lib/docker".into(),
        }
    }

    fn known(cache: &EngineCache) -> Vec<(ProjectId, bool)> {
        cache.report().1.into_iter().map(|one| (one.project, one.trusted)).collect()
    }

    #[tokio::test]
    async fn what_was_built_outlives_a_restart_but_not_its_engine() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (new_id(), new_id());
        let first = cache(dir.path());
        first.engine_is(&info("a")).await;
        for (project, trusted) in [(one, true), (two, true), (one, false), (one, true)] {
            first.built(project, trusted).await;
        }
        let wanted = [(one, true), (one, false), (two, true)];
        assert_eq!(known(&first), wanted);
        assert_eq!(first.beside(Load::default()).cached_projects, Some(2));
        let again = cache(dir.path());
        again.engine_is(&info("a")).await;
        assert_eq!(known(&again), wanted, "the same engine");
        again.engine_is(&info("b")).await;
        assert_eq!(known(&again), [], "another one");
        assert_eq!(known(&cache(dir.path())), []);
        std::fs::write(dir.path().join("cache.json"), b"{").expect("writes");
        assert_eq!(known(&cache(dir.path())), [], "damaged");
    }

    #[test]
    fn only_the_projects_that_were_used_last_are_kept() {
        let (mut ledger, used) = (Ledger::default(), Clock::system().now());
        for _ in 0..CACHED_PROJECTS_MAX + 5 {
            ledger.note(Built { project: new_id(), trusted: true, used });
        }
        let newest = new_id();
        ledger.note(Built { project: newest, trusted: true, used });
        assert_eq!((ledger.built.len(), ledger.built[0].project), (CACHED_PROJECTS_MAX, newest));
    }

    #[test]
    fn what_the_cache_lost_is_forgotten() {
        let start = Clock::system().now();
        let at = |secs| start + TimeDelta::seconds(secs);
        // Built at 10 and at 30; asked at 50.
        for (oldest, asked, wanted) in [
            (Some(at(5)), at(50), vec![30, 10]),
            (Some(at(10)), at(50), vec![30, 10]),
            (Some(at(11)), at(50), vec![30]),
            (Some(at(40)), at(50), vec![]),
            (None, at(50), vec![]),
            (None, at(20), vec![30]),
        ] {
            let mut ledger = Ledger::default();
            for secs in [10, 30] {
                ledger.note(Built { project: new_id(), trusted: true, used: at(secs) });
            }
            assert_eq!(ledger.shrunk_to(oldest, asked), wanted.len() < 2);
            let left: Vec<i64> = ledger.built.iter().map(|built| (built.used - start).num_seconds()).collect();
            assert_eq!(left, wanted, "{oldest:?} {asked}");
        }
    }

    #[tokio::test]
    async fn a_change_is_told_until_it_is_heard() {
        let dir = tempfile::tempdir().expect("a folder");
        let (cache, mut telling) = (cache(dir.path()), Telling::default());
        assert_eq!(telling.next(&cache, 1), Some(vec![]), "a new session hears it all");
        assert_eq!(telling.next(&cache, 2), Some(vec![]), "no answer yet");
        telling.answered(1);
        assert!(telling.next(&cache, 3).is_some(), "the newest one is not answered");
        telling.answered(3);
        assert_eq!(telling.next(&cache, 4), None);
        let project = new_id();
        cache.built(project, true).await;
        assert!(telling.next(&cache, 5).is_some());
        cache.built(new_id(), true).await;
        telling.answered(5);
        assert_eq!(telling.next(&cache, 6).map(|told| told.len()), Some(2), "it changed after the fifth");
        telling.answered(6);
        assert_eq!(telling.next(&cache, 7), None);
        assert!(cache.words(project).starts_with("Warm cache: this builder built the project 0 s ago"));
        assert!(cache.words(new_id()).starts_with("Cold cache: "));
    }

    #[test]
    fn ages_have_their_unit() {
        let words: Vec<String> = [0, 119, 120, 7200, 172_800].map(|secs| ago(TimeDelta::seconds(secs))).into();
        assert_eq!(words, ["0 s ago", "119 s ago", "2 min ago", "2 h ago", "2 days ago"]);
    }
}
