//! `slipway secrets`: what it asks, and that a value is never an argument.

use clap::Parser as _;
use serde_json::json;

use super::fake::{Fake, PROJECT, answer, not_found, project};
use crate::args::Cli;

#[tokio::test]
async fn secrets_are_listed_set_from_files_and_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("value");
    std::fs::write(&file, "hunter2\n").expect("written");
    let fake = Fake::start(|asked, _| match asked.what.as_str() {
        "GET /api/v1/projects?limit=100" => {
            answer(200, json!({ "items": [project(PROJECT, "team/app")], "next_cursor": null }))
        }
        what if what == format!("GET /api/v1/projects/{PROJECT}/secrets") => {
            let secret = json!({ "name": "npm\u{1b}[2J", "branches": ["main", "release/*"], "tags": null, "changes": true,
                "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z" });
            answer(200, json!({ "items": [secret], "next_cursor": null }))
        }
        "GET /api/v1/secrets?tenant=acme" => answer(200, json!({ "items": [], "next_cursor": null })),
        what if what == format!("PUT /api/v1/projects/{PROJECT}/secrets/npm") => {
            let wanted = json!({ "value": "hunter2\n", "branches": ["main"], "tags": null, "changes": false });
            if asked.body == wanted { answer(201, json!({ "name": "npm" })) } else { not_found() }
        }
        "DELETE /api/v1/secrets/npm" => answer(204, json!(null)),
        _ => not_found(),
    })
    .await;
    let ran = fake.run(&["secrets", "list", "--project", "team/app"]).await;
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!(
        words[..9],
        ["NAME", "BRANCHES", "TAGS", "CHANGES", "SET", "npm\u{fffd}[2J", "main", "release/*", "none"]
    );
    let ran = fake.run(&["secrets", "list", "--tenant", "acme"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.contains("slipway secrets set")), (0, "", true), "{}", ran.err);
    let from = file.to_str().expect("a path");
    let ran = fake.run(&["secrets", "set", "npm", "--project", "team/app", "--branch", "main", "--from", from]).await;
    assert_eq!((ran.code, ran.err.contains("/run/secrets/NAME")), (0, true), "{}", ran.err);
    assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"));
    assert!(Cli::try_parse_from(["slipway", "secrets", "set", "npm", "hunter2"]).is_err(), "no value in argv");
    assert_eq!(fake.run(&["secrets", "set", "npm", "--from", "/does/not/exist"]).await.code, 2);
    assert_eq!(fake.run(&["secrets", "remove", "npm"]).await.code, 0);
    assert_eq!(fake.run(&["secrets", "remove", "other"]).await.code, 4);
}
