//! Builds by hand: shapes, refs, cancel, retry, Idempotency-Key.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use slipway_domain::agent::PushedImage;
use slipway_domain::attempt::{Phase, StepState};
use slipway_domain::failure::{Detail, ExcerptLine, Failure, FailureClass};
use slipway_domain::image::{BuiltImage, Layer};
use slipway_domain::remarks::{Remarks, Warning};

use super::crew::step;
use super::fake_forge::FakeForge;
use super::{Answer, App, COMMIT};

impl App {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.admin))
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", key)
            .body(Body::from(body.to_string()));
        self.send(request.expect("a request")).await
    }
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test]
async fn a_build_by_hand_has_the_promised_shape() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let build = app.build(&project).await;
    assert_eq!(
        (&build["project"], &build["state"], &build["trigger"]),
        (&project["id"], &json!("pending"), &json!("manual"))
    );
    assert_eq!((&build["ref"], &build["commit"], &build["started_at"]), (&Value::Null, &json!(COMMIT), &Value::Null));
    assert!(build["waiting"]["reason"].is_string() && build["waiting"]["eta"].is_null(), "{}", build["waiting"]);
    let job = &build["jobs"][0];
    assert_eq!((&job["kind"], &job["pool"]), (&json!("image"), &json!("local/standard/linux-amd64")));
    assert_eq!(
        (&job["attempts"], &job["steps"], &job["images"], &job["failure"]),
        (&json!([]), &json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(build["url"], format!("http://127.0.0.1:8080/builds/{}", id(&build)));
    assert_eq!(app.get(&format!("/api/v1/builds/{}", id(&build))).await.json()["id"], build["id"]);
    assert_eq!(app.get(&format!("/api/v1/jobs/{}", id(job))).await.json()["build"], build["id"]);
    let list = app.get("/api/v1/builds?state=pending").await.json();
    assert_eq!((&list["items"][0]["id"], &list["next_cursor"]), (&build["id"], &Value::Null));
    assert_eq!(app.get("/api/v1/builds?state=failed").await.json()["items"], json!([]));
    app.get("/api/v1/builds?state=great").await.problem(StatusCode::BAD_REQUEST);
    let pools = app.get("/api/v1/pools").await.json();
    assert_eq!(pools["items"][0]["pool"], "local/standard/linux-amd64");
}

#[tokio::test]
async fn an_unknown_ref_asks_for_the_commit() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}/builds", id(&project));
    for (body, word) in [
        (json!({"ref": "main"}), "commit"),
        (json!({"commit": "abc"}), "full commit id"),
        (json!({}), "either"),
        (json!({"ref": "main", "commit": COMMIT}), "either"),
        (json!({"ref": "a..b"}), "ref"),
        (json!({"commit": COMMIT, "build": {"colour": "red"}}), "colour"),
        (json!({"commit": COMMIT, "build": {"context": "../.."}}), "build.context"),
    ] {
        let detail = app.post(&path, body.clone()).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(detail.contains(word), "{body}: {detail}");
    }
}

#[tokio::test]
async fn cancel_then_retry() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let build = app.build(&project).await;
    let path = format!("/api/v1/builds/{}", id(&build));
    app.post(&format!("{path}/retry"), json!(null)).await.problem(StatusCode::CONFLICT);
    let cancelled = app.post(&format!("{path}/cancel"), json!(null)).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["state"]),
        (StatusCode::OK, &json!("cancelled")),
        "{}",
        cancelled.text
    );
    assert_eq!(app.post(&format!("{path}/cancel"), json!(null)).await.status, StatusCode::OK);
    let anew = app.post(&format!("{path}/retry?no_cache=true"), json!(null)).await.json();
    let anew = anew["id"].as_str().expect("an id").parse().expect("a build");
    let db = &app.state.db;
    let spec = db.job_spec(db.jobs_of_build(anew).await.expect("jobs")[0].id).await.expect("a job");
    assert_eq!(spec.asked.no_cache, Some(true), "every step runs anew");
    let again = app.post(&format!("{path}/retry"), json!(null)).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.text);
    let again = again.json();
    assert_eq!(
        (&again["rerun_of"], &again["trigger"], &again["commit"]),
        (&build["id"], &json!("rerun"), &json!(COMMIT))
    );
    assert_ne!(again["id"], build["id"]);
    assert_eq!(app.get(&path).await.json()["state"], "cancelled");
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_answer_again() {
    let app = App::new().await;
    let project = app.project("app", "private").await;
    let path = format!("/api/v1/projects/{}/builds", id(&project));
    let body = json!({"commit": COMMIT});
    let first = app.keyed(&path, "k1", &body).await;
    let second = app.keyed(&path, "k1", &body).await;
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.text, second.text);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    app.keyed(&path, "k1", &json!({"ref": "main"})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    let other = app.keyed(&path, "k2", &body).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    assert_eq!(app.get("/api/v1/builds").await.json()["items"].as_array().expect("items").len(), 2);
    app.keyed(&path, &"k".repeat(201), &body).await.problem(StatusCode::BAD_REQUEST);

    let project = super::project_body("keyed");
    let made = app.keyed("/api/v1/projects", "p", &project).await;
    let again = app.keyed("/api/v1/projects", "p", &project).await;
    assert_eq!(made.json()["hook"]["secret"], again.json()["hook"]["secret"]);
    let refused = app.keyed("/api/v1/projects", "q", &project).await;
    refused.problem(StatusCode::CONFLICT);
    app.keyed("/api/v1/projects", "q", &project).await.problem(StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_failed_build_says_where_and_what_to_do() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "private").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let attempt = app.start(&crew, id(&build).parse().expect("an id")).await;
    let now = app.state.clock.now();
    let steps = vec![
        step(1, "[internal] load build definition", StepState::Succeeded, now),
        step(2, "[build 2/3] RUN make <all>", StepState::Failed, now),
    ];
    app.report(attempt, Phase::Building, steps).await;
    let path = format!("/api/v1/builds/{}", id(&build));
    let running = app.get(&path).await.json();
    assert_eq!((&running["state"], &running["waiting"]), (&json!("running"), &Value::Null));
    let seen = &running["jobs"][0]["attempts"][0];
    assert_eq!((&seen["epoch"], &seen["builder"], &seen["phase"]), (&json!(1), &json!("alpha"), &json!("building")));
    assert_eq!((&seen["state"], &seen["outcome"]), (&json!("open"), &Value::Null));
    assert!(app.get(&format!("/builds/{}", id(&build))).await.text.contains("Building"));

    let failure = Failure {
        class: FailureClass::RunFailed,
        message: "\"make <all>\" returned 2".to_owned(),
        step: Some("[build 2/3] RUN make <all>".to_owned()),
        exit_code: Some(2),
        dockerfile_line: Some(4),
        detail: Box::new(Detail {
            dockerfile: Some("docker/<b>.Dockerfile".to_owned()),
            excerpt: vec![ExcerptLine {
                line: 4,
                text: "RUN make '<script>alert(1)</script>'".to_owned(),
                failing: true,
            }],
            last_lines: vec!["make: <script>alert(2)</script>".to_owned()],
            hint: Some("Try <b>less</b>.".to_owned()),
        }),
    };
    app.finish(attempt, Some(failure), Vec::new()).await;
    let failed = app.get(&path).await.json();
    assert_eq!((&failed["state"], &failed["jobs"][0]["state"]), (&json!("failed"), &json!("failed")));
    let told = &failed["jobs"][0]["failure"];
    assert_eq!(
        (&told["class"], &told["exit_code"], &told["dockerfile_line"]),
        (&json!("run_failed"), &json!(2), &json!(4))
    );
    assert_eq!(
        (&told["step"], &told["hint"], &told["last_lines"]),
        (&json!("[build 2/3] RUN make <all>"), &json!("Try <b>less</b>."), &json!(["make: <script>alert(2)</script>"]))
    );
    let line = json!([{ "line": 4, "text": "RUN make '<script>alert(1)</script>'", "failing": true }]);
    assert_eq!((&told["excerpt"], &told["dockerfile"]), (&line, &json!("docker/<b>.Dockerfile")));
    let step = &failed["jobs"][0]["steps"][1];
    assert_eq!((&step["state"], &step["cached"], &step["exit_code"]), (&json!("failed"), &json!(false), &json!(2)));
    let page = app.get(&format!("/builds/{}", id(&build))).await.text;
    for part in [
        "make &#60;all&#62;",
        "docker/&#60;b&#62;.Dockerfile:4",
        "run_failed",
        "Try &#60;b&#62;less",
        "&gt;    4 RUN make",
        "&#60;script&#62;alert(1)",
        "make: &#60;script&#62;alert(2)",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<b>less"), "{page}");
    app.post(&format!("{path}/cancel"), json!(null)).await.problem(StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_a_log_does_not_hold_and_warnings_are_told_beside_the_end() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "public").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let attempt = app.start(&crew, id(&build).parse().expect("an id")).await;
    let warning = Warning {
        text: "FROM <script>alert(1)</script>".to_owned(),
        step: Some(2),
        dockerfile: Some("docker/<b>".to_owned()),
        line: Some(7),
    };
    let told = json!({
        "warning_count": 3,
        "warnings": [{ "text": warning.text, "step": 2, "dockerfile": "docker/<b>", "line": 7 }],
        "log_left_out_bytes": 5_242_880,
        "cut_steps": [2, 3],
    });
    let page = app.get(&format!("/builds/{}", id(&build))).await.text;
    assert!(!page.contains("class=\"card warnings\"") && !page.contains("left out"), "{page}");
    let warnings = vec![warning];
    let remarks = Remarks { warning_count: 3, warnings, log_left_out_bytes: 5 << 20, cut_steps: vec![2, 3] };
    app.finish_with(attempt, None, (Vec::new(), Vec::new(), remarks)).await;
    let done = app.get(&format!("/api/v1/builds/{}", id(&build))).await.json();
    assert_eq!((&done["state"], &done["jobs"][0]["attempts"][0]["remarks"]), (&json!("succeeded"), &told));
    let page = app.get(&format!("/builds/{}", id(&build))).await.text;
    for part in [
        "3 warnings",
        "and 2 more in the log",
        "docker/&#60;b&#62;:7",
        "FROM &#60;script&#62;alert(1)",
        "5.0 MiB between them are left out",
        r##"<a href="#s2:L1">#2</a> <a href="#s3:L1">#3</a>"##,
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("class=\"failure\""), "{page}");
}

#[tokio::test]
async fn a_built_image_is_shown_with_its_digest() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "public").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let attempt = app.start(&crew, id(&build).parse().expect("an id")).await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = |tag: &str, moved| PushedImage {
        lease: None,
        reference: format!("registry.example.org/app:{tag}"),
        digest: digest.clone(),
        size_bytes: 12_345_678,
        moved,
    };
    app.finish(attempt, None, vec![image("one", true), image("latest", false)]).await;
    let done = app.get(&format!("/api/v1/builds/{}", id(&build))).await.json();
    assert_eq!((&done["state"], &done["jobs"][0]["failure"]), (&json!("succeeded"), &Value::Null));
    let first =
        json!({"ref": "registry.example.org/app:one", "digest": digest, "size_bytes": 12_345_678, "moved": true});
    assert_eq!(done["jobs"][0]["images"][0], first);
    let page = app.get_public(&format!("/builds/{}", id(&build))).await.text;
    assert!(page.contains(&digest) && page.contains("11.7 MiB") && page.contains("not moved"), "{page}");
    let badge = app.get_public(&format!("/badge/{}.svg", id(&project))).await;
    assert!(badge.text.contains("passing"), "{}", badge.text);
    let branch = app.get_public(&format!("/badge/{}.svg?branch=main", id(&project))).await;
    assert!(branch.text.contains("unknown"), "{}", branch.text);
    let builders = app.get("/api/v1/builders").await.json();
    let builder = &builders["items"][0];
    assert_eq!((&builder["name"], &builder["state"], &builder["busy"]), (&json!("alpha"), &json!("online"), &json!(0)));
    let drain = format!("/api/v1/builders/{}/drain", id(builder));
    assert_eq!(app.post(&drain, json!(null)).await.status, StatusCode::ACCEPTED);
    assert_eq!(app.get("/api/v1/builders").await.json()["items"][0]["state"], "draining");
    assert!(app.get("/builders").await.text.contains("Draining"));
    let resume = format!("/api/v1/builders/{}/resume", id(builder));
    assert!(app.get("/builders").await.text.contains(&format!("/builders/{}/resume\"", id(builder))));
    assert_eq!(app.post(&resume, json!(null)).await.status, StatusCode::ACCEPTED);
    let builder = &app.get("/api/v1/builders").await.json()["items"][0];
    assert_eq!((&builder["state"], &builder["drained"]), (&json!("online"), &json!(false)));
}

#[tokio::test]
async fn cancelling_a_running_build_rings_its_builder() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "private").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    app.start(&crew, id(&build).parse().expect("an id")).await;
    let mut bell = app.state.live.subscribe(slipway_live::Topic::Session(crew.session)).await;
    let answer = app.post(&format!("/api/v1/builds/{}/cancel", id(&build)), json!(null)).await;
    assert_eq!((answer.status, &answer.json()["jobs"][0]["state"]), (StatusCode::OK, &json!("cancelling")));
    let rung = tokio::time::timeout(std::time::Duration::from_secs(5), bell.next()).await;
    assert!(rung.is_ok(), "the builder's dispatcher was not told");
    let page = app.get(&format!("/builds/{}", id(&build))).await.text;
    assert!(page.contains("Cancelling") && !page.contains("/cancel\""), "{page}");
}

#[tokio::test]
async fn the_forge_says_where_a_branch_points() {
    let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
    let forge = super::fake_forge::FakeForge::start(&app.state.life).await;
    let connection = json!({"kind": "github", "base_url": forge.base_url, "token": "ghp-hidden"});
    let connection = app.post("/api/v1/connections", connection).await.json();
    let mut body = super::project_body("app");
    body.as_object_mut().expect("an object").remove("forge");
    body["connection"] = connection["id"].clone();
    let project = app.post("/api/v1/projects", body).await.json();
    let path = format!("/api/v1/projects/{}/builds", id(&project));
    app.post(&path, json!({"ref": "main"})).await.problem(StatusCode::UNPROCESSABLE_ENTITY);
    {
        let mut seen = forge.seen.lock().expect("not poisoned");
        (seen.head, seen.file) = (Some(COMMIT), Some("region: eu\n".to_owned()));
    }
    let build = app.post(&path, json!({"ref": "main"})).await;
    assert_eq!(build.status, StatusCode::CREATED, "{}", build.text);
    let build = build.json();
    assert_eq!((&build["ref"], &build["commit"]), (&json!("refs/heads/main"), &json!(COMMIT)));
    assert_eq!(build["jobs"][0]["pool"], "eu/standard/linux-amd64");
}

/// A project with a branch `main` that its forge knows.
async fn project_with_main(app: &App) -> (FakeForge, Value) {
    let forge = FakeForge::start(&app.state.life).await;
    forge.seen.lock().expect("not poisoned").head = Some(COMMIT);
    let connection = json!({"kind": "github", "base_url": forge.base_url, "token": "ghp-hidden"});
    let connection = app.post("/api/v1/connections", connection).await.json();
    let mut body = super::project_body("app");
    body.as_object_mut().expect("an object").remove("forge");
    body["connection"] = connection["id"].clone();
    (forge, app.post("/api/v1/projects", body).await.json())
}

#[tokio::test]
async fn an_image_is_shown_layer_by_layer_and_compared_with_the_build_before() {
    let app = App::with(|config| config.fetch_allow = "127.0.0.1".parse().expect("an address")).await;
    let ((_forge, project), crew) = (project_with_main(&app).await, app.crew("alpha").await);
    let layer = |diff_id: &str, size_bytes, instruction: &str| Layer {
        diff_id: diff_id.to_owned(),
        size_bytes,
        compressed_bytes: Some(size_bytes / 2),
        instruction: instruction.to_owned(),
        ..Layer::default()
    };
    let base = layer("sha256:base", 70_000_000, "ADD <rootfs> /");
    let wishes = [
        (json!({"ref": "main"}), vec![base.clone(), layer("sha256:one", 1_000_000, "RUN make")]),
        (json!({"ref": "main"}), vec![base.clone(), layer("sha256:two", 13_300_000, "RUN make")]),
        // A bare commit is compared with the main branch.
        (json!({"commit": COMMIT}), vec![base]),
    ];
    let mut built = Vec::new();
    for (wish, layers) in wishes {
        let build = app.post(&format!("/api/v1/projects/{}/builds", id(&project)), wish).await.json();
        let attempt = app.start(&crew, id(&build).parse().expect("an id")).await;
        let image = BuiltImage { digest: Some("sha256:manifest".to_owned()), layers, ..BuiltImage::default() };
        app.finish_with(attempt, None, (Vec::new(), vec![image], Remarks::default())).await;
        built.push(app.get(&format!("/api/v1/builds/{}", id(&build))).await.json());
    }
    let [first, second, third] = [0, 1, 2].map(|place| &built[place]["jobs"][0]["built"][0]);
    assert_eq!((&first["difference"], &first["layers"][0]["new"]), (&Value::Null, &Value::Null));
    let told = &second["layers"];
    assert_eq!((&second["size_bytes"], &second["digest"]), (&json!(83_300_000), &json!("sha256:manifest")));
    assert_eq!((&told[0]["new"], &told[1]["new"]), (&json!(false), &json!(true)));
    assert_eq!((&told[1]["instruction"], &told[1]["compressed_bytes"]), (&json!("RUN make"), &json!(6_650_000)));
    let grew = json!({"instruction": "RUN make", "size_bytes_change": 12_300_000});
    assert_eq!(
        second["difference"],
        json!({"build": built[0]["id"], "size_bytes_change": 12_300_000, "shared_layers": 1, "new_layers": 1,
            "gone_layers": 1, "grew_most": grew})
    );
    assert_eq!((&third["difference"]["build"], &third["difference"]["gone_layers"]), (&built[1]["id"], &json!(1)));
    let page = app.get(&format!("/builds/{}", id(&built[1]))).await.text;
    for part in [
        "+11.7 MiB; 1 layer shared, 1 new and 1 gone. RUN make grew most",
        "ADD &#60;rootfs&#62; /",
        "79.4 MiB unpacked",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(page.contains(&format!("/builds/{}\">The earlier build", id(&built[0]))), "{page}");
    let listed = app.get("/api/v1/builds").await.json();
    assert_eq!(listed["items"][0]["jobs"][0].get("built"), None, "lists are short");
}
