//! Every message of version 1 as it was recorded: this release reads it, keeps its fields, and passes over what only a
//! newer one understands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_domain::agent::{
    ClaimRefusal, ClaimRequest, Claimed, Credentials, Decline, Finish, KeptCache, Leave, LeaveRequest, LeaveReturn,
    LogAck, LogEnd, OpenSession, Report, ReportAck, SessionOpened, ToBuilder, ToDispatcher,
};
use slipway_domain::attempt::{AttemptOutcome, Phase, StepState};
use slipway_domain::build::Trigger;
use slipway_domain::event::ForgeKind;
use slipway_domain::failure::FailureClass;
use slipway_domain::spec::NetworkMode;

type Read = fn(Value) -> Result<Value, serde_json::Error>;

/// The body of a claim's refusal.
#[derive(Serialize, Deserialize)]
struct ClaimRefused {
    refusal: ClaimRefusal,
}

/// The type of each message, and the first part of its samples' names.
const MESSAGES: [(&str, &str, Read); 17] = [
    ("ToDispatcher", "to_dispatcher", read::<ToDispatcher>),
    ("ToBuilder", "to_builder", read::<ToBuilder>),
    ("OpenSession", "open_session", read::<OpenSession>),
    ("SessionOpened", "session_opened", read::<SessionOpened>),
    ("ClaimRequest", "claim_request", read::<ClaimRequest>),
    ("Claimed", "claimed", read::<Claimed>),
    ("ClaimRefusal", "claim_refused", read::<ClaimRefused>),
    ("Report", "report", read::<Report>),
    ("ReportAck", "report_ack", read::<ReportAck>),
    ("Credentials", "credentials", read::<Credentials>),
    ("LeaveRequest", "leave_request", read::<LeaveRequest>),
    ("Leave", "leave", read::<Leave>),
    ("LeaveReturn", "leave_return", read::<LeaveReturn>),
    ("KeptCache", "kept_cache", read::<KeptCache>),
    ("Finish", "finish", read::<Finish>),
    ("LogAck", "log_ack", read::<LogAck>),
    ("LogEnd", "log_end", read::<LogEnd>),
];
/// Types that only stand inside of messages.
const PARTS: [&str; 7] = ["Decline", "Offer", "StepReport", "Login", "RegistryLogin", "BuildSecret", "PushedImage"];
/// Samples that are no messages of this room.
const OTHERS: [&str; 3] = ["queue_offer", "topics", "words"];

/// What becomes of a word that only a newer release knows, at this place of this sample.
const NEW_WORDS: [(&str, &str, NewWord); 12] = [
    // The reader knows nothing to do, and goes on.
    ("to_dispatcher.goodbye", "/type", NewWord::Unread),
    ("to_builder.offer", "/type", NewWord::Unread),
    // The builder asks again.
    ("leave.granted", "/answer", NewWord::Unread),
    // Said only once no older release runs.
    ("finish", "/outcome", NewWord::Unread),
    ("claimed", "/spec/trigger", NewWord::Unread),
    ("claimed", "/spec/asked/network", NewWord::Unread),
    ("to_dispatcher.answered", "/refusal", NewWord::ReadAs("other")),
    ("to_dispatcher.declined", "/reason", NewWord::ReadAs("other")),
    ("claim_refused", "/refusal", NewWord::ReadAs("other")),
    ("finish", "/failure/class", NewWord::ReadAs("internal")),
    ("report", "/phase", NewWord::Dropped),
    ("report", "/steps/0/state", NewWord::Dropped),
];

enum NewWord {
    /// The message does not read.
    Unread,
    ReadAs(&'static str),
    /// What it belongs to is left out.
    Dropped,
}

fn read<T: DeserializeOwned + Serialize>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

/// Every sample by its name.
fn samples() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded/1");
    let mut samples = BTreeMap::new();
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("it reads").path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("it reads");
            samples.insert(name, serde_json::from_str(&text).expect("JSON"));
        }
    }
    samples
}

fn reader(sample: &str) -> Read {
    let kind = sample.split('.').next().expect("a first part");
    let message = MESSAGES.iter().find(|(_, name, _)| *name == kind);
    message.unwrap_or_else(|| panic!("nobody reads {sample}.json")).2
}

fn messages() -> impl Iterator<Item = (String, Value)> {
    samples().into_iter().filter(|(name, _)| !OTHERS.contains(&name.as_str()))
}

/// Whether everything that was recorded is still there.
fn holds(now: &Value, recorded: &Value) -> bool {
    match (now, recorded) {
        (Value::Object(now), Value::Object(recorded)) => {
            recorded.iter().all(|(key, recorded)| now.get(key).is_some_and(|now| holds(now, recorded)))
        }
        (Value::Array(now), Value::Array(recorded)) => {
            now.len() == recorded.len() && now.iter().zip(recorded).all(|(now, recorded)| holds(now, recorded))
        }
        (now, recorded) => now == recorded,
    }
}

/// The same message with a field more in each object that is not a user's own.
fn grown(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let grow = |(key, value): (&String, &Value)| {
                let value = if key == "args" { value.clone() } else { grown(value) };
                (key.clone(), value)
            };
            let newer = ("x_newer".to_owned(), json!({ "deep": [1] }));
            Value::Object(fields.iter().map(grow).chain([newer]).collect())
        }
        Value::Array(items) => items.iter().map(grown).collect(),
        value => value.clone(),
    }
}

#[test]
fn recorded_messages_are_read_and_keep_their_fields() {
    for (name, recorded) in messages() {
        let now = reader(&name)(recorded.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(holds(&now, &recorded), "{name} became {now}");
    }
}

#[test]
fn fields_of_a_newer_release_are_passed_over() {
    for (name, recorded) in messages() {
        let now = reader(&name)(recorded.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let newer = reader(&name)(grown(&recorded)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(newer, now, "{name}");
    }
}

#[test]
fn words_of_a_newer_release_do_what_is_agreed() {
    let samples = samples();
    for (name, place, agreed) in NEW_WORDS {
        let mut sample = samples[name].clone();
        *sample.pointer_mut(place).expect("it has such a place") = json!("x_newer");
        let read = reader(name)(sample);
        match agreed {
            NewWord::Unread => assert!(read.is_err(), "{name}{place}"),
            NewWord::ReadAs(word) => {
                let read = read.unwrap_or_else(|error| panic!("{name}{place}: {error}"));
                assert_eq!(read.pointer(place), Some(&json!(word)), "{name}{place}");
            }
            NewWord::Dropped => {
                let read = read.unwrap_or_else(|error| panic!("{name}{place}: {error}"));
                assert!(read.pointer(place).is_none_or(Value::is_null), "{name}{place}");
            }
        }
    }
}

#[test]
fn every_message_has_a_sample() {
    let known: Vec<&str> = MESSAGES.iter().map(|(of, ..)| *of).chain(PARTS).collect();
    for line in include_str!("../../src/agent.rs").lines() {
        let declared = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        let name = declared.and_then(|rest| rest.split([' ', '<']).next());
        assert!(name.is_none_or(|name| known.contains(&name)), "{line} has no sample in libs/domain/recorded");
    }
    let samples = samples();
    for (_, name, _) in MESSAGES {
        let part = format!("{name}.");
        assert!(samples.keys().any(|sample| sample == name || sample.starts_with(&part)), "{name} has no sample");
    }
    for (name, tag) in [("to_dispatcher", "type"), ("to_builder", "type"), ("leave", "answer")] {
        let refusal = reader(name)(json!({ tag: "x_newer" })).expect_err("no such word").to_string();
        // "unknown variant `x_newer`, expected one of `a`, `b`"
        for word in refusal.split('`').skip(3).step_by(2) {
            assert!(samples.contains_key(&format!("{name}.{word}")), "{name}.{word} has no sample");
        }
        assert!(refusal.split('`').count() > 5, "{refusal}");
    }
}

#[test]
fn every_word_is_recorded_and_still_means_itself() {
    let recorded: BTreeMap<String, BTreeSet<String>> =
        serde_json::from_value(samples()["words"].clone()).expect("lists of words");
    let words = |name: &str, read: Read| {
        for word in &recorded[name] {
            assert_eq!(read(json!(word)).ok(), Some(json!(word)), "{name}");
        }
    };
    words("attempt_outcome", read::<AttemptOutcome>);
    words("claim_refusal", read::<ClaimRefusal>);
    words("decline", read::<Decline>);
    words("failure_class", read::<FailureClass>);
    words("forge_kind", read::<ForgeKind>);
    words("network_mode", read::<NetworkMode>);
    words("phase", read::<Phase>);
    words("step_state", read::<StepState>);
    words("trigger", read::<Trigger>);
    let all = |name: &str, all: Vec<&str>| {
        let missing: Vec<&str> = all.into_iter().filter(|word| !recorded[name].contains(*word)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are not recorded");
    };
    all("attempt_outcome", AttemptOutcome::ALL.iter().map(|word| word.as_str()).collect());
    all("failure_class", FailureClass::ALL.iter().map(|word| word.as_str()).collect());
    all("forge_kind", ForgeKind::ALL.iter().map(|word| word.as_str()).collect());
    all("phase", Phase::ALL.iter().map(|word| word.as_str()).collect());
    all("step_state", StepState::ALL.iter().map(|word| word.as_str()).collect());
    all("trigger", Trigger::ALL.iter().map(|word| word.as_str()).collect());
}
