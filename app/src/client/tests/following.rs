//! Following a build: waiting, resuming, new attempts, and how it ends.

use axum::response::Response;
use serde_json::{Value, json};

use super::fake::{Asked, BUILD, Fake, JOB, answer, build, not_found, problem, stream};

pub(super) fn is_build(asked: &Asked) -> bool {
    asked.what == format!("GET /api/v1/builds/{BUILD}")
}

pub(super) fn is_stream(asked: &Asked) -> bool {
    asked.what.starts_with(&format!("GET /api/v1/jobs/{JOB}/log/stream"))
}

fn piece(epoch: i64, from: usize, text: &str) -> String {
    let to = from + text.len();
    let spans = json!([{ "step": 1, "stream": "stdout", "at": "2026-01-01T00:00:00Z", "text": text }]);
    let data = json!({ "epoch": epoch, "from": from, "to": to, "spans": spans });
    format!("id: {epoch}:{to}\ndata: {data}\n\n")
}

const END: &str = "event: end\nid: 2:4\ndata: {\"epoch\":2,\"at\":4,\"state\":\"complete\"}\n\n";

/// A build that goes through these states, one per look, and stays in the last.
pub(super) fn looks(states: Vec<Value>) -> impl Fn(usize) -> Response {
    move |look| answer(200, states[look.min(states.len() - 1)].clone())
}

#[tokio::test]
async fn a_followed_build_survives_breaks_and_new_attempts() {
    let mut waiting = build("pending", "queued", 0);
    waiting["waiting"] = json!({ "reason": "no builder is free", "position": 3, "eta": null });
    let mut failed = build("failed", "failed", 2);
    failed["jobs"][0]["failure"] = json!({
        "class": "run_failed", "message": "make failed", "step": "RUN make", "exit_code": 2, "dockerfile_line": 3,
        "dockerfile": "docker/Dockerfile",
        "hint": "Read the log.",
    });
    let step = |state: &str, code: Option<i64>| {
        let (from, to) = ("2025-12-31T23:59:59.5Z", code.map(|_| "2026-01-01T00:00:01Z"));
        json!([{
            "number": 1, "name": "[1/2] RUN make", "state": state, "started_at": from, "finished_at": to,
            "exit_code": code,
        }])
    };
    let mut running = build("running", "running", 1);
    running["jobs"][0]["steps"] = step("running", None);
    failed["jobs"][0]["steps"] = step("failed", Some(2));
    let look = looks(vec![waiting.clone(), waiting, running.clone(), running, failed]);
    let fake = Fake::start(move |asked, before| match () {
        () if is_build(asked) => look(before),
        () if asked.what.starts_with("POST") => answer(201, build("pending", "queued", 0)),
        () if is_stream(asked) => match before {
            // Cut in the middle of an event.
            0 => stream(format!("retry: 1\n\n{}id: 1:9\ndata: {{\"epo", piece(1, 0, "one\n"))),
            // The event again, the next one, and an answer that is no end.
            1 => stream(format!("{}{}", piece(1, 0, "one\n"), piece(1, 4, "tw"))),
            2 => answer(503, problem(503, "restarting")),
            _ => stream(format!(
                "{}event: attempt\nid: 2:0\ndata: {{\"epoch\":2}}\n\n{}{END}",
                piece(1, 6, "o\n"),
                piece(2, 0, "\x1b[1mnew\x1b[0m\n")
            )),
        },
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["build", super::fake::PROJECT, "--ref", "main", "--follow"]).await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    let first = "#1 [1/2] RUN make\n#1 0.500 one\n#1 0.500 two\n";
    let second = "#1 [1/2] RUN make\n#1 0.500 new\n#1 ERROR: exit code: 2\n\
                  ------\n > [1/2] RUN make:\n0.500 new\n------\n";
    assert_eq!(ran.out, format!("{first}\n{second}"));
    let wanted = [
        "Waiting: no builder is free (place 3 in the queue)",
        "reconnecting",
        "attempt 2 begins",
        "run_failed: make failed",
        "RUN make, exit code 2, docker/Dockerfile:3",
        "Read the log.",
    ];
    for text in wanted {
        assert_eq!(ran.err.matches(text).count(), 1, "{text}: {}", ran.err);
    }
    let ids: Vec<Option<String>> = fake
        .asked()
        .iter()
        .filter(|asked| is_stream(asked))
        .map(|asked| asked.header("last-event-id").map(str::to_owned))
        .collect();
    assert_eq!(ids, [None, Some("1:4".to_owned()), Some("1:6".to_owned()), Some("1:6".to_owned())]);
}

#[tokio::test]
async fn the_build_decides_how_following_ends() {
    let cases =
        [("succeeded", "succeeded", 0), ("failed", "failed", 1), ("failed", "timed_out", 1), ("errored", "errored", 5)];
    for (state, job, code) in cases {
        let fake = Fake::start(move |asked, before| match () {
            () if is_build(asked) => {
                looks(vec![build("running", "running", 1), build("running", "running", 1), build(state, job, 1)])(
                    before,
                )
            }
            () if is_stream(asked) => stream(format!("{}{END}", piece(1, 0, "log\n"))),
            () => not_found(),
        })
        .await;
        let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, "log\n"), "{state}: {}", ran.err);
    }
    // Cancelled while it waited: there is no log and nothing to wait for.
    for state in ["cancelled", "superseded"] {
        let fake = Fake::always(200, build(state, "cancelled", 0)).await;
        let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
        assert_eq!((ran.code, ran.out.as_str()), (130, ""), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_job_is_followed_to_the_end_of_its_build() {
    let fake = Fake::start(|asked, before| match () {
        () if asked.what == format!("GET /api/v1/jobs/{JOB}") => {
            answer(200, build("running", "running", 1)["jobs"][0].clone())
        }
        () if asked.what == format!("GET /api/v1/builds/{JOB}") => not_found(),
        () if is_build(asked) => looks(vec![
            build("running", "succeeded", 1),
            build("running", "succeeded", 1),
            build("succeeded", "succeeded", 1),
        ])(before),
        () if is_stream(asked) => stream(format!("{}{END}", piece(1, 0, "log\n"))),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", JOB, "--follow", "--raw"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "log\n"), "{}", ran.err);
    assert_eq!(fake.asked().iter().filter(|asked| is_stream(asked)).count(), 1);
}

#[tokio::test]
async fn bytes_that_the_server_lost_are_named_once() {
    let fake = Fake::start(|asked, before| match () {
        () if is_build(asked) => looks(
            vec![build("running", "running", 1); 4].into_iter().chain([build("succeeded", "succeeded", 1)]).collect(),
        )(before),
        () if is_stream(asked) => stream(format!("{}{}{END}", piece(1, 0, "one\n"), piece(1, 9, "late\n"))),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\nlate\n"), "{}", ran.err);
    assert_eq!(ran.err.matches("[5 bytes of the log are missing here]").count(), 1, "{}", ran.err);
    let asked = fake.asked().iter().filter(|asked| is_stream(asked)).count();
    assert_eq!(asked, 2, "the server was asked once more before the bytes were given up");
}

#[tokio::test]
async fn what_is_left_open_where_bytes_are_missing_swallows_nothing() {
    let open = "one\n\u{1b}]0;ti";
    let late = piece(1, open.len() + 5, "late\n");
    let fake = Fake::start(move |asked, before| match () {
        () if is_build(asked) => looks(
            vec![build("running", "running", 1); 4].into_iter().chain([build("succeeded", "succeeded", 1)]).collect(),
        )(before),
        () if is_stream(asked) => stream(format!("{}{late}{END}", piece(1, 0, open))),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\nlate\n"), "{}", ran.err);
}

#[tokio::test]
async fn a_log_that_is_gone_or_not_complete_is_said_to_be() {
    let fake = Fake::start(
        |asked, _| if is_build(asked) { answer(200, build("succeeded", "succeeded", 1)) } else { not_found() },
    )
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
    assert_eq!((ran.code, ran.err.contains("not kept any more")), (0, true), "{}", ran.err);
    let fake = Fake::start(|asked, _| match () {
        () if is_build(asked) => answer(200, build("succeeded", "succeeded", 1)),
        () => stream("event: end\ndata: {\"epoch\":1,\"at\":0,\"state\":\"cut\"}\n\n"),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
    assert_eq!((ran.code, ran.err.contains("not complete")), (0, true), "{}", ran.err);
}

#[tokio::test]
async fn with_json_every_line_of_the_output_is_an_object() {
    let fake = Fake::start(|asked, _| match () {
        () if asked.what.starts_with("POST") => answer(201, build("pending", "queued", 0)),
        () if is_build(asked) => answer(200, build("succeeded", "succeeded", 1)),
        () if is_stream(asked) => stream(format!("{}{}{END}", piece(1, 0, "one\n"), piece(1, 4, "two\n"))),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--json"]).await;
    let pieces: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((ran.code, pieces.len(), &pieces[1]["spans"][0]["text"]), (0, 2, &json!("two\n")));
    let ran = fake.run(&["build", super::fake::PROJECT, "--ref", "main", "-f", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("one object"), build("succeeded", "succeeded", 1));
    assert!(ran.err.contains("one\ntwo\n"), "{}", ran.err);
}

#[tokio::test]
async fn a_token_that_is_revoked_meanwhile_ends_it() {
    let fake = Fake::start(|asked, _| match () {
        () if is_build(asked) => answer(200, build("running", "running", 1)),
        () => answer(401, problem(401, "This token is revoked.")),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD, "--raw"]).await;
    assert_eq!((ran.code, ran.err.contains("revoked")), (3, true), "{}", ran.err);
}
