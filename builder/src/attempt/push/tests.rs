//! Tags under leave, against a small registry and the fake of the agent API.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use slipway_domain::agent::Claimed;
use slipway_domain::attempt::AttemptRef;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;
use tokio::sync::watch;

use super::*;
use crate::agent;
use crate::attempt::{Attempt, open_shelf};
use crate::halt::Reins;
use crate::tests::fake::{ATTEMPT_TOKEN, Fake, spec};

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const MANIFEST: &str = r#"{"schemaVersion":2,"config":{"digest":"sha256:c","size":7},"layers":[{"size":100}]}"#;

/// Tags of one repository, each with its manifest; a tag named `broken` answers 500, `refused` 403.
type Tags = Arc<Mutex<BTreeMap<String, String>>>;

async fn registry(life: &Life, carrier: &str) -> (String, Tags) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let repository = format!("{}/team/app", listener.local_addr().expect("an address"));
    let tags = Tags::default();
    for name in [carrier.to_owned(), digest()] {
        tags.lock().expect("not poisoned").insert(name, MANIFEST.to_owned());
    }
    let router = Router::new()
        .route("/v2/team/app/manifests/{reference}", get(read).put(write))
        .fallback(|| async { "{}" })
        .with_state(Arc::clone(&tags));
    life.errand("registry", async move { axum::serve(listener, router).await.expect("serves") });
    (repository, tags)
}

async fn read(State(tags): State<Tags>, Path(reference): Path<String>) -> Response {
    match tags.lock().expect("not poisoned").get(&reference) {
        Some(manifest) => {
            let headers =
                [(header::CONTENT_TYPE, TYPE), (header::HeaderName::from_static("docker-content-digest"), &digest())]
                    .map(|(name, value)| (name, value.to_owned()));
            (headers, manifest.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write(
    State(tags): State<Tags>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    assert_eq!(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()), Some(TYPE));
    match reference.as_str() {
        "broken" => StatusCode::INTERNAL_SERVER_ERROR,
        "refused" => StatusCode::FORBIDDEN,
        _ => {
            tags.lock().expect("not poisoned").insert(reference, body);
            StatusCode::CREATED
        }
    }
}

fn digest() -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(MANIFEST)))
}

struct Story {
    _dir: tempfile::TempDir,
    _life: Life,
    fake: Fake,
    flow: Flow,
    reins: Reins,
    repository: String,
    tags: Tags,
}

impl Story {
    async fn begin(answers: impl IntoIterator<Item = Leave>) -> Self {
        let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
        let fake = Fake::start(&life).await;
        fake.with(|told| told.leave_answers.extend(answers));
        let config = fake.config(dir.path(), &dir.path().join("none.sock"));
        let (agent, _probe, _readiness) =
            agent::assemble(config, Clock::system(), life.clone()).await.expect("assembled");
        let attempt = AttemptRef { job: new_id(), epoch: 1 };
        let spec = spec("https://127.0.0.1:1/a.git");
        let (repository, tags) = registry(&life, &spec.carrier_tag(1, 0)).await;
        let claimed = Claimed { attempt, token: ATTEMPT_TOKEN.to_owned(), spec, timeout_secs: 60 };
        let reins = Reins::default();
        let shelf = open_shelf(&agent, &claimed).expect("room");
        let attempt = Attempt::begin(agent, claimed, reins.clone(), shelf);
        let (limit, _) = watch::channel(Duration::from_secs(60));
        let flow = Flow::new(&attempt, dir.path().to_owned(), limit);
        Self { _dir: dir, _life: life, fake, flow, reins, repository, tags }
    }

    async fn publish(&self, tags: &[&str]) -> Result<(), Failure> {
        let pushed = self.flow.read_back((&self.repository, 0), None).await?;
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.flow.move_tags(1, &pushed, &tags).await
    }

    fn shown(&self, tag: &str) -> bool {
        self.tags.lock().expect("not poisoned").get(tag).is_some_and(|manifest| manifest == MANIFEST)
    }

    fn returned(&self) -> Vec<(String, bool)> {
        self.fake.with(|told| told.returns.iter().map(|back| (back.leave.tag.clone(), back.moved)).collect())
    }
}

#[tokio::test]
async fn tags_move_one_by_one_under_leave_and_older_builds_move_none() {
    let wait = Leave::Wait { retry_ms: 10 };
    let granted = Leave::Granted { within_ms: 30_000, lease: Some(7) };
    let newer = Leave::NotMoved { reason: "a newer build was there first".to_owned() };
    let story = Story::begin([wait.clone(), wait, granted, newer]).await;
    story.publish(&["one", "two"]).await.expect("published");
    assert!(story.shown("one") && !story.shown("two"));
    assert_eq!(story.returned(), [("one".to_owned(), true)]);
    assert_eq!(story.fake.with(|told| told.returns[0].lease), Some(7), "the leave that it used");
    let asked = story.fake.with(|told| told.leaves.clone());
    assert_eq!(asked.iter().map(|leave| leave.tag.as_str()).collect::<Vec<_>>(), ["one", "one", "one", "two"]);
    assert!(asked.iter().all(|leave| leave.digest == digest() && leave.repository == "team/app"));
    let (_, images) = story.flow.outputs.take();
    assert_eq!(
        images.iter().map(|image| (image.moved, image.lease, image.size_bytes)).collect::<Vec<_>>(),
        [(true, Some(7), 107), (false, None, 107)]
    );
    assert!(images.iter().all(|image| image.digest == digest()));
    assert_eq!(images.first().map(|image| image.reference.clone()), Some(format!("{}:one", story.repository)));
}

#[tokio::test]
async fn a_cancel_in_place_of_leave_makes_nothing_visible() {
    let story = Story::begin([Leave::Cancelled]).await;
    let stopped = story.publish(&["one", "two"]).await.expect_err("stopped");
    assert_eq!((stopped.class, story.reins.cause()), (FailureClass::Cancelled, Some(Halt::Cancelled)));
    assert!(!story.shown("one") && !story.shown("two"));
    assert!(story.returned().is_empty());
}

#[tokio::test]
async fn leave_is_given_back_only_when_it_is_clear_whether_the_tag_moved() {
    let story = Story::begin([]).await;
    let refused = story.publish(&["refused"]).await.expect_err("403");
    assert_eq!(refused.class, FailureClass::RegistryDenied);
    assert_eq!(story.returned(), [("refused".to_owned(), false)]);
    let broken = story.publish(&["broken"]).await.expect_err("500");
    assert_eq!(broken.class, FailureClass::RegistryUnreachable);
    assert_eq!(story.returned().len(), 1, "whether it moved is not known");
}

#[tokio::test]
async fn a_halted_attempt_does_not_wait_for_leave() {
    let story = Story::begin((0..1000).map(|_| Leave::Wait { retry_ms: 5000 })).await;
    let publishing = story.publish(&["one"]);
    let halting = async {
        story.fake.until("a request for leave", |told| !told.leaves.is_empty()).await;
        story.reins.pull(Halt::TimedOut);
    };
    let (stopped, ()) = tokio::join!(publishing, halting);
    assert_eq!(stopped.expect_err("stopped").class, FailureClass::Cancelled);
    assert!(!story.shown("one"));
}

#[tokio::test]
async fn the_engine_is_not_sent_where_we_would_not_go() {
    let story = Story::begin([]).await;
    let host = story.repository.split('/').next().expect("a host");
    for (repository, refused) in [
        (story.repository.clone(), None),
        // A tag that is not there is what the push is for, and what the registry says of the rest is left to it.
        (format!("{host}/team/app"), None),
        ("10.0.0.1/team/app".to_owned(), Some(FailureClass::RegistryForbidden)),
        ("169.254.169.254/latest/meta-data".to_owned(), Some(FailureClass::RegistryForbidden)),
        // What answers there is none.
        (format!("{host}/other"), Some(FailureClass::RegistryInvalid)),
        ("127.0.0.1:1/team/app".to_owned(), None),
    ] {
        let looked = story.flow.look_first(&repository, "b.1", None).await;
        assert_eq!(looked.err().map(|failure| failure.class), refused, "{repository}");
    }
}
