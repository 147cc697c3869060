//! Real requests from the folder named by `SLIPWAY_WEBHOOK_FIXTURES`: one row per file with its full
//! outcome, and every proof also in its broken forms. Nothing of that folder is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use slipway_domain::event::{Event, ForgeKind, HookAuth};

use super::*;
use crate::headers::from_map;
use crate::inspect::{Exit, inspect};
use crate::testing::{Delivery, at};

mod bitbucket;
mod bitbucket_dc;
mod coding;
mod gitea;
mod gitee;
mod github;
mod gitlab;

const VARIABLE: &str = "SLIPWAY_WEBHOOK_FIXTURES";
/// The secret of every delivery that was not signed upstream.
const COMMON_SECRET: &str = "It's a Secret to Everybody";
const GITLAB_TOKEN: &str = "fixture-gitlab-token";
const GITLAB_SIGNING_TOKEN: &str = "whsec_Zml4dHVyZS1zaWduaW5nLXRva2VuLTAxMjM0NTY3ODk=";
const GITEE_KEY: &str = "bBg5lrt03VixkX85CNqYIcecC0SIGASE";
/// When the signed GitLab fixtures were signed.
const SIGNED_AT: i64 = 1_780_000_000;

/// (file, proof, outcome in words).
type Row = (&'static str, &'static str, &'static str);

fn rows() -> impl Iterator<Item = &'static Row> {
    let all = [github::ROWS, gitlab::ROWS, bitbucket::ROWS, bitbucket_dc::ROWS, gitea::ROWS, gitee::ROWS, coding::ROWS];
    all.into_iter().flatten()
}

/// Every fixture, by its path in the folder; empty without the folder.
pub(super) fn all() -> Vec<(String, Delivery)> {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Vec::new() };
    let mut found = Vec::new();
    for kind in ForgeKind::ALL.iter().copied() {
        let entries = std::fs::read_dir(folder.join(kind.as_str())).expect("the forge's folder");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            if name.ends_with(".headers.json") {
                continue;
            }
            let body = std::fs::read(&path).expect("the body");
            let delivery = if name.starts_with("schema.") {
                skeleton(&name, body)
            } else {
                let json = std::fs::read(path.with_extension("headers.json")).expect("headers beside the body");
                let map: BTreeMap<String, String> = serde_json::from_slice(&json).expect("a flat map");
                Delivery { kind, headers: from_map(&map).expect("good headers"), body }
            };
            found.push((format!("{kind}/{name}"), delivery));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// CODING's documentation has bodies with every key and no value, which nobody sends.
fn skeleton(name: &str, body: Vec<u8>) -> Delivery {
    let event = if name.contains("GIT_PUSHED") { "GIT_PUSHED" } else { "GIT_MR_CREATED" };
    crate::testing::coding("push", body).with("X-Coding-Service-Hook-Event", event)
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
    match (delivery.kind, file.contains("upstream_signed")) {
        (ForgeKind::Github, true) => "topsecret",
        (ForgeKind::Bitbucket, true) => "Gkvl$k$wyNpQAF42",
        (ForgeKind::BitbucketDc, true) => "71295b197fa25f4356d2fb9965df3f2379d903d7",
        (ForgeKind::Gitea, true) if file.contains("edited") => "71295b197fa25f4356d2fb9965df3f2379d903d7",
        (ForgeKind::Gitea, true) => "IsWishesWereHorsesWedAllBeEatingSteak!",
        (ForgeKind::Gitlab, _) if delivery.headers.contains_key("webhook-signature") => GITLAB_SIGNING_TOKEN,
        (ForgeKind::Gitlab, _) => GITLAB_TOKEN,
        (ForgeKind::Gitee, _) => GITEE_KEY,
        (
            ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Coding,
            _,
        ) => COMMON_SECRET,
    }
    .to_owned()
}

/// When it was signed, in seconds.
fn signed_at(delivery: &Delivery) -> i64 {
    let millis = delivery.headers.get("x-gitee-timestamp").and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
    millis.map_or(SIGNED_AT, |millis| millis / 1000)
}

#[test]
fn every_fixture_has_its_full_outcome() {
    let Some(fixtures) = fixtures() else { return };
    let files: BTreeSet<&str> = fixtures.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(files, rows().map(|row| row.0).collect(), "one row per file");
    for (file, delivery) in &fixtures {
        let (_, auth, outcome) = rows().find(|row| row.0 == file).expect("a row");
        let now = at(signed_at(delivery));
        let unproved = inspect(&delivery.received(), &[], now);
        assert!(!unproved.verified, "{file}: nothing is proved without a secret");
        assert_eq!((unproved.auth.as_str(), in_words(&unproved).as_str()), (*auth, *outcome), "{file}");
        let expected = if unproved.outcome.is_some() { Exit::Fine } else { Exit::Malformed };
        assert_eq!(unproved.exit, expected, "{file}");

        let verdict = inspect(&delivery.received(), &[secret(file, delivery)], now);
        if *auth == "none" {
            assert_eq!((verdict.verified, verdict.exit, verdict.events.len()), (false, Exit::NotVerified, 0), "{file}");
        } else {
            assert_eq!(verdict, crate::inspect::Inspection { verified: true, ..unproved }, "{file}");
        }
    }
}

/// The real ones came without the token that their hooks had.
#[test]
fn first_format_fixtures_are_believed_with_the_token_in_their_body() {
    let Some(fixtures) = fixtures() else { return };
    let mut tried = 0;
    for (file, delivery) in fixtures.iter().filter(|(file, _)| file.contains(".v1.")) {
        let without = inspect(&delivery.received(), &[], at(0));
        let mut body: serde_json::Value = serde_json::from_slice(&delivery.body).expect("JSON");
        body["token"] = serde_json::Value::from(COMMON_SECRET);
        let delivery = Delivery { body: body.to_string().into_bytes(), ..delivery.clone() };
        let verdict = inspect(&delivery.received(), &[COMMON_SECRET.to_owned()], at(0));
        assert_eq!((verdict.verified, verdict.auth, verdict.exit), (true, HookAuth::SharedToken, Exit::Fine), "{file}");
        assert_eq!(verdict.events, without.events, "{file}");
        let other = inspect(&delivery.received(), &["other".to_owned()], at(0));
        assert_eq!((other.verified, other.exit), (false, Exit::NotVerified), "{file}");
        tried += 1;
    }
    assert!(tried > 0);
}

#[test]
fn every_broken_proof_is_refused() {
    let Some(fixtures) = fixtures() else { return };
    for (file, delivery) in &fixtures {
        let claimed = claimed_auth(&delivery.received());
        if claimed == HookAuth::None {
            continue;
        }
        let (secrets, now) = ([secret(file, delivery)], signed_at(delivery));
        assert!(verify(&delivery.received(), &secrets, at(now)).is_ok(), "{file}");
        for (name, broken, expected) in broken(delivery, claimed) {
            let found = verify(&broken.received(), &secrets, at(now)).map_err(|e| e.reason());
            assert_eq!(found, Err(expected), "{file}: {name}");
            let verdict = inspect(&broken.received(), &secrets, at(now));
            assert_eq!(
                (verdict.verified, verdict.outcome, verdict.exit),
                (false, None, Exit::NotVerified),
                "{file}: {name}"
            );
            assert!(verdict.events.is_empty(), "{file}: {name}");
        }
        let window = match claimed {
            HookAuth::StandardWebhooksV1 => 300,
            HookAuth::TimestampOnly => 3600,
            HookAuth::HmacSha256 | HookAuth::HmacSha1 | HookAuth::SharedToken | HookAuth::None => i64::MAX / 2,
        };
        for offset in [-3602, -3599, -302, -299, 299, 302, 3599, 3602] {
            let found = verify(&delivery.received(), &secrets, at(now + offset)).map_err(|e| e.reason());
            assert_eq!(found.err(), (offset.abs() > window).then_some("stale"), "{file}: {offset} s away");
        }
    }
}

/// The delivery with its proof broken in each way, and the reason that is expected. A shared token covers
/// no body, and a signed time neither, so there only the header can break.
fn broken(delivery: &Delivery, claimed: HookAuth) -> Vec<(String, Delivery, &'static str)> {
    let (header, signs_body) = match (delivery.kind, claimed) {
        (ForgeKind::Github, _) => ("x-hub-signature-256", true),
        (ForgeKind::Gitlab, HookAuth::StandardWebhooksV1) => ("webhook-signature", true),
        (ForgeKind::Gitlab, _) => ("x-gitlab-token", false),
        (ForgeKind::Bitbucket | ForgeKind::BitbucketDc, _) => ("x-hub-signature", true),
        (ForgeKind::Gitea, _) => ("x-gitea-signature", true),
        (ForgeKind::Gitee, _) => ("x-gitee-token", false),
        (ForgeKind::Coding, _) => ("x-coding-signature", true),
    };
    let value = delivery.headers[header].to_str().expect("text").to_owned();
    let wrong_prefix = if signs_body { "malformed" } else { "mismatch" };
    let mut found = vec![
        ("dropped header".to_owned(), delivery.clone().without(header), "missing"),
        ("header twice".to_owned(), delivery.clone().twice(header), "repeated"),
        ("wrong prefix".to_owned(), delivery.clone().with(header, &format!("x{value}")), wrong_prefix),
    ];
    if delivery.kind == ForgeKind::Gitee {
        found.push(("dropped time".to_owned(), delivery.clone().without("x-gitee-timestamp"), "missing"));
        found.push(("other time".to_owned(), delivery.clone().with("x-gitee-timestamp", "1633679083919"), "mismatch"));
    }
    if signs_body {
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
