//! Group commit for the inbox. While one transaction is being flushed, the deliveries that come in wait and
//! then share the next one; a delivery that comes alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_runtime::lifecycle::Life;
use slipway_store::deliveries::{Accepted, NewDelivery};
use slipway_store::{Db, StoreError};
use tokio::sync::oneshot;

/// Most deliveries of one transaction.
const MAX_DELIVERIES: usize = 256;
/// Most bytes of one transaction, unless one delivery alone is larger.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Cheap to clone; clones share one queue.
#[derive(Clone)]
pub(super) struct Batcher {
    db: Db,
    life: Life,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A task works the queue and looks at it again before it ends.
    flushing: bool,
}

struct Waiting {
    new: NewDelivery,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Accepted, StoreError>>;

impl Batcher {
    pub(super) fn new(db: Db, life: Life) -> Self {
        Self { db, life, queue: Arc::default() }
    }

    /// Stores a delivery; returns once it is durable. Whoever stops waiting does not stop the storing.
    pub(super) async fn accept(&self, new: NewDelivery) -> anyhow::Result<Accepted> {
        let (answer, accepted) = oneshot::channel();
        if self.enqueue(Waiting { new, answer }) {
            let batcher = self.clone();
            self.life.errand("store deliveries", async move { batcher.flush_all().await });
        }
        Ok(accepted.await??)
    }

    /// True if nobody works the queue yet.
    fn enqueue(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(waiting);
        !std::mem::replace(&mut queue.flushing, true)
    }

    async fn flush_all(&self) {
        while let Some((new, answers)) = self.next_batch() {
            match self.db.accept_deliveries(&new).await {
                Ok(accepted) => {
                    for (accepted, answer) in accepted.into_iter().zip(answers) {
                        // Whoever hung up finds its delivery stored when it asks again.
                        let _ = answer.send(Ok(accepted));
                    }
                }
                Err(_) => self.flush_singly(new, answers).await,
            }
        }
    }

    /// One delivery that cannot be stored must not take its neighbours along.
    async fn flush_singly(&self, new: Vec<NewDelivery>, answers: Vec<Answer>) {
        for (new, answer) in new.iter().zip(answers) {
            let _ = answer.send(self.db.accept_delivery(new).await);
        }
    }

    /// What waits now; `None` gives the queue back.
    fn next_batch(&self) -> Option<(Vec<NewDelivery>, Vec<Answer>)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = queue.waiting.front() {
            bytes += next.new.body.len();
            if new.len() == MAX_DELIVERIES || (!new.is_empty() && bytes > MAX_BYTES) {
                break;
            }
            if let Some(taken) = queue.waiting.pop_front() {
                new.push(taken.new);
                answers.push(taken.answer);
            }
        }
        queue.flushing = !new.is_empty();
        queue.flushing.then_some((new, answers))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use slipway_domain::event::{ForgeKind, HookAuth};
    use slipway_domain::ids::HookId;
    use slipway_domain::spec::BuildOptions;
    use slipway_domain::tenant::Visibility;
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::{new_id, random_id};
    use slipway_runtime::secret_key::SecretKey;
    use slipway_store::Scope;
    use slipway_store::connections::NewConnection;
    use slipway_store::deliveries::{DeliveryFilter, Verdict};
    use slipway_store::hooks::NewHook;
    use slipway_store::projects::{NewProject, Project, ProjectConnection};

    use super::*;

    async fn project(db: &Db, hook: HookId) -> Project {
        let now = Clock::system().now();
        let tenant = db.ensure_default_tenant(now).await.expect("a tenant");
        let connection =
            NewConnection { id: new_id(), tenant, kind: ForgeKind::Github, base_url: None, token: None, now };
        let new = NewProject {
            id: new_id(),
            tenant,
            connection: ProjectConnection::New(connection),
            name: "app".to_owned(),
            repo_path: "acme/app".to_owned(),
            clone_url: "https://github.com/acme/app.git".to_owned(),
            image: None,
            visibility: Visibility::Private,
            options: BuildOptions::default(),
            region: None,
            hook: NewHook { id: hook, secret: "secret".to_owned(), now },
            now,
        };
        db.create_project(&SecretKey::generate(), &new).await.expect("a project")
    }

    fn delivery(project: &Project, hook: HookId, key: String) -> NewDelivery {
        NewDelivery {
            id: new_id(),
            hook,
            project: project.id,
            tenant: project.tenant_id,
            delivery_key: key,
            event: "push".to_owned(),
            auth: HookAuth::HmacSha256,
            verdict: Verdict::Work,
            headers: [].into(),
            body: Vec::new(),
            moves: Vec::new(),
            now: project.created_at,
        }
    }

    #[tokio::test]
    async fn a_delivery_that_cannot_be_stored_takes_none_of_its_neighbours_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let hook = random_id();
        let project = project(&db, hook).await;
        let batcher = Batcher::new(db.clone(), Life::new());
        let accepted = join_all((0..9).map(|index| {
            let hook = if index == 4 { random_id() } else { hook };
            batcher.accept(delivery(&project, hook, index.to_string()))
        }))
        .await;
        let refused: Vec<usize> = (0..9).filter(|index| accepted[*index].is_err()).collect();
        assert_eq!(refused, [4]);
        let all = DeliveryFilter { project: None, state: None, before: None, limit: 100 };
        assert_eq!(db.list_deliveries(&Scope::Operator, &all).await.expect("a list").len(), 8);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_does_not_stop_the_storing() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let hook = random_id();
        let project = project(&db, hook).await;
        let life = Life::new();
        let batcher = Batcher::new(db.clone(), life.clone());
        let (one, two) = (delivery(&project, hook, "1".to_owned()), delivery(&project, hook, "2".to_owned()));
        assert!(batcher.accept(one).now_or_never().is_none(), "it waits for nothing");
        assert!(matches!(batcher.accept(two).await.expect("stored"), Accepted::New(_)));
        let all = DeliveryFilter { project: None, state: None, before: None, limit: 100 };
        assert_eq!(db.list_deliveries(&Scope::Operator, &all).await.expect("a list").len(), 2);
    }
}
