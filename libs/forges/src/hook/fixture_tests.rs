//! Real requests from the folder named by `SLIPWAY_WEBHOOK_FIXTURES`: one row per file with its full
//! outcome, and every proof also in its broken forms. Nothing of that folder is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use slipway_domain::event::{Event, ForgeKind, HookAuth};

use super::*;
use crate::headers::from_map;
use crate::inspect::{Exit, inspect};
use crate::testing::{Delivery, at};

const VARIABLE: &str = "SLIPWAY_WEBHOOK_FIXTURES";
const GITHUB_SECRET: &str = "It's a Secret to Everybody";
const GITHUB_UPSTREAM_SECRET: &str = "topsecret";
const GITLAB_TOKEN: &str = "fixture-gitlab-token";
const GITLAB_SIGNING_TOKEN: &str = "whsec_Zml4dHVyZS1zaWduaW5nLXRva2VuLTAxMjM0NTY3ODk=";
/// When the signed GitLab fixtures were signed.
const SIGNED_AT: i64 = 1_780_000_000;

/// (file, proof, outcome in words).
type Row = (&'static str, &'static str, &'static str);
const ROWS: &[Row] = &[
    (
        "github/check_run.requested_action.json",
        "hmac_sha256",
        "ignored | check_run requested_action: only a request to run again counts",
    ),
    (
        "github/check_run.rerequested.json",
        "hmac_sha256",
        "events | github/hello-world rerun d6fde92930d4715a2b49857d24b940956b26d2d3",
    ),
    (
        "github/check_suite.rerequested.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World rerun ec26c3e57ca3a959ca5aad62de7213c562f8c821",
    ),
    ("github/create.branch.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    ("github/create.tag.json", "hmac_sha256", "ignored | create: the push event tells the same"),
    ("github/delete.branch.json", "hmac_sha256", "ignored | delete: the push event tells the same"),
    ("github/delete.tag.json", "hmac_sha256", "ignored | delete: the push event tells the same"),
    ("github/installation.created.json", "hmac_sha256", "lifecycle | installation created"),
    ("github/installation.deleted.json", "hmac_sha256", "lifecycle | installation deleted"),
    ("github/installation_repositories.added.json", "hmac_sha256", "lifecycle | installation_repositories added"),
    (
        "github/merge_group.checks_requested.json",
        "hmac_sha256",
        "ignored | merge_group: the push of the queue's branch tells the same",
    ),
    (
        "github/merge_group.destroyed.json",
        "hmac_sha256",
        "ignored | merge_group: the push of the queue's branch tells the same",
    ),
    ("github/ping.app.json", "hmac_sha256", "ping"),
    ("github/ping.json", "hmac_sha256", "ping"),
    ("github/ping.minimal.json", "hmac_sha256", "ping"),
    (
        "github/pull_request.closed.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 closed ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.closed.merged.json",
        "hmac_sha256",
        "events | anbraten/test-ready-release-go 62 merged c88b9ee719285134957cbc698c9b7ef9b78007bf anbraten-patch-3 -> main fork=false",
    ),
    (
        "github/pull_request.converted_to_draft.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 metadata ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.edited.json",
        "hmac_sha256",
        "events | anbraten/test-ready-release-go 62 metadata c88b9ee719285134957cbc698c9b7ef9b78007bf anbraten-patch-3 -> main fork=false",
    ),
    (
        "github/pull_request.labeled.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 metadata ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.opened.from_fork.derived.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 opened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=true",
    ),
    (
        "github/pull_request.opened.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 opened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.ready_for_review.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 ready_for_review ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.reopened.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 reopened ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request.synchronize.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World 2 head_updated ec26c3e57ca3a959ca5aad62de7213c562f8c821 changes -> master fork=false",
    ),
    (
        "github/pull_request_review.from_fork.json",
        "hmac_sha256",
        "ignored | pull_request_review is not an event that starts builds",
    ),
    (
        "github/push.branch_create.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master created 6113728f27ae82c7b1a177c8d03f9e96e0adf246 forced=false skip=false",
    ),
    (
        "github/push.branch_delete.json",
        "hmac_sha256",
        "events | bradrydzewski/drone-test-go branch feature-branch deleted ? forced=false skip=false",
    ),
    (
        "github/push.ci_skip.json",
        "hmac_sha256",
        "events | defunkt/github branch master updated de8251ff97ee194a289832576287d6f8ad74e3d0 forced=? skip=true",
    ),
    (
        "github/push.forced.json",
        "hmac_sha256",
        "events | 6543/oxiduct branch main updated f7220f1f753260bf6f1c533357c70213e9fd4abe forced=true skip=false",
    ),
    (
        "github/push.form.body",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master created 6113728f27ae82c7b1a177c8d03f9e96e0adf246 forced=false skip=false",
    ),
    (
        "github/push.legacy_tag_two_commits.json",
        "hmac_sha256",
        "events | defunkt/github tag v1.0.0 updated de8251ff97ee194a289832576287d6f8ad74e3d0 forced=? skip=false",
    ),
    (
        "github/push.slash_branch.json",
        "hmac_sha256",
        "events | jsmith/anothertest branch slash/branch updated 410f4cdf8ff09b87f245b13845e8497f90b90a4c forced=false skip=false",
    ),
    (
        "github/push.tag_create.json",
        "hmac_sha256",
        "events | bradrydzewski/drone-test-go tag v0.0.1 created d2b75aa7797ec26b088fa2dd527e9d2c052fcedd forced=false skip=false",
    ),
    (
        "github/push.tag_delete.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World tag simple-tag deleted ? forced=false skip=false",
    ),
    (
        "github/push.two_commits.json",
        "hmac_sha256",
        "events | jsmith/somerepo branch master updated 456806b662cb903a0febbaed8344f3ed42f27bab forced=false skip=false",
    ),
    (
        "github/push.update.upstream_signed.json",
        "hmac_sha256",
        "events | Codertocat/Hello-World branch master updated 199eddf46df50de8d02e99bf1c5fdb4101338224 forced=false skip=false",
    ),
    ("github/release.created.json", "hmac_sha256", "ignored | release created: only published releases count"),
    ("github/release.published.json", "hmac_sha256", "events | Codertocat/Hello-World release 0.0.1"),
    ("github/release.released.v2.json", "hmac_sha256", "ignored | release released: only published releases count"),
    ("github/repository.renamed.json", "hmac_sha256", "lifecycle | repository renamed"),
    ("github/repository.transferred.json", "hmac_sha256", "lifecycle | repository transferred"),
    ("github/vector.hello_world.body", "hmac_sha256", "malformed | header X-GitHub-Event is missing"),
    (
        "gitlab/merge_request.close.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 closed c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.merge.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 merged c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.open.from_fork.json",
        "shared_token",
        "events | mmusterman/awesome_project 7 opened e46ee239f3d6d41ade4d1e610669dd71ed86ec80 ms-viewport -> master fork=true",
    ),
    (
        "gitlab/merge_request.open.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 opened c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.reopen.json",
        "shared_token",
        "events | gitlab-org/hello-world 1 reopened c4c79227ed610f1151f05bbc5be33b4f340d39c8 feature -> master fork=false",
    ),
    (
        "gitlab/merge_request.unsupported_action.json",
        "shared_token",
        "events | demoaccount2-commits-group/test_ci_tmp 1 other 36b5813240a9d2daa29b05046d56a53e18f39a3e 6543-patch-1 -> main fork=false",
    ),
    (
        "gitlab/merge_request.update.new_commits.json",
        "shared_token",
        "events | anbraten/woodpecker 3 head_updated c136499ec574e1034b24c5d306de9acda3005367 anbraten-main-patch-05373 -> main fork=false",
    ),
    (
        "gitlab/merge_request.update.no_changes.json",
        "shared_token",
        "events | anbraten/woodpecker 3 metadata c136499ec574e1034b24c5d306de9acda3005367 anbraten-main-patch-05373 -> main fork=false",
    ),
    (
        "gitlab/push.branch_create.json",
        "shared_token",
        "events | gitlab-org/hello-world branch feature created c4c79227ed610f1151f05bbc5be33b4f340d39c8 forced=? skip=false",
    ),
    (
        "gitlab/push.branch_delete.json",
        "shared_token",
        "events | gitlab-org/hello-world branch feature deleted ? forced=? skip=false",
    ),
    (
        "gitlab/push.docs_truncated_commits.json",
        "standard_webhooks_v1",
        "events | mike/diaspora branch master updated da1560886d4f094c3e6c9ef40349f7d38b5d27d7 forced=? skip=false",
    ),
    (
        "gitlab/push.merge.json",
        "shared_token",
        "events | gitlab-org/hello-world branch master updated 78a76ee6b4992a6baf64c59fc4c44c7323d60438 forced=? skip=false",
    ),
    (
        "gitlab/push.multi_commit.json",
        "standard_webhooks_v1",
        "events | jsmith/some-test-project branch master updated 9a052a0b2fbe01d4a1a88638dd9fe31c1c56ef53 forced=? skip=false",
    ),
    (
        "gitlab/push.update.json",
        "shared_token",
        "events | gitlab-org/hello-world branch master updated 2adc9465c4edfc33834e173fe89436a7cb899a1d forced=? skip=false",
    ),
    ("gitlab/release.create.json", "shared_token", "events | anbratens-test/ci release 0.0.2"),
    (
        "gitlab/system_hook.merge_request.json",
        "shared_token",
        "events | jsmith/example 1 other ba3e0d8ff79c80d5b0bbb4f3e2e343e0aaa662b7 ms-viewport -> master fork=false",
    ),
    ("gitlab/system_hook.project_create.json", "shared_token", "lifecycle | project create"),
    ("gitlab/system_hook.project_destroy.json", "shared_token", "lifecycle | project destroy"),
    (
        "gitlab/system_hook.push.json",
        "shared_token",
        "events | mike/diaspora branch master updated da1560886d4f094c3e6c9ef40349f7d38b5d27d7 forced=? skip=false",
    ),
    (
        "gitlab/system_hook.tag_push.json",
        "shared_token",
        "events | jsmith/example tag v1.0.0 created 5937ac0a7beb003549fc5fd26fc247adbce4a52e forced=? skip=false",
    ),
    (
        "gitlab/tag_push.create.json",
        "shared_token",
        "events | gitlab-org/hello-world tag v1.0.0 created 2adc9465c4edfc33834e173fe89436a7cb899a1d forced=? skip=false",
    ),
    (
        "gitlab/tag_push.create.v22.json",
        "shared_token",
        "events | test/woodpecker tag v22 created 16862e368d8ab812e48833b741dad720d6e2cb7f forced=? skip=false",
    ),
    (
        "gitlab/tag_push.delete.json",
        "shared_token",
        "events | gitlab-org/hello-world tag v1.0.0 deleted ? forced=? skip=false",
    ),
    ("gitlab/unknown_kind.json", "shared_token", "ignored | someother is not an event that starts builds"),
];

/// Every fixture of the forges that we speak, by its path in the folder; empty without the folder.
pub(super) fn all() -> Vec<(String, Delivery)> {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Vec::new() };
    let mut found = Vec::new();
    for kind in [ForgeKind::Github, ForgeKind::Gitlab] {
        let entries = std::fs::read_dir(folder.join(kind.as_str())).expect("the forge's folder");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            if name.ends_with(".headers.json") {
                continue;
            }
            let json = std::fs::read(path.with_extension("headers.json")).expect("headers beside the body");
            let map: BTreeMap<String, String> = serde_json::from_slice(&json).expect("a flat map");
            let headers = from_map(&map).expect("good headers");
            let body = std::fs::read(&path).expect("the body");
            found.push((format!("{kind}/{name}"), Delivery { kind, headers, body }));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn fixtures() -> Option<Vec<(String, Delivery)>> {
    let found = all();
    if found.is_empty() {
        eprintln!("SKIPPED: {VARIABLE} is not set, so no real deliveries were tried");
        return None;
    }
    Some(found)
}

fn secret(file: &str, delivery: &Delivery) -> String {
    match delivery.kind {
        ForgeKind::Github if file.contains("upstream_signed") => GITHUB_UPSTREAM_SECRET,
        ForgeKind::Github => GITHUB_SECRET,
        _ if delivery.headers.contains_key("webhook-signature") => GITLAB_SIGNING_TOKEN,
        _ => GITLAB_TOKEN,
    }
    .to_owned()
}

#[test]
fn every_fixture_has_its_full_outcome() {
    let Some(fixtures) = fixtures() else { return };
    let files: BTreeSet<&str> = fixtures.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(files, ROWS.iter().map(|row| row.0).collect(), "one row per file");
    for (file, delivery) in &fixtures {
        let (_, auth, outcome) = ROWS.iter().find(|row| row.0 == file).expect("a row");
        let verdict = inspect(&delivery.received(), &[secret(file, delivery)], at(SIGNED_AT));
        assert!(verdict.verified, "{file}: {:?}", verdict.reason);
        assert_eq!((verdict.auth.as_str(), in_words(&verdict).as_str()), (*auth, *outcome), "{file}");
        let expected = if verdict.outcome.is_some() { Exit::Fine } else { Exit::Malformed };
        assert_eq!(verdict.exit, expected, "{file}");

        let unproved = inspect(&delivery.received(), &[], at(SIGNED_AT));
        assert!(!unproved.verified, "{file}: nothing is proved without a secret");
        assert_eq!((unproved.auth, unproved.outcome, unproved.exit), (verdict.auth, verdict.outcome, verdict.exit));
    }
}

#[test]
fn every_broken_proof_is_refused() {
    let Some(fixtures) = fixtures() else { return };
    for (file, delivery) in &fixtures {
        let secrets = [secret(file, delivery)];
        assert!(verify(&delivery.received(), &secrets, at(SIGNED_AT)).is_ok(), "{file}");
        for (name, broken, expected) in broken(delivery) {
            let found = verify(&broken.received(), &secrets, at(SIGNED_AT)).map_err(|e| e.reason());
            assert_eq!(found, Err(expected), "{file}: {name}");
            let verdict = inspect(&broken.received(), &secrets, at(SIGNED_AT));
            assert_eq!(
                (verdict.verified, verdict.outcome, verdict.exit),
                (false, None, Exit::NotVerified),
                "{file}: {name}"
            );
            assert!(verdict.events.is_empty(), "{file}: {name}");
        }
        for secs in [SIGNED_AT - 301, SIGNED_AT + 301] {
            let found = verify(&delivery.received(), &secrets, at(secs)).map_err(|e| e.reason());
            let signs_time = found == Err("stale");
            assert_eq!(
                signs_time,
                claimed_auth(&delivery.received()) == HookAuth::StandardWebhooksV1,
                "{file}: stale time"
            );
        }
    }
}

/// The delivery with its proof broken in each way, and the reason that is expected. A shared token covers
/// no body, so there only the header can break.
fn broken(delivery: &Delivery) -> Vec<(String, Delivery, &'static str)> {
    let header = match claimed_auth(&delivery.received()) {
        HookAuth::HmacSha256 => "x-hub-signature-256",
        HookAuth::StandardWebhooksV1 => "webhook-signature",
        _ => "x-gitlab-token",
    };
    let signed = header != "x-gitlab-token";
    let value = delivery.headers[header].to_str().expect("text").to_owned();
    let wrong_prefix = if signed { "malformed" } else { "mismatch" };
    let mut found = vec![
        ("dropped header".to_owned(), delivery.clone().without(header), "missing"),
        ("wrong prefix".to_owned(), delivery.clone().with(header, &format!("x{value}")), wrong_prefix),
    ];
    if signed {
        for at in [0, delivery.body.len() / 2, delivery.body.len() - 1] {
            let mut flipped = delivery.clone();
            flipped.body[at] ^= 1;
            found.push((format!("flipped byte {at}"), flipped, "mismatch"));
        }
    }
    found
}

/// Everything that an inspection says beside the proof.
fn in_words(verdict: &crate::inspect::Inspection) -> String {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
    let events: Vec<String> = verdict
        .events
        .iter()
        .map(|event| match event {
            Event::Ref(event) => format!(
                "{} {} {} {} {} forced={} skip={}",
                event.repo,
                event.kind,
                event.name,
                event.op,
                or(&event.commit),
                event.forced.map_or_else(|| "?".to_owned(), |forced| forced.to_string()),
                event.skip_ci
            ),
            Event::Change(event) => format!(
                "{} {} {} {} {} -> {} fork={}",
                event.repo,
                event.number,
                event.action,
                or(&event.head),
                or(&event.source_branch),
                or(&event.target_branch),
                event.from_fork
            ),
            Event::Release(event) => format!("{} release {}", event.repo, event.tag),
            Event::Rerun(event) => format!("{} rerun {}", event.repo, event.commit),
        })
        .collect();
    let outcome = verdict.outcome.unwrap_or("malformed");
    let words = [vec![outcome.to_owned()], verdict.reason.iter().cloned().collect(), events].concat();
    words.join(" | ")
}
