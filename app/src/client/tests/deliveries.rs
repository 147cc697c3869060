//! `slipway deliveries`: what it asks, what it prints, how it ends.

use serde_json::{Value, json};

use super::fake::{BUILD, Fake, PROJECT, answer, not_found, problem, project};

const DELIVERY: &str = "01920000-0000-7000-8000-00000000000d";

fn delivery(state: &str, reason: Option<&str>) -> Value {
    json!({
        "id": DELIVERY, "hook": PROJECT, "project": PROJECT, "project_name": "team/app", "delivery": "key-1",
        "event": "push\u{1b}[2J", "auth": "hmac_sha256", "received_at": "2026-01-01T00:00:00Z", "finished_at": null,
        "state": state, "reason": reason, "attempts": 2, "builds": [BUILD],
    })
}

fn payload(kept: bool) -> Value {
    json!({
        "headers": { "x-github-event": "push", "x-odd": "a\u{1b}[31mb" }, "body": "{\"a\":\n\"\u{1b}]0;x\u{7}\"}",
        "body_base64": null, "truncated": kept, "size_bytes": 9, "kept": kept,
        "inspection": { "verified": true, "auth": "hmac_sha256", "outcome": "ping", "reason": null, "events": [] },
    })
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn deliveries_are_listed_by_project_and_state() {
    let fake = Fake::start(|asked, _| match asked.what.as_str() {
        "GET /api/v1/projects?limit=100" => {
            answer(200, json!({ "items": [project(PROJECT, "team/app")], "next_cursor": null }))
        }
        what if what == format!("GET /api/v1/deliveries?project={PROJECT}&state=failed&limit=1") => {
            answer(200, json!({ "items": [delivery("failed", Some("why"))], "next_cursor": "next" }))
        }
        "GET /api/v1/deliveries" => answer(200, json!({ "items": [], "next_cursor": null })),
        _ => not_found(),
    })
    .await;
    let filter = ["deliveries", "list", "--project", "team/app", "--state", "failed", "--limit", "1"];
    let ran = fake.run(&filter).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0].split_whitespace().take(4).collect::<Vec<_>>(), ["ID", "STATE", "PROJECT", "EVENT"]);
    assert!(lines[1].starts_with(&format!("{DELIVERY}  failed  team/app  push\u{fffd}[2J")), "{}", ran.out);
    assert!(lines[1].ends_with("1       why"), "{}", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (0, "Older ones: --cursor next\n"));
    let ran = fake.run(&[&filter[..], &["--json"]].concat()).await;
    assert_eq!((ran.code, &json_of(&ran.out)["items"][0]["id"]), (0, &json!(DELIVERY)));
    let ran = fake.run(&["deliveries"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.contains("webhook")), (0, "", true), "{}", ran.err);
    assert_eq!(fake.run(&["deliveries", "list", "--project", "nobody"]).await.code, 4);
}

#[tokio::test]
async fn a_delivery_is_shown_with_what_came_in() {
    let fake = Fake::start(|asked, before| match asked.what.as_str() {
        what if what == format!("GET /api/v1/deliveries/{DELIVERY}") => answer(200, delivery("ignored", Some("why"))),
        what if what == format!("GET /api/v1/deliveries/{DELIVERY}/payload") => answer(200, payload(before < 2)),
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["deliveries", "show", DELIVERY]).await;
    let wanted = ["state       ignored", "reason      why", "tries       2", "verified    hmac_sha256", "key-1", BUILD];
    assert_eq!((ran.code, wanted.iter().find(|text| !ran.out.contains(**text))), (0, None), "{}", ran.out);
    assert_eq!(fake.asked().len(), 1, "what came in is only asked for when it is wanted");
    let ran = fake.run(&["deliveries", "show", DELIVERY, "--payload"]).await;
    let wanted = ["\"outcome\":\"ping\"", "\nx-github-event: push\nx-odd: a\u{fffd}[31mb\n\n{\"a\":\n\"\u{fffd}]0;x"];
    assert_eq!((ran.code, wanted.iter().find(|text| !ran.out.contains(**text))), (0, None), "{}", ran.out);
    assert!(ran.err.contains("this is its beginning"), "{}", ran.err);
    let ran = fake.run(&["deliveries", "show", DELIVERY, "--payload", "--json"]).await;
    let object = json_of(&ran.out);
    assert_eq!((&object["state"], &object["payload"]), (&json!("ignored"), &payload(true)));
    let ran = fake.run(&["deliveries", "show", DELIVERY, "--payload"]).await;
    assert!(ran.err.contains("not kept any more") && !ran.out.contains("{\"a\""), "{ran:?}");
    let before = fake.asked().len();
    let ran = fake.run(&["deliveries", "show", "no-id"]).await;
    assert_eq!((ran.code, fake.asked().len()), (4, before));
    assert!(ran.err.contains("slipway deliveries list"), "{}", ran.err);
}

#[tokio::test]
async fn a_replay_ends_at_once_or_as_the_delivery_ends() {
    for (end, code) in [("done", 0), ("ignored", 0), ("failed", 1)] {
        let fake = Fake::start(move |asked, before| match (asked.what.as_str(), before) {
            (what, _) if what == format!("POST /api/v1/deliveries/{DELIVERY}/replay") => {
                answer(200, delivery("received", None))
            }
            // It is tried again, while the server restarts; then it is over.
            (_, 0 | 2) => answer(200, delivery("received", Some("Try 1 failed; it is tried again."))),
            (_, 1) => answer(503, problem(503, "Later.")),
            _ => answer(200, delivery(end, Some("so it ended"))),
        })
        .await;
        let ran = fake.run(&["deliveries", "replay", DELIVERY]).await;
        assert_eq!((ran.code, ran.out), (0, format!("{DELIVERY} waits to be worked again\n")));
        assert!(fake.asked()[0].header("idempotency-key").is_some() && fake.asked().len() == 1);
        let ran = fake.run(&["deliveries", "replay", DELIVERY, "--wait"]).await;
        assert_eq!((ran.code, ran.out), (code, format!("{DELIVERY} is {end}\n  build {BUILD}\n")), "{}", ran.err);
        assert_eq!(ran.err, "Try 1 failed; it is tried again.\nso it ended\n", "each word once");
        let ran = fake.run(&["deliveries", "replay", DELIVERY, "--wait", "--json"]).await;
        assert_eq!((ran.code, json_of(&ran.out)), (code, delivery(end, Some("so it ended"))));
    }
}

#[tokio::test]
async fn a_refused_replay_says_why() {
    for (status, code) in [(401, 3), (403, 3), (404, 4), (409, 2), (503, 5)] {
        let fake = Fake::always(status, problem(status, "What happened and where.")).await;
        for args in [&["deliveries", "replay", DELIVERY][..], &["deliveries", "replay", DELIVERY, "--wait"]] {
            let ran = fake.run(args).await;
            assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{status}");
            assert!(ran.err.starts_with("slipway: What happened and where."), "{}", ran.err);
        }
    }
}
