//! Logs with steps and times: over connections that break, of builds that are over, on terminals and elsewhere.

use std::io;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::iter;
use serde_json::{Value, json};

use super::fake::{Asked, BUILD, Fake, PROJECT, answer, build, not_found, run_with, signed_in, stream};
use super::following::{is_build, is_stream, looks};
use crate::client::screen::Look;

/// The log of the build below: step, second, text.
const LOG: [(i64, i64, &str); 6] = [
    (0, 0, "Building team/app\n"),
    (1, 1, "fetched\n"),
    (2, 3, "compiling \x1b[32mall\x1b[0m\x1b[2K\n"),
    (2, 4, "two lines\nin one piece, the se"),
    (2, 4, "cond cut\n"),
    (2, 6, "make: *** Error 2\n"),
];

const SHOWN: &str = "Building team/app\n
#1 [internal] fetch
#1 1.000 fetched
#1 DONE 1.5s\n
#2 [2/3] RUN make
#2 1.000 compiling all
#2 2.000 two lines
#2 2.000 in one piece, the second cut
#2 4.000 make: *** Error 2
#2 ERROR: exit code: 2
------
 > [2/3] RUN make:
1.000 compiling all
2.000 two lines
2.000 in one piece, the second cut
4.000 make: *** Error 2
------\n";

fn second(second: i64) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

/// The events of a part of the log, as if each text were an event of its own.
fn events(from: usize, to: usize) -> String {
    let start: usize = LOG[..from].iter().map(|(_, _, text)| text.len()).sum();
    let mut at = start;
    let mut events = String::new();
    for (step, secs, text) in &LOG[from..to] {
        let end = at + text.len();
        let spans = json!([{ "step": step, "stream": "stdout", "at": second(*secs), "text": text }]);
        let data = json!({ "epoch": 1, "from": at, "to": end, "spans": spans });
        events.push_str(&format!("id: 1:{end}\ndata: {data}\n\n"));
        at = end;
    }
    events
}

fn end() -> &'static str {
    "event: end\nid: 1:9\ndata: {\"epoch\":1,\"at\":9,\"state\":\"complete\"}\n\n"
}

fn running() -> Value {
    let mut build = build("running", "running", 1);
    build["jobs"][0]["steps"] = json!([
        {
            "number": 1, "name": "[internal] fetch", "state": "succeeded",
            "started_at": second(0), "finished_at": "2026-01-01T00:00:01.500Z",
        },
        { "number": 2, "name": "[2/3] RUN make", "state": "running", "started_at": second(2) },
        { "number": 3, "name": "[3/3] RUN test", "state": "pending" },
    ]);
    build
}

fn failed() -> Value {
    let mut over = running();
    (over["state"], over["jobs"][0]["state"]) = (json!("failed"), json!("failed"));
    let step = &mut over["jobs"][0]["steps"][1];
    (step["state"], step["exit_code"], step["finished_at"]) = (json!("failed"), json!(2), json!(second(7)));
    over["jobs"][0]["failure"] = json!({
        "class": "run_failed", "step": "[2/3] RUN make", "exit_code": 2, "last_lines": ["make: *** Error 2"],
    });
    over
}

/// An answer that breaks off instead of ending.
fn broken(text: String) -> Response {
    let parts = [Ok(Bytes::from(text)), Err(io::Error::other("the network is gone"))];
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(iter(parts))).expect("valid")
}

/// Sends the log over connections that break after each part, each from where the client asks.
async fn breaking() -> Fake {
    Fake::start(|asked: &Asked, before| match () {
        () if asked.what.starts_with("POST") => answer(201, build("pending", "queued", 0)),
        () if is_build(asked) => looks(vec![running(), running(), running(), running(), failed()])(before),
        () if is_stream(asked) => {
            let shown: usize = asked.header("last-event-id").map_or(0, |id| id[2..].parse().expect("an offset"));
            let ends = LOG.iter().scan(0, |end, (_, _, text)| {
                *end += text.len();
                Some(*end)
            });
            let from = ends.take_while(|end| *end <= shown).count();
            match before {
                0 => broken(format!("{}id: 1:99\ndata: {{\"epo", events(from, 2))),
                1 => stream(events(from, 4)),
                2 => broken(events(from, 5)),
                _ => stream(format!("{}{}", events(from, LOG.len()), end())),
            }
        }
        () => not_found(),
    })
    .await
}

#[tokio::test]
async fn lines_with_steps_and_times_survive_broken_connections() {
    for args in [
        &["build", PROJECT, "--ref", "main", "--follow"][..],
        &["logs", "-f", BUILD, "--progress", "plain"],
        &["retry", BUILD, "--follow", "--progress", "plain"],
    ] {
        let fake = breaking().await;
        let ran = fake.run(args).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, SHOWN), "{args:?}: {}", ran.err);
        assert_eq!(ran.err.matches("reconnecting").count(), 1, "{}", ran.err);
        assert!(ran.err.contains(" failed") && ran.err.contains("at step [2/3] RUN make"), "{}", ran.err);
        assert!(!ran.err.contains("Last lines"), "they were told: {}", ran.err);
    }
}

#[tokio::test]
async fn the_log_as_it_is_stored_is_there_for_scripts() {
    let text: String = LOG.iter().map(|(_, _, text)| *text).collect();
    let text = text.replace("\x1b[32m", "").replace("\x1b[0m", "").replace("\x1b[2K", "");
    for args in [&["logs", "-f", BUILD, "--raw"][..], &["build", PROJECT, "--ref", "main", "--follow", "--raw"]] {
        let ran = breaking().await.run(args).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, text.as_str()), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("Last lines of the step:\n  | make: *** Error 2\n"), "{}", ran.err);
    }
}

#[tokio::test]
async fn what_the_engine_warned_of_is_told_once() {
    let warns = |step: i64, from: usize, text: &str| {
        let to = from + text.len();
        let spans = json!([{ "step": step, "stream": "meta", "at": second(1), "text": text }]);
        format!("id: 1:{to}\ndata: {}\n\n", json!({ "epoch": 1, "from": from, "to": to, "spans": spans }))
    };
    let one = "Warning: Empty line (docker/Dockerfile:3) https://docs.example/rule\n";
    let log = format!("{}{}{}", warns(1, 0, one), warns(0, one.len(), "Warning: Keys\n"), end());
    let mut over = failed();
    over["jobs"][0]["attempts"][0]["remarks"] = json!({
        "warning_count": 3, "log_left_out_bytes": 0, "cut_steps": [],
        "warnings": [
            { "text": "Empty line", "step": 1, "dockerfile": "docker/Dockerfile", "line": 3 },
            { "text": "Keys", "step": null, "dockerfile": null, "line": null },
            { "text": "Lost", "step": 2, "dockerfile": "docker/Dockerfile", "line": 9 },
        ],
    });
    let fake = Fake::start(move |asked, _| match () {
        () if is_build(asked) => answer(200, over.clone()),
        () if is_stream(asked) => stream(log.clone()),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", "-f", BUILD]).await;
    let expected = "#1 [internal] fetch
#1 WARN: Empty line (docker/Dockerfile:3) https://docs.example/rule
#1 DONE 1.5s\n
#2 [2/3] RUN make
#2 ERROR: exit code: 2
------
 > [2/3] RUN make:
------\n
 2 warnings found:
 - Keys
 - Lost (docker/Dockerfile:9)\n";
    assert_eq!((ran.code, ran.out.as_str()), (1, expected), "{}", ran.err);
    assert!(ran.err.contains("Last lines of the step:\n  | make: *** Error 2\n"), "the log has none: {}", ran.err);
}

#[tokio::test]
async fn a_terminal_gets_colours_and_no_commands_of_strangers() {
    let look = Look { terminal: true, colour: true, json: false };
    let fake = breaking().await;
    let ran = run_with(&fake.server, &["logs", "-f", BUILD], look, signed_in()).await;
    assert!(ran.out.contains("\x1b[2m#2 1.000\x1b[0m compiling \x1b[32mall\x1b[0m\x1b[0m\n"), "{:?}", ran.out);
    assert!(ran.out.contains("\x1b[31m#2 ERROR: exit code: 2\x1b[0m\n") && !ran.out.contains("\x1b[2K"));
    let plain = String::from_utf8(slipway_logfmt::ansi::strip_ansi(ran.out.as_bytes())).expect("text");
    assert_eq!((ran.code, plain.as_str()), (1, SHOWN));
    let no_colour = Look { colour: false, ..look };
    let ran = run_with(&breaking().await.server, &["logs", "-f", BUILD], no_colour, signed_in()).await;
    assert_eq!(ran.out, SHOWN);
}

#[tokio::test]
async fn a_build_that_is_over_reads_the_same() {
    let fake = Fake::start(|asked, _| match () {
        () if is_build(asked) => answer(200, failed()),
        () if is_stream(asked) => stream(format!("{}{}", events(0, LOG.len()), end())),
        () => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", BUILD, "--progress", "plain"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, SHOWN, ""));
    let ran = fake.run(&["logs", BUILD, "--progress", "plain", "--tail", "3"]).await;
    assert_eq!((ran.code, ran.err.contains("--tail")), (2, true), "{}", ran.err);
    let fake = Fake::start(|asked, _| if is_build(asked) { answer(200, running()) } else { not_found() }).await;
    let ran = fake.run(&["logs", BUILD, "--progress", "plain"]).await;
    assert_eq!((ran.code, ran.err.contains("-f")), (2, true), "{}", ran.err);
}

#[tokio::test]
async fn without_a_terminal_there_is_no_terminal_form() {
    let fake = Fake::always(201, build("pending", "queued", 0)).await;
    let ran = fake.run(&["build", PROJECT, "--ref", "main", "-f", "--progress", "tty"]).await;
    assert_eq!((ran.code, ran.err.contains("--progress plain")), (2, true), "{}", ran.err);
    assert!(fake.asked().is_empty(), "nothing was made");
    let ran = fake.run(&["logs", "-f", BUILD, "--progress", "tty"]).await;
    assert_eq!((ran.code, fake.asked().len()), (2, 0), "{}", ran.err);
}
