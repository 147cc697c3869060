//! Commands that ask once: what they send, what they print, how they end.

use std::fs;

use clap::Parser as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fake::{
    BUILD, Fake, JOB, PROJECT, Ran, answer, build, not_found, problem, project, run_with, signed_in, stream,
};
use crate::args::Cli;
use crate::client::login::keep;
use crate::client::screen::Look;
use crate::client::token::Environment;

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test]
async fn problems_decide_the_exit_code_and_are_told_in_a_sentence() {
    for (status, code) in [(400, 2), (401, 3), (403, 3), (404, 4), (409, 2), (413, 2), (422, 2), (500, 5), (503, 5)] {
        let fake = Fake::always(status, problem(status, "What happened and where.")).await;
        for args in [&["builds", "show", BUILD][..], &["cancel", BUILD], &["projects"], &["builders", "token"]] {
            let ran = fake.run(args).await;
            assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{status} {args:?}");
            assert!(ran.err.starts_with("slipway: What happened and where."), "{}", ran.err);
        }
    }
}

#[tokio::test]
async fn without_a_token_the_user_learns_how_to_get_in() {
    let fake = Fake::always(401, problem(401, "This needs a token.")).await;
    let ran = run_with(&fake.server, &["projects", "list"], Look::default(), Environment::default()).await;
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("slipway login") && ran.err.contains("SLIPWAY_TOKEN"), "{}", ran.err);
    assert_eq!(fake.asked()[0].header("authorization"), None);
    let ran = fake.run(&["projects", "list"]).await;
    assert!(ran.err.contains("the variable SLIPWAY_TOKEN") && !ran.err.contains("secret-token"), "{}", ran.err);
    assert_eq!(fake.asked()[1].header("authorization"), Some("Bearer secret-token"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("free").local_addr().expect("bound").port();
    let server = format!("http://127.0.0.1:{port}");
    let ran = run_with(&server, &["builds"], Look::default(), signed_in()).await;
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains(&server) && ran.err.contains("SLIPWAY_SERVER_URL"), "{}", ran.err);
    let ran = run_with("no address", &["builds"], Look::default(), signed_in()).await;
    assert_eq!((ran.code, ran.err.contains("http://127.0.0.1:8080")), (2, true), "{}", ran.err);
    let page = Fake::start(|_, _| axum::response::IntoResponse::into_response("<html>hello")).await;
    let ran = page.run(&["builds"]).await;
    assert_eq!((ran.code, ran.err.contains("not as a Slipway server does")), (5, true), "{}", ran.err);
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    let wrong: [&[&str]; 12] = [
        &["build", "p"],
        &["build", "p", "--ref", "main", "--commit", "c"],
        &["build", "p", "--ref", "main", "--arg", "novalue"],
        &["projects", "create", "--name", "n", "--repo", "r", "--clone-url", "u"],
        &["projects", "create", "--name", "n", "--repo", "r", "--clone-url", "u", "--forge", "svn"],
        &["projects", "create", "--name", "n", "--repo", "r", "--clone-url", "u", "--forge", "github", "--tag", "t"],
        &["builds", "list", "--state", "broken"],
        &["builds", "list", "--limit", "0"],
        &["deliveries", "list", "--state", "lost"],
        &["deliveries", "replay"],
        &["logs", BUILD, "-f", "--tail", "3"],
        &["login", "--token", "t"],
    ];
    for args in wrong {
        let error = Cli::try_parse_from(["slipway"].iter().chain(args)).map(|_| ()).expect_err("it is wrong");
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[tokio::test]
async fn projects_are_found_by_name_over_all_pages() {
    let fake = Fake::start(|asked, _| match asked.what.as_str() {
        "GET /api/v1/projects?limit=100" => {
            answer(200, json!({ "items": [project(JOB, "first")], "next_cursor": "c1" }))
        }
        "GET /api/v1/projects?limit=100&cursor=c1" => {
            let items = [project(PROJECT, "team/app"), project(JOB, "twice"), project(BUILD, "twice")];
            answer(200, json!({ "items": items, "next_cursor": null }))
        }
        what if what == format!("POST /api/v1/projects/{PROJECT}/pause") => {
            answer(200, json!({ "state": "paused", "id": PROJECT, "name": "team/app", "repo": { "full_path": "x" } }))
        }
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["projects", "pause", "team/app"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "team/app is paused\n"));
    let ran = fake.run(&["projects", "pause", PROJECT]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "team/app is paused\n"));
    let ran = fake.run(&["projects", "resume", "nobody"]).await;
    assert_eq!((ran.code, ran.err.contains("slipway projects list")), (4, true), "{}", ran.err);
    let ran = fake.run(&["projects", "pause", "twice"]).await;
    assert_eq!((ran.code, ran.err.contains("by its id")), (2, true), "{}", ran.err);
    let ran = fake.run(&["projects"]).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("NAME      STATE   FORGE   REPOSITORY"), "{}", ran.out);
    assert!(lines[2].starts_with("team/app  active  github  team/app"), "{}", ran.out);
    let ran = fake.run(&["--json", "projects", "list"]).await;
    assert_eq!((json_of(&ran)["items"].as_array().map(Vec::len), ran.err.as_str()), (Some(4), ""));
}

#[tokio::test]
async fn a_new_project_shows_its_hook_and_what_to_do_with_it() {
    let fake = Fake::always(201, project(PROJECT, "team/app")).await;
    let args = [
        "projects",
        "create",
        "--name",
        "team/app",
        "--forge",
        "gitlab",
        "--base-url",
        "https://git.example.org",
        "--repo",
        "team/app",
        "--clone-url",
        "https://git.example.org/team/app.git",
        "--image",
        "localhost:5000/app",
        "--tag",
        "{{sha}}",
        "--tag",
        "latest",
        "--visibility",
        "public",
    ];
    let ran = fake.run(&args).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = format!("id      {PROJECT}\nname    team/app\nhook    http://s/hooks/h\nsecret  slh_secret\n");
    assert_eq!(ran.out, expected);
    assert!(ran.err.contains("Webhooks") && ran.err.contains("only this once"), "{}", ran.err);
    let sent = json!({
        "name": "team/app", "visibility": "public",
        "forge": { "kind": "gitlab", "base_url": "https://git.example.org" },
        "repo": { "full_path": "team/app", "clone_url": "https://git.example.org/team/app.git" },
        "image": { "repository": "localhost:5000/app", "tags": ["{{sha}}", "latest"] },
    });
    assert_eq!(fake.asked()[0].body, sent);
    let ran = fake.run(&[&args[..], &["--json"]].concat()).await;
    assert_eq!((json_of(&ran), ran.err.as_str()), (project(PROJECT, "team/app"), ""));
    let args = ["projects", "create", "--name", "n", "--connection", JOB, "--repo", "r", "--clone-url", "u"];
    fake.run(&args).await;
    let sent = json!({ "name": "n", "connection": JOB, "repo": { "full_path": "r", "clone_url": "u" } });
    assert_eq!(fake.asked()[2].body, sent);
}

#[tokio::test]
async fn a_build_is_asked_for_with_its_options() {
    let fake = Fake::always(201, build("pending", "queued", 0)).await;
    let ran = fake.run(&["build", PROJECT, "--ref", "main"]).await;
    assert_eq!((ran.code, ran.out), (0, format!("{BUILD}\n")));
    assert!(ran.err.contains(&format!("slipway logs -f {BUILD}")), "{}", ran.err);
    let options = ["--arg", "A=b=c", "--target", "test", "--no-cache", "--submodules", "--lfs", "--tag", "x", "--json"];
    let ran = fake.run(&[&["build", PROJECT, "--commit", "abc"], &options[..]].concat()).await;
    assert_eq!(json_of(&ran), build("pending", "queued", 0));
    let asked = fake.asked();
    assert_eq!(asked[0].what, format!("POST /api/v1/projects/{PROJECT}/builds"));
    assert_eq!(asked[0].body, json!({ "ref": "main" }));
    let mut options = json!({ "args": { "A": "b=c" }, "target": "test", "no_cache": true, "tags": ["x"] });
    (options["submodules"], options["lfs"]) = (json!(true), json!(true));
    assert_eq!(asked[1].body, json!({ "commit": "abc", "build": options }));
    assert!(asked[0].header("idempotency-key").is_some());
    assert_ne!(asked[0].header("idempotency-key"), asked[1].header("idempotency-key"));
    let ran = fake.run(&["retry", BUILD]).await;
    assert_eq!((ran.code, ran.out), (0, format!("{BUILD}\n")));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = format!("http://{}", listener.local_addr().expect("bound"));
    let life = slipway_runtime::lifecycle::Life::new();
    let serving = life.task("fake", async move {
        let mut keys = Vec::new();
        for turn in 0..2 {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 8192];
            let mut length = 0;
            while !request[..length].ends_with(b"{}") {
                length += connection.read(&mut request[length..]).await.expect("bytes");
            }
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            keys.extend(
                text.lines().filter(|line| line.to_lowercase().starts_with("idempotency-key")).map(str::to_owned),
            );
            if turn == 1 {
                let body = "{\"token\":\"slj_x\"}";
                let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                connection.write_all(answer.as_bytes()).await.expect("sent");
            }
        }
        keys
    });
    let ran = run_with(&server, &["builders", "token"], Look::default(), signed_in()).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "slj_x\n"), "{}", ran.err);
    let keys = serving.join().await.expect("served");
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

#[tokio::test]
async fn builds_are_listed_and_shown() {
    let mut failed = build("failed", "failed", 1);
    failed["jobs"][0]["steps"] = json!([
        { "name": "FROM base", "state": "succeeded", "cached": true, "exit_code": null },
        { "name": "RUN \u{1b}[2Jmake", "state": "failed", "exit_code": 2 },
    ]);
    failed["jobs"][0]["images"] =
        json!([{ "ref": "r/app:main", "digest": "sha256:d", "size_bytes": 1, "moved": false }]);
    failed["jobs"][0]["built"] = json!([{
        "target": "run", "size_bytes": 71_500_000, "layers": [
            { "size_bytes": 70_000_000, "compressed_bytes": 30_000_000, "instruction": "ADD x /", "new": false },
            { "size_bytes": 1_500_000, "compressed_bytes": null, "instruction": "RUN make", "new": true },
        ],
        "difference": { "build": "b0", "size_bytes_change": -1500, "shared_layers": 1, "new_layers": 1, "gone_layers": 2 },
    }]);
    failed["jobs"][0]["failure"] = json!({
        "class": "run_failed", "message": "The command failed.", "step": "RUN make", "exit_code": 2,
        "dockerfile": "docker/Dockerfile", "dockerfile_line": 7, "hint": "Read the log.",
        "excerpt": [
            { "line": 6, "text": "FROM base", "failing": false },
            { "line": 7, "text": "RUN \tmake \u{1b}[2J<script>", "failing": true },
        ],
        "last_lines": ["cc: \u{1b}[1mno", "make: *** [all] Error 1"],
    });
    let shown = failed.clone();
    let fake = Fake::start(move |asked, _| match asked.what.as_str() {
        "GET /api/v1/builds?state=failed&limit=1" => {
            answer(200, json!({ "items": [shown.clone()], "next_cursor": "next" }))
        }
        what if what == format!("GET /api/v1/builds/{BUILD}") => answer(200, shown.clone()),
        "GET /api/v1/builds" => answer(200, json!({ "items": [], "next_cursor": null })),
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["builds", "list", "--state", "failed", "--limit", "1"]).await;
    assert!(ran.out.contains("failed  team/app  main  cccccccccccc  push"), "{}", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (0, "Older ones: --cursor next\n"));
    let ran = fake.run(&["builds"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.contains("slipway build PROJECT")), (0, "", true));
    let ran = fake.run(&["builds", "show", BUILD]).await;
    let wanted = [
        "state    failed",
        "RUN \u{fffd}[2Jmake",
        "cached",
        "r/app:main@sha256:d (tag not moved",
        "layers of run, 68.1 MiB unpacked\n−1.4 KiB since b0: 1 layers shared, 1 new, 2 gone",
        "1.4 MiB   -         new  RUN make",
        "run_failed: The command failed.",
        "at step RUN make, exit code 2, docker/Dockerfile:7",
        "Read the log.",
        "\n  docker/Dockerfile:\n        6 | FROM base\n  >     7 | RUN     make \u{fffd}[2J<script>\n",
        "Last lines of the step:\n  | cc: \u{fffd}[1mno\n  | make: *** [all] Error 1\n",
    ];
    assert_eq!(ran.code, 0);
    assert_eq!(wanted.iter().find(|text| !ran.out.contains(**text)), None, "{}", ran.out);
    assert_eq!(json_of(&fake.run(&["builds", "show", BUILD, "--json"]).await), failed);
    let before = fake.asked().len();
    let ran = fake.run(&["builds", "show", "no-id"]).await;
    assert_eq!((ran.code, fake.asked().len()), (4, before));
}

#[tokio::test]
async fn builders_are_listed_and_drained_by_name() {
    let builder = json!({
        "id": JOB, "name": "one", "region": "here", "class": "small", "platform": "linux-amd64", "slots": 2, "busy": 1,
        "state": "online", "load": {}, "last_seen_at": "2026-01-01T00:00:00Z",
    });
    let fake = Fake::start(move |asked, _| match asked.what.as_str() {
        "GET /api/v1/builders" => answer(200, json!({ "items": [builder.clone()], "next_cursor": null })),
        what if ["drain", "resume"].iter().any(|verb| what == format!("POST /api/v1/builders/{JOB}/{verb}")) => {
            axum::response::IntoResponse::into_response(http::StatusCode::ACCEPTED)
        }
        "POST /api/v1/builders/tokens" => answer(201, json!({ "id": JOB, "token": "slj_x", "pool": "a/b/c" })),
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["builders"]).await;
    assert!(ran.out.contains("one   online  here/small/linux-amd64  1 of 2"), "{}", ran.out);
    let ran = fake.run(&["builders", "drain", "one"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "one finishes what it has and takes nothing new\n"), "{}", ran.err);
    assert_eq!(fake.run(&["builders", "drain", "two"]).await.code, 4);
    let ran = fake.run(&["builders", "resume", "one"]).await;
    assert!(ran.code == 0 && ran.out.starts_with("one takes jobs again"), "{} {}", ran.out, ran.err);
    let ran = fake.run(&["builders", "token", "--pool", "a/b/c"]).await;
    assert_eq!((ran.out.as_str(), ran.err.contains("SLIPWAY_JOIN_TOKEN")), ("slj_x\n", true));
    assert_eq!(fake.asked().last().expect("asked").body, json!({ "pool": "a/b/c" }));
}

#[tokio::test]
async fn a_log_is_printed_by_build_or_job() {
    let fake = Fake::start(|asked, _| match asked.what.as_str() {
        what if what == format!("GET /api/v1/builds/{BUILD}") => answer(200, build("failed", "failed", 1)),
        what if what == format!("GET /api/v1/jobs/{JOB}") => {
            answer(200, build("failed", "failed", 1)["jobs"][0].clone())
        }
        what if what.starts_with(&format!("GET /api/v1/jobs/{JOB}/log")) => stream("one\ntwo \x1b[31mred\x1b[2J\n"),
        _ => not_found(),
    })
    .await;
    for id in [BUILD, JOB] {
        let ran = fake.run(&["logs", id]).await;
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "one\ntwo red\n", ""), "{id}");
    }
    let terminal = Look { terminal: true, colour: true, json: false };
    let ran = run_with(&fake.server, &["logs", JOB, "--tail", "2", "--epoch", "1"], terminal, signed_in()).await;
    assert_eq!(ran.out, "one\ntwo \x1b[31mred\n");
    let what = fake.asked().last().expect("asked").what.clone();
    assert_eq!(what, format!("GET /api/v1/jobs/{JOB}/log?ansi=1&tail=2&epoch=1"));
    let ran = fake.run(&["logs", JOB, "--json"]).await;
    assert_eq!(json_of(&ran)["text"], "one\ntwo red\n");
    for follow in ["--json", "-f"] {
        let ran = fake.run(&["logs", PROJECT, follow]).await;
        assert_eq!((ran.code, ran.err.contains("no build or job")), (4, true), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_log_that_ends_in_the_middle_of_a_character_is_printed_to_its_end() {
    let fake = Fake::start(|asked, _| match asked.what.as_str() {
        what if what == format!("GET /api/v1/builds/{BUILD}") => answer(200, build("failed", "failed", 1)),
        what if what.starts_with(&format!("GET /api/v1/jobs/{JOB}/log")) => stream(&b"caf\xc2"[..]),
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["logs", BUILD, "--json"]).await;
    assert_eq!(json_of(&ran)["text"], "caf\u{fffd}");
    for colour in [false, true] {
        let look = Look { terminal: true, colour, json: false };
        let ran = run_with(&fake.server, &["logs", BUILD], look, signed_in()).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "caf\u{fffd}"), "{}", ran.err);
    }
}

#[tokio::test]
async fn cancel_says_what_became_of_it() {
    for (state, said) in [("cancelled", "is cancelled"), ("running", "is being cancelled")] {
        let fake = Fake::always(200, build(state, "cancelling", 1)).await;
        let ran = fake.run(&["cancel", BUILD]).await;
        assert_eq!((ran.code, ran.out), (0, format!("{BUILD} {said}\n")));
    }
}

#[tokio::test]
async fn login_keeps_only_a_token_that_works() {
    let home = tempfile::tempdir().expect("a folder");
    let environment = || Environment { config_home: Some(home.path().to_owned()), ..Environment::default() };
    let fake = Fake::start(|asked, _| match asked.header("authorization") {
        Some("Bearer good") => answer(200, json!({ "items": [], "next_cursor": null })),
        _ => answer(401, problem(401, "This token is unknown.")),
    })
    .await;
    let login = async |token: &str| {
        let arguments = crate::client::ClientArgs { server: fake.server.clone(), json: false };
        let clock = slipway_runtime::clock::Clock::system();
        let setting = crate::client::Setting { connection: &arguments, environment: environment(), clock };
        let mut screen = crate::client::Screen::new(Box::new(Vec::new()), Box::new(Vec::new()), Look::default());
        keep(token, &setting, &mut screen).await.unwrap_or_else(|failed| failed.exit()).code()
    };
    let list = async || run_with(&fake.server, &["projects"], Look::default(), environment()).await.code;
    assert_eq!((login("bad\n").await, list().await), (3, 3));
    assert_eq!(fs::read_dir(home.path()).expect("there").count(), 0);
    assert_eq!((login(" \n").await, login("good\n").await, list().await), (2, 0, 0));
    assert_eq!((login("bad").await, list().await), (3, 0), "a refused token replaces nothing");
}

#[tokio::test]
async fn deliveries_are_inspected_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let headers =
        json!({ "X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "hush", "Content-Type": "application/json" });
    fs::write(path("headers"), headers.to_string()).expect("written");
    fs::write(path("list"), "[1]").expect("written");
    let push = json!({
        "object_kind": "push", "event_name": "push", "before": "a".repeat(40), "after": "b".repeat(40),
        "checkout_sha": "b".repeat(40), "ref": "refs/heads/main", "user_username": "u", "project_id": 1,
        "project": { "id": 1, "path_with_namespace": "team/app", "web_url": "https://git.example.org/team/app" },
        "commits": [], "total_commits_count": 0,
    });
    fs::write(path("body"), push.to_string()).expect("written");
    fs::write(path("broken"), "{").expect("written");
    let (headers, list, body, broken) = (path("headers"), path("list"), path("body"), path("broken"));
    let inspect = async |headers: &str, body: &str, rest: &[&str]| {
        let args = ["hook", "inspect", "--forge", "gitlab", "--headers", headers, "--body", body];
        run_with("http://127.0.0.1:9", &[&args[..], rest].concat(), Look::default(), Environment::default()).await
    };
    let ran =
        inspect(&headers, &body, &["--secret", "other", "--secret", "hush", "--at", "2026-01-01T00:00:00Z"]).await;
    let object = json_of(&ran);
    assert_eq!((ran.code, &object["verified"], &object["outcome"]), (0, &json!(true), &json!("events")), "{ran:?}");
    assert_eq!(object["events"][0]["name"], "main");
    let ran = inspect(&headers, &body, &[]).await;
    assert_eq!((ran.code, &json_of(&ran)["verified"]), (0, &json!(false)));
    assert_eq!(inspect(&headers, &broken, &["--secret", "wrong"]).await.code, 3);
    assert_eq!(inspect(&headers, &broken, &["--secret", "hush"]).await.code, 2);
    let ran = inspect(&list, &body, &[]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.contains("one JSON object")), (2, "", true), "{}", ran.err);
    assert_eq!(inspect(&path("missing"), &body, &[]).await.code, 2);
}

#[tokio::test]
async fn dockerfiles_are_inspected_without_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Dockerfile").to_string_lossy().into_owned();
    let inspect = async |bytes: &[u8], rest: &[&str]| {
        fs::write(&path, bytes).expect("written");
        let args = [&["dockerfile", "inspect", &path], rest].concat();
        run_with("http://127.0.0.1:9", &args, Look::default(), Environment::default()).await
    };
    let ran = inspect(b"FROM scratch AS One\nRUN <<E\nx\nE\n", &[]).await;
    let expected = json!({
        "directives": {}, "problems": [],
        "stages": [{ "index": 0, "name": "one", "base": "scratch", "line": 1 }],
        "instructions": [
            { "line": 1, "end_line": 1, "keyword": "FROM", "stage": 0 },
            { "line": 2, "end_line": 4, "keyword": "RUN", "stage": 0 },
        ],
    });
    assert_eq!((ran.code, json_of(&ran), ran.err.as_str()), (0, expected, ""));
    assert_eq!(inspect(b"FROM scratch\nLABEL a=\"\xff\x00\"\n", &[]).await.code, 0, "bytes are no mistake");
    let ran = inspect(b"FROM scratch\nRUNN x\n", &[]).await;
    assert_eq!((ran.code, &json_of(&ran)["problems"][0]["line"]), (1, &json!(2)), "{ran:?}");
    assert_eq!(inspect(b"FROM scratch\n", &["--target", "two"]).await.code, 1);
    let ran = inspect(&vec![b'\n'; 1024 * 1024 + 1], &[]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.contains("longer than")), (2, "", true), "{}", ran.err);
}

#[tokio::test]
async fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run_with("http://127.0.0.1:9", &["completion", shell], Look::default(), Environment::default()).await;
        assert!(ran.code == 0 && ran.out.contains("builders") && ran.out.contains("serve"), "{shell}");
    }
}
