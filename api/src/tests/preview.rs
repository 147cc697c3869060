use super::crew::step;
use super::{App, project_body};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::TimeDelta;
use serde_json::json;
use slipway_domain::agent::PushedImage;
use slipway_domain::attempt::{Phase, StepState};
use slipway_domain::failure::{Failure, FailureClass};
use std::time::Duration;

#[tokio::test]
#[ignore]
async fn preview() {
    let app = App::with(|c| {
        c.public_url = "http://127.0.0.1:18099/".parse().unwrap();
        c.fetch_allow = "10.1.2.3".parse().unwrap();
    })
    .await;
    let _ = app.project("quiet/no-builds-yet", "private").await;
    let mut body = project_body("team/web-shop");
    body["image"] = json!({"repository": "10.1.2.3:5000/team/web-shop"});
    body["visibility"] = json!("public");
    body["build"] = json!({"target": "runtime", "args": {"VERSION": "1.2"}});
    let shop = app.post("/api/v1/projects", body).await.json();
    let broken = app.project("team/a-service-with-a-rather-long-name-that-goes-on", "private").await;
    let crew = app.crew("builder-eu-1").await;
    let now = app.state.clock.now() - TimeDelta::seconds(95);
    let names = [
        "[internal] load build definition from Dockerfile",
        "[internal] load metadata for docker.io/library/busybox:1.36",
        "[build 1/4] FROM docker.io/library/busybox:1.36",
        "[build 2/4] COPY . /src",
        "[build 3/4] RUN make -C /src all VERBOSE=1 CFLAGS=\"-O2 -Wall -Wextra -fstack-protector-strong\"",
        "[build 4/4] RUN make test",
    ];
    // succeeded
    let b = app.build(&shop).await;
    let a = app.start(&crew, b["id"].as_str().unwrap().parse().unwrap()).await;
    let mut steps: Vec<_> =
        names.iter().enumerate().map(|(i, n)| step(i as i64 + 1, n, StepState::Succeeded, now)).collect();
    steps[2].cached = true;
    app.report(a, Phase::Pushing, steps.clone()).await;
    let digest = format!("sha256:{}", "ab12".repeat(16));
    let image = |tag: &str, moved| PushedImage {
        reference: format!("10.1.2.3:5000/team/web-shop:{tag}"),
        digest: digest.clone(),
        size_bytes: 12_345_678,
        moved,
    };
    app.finish(a, None, vec![image(super::COMMIT, true), image("main", false)]).await;
    let done = b;
    // failed
    let b = app.build(&broken).await;
    let a = app.start(&crew, b["id"].as_str().unwrap().parse().unwrap()).await;
    steps[5].state = StepState::Failed;
    steps[5].exit_code = Some(2);
    app.report(a, Phase::Building, steps.clone()).await;
    app.finish(
        a,
        Some(Failure {
            class: FailureClass::RunFailed,
            message: "\"make test\" returned 2 in step [build 4/4] RUN make test.".into(),
            step: Some(names[5].into()),
            exit_code: Some(2),
            dockerfile_line: Some(9),
        }),
        vec![],
    )
    .await;
    let failed = b;
    // cancelled + waiting
    let b = app.build(&shop).await;
    app.post(&format!("/api/v1/builds/{}/cancel", b["id"].as_str().unwrap()), json!(null)).await;
    // running
    let b = app.build(&shop).await;
    let a = app.start(&crew, b["id"].as_str().unwrap().parse().unwrap()).await;
    steps[5].state = StepState::Pending;
    steps[5].started_at = None;
    steps[5].finished_at = None;
    steps[5].exit_code = None;
    steps[4].state = StepState::Running;
    steps[4].finished_at = None;
    app.report(a, Phase::Building, steps).await;
    let running = b;
    let waiting = app.build(&shop).await;
    println!("TOKEN {}", app.admin);
    for (n, b) in [("done", &done), ("failed", &failed), ("running", &running), ("waiting", &waiting)] {
        println!("BUILD {n} {}", b["id"].as_str().unwrap());
    }
    println!("PROJECT {}", shop["id"].as_str().unwrap());
    let logs = axum::Router::new()
        .route("/api/v1/jobs/{id}/log/stream", get(stream))
        .route("/api/v1/jobs/{id}/log", get(|| async { "plain\n" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:18099").await.unwrap();
    let serve = axum::serve(listener, app.router.clone().merge(logs));
    let _ = tokio::time::timeout(Duration::from_secs(3000), async { serve.await }).await;
}

async fn stream() -> impl IntoResponse {
    let (tx, rx) = tokio::sync::mpsc::unbounded_channel::<Result<String, std::convert::Infallible>>();
    let s = async move {
        let mut at = 0usize;
        let send = |tx: &tokio::sync::mpsc::UnboundedSender<_>,
                    at: &mut usize,
                    step: u32,
                    stream: &str,
                    text: String| {
            let from = *at;
            *at += text.len();
            let data = json!({"epoch": 1, "from": from, "to": *at, "spans": [{"step": step, "stream": stream, "at": "2026-11-21T03:00:00Z", "text": text}]});
            tx.send(Ok::<_, std::convert::Infallible>(format!("id: 1:{at}\ndata: {data}\n\n"))).is_ok()
        };
        send(&tx, &mut at, 0, "stdout", "Fetching https://1.1.1.1/acme/app.git at 0123456789\n".into());
        send(&tx, &mut at, 1, "stdout", "transferring dockerfile: 214B\n".into());
        send(&tx, &mut at, 5, "stdout", "\u{1b}[32mcc\u{1b}[0m -O2 main.c -o main\n<script>alert(1)</script>\n".into());
        send(&tx, &mut at, 5, "stderr", "main.c:3: \u{1b}[1;33mwarning:\u{1b}[0m unused variable 'x'\n".into());
        for i in 0..3000 {
            if !send(
                &tx,
                &mut at,
                5,
                "stdout",
                format!(
                    "\u{1b}[36m[{i:>5}]\u{1b}[0m compiling part {i} of the project with a line that is somewhat longer than usual\n"
                ),
            ) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(if i < 200 { 1 } else { 50 })).await;
        }
        let _ = tx
            .send(Ok(format!("event: end\nid: 1:{at}\ndata: {{\"epoch\":1,\"at\":{at},\"state\":\"complete\"}}\n\n")));
    };
    tokio::spawn(s);
    let body = axum::body::Body::from_stream(futures_util::stream::unfold(rx, |mut rx| async move {
        rx.recv().await.map(|x| (x, rx))
    }));
    ([(http::header::CONTENT_TYPE, "text/event-stream")], body)
}
