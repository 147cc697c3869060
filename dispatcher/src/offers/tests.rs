//! Jobs of a project that some builder's cache knows.

use slipway_bus::Consumer;
use slipway_domain::agent::{Decline, ToBuilder};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::builder::CachedProject;
use slipway_domain::ids::ProjectId;
use slipway_domain::job::JobState;
use slipway_runtime::ids::token_hash;
use slipway_store::projects::Project;
use slipway_store::sessions::Session;
use tokio::sync::mpsc;

use super::*;
use crate::claims::answered;
use crate::declines::{abandoned, declined};
use crate::fleet::{CHANNEL_BUFFER, Said};
use crate::scene::{Scene, claims};

const SLOTS: i64 = 4;
/// Longer than anybody waits for a warm cache.
const LONG: Duration = Duration::from_secs(3);

/// A connected builder.
struct Built {
    session: Session,
    channel: mpsc::Sender<ToBuilder>,
    inbox: mpsc::Receiver<ToBuilder>,
}

struct Yard {
    scene: Scene,
    dispatcher: Dispatcher,
    project: Project,
    queue: Consumer,
}

/// Where an offer went.
#[derive(Debug, PartialEq, Eq)]
enum Went {
    To(SessionId, Offer),
    Queue(Offer),
    Nowhere,
}

impl Yard {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let (dispatcher, project) = (Dispatcher::new(scene.deps.clone()), scene.project("ours").await);
        let queue = scene.deps.bus.consume(&scene.pool);
        queue.credit(99).await;
        Self { scene, dispatcher, project, queue }
    }

    async fn builder(&self, name: &str) -> Built {
        let (id, hash) = (self.scene.session(name).await, token_hash(name));
        let found = self.scene.deps.db.session_by_token(id, &hash).await.expect("an answer");
        let session = found.expect("a session");
        let (channel, inbox) = mpsc::channel(CHANNEL_BUFFER);
        self.dispatcher.fleet.connect(&session, hash, channel.clone());
        let built = Built { session, channel, inbox };
        self.heard(&built, 0);
        built
    }

    /// Its heartbeat says how many jobs it runs.
    fn heard(&self, builder: &Built, busy: i64) {
        let said = Said { free: SLOTS - busy, busy, from_queue: false };
        self.dispatcher.fleet.heard(builder.session.id, said, self.scene.deps.clock.monotonic());
    }

    fn caches(&self, builder: &Built, unused_secs: u64) {
        let one = CachedProject { project: self.project.id, trusted: true, unused_secs };
        self.dispatcher.fleet.caches(builder.session.id, &[one], self.scene.deps.clock.monotonic());
    }

    /// Where the offer of a new job goes in one pass.
    async fn next(&mut self, builders: &mut [&mut Built]) -> (JobId, Went) {
        let job = self.scene.ready(&self.project).await;
        (job, self.pass(builders).await)
    }

    async fn pass(&mut self, builders: &mut [&mut Built]) -> Went {
        dispatch_once(&self.dispatcher).await.expect("a pass");
        for builder in builders {
            if let Ok(ToBuilder::Offer(offer)) = builder.inbox.try_recv() {
                return Went::To(builder.session.id, offer);
            }
        }
        match tokio::time::timeout(Duration::ZERO, self.queue.next()).await {
            Ok(delivery) => {
                let offer = delivery.offer;
                delivery.ack().await;
                Went::Queue(offer)
            }
            Err(_) => Went::Nowhere,
        }
    }

    /// The builder builds what was offered, and it is over.
    async fn builds(&self, builder: &Built, offer: Offer) {
        assert!(claims(&self.dispatcher, builder.session.id, offer).await, "it is a good offer");
        answered(&self.dispatcher, builder.session.id, offer, None).await;
        self.scene.finish(AttemptRef { job: offer.job, epoch: 1 }).await;
        self.caches(builder, 0);
        self.heard(builder, 0);
    }

    async fn take_back_late(&self, now: Instant) {
        abandoned(&self.dispatcher, self.dispatcher.fleet.late(now)).await;
    }

    async fn state(&self, job: JobId) -> JobState {
        self.scene.deps.db.job(job).await.expect("a job").state
    }
}

#[tokio::test]
async fn a_project_is_built_where_it_was_built_as_long_as_there_is_room() {
    let mut yard = Yard::new().await;
    let (mut one, mut two) = (yard.builder("one").await, yard.builder("two").await);
    let (_, cold) = yard.next(&mut [&mut one, &mut two]).await;
    let Went::Queue(offer) = cold else { panic!("nobody knows it: {cold:?}") };
    yard.builds(&two, offer).await;
    for round in 0..20 {
        let (_, went) = yard.next(&mut [&mut one, &mut two]).await;
        let Went::To(session, offer) = went else { panic!("round {round}: {went:?}") };
        assert_eq!(session, two.session.id, "round {round}");
        yard.builds(&two, offer).await;
    }
    // One that built it later is warmer.
    yard.caches(&two, 60);
    yard.caches(&one, 30);
    let (_, went) = yard.next(&mut [&mut one, &mut two]).await;
    assert!(matches!(went, Went::To(session, _) if session == one.session.id), "{went:?}");
}

#[tokio::test]
async fn a_warm_builder_that_takes_nothing_costs_nothing() {
    let mut yard = Yard::new().await;
    let (mut warm, mut cold) = (yard.builder("warm").await, yard.builder("cold").await);
    yard.caches(&warm, 5);
    // Full, or gated: its heartbeats say so.
    yard.heard(&warm, SLOTS);
    let (_, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::Queue(offer) = went else { panic!("{went:?}") };
    assert!(claims(&yard.dispatcher, cold.session.id, offer).await);
    answered(&yard.dispatcher, cold.session.id, offer, None).await;
    // Much busier than the others.
    yard.heard(&warm, SLOTS - 1);
    yard.heard(&cold, 0);
    let (_, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::Queue(offer) = went else { panic!("{went:?}") };
    assert!(claims(&yard.dispatcher, cold.session.id, offer).await);
    answered(&yard.dispatcher, cold.session.id, offer, None).await;
    // Just become full: it says so at once.
    yard.heard(&warm, 0);
    let (job, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::To(_, offer) = went else { panic!("{went:?}") };
    declined(&yard.dispatcher, &warm.session, offer, Decline::Full).await;
    let went = yard.pass(&mut [&mut warm, &mut cold]).await;
    assert!(matches!(went, Went::Queue(again) if again.job == job && again.dispatch != offer.dispatch), "{went:?}");
}

#[tokio::test]
async fn the_job_of_a_warm_builder_that_goes_away_goes_to_the_pool_at_once() {
    let mut yard = Yard::new().await;
    let (mut warm, mut cold) = (yard.builder("warm").await, yard.builder("cold").await);
    yard.caches(&warm, 5);
    let (taken, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::To(session, claimed) = went else { panic!("{went:?}") };
    assert_eq!(session, warm.session.id);
    let (job, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::To(_, offer) = went else { panic!("{went:?}") };
    // Its claim of the first one came through, and nobody here has heard of it when the channel closes.
    assert!(claims(&yard.dispatcher, warm.session.id, claimed).await);
    let left = yard.dispatcher.fleet.disconnect(warm.session.id, &warm.channel).expect("its channel");
    assert_eq!(left.len(), 2);
    abandoned(&yard.dispatcher, left).await;
    assert_eq!(yard.state(taken).await, JobState::Running, "what was claimed is not taken back");
    let went = yard.pass(&mut [&mut warm, &mut cold]).await;
    assert!(matches!(went, Went::Queue(again) if again.job == job), "{went:?}");
    assert!(!claims(&yard.dispatcher, warm.session.id, offer).await, "the older offer is void");
}

#[tokio::test]
async fn a_warm_builder_that_says_nothing_is_waited_for_only_once() {
    let mut yard = Yard::new().await;
    let (mut warm, mut cold) = (yard.builder("warm").await, yard.builder("cold").await);
    yard.caches(&warm, 5);
    let (job, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    let Went::To(_, offer) = went else { panic!("{went:?}") };
    let now = yard.scene.deps.clock.monotonic();
    yard.take_back_late(now).await;
    assert_eq!(yard.state(job).await, JobState::Dispatched, "its time is not over");
    yard.take_back_late(now + LONG).await;
    assert_eq!(yard.state(job).await, JobState::Ready);
    // It beats on, and tells of its cache again; this job has waited long enough.
    yard.heard(&warm, 0);
    yard.caches(&warm, 5);
    let went = yard.pass(&mut [&mut warm, &mut cold]).await;
    assert!(matches!(went, Went::Queue(again) if again.job == job), "{went:?}");
    assert!(!claims(&yard.dispatcher, warm.session.id, offer).await, "the older offer is void");
    yard.take_back_late(now + LONG * 2).await;
    assert_eq!(yard.state(job).await, JobState::Dispatched, "the pool's offer has its own time");
    // A heartbeat alone does not make it warm again for others.
    let other = yard.scene.project("theirs").await;
    let told = |project: ProjectId| CachedProject { project, trusted: true, unused_secs: 1 };
    yard.dispatcher.fleet.caches(warm.session.id, &[told(other.id)], now);
    let (_, went) = yard.next(&mut [&mut warm, &mut cold]).await;
    assert!(matches!(went, Went::Queue(_)), "{went:?}");
}
