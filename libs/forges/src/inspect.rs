//! What `slipway hook inspect` prints and the deliveries page shows: one object with every key always there.

use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_domain::event::{Event, HookAuth, Outcome};

use crate::auth::VerifyError;
use crate::hook::{ParseError, Received, claimed_auth, parse, verify};

/// The verdict on a delivery. Serialises to `{"verified", "auth", "outcome", "reason", "events"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The proof holds. Always false when no secret was given.
    pub verified: bool,
    /// The proof; for a delivery that is not verified the one that its headers claim.
    pub auth: HookAuth,
    /// `ping`, `events`, `lifecycle` or `ignored`; null when it was not believed or not understood.
    pub outcome: Option<&'static str>,
    /// Why it was ignored, refused or not understood, or what the lifecycle event says.
    pub reason: Option<String>,
    /// What happened; empty unless the outcome is `events`.
    pub events: Vec<Event>,
    /// How the command ends.
    #[serde(skip)]
    pub exit: Exit,
}

/// How an inspection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Verified, or inspected without a secret.
    Fine,
    /// Authentic (or inspected without a secret), but not what this forge sends.
    Malformed,
    /// The proof does not hold. Checked first, and nothing of the body is shown.
    NotVerified,
}

impl Exit {
    /// The exit code of the command.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Malformed => 2,
            Self::NotVerified => 3,
        }
    }
}

/// Verifies (unless there is no secret) and reads a delivery.
pub fn inspect(received: &Received<'_>, secrets: &[String], now: DateTime<Utc>) -> Inspection {
    let claimed = claimed_auth(received);
    match verify(received, secrets, now) {
        Ok(auth) => inspect_body(received, true, auth),
        Err(VerifyError::NoSecret) => inspect_body(received, false, claimed),
        Err(e) => silent(false, claimed, e.to_string(), Exit::NotVerified),
    }
}

fn inspect_body(received: &Received<'_>, verified: bool, auth: HookAuth) -> Inspection {
    let outcome = match parse(received) {
        Ok(parsed) => parsed.outcome,
        Err(e @ ParseError::Malformed { .. }) => return silent(verified, auth, e.to_string(), Exit::Malformed),
    };
    let (word, reason, events) = match outcome {
        Outcome::Ping => ("ping", None, Vec::new()),
        Outcome::Events(events) => ("events", None, events),
        Outcome::Lifecycle(reason) => ("lifecycle", Some(reason), Vec::new()),
        Outcome::Ignored(reason) => ("ignored", Some(reason), Vec::new()),
    };
    Inspection { verified, auth, outcome: Some(word), reason, events, exit: Exit::Fine }
}

fn silent(verified: bool, auth: HookAuth, reason: String, exit: Exit) -> Inspection {
    Inspection { verified, auth, outcome: None, reason: Some(reason), events: Vec::new(), exit }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipway_domain::event::ForgeKind;

    use super::*;
    use crate::testing::{Delivery, OLD_SHA, SECRET, SHA, at, bitbucket, coding, gitea, gitee, github, gitlab};

    /// Name, delivery, secrets, then the proof, the outcome and the exit code that are expected.
    type Row<'a> = (&'a str, &'a Delivery, &'a [&'a str], &'a str, Value, u8);

    fn shown(delivery: &Delivery, secrets: &[&str]) -> (Value, u8) {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let verdict = inspect(&delivery.received(), &secrets, at(0));
        (serde_json::to_value(&verdict).expect("serialises"), verdict.exit.code())
    }

    fn push() -> Delivery {
        let body = json!({
            "ref": "refs/heads/main", "before": OLD_SHA, "after": "0".repeat(40), "deleted": true,
            "repository": {"id": 7, "full_name": "acme/widget"}, "sender": {"login": "octocat"}
        });
        github("push", body.to_string())
    }

    #[test]
    fn every_key_is_always_there_and_no_other() {
        let event = json!({
            "type": "ref", "repo": "acme/widget", "kind": "branch", "name": "main", "op": "deleted", "commit": null,
            "forced": null, "skip_ci": false
        });
        let verified = json!({
            "verified": true, "auth": "hmac_sha256", "outcome": "events", "reason": null, "events": [event]
        });
        assert_eq!(shown(&push(), &[SECRET]), (verified, 0));
        let change = json!({
            "number": 5, "action": "opened", "repository": {"full_name": "acme/widget"},
            "pull_request": {"head": {"sha": SHA}}
        });
        let (shown_change, _) = shown(&github("pull_request", change.to_string()), &[]);
        let expected = json!([{
            "type": "change", "repo": "acme/widget", "number": 5, "action": "opened", "head": SHA,
            "source_branch": null, "target_branch": null, "from_fork": true
        }]);
        assert_eq!((&shown_change["verified"], &shown_change["events"]), (&json!(false), &expected));
    }

    #[test]
    fn what_is_not_believed_is_not_shown() {
        let (verdict, code) = shown(&push(), &["other"]);
        let reason = "the proof does not fit the hook's secret";
        let expected =
            json!({"verified": false, "auth": "hmac_sha256", "outcome": null, "reason": reason, "events": []});
        assert_eq!((verdict, code), (expected, 3));
        let (_, code) = shown(&github("push", "not JSON"), &["other"]);
        assert_eq!(code, 3, "the proof is checked first");
    }

    #[test]
    fn exit_codes_and_proofs() {
        let nothing = push().without("X-Hub-Signature-256");
        let sha1 = nothing.clone().with("X-Hub-Signature", "sha1=00");
        let table: &[Row<'_>] = &[
            ("no secret", &push(), &[], "hmac_sha256", json!("events"), 0),
            ("no proof, no secret", &nothing, &[], "none", json!("events"), 0),
            ("old proof, no secret", &sha1, &[], "hmac_sha1", json!("events"), 0),
            ("no proof", &nothing, &[SECRET], "none", Value::Null, 3),
            ("malformed", &github("push", "{}"), &[SECRET], "hmac_sha256", Value::Null, 2),
            ("malformed, no secret", &github("push", "{}"), &[], "hmac_sha256", Value::Null, 2),
            ("ping", &github("ping", "{}"), &[SECRET], "hmac_sha256", json!("ping"), 0),
            ("ignored", &github("star", "{}"), &[SECRET], "hmac_sha256", json!("ignored"), 0),
        ];
        for (name, delivery, secrets, auth, outcome, code) in table {
            let (verdict, found) = shown(delivery, secrets);
            assert_eq!((&verdict["auth"], &verdict["outcome"], found), (&json!(auth), outcome, *code), "{name}");
            assert_eq!(verdict.as_object().map(serde_json::Map::len), Some(5), "{name}");
            assert_eq!(verdict["reason"].is_string(), *code != 0 || *name == "ignored", "{name}");
        }
    }

    #[test]
    fn every_forge_has_the_same_contract() {
        let words = |kind: ForgeKind, event: &str, body: &str| match kind {
            ForgeKind::Github => github(event, body),
            ForgeKind::Gitlab => gitlab(event, body),
            ForgeKind::Bitbucket | ForgeKind::BitbucketDc => bitbucket(kind, event, body),
            ForgeKind::Gitea => gitea(event, body),
            ForgeKind::Gitee => gitee(event, body, at(0)),
            ForgeKind::Coding => coding(event, body),
        };
        let tag = json!({
            "object_kind": "push", "ref": "refs/tags/v1", "before": "0".repeat(40), "after": SHA, "checkout_sha": SHA,
            "head_commit": {"id": SHA, "message": "x [skip ci]"}, "commits": [{"id": SHA, "message": "x [skip ci]"}],
            "push": {"changes": [{"new": {"type": "tag", "name": "v1", "target": {"hash": SHA, "message": "x [skip ci]"}}}]},
            "changes": [{"ref": {"id": "refs/tags/v1"}, "fromHash": "0".repeat(40), "toHash": SHA}],
            "toCommit": {"id": SHA, "message": "x [skip ci]"},
            "project": {"path_with_namespace": "acme/widget"},
            "repository": {"full_name": "acme/widget", "slug": "widget", "project": {"key": "acme"}}
        });
        let expected = json!([{
            "type": "ref", "repo": "acme/widget", "kind": "tag", "name": "v1", "op": "created", "commit": SHA,
            "forced": null, "skip_ci": true
        }]);
        for kind in ForgeKind::ALL.iter().copied() {
            let (push, auth) = match kind {
                ForgeKind::Github | ForgeKind::Gitea => ("push", "hmac_sha256"),
                ForgeKind::Gitlab => ("Tag Push Hook", "shared_token"),
                ForgeKind::Bitbucket => ("repo:push", "hmac_sha256"),
                ForgeKind::BitbucketDc => ("repo:refs_changed", "hmac_sha256"),
                ForgeKind::Gitee => ("Tag Push Hook", "timestamp_only"),
                ForgeKind::Coding => ("push", "hmac_sha1"),
            };
            let pushed = words(kind, push, &tag.to_string());
            let told = |verified: bool, outcome: Value, reason: Value, events: &Value| json!({"verified": verified, "auth": auth, "outcome": outcome, "reason": reason, "events": events});
            let verified = told(true, json!("events"), Value::Null, &expected);
            assert_eq!(shown(&pushed, &[SECRET]), (verified, 0), "{kind}");
            let unproved = told(false, json!("events"), Value::Null, &expected);
            assert_eq!(shown(&pushed, &[]), (unproved, 0), "{kind}");

            let refused = json!("the proof does not fit the hook's secret");
            let refused = told(false, Value::Null, refused, &json!([]));
            assert_eq!(shown(&pushed, &["other"]), (refused.clone(), 3), "{kind}");
            let malformed = words(kind, push, "{\"object_kind\": \"push\"}");
            assert_eq!(shown(&malformed, &["other"]), (refused, 3), "{kind}: the proof is checked first");
            let (verdict, code) = shown(&malformed, &[SECRET]);
            let place = verdict["reason"].as_str().map(str::to_owned).unwrap_or_default();
            assert_eq!((verdict, code), (told(true, Value::Null, json!(place), &json!([])), 2), "{kind}");
            assert!(place.ends_with("is missing"), "{kind}: {place}");

            let ignored = words(kind, "odd", "{\"object_kind\": \"odd\"}");
            let reason = json!("odd is not an event that starts builds");
            assert_eq!(shown(&ignored, &[SECRET]), (told(true, json!("ignored"), reason, &json!([])), 0), "{kind}");
        }
    }
}
