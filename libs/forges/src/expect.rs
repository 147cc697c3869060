//! What the tests of this crate expect of deliveries: how they are understood, refused or malformed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use slipway_domain::event::{ChangeDetails, ChangeEvent, Event, Outcome, RefEvent};

use crate::hook::{ParseError, Parsed, parse, verify};
use crate::testing::{Delivery, SECRET, at};

/// `base` with the value at each JSON pointer set.
pub(crate) fn with(mut base: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = base.pointer_mut(parent).expect("there");
        match key.parse::<usize>() {
            Ok(index) if parent.is_array() => parent[index] = value.clone(),
            _ => parent[key] = value.clone(),
        }
    }
    base
}

pub(crate) fn understood(delivery: &Delivery) -> Parsed {
    parse(&delivery.received()).expect("a good delivery")
}

pub(crate) fn the_events(delivery: &Delivery) -> Vec<Event> {
    match understood(delivery).outcome {
        Outcome::Events(events) => events,
        other => panic!("no events: {other:?}"),
    }
}

pub(crate) fn the_event(delivery: &Delivery) -> Event {
    let mut events = the_events(delivery);
    assert_eq!(events.len(), 1, "one event");
    events.remove(0)
}

pub(crate) fn the_ref(delivery: &Delivery) -> RefEvent {
    match the_event(delivery) {
        Event::Ref(event) => event,
        other => panic!("not a ref: {other:?}"),
    }
}

pub(crate) fn the_change(delivery: &Delivery) -> ChangeEvent {
    match the_event(delivery) {
        Event::Change(event) => event,
        other => panic!("not a change: {other:?}"),
    }
}

/// What moved alone.
pub(crate) fn without_details(change: ChangeEvent) -> ChangeEvent {
    ChangeEvent { details: ChangeDetails::default(), ..change }
}

/// Each outcome in a few words.
pub(crate) fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ping => "ping".to_owned(),
        Outcome::Lifecycle(reason) => format!("lifecycle {reason}"),
        Outcome::Ignored(reason) => format!("ignored {reason}"),
        Outcome::Events(events) => match events.as_slice() {
            [Event::Release(event)] => format!("release {} {}", event.repo, event.tag),
            [Event::Rerun(event)] => format!("rerun {} {}", event.repo, event.commit),
            other => format!("{other:?}"),
        },
    }
}

/// Every delivery is malformed at its place, and the error repeats nothing of the body.
pub(crate) fn assert_malformed(table: Vec<(Delivery, &str)>) {
    for (delivery, expected) in table {
        match parse(&delivery.received()) {
            Err(ParseError::Malformed { place, problem }) => {
                assert_eq!(place, expected, "{problem}");
                assert!(!problem.contains("upload-pack") && problem.len() < 120, "{problem}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

/// Whether the delivery is accepted with these secrets, or else why not.
pub(crate) fn judged(delivery: &Delivery, secrets: &[&str], now: DateTime<Utc>) -> Result<String, &'static str> {
    let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    verify(&delivery.received(), &secrets, now).map(|auth| auth.to_string()).map_err(|error| error.reason())
}

/// Name, delivery, secrets, and the proof or the reason that is expected.
pub(crate) type Judged<'a> = (&'a str, &'a Delivery, &'a [&'a str], Result<&'a str, &'a str>);

pub(crate) fn assert_judged(now: DateTime<Utc>, table: &[Judged<'_>]) {
    for (name, delivery, secrets, expected) in table {
        let found = judged(delivery, secrets, now);
        assert_eq!(found.as_deref().map_err(|reason| *reason), *expected, "{name}");
    }
}

/// The header carries `prefix` and the digits of a MAC over the body, and nothing else is accepted.
pub(crate) fn assert_hex_signature(good: &Delivery, header: &str, prefix: &str) {
    let digits = good.digits(header);
    let header_is = |value: &str| good.clone().with(header, value);
    let mut other_body = good.clone();
    other_body.body.push(b' ');
    let foreign = format!("md5={digits}");
    let table: &[(&str, &Delivery, &[&str], &str)] = &[
        ("as signed", good, &[SECRET], "accepted"),
        ("upper case", &header_is(&format!("{prefix}{}", digits.to_uppercase())), &[SECRET], "accepted"),
        ("current and previous", good, &["newer", SECRET], "accepted"),
        ("other secret", good, &["other"], "mismatch"),
        ("beginning of the secret", good, &["It's"], "mismatch"),
        ("no secret", good, &[], "no_secret"),
        ("empty secret", good, &["", ""], "no_secret"),
        ("no header", &good.clone().without(header), &[SECRET], "missing"),
        ("twice", &good.clone().twice(header), &[SECRET], "repeated"),
        ("wrong prefix", &header_is(&foreign), &[SECRET], "malformed"),
        ("odd length", &header_is(&format!("{prefix}{}", &digits[1..])), &[SECRET], "malformed"),
        ("cut", &header_is(&format!("{prefix}{}", &digits[2..])), &[SECRET], "mismatch"),
        ("not hexadecimal", &header_is(&format!("{prefix}zz")), &[SECRET], "malformed"),
        (
            "not ASCII",
            &header_is(&format!("{prefix}\u{fc}")),
            &[SECRET],
            if prefix.is_empty() { "missing" } else { "malformed" },
        ),
        ("other body", &other_body, &[SECRET], "mismatch"),
    ];
    for (name, delivery, secrets, expected) in table {
        let found = judged(delivery, secrets, at(0)).map_or_else(|reason| reason, |_| "accepted");
        assert_eq!(found, *expected, "{name}");
    }
    if !prefix.is_empty() {
        for value in ["", prefix, &digits] {
            assert!(judged(&header_is(value), &[SECRET], at(0)).is_err(), "{value}");
        }
    }
}
