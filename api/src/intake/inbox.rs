//! Storing deliveries, many with one flush of the disk.

use slipway_store::deliveries::{Accepted, NewDelivery};
use slipway_store::{Db, StoreError};

use slipway_runtime::batch::Batched;

use crate::intake::handover::Place;

/// A delivery that came in, and its place among those that this process works itself, if it has one.
pub(super) struct Arrived {
    pub(super) new: NewDelivery,
    pub(super) place: Option<Place>,
}

/// Takes deliveries in.
#[derive(Clone)]
pub(super) struct Inbox(pub(super) Db);

impl Batched for Inbox {
    const NAME: &'static str = "store deliveries";
    type Ask = Arrived;
    type Answer = Result<Accepted, StoreError>;

    fn size_bytes(arrived: &Arrived) -> usize {
        arrived.new.body.len()
    }

    async fn answer(&self, arrived: Vec<Arrived>) -> Vec<Self::Answer> {
        let (new, places): (Vec<_>, Vec<_>) = arrived.into_iter().map(|arrived| (arrived.new, arrived.place)).unzip();
        let answers = self.store(&new).await;
        for ((new, place), answer) in new.iter().zip(places).zip(&answers) {
            if let (Some(place), Ok(accepted)) = (place, answer) {
                place.fill(new, accepted);
            }
        }
        answers
    }
}

impl Inbox {
    async fn store(&self, new: &[NewDelivery]) -> Vec<Result<Accepted, StoreError>> {
        if let Ok(accepted) = self.0.accept_deliveries(new).await {
            return accepted.into_iter().map(Ok).collect();
        }
        let mut answers = Vec::with_capacity(new.len());
        for new in new {
            answers.push(self.0.accept_delivery(new).await);
        }
        answers
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
    use slipway_runtime::lifecycle::Life;
    use slipway_runtime::secret_key::SecretKey;
    use slipway_store::Scope;
    use slipway_store::connections::NewConnection;
    use slipway_store::deliveries::{DeliveryFilter, Verdict};
    use slipway_store::hooks::NewHook;
    use slipway_store::projects::{NewProject, Project, ProjectConnection};

    use super::*;
    use slipway_runtime::batch::Batcher;

    async fn project(db: &Db, hook: HookId) -> Project {
        let now = Clock::system().now();
        let tenant = db.ensure_default_tenant(now).await.expect("a tenant");
        let connection = NewConnection {
            id: new_id(),
            tenant,
            kind: ForgeKind::Github,
            base_url: None,
            token: None,
            installation: None,
            now,
        };
        let new = NewProject {
            id: new_id(),
            tenant,
            connection: ProjectConnection::New(connection),
            name: "app".to_owned(),
            repo_path: "acme/app".to_owned(),
            clone_url: "https://github.com/acme/app.git".to_owned(),
            cache_repository: None,
            images: Vec::new(),
            visibility: Visibility::Private,
            options: BuildOptions::default(),
            rules: slipway_domain::rules::Rules::default(),
            region: None,
            hook: NewHook { id: hook, secret: "secret".to_owned(), now },
            now,
        };
        db.create_project(&SecretKey::generate(), &new).await.expect("a project")
    }

    fn delivery(project: &Project, hook: HookId, key: String) -> Arrived {
        let new = NewDelivery {
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
            body_blob: None,
            moves: Vec::new(),
            held_by: None,
            now: project.created_at,
        };
        Arrived { new, place: None }
    }

    #[tokio::test]
    async fn a_delivery_that_cannot_be_stored_takes_none_of_its_neighbours_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
        let db = Db::connect(&url).await.expect("a database");
        let hook = random_id();
        let project = project(&db, hook).await;
        let batcher = Batcher::new(Inbox(db.clone()), Life::new());
        let accepted = join_all((0..9).map(|index| {
            let hook = if index == 4 { random_id() } else { hook };
            batcher.ask(delivery(&project, hook, index.to_string()))
        }))
        .await;
        let refused: Vec<usize> = (0..9).filter(|index| !matches!(accepted[*index], Ok(Ok(_)))).collect();
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
        let batcher = Batcher::new(Inbox(db.clone()), life.clone());
        let (one, two) = (delivery(&project, hook, "1".to_owned()), delivery(&project, hook, "2".to_owned()));
        assert!(batcher.ask(one).now_or_never().is_none(), "it waits for nothing");
        assert!(matches!(batcher.ask(two).await.expect("answered"), Ok(Accepted::New(_))));
        let all = DeliveryFilter { project: None, state: None, before: None, limit: 100 };
        assert_eq!(db.list_deliveries(&Scope::Operator, &all).await.expect("a list").len(), 2);
    }
}
