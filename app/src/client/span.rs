//! Times for people.

use chrono::{DateTime, TimeDelta, Utc};

/// A span of time: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 1 min`.
pub fn span(span: TimeDelta) -> String {
    let millis = span.num_milliseconds().max(0);
    let secs = millis / 1000;
    match secs {
        0..10 => format!("{secs}.{} s", millis % 1000 / 100),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// How long something took, or has taken until now; `None` if it has not begun.
pub fn took(started: Option<DateTime<Utc>>, finished: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<String> {
    started.map(|started| span(finished.unwrap_or(now) - started))
}

/// How long ago something was; a date once that is more useful.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let secs = (now - at).num_seconds().max(0);
    match secs {
        0..5 => "just now".to_owned(),
        5..60 => format!("{secs} s ago"),
        60..3600 => format!("{} min ago", secs / 60),
        3600..86_400 => format!("{} h ago", secs / 3600),
        _ => at.format("%Y-%m-%d %H:%M UTC").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_ages() {
        let spans = [(400, "0.4 s"), (12_345, "12 s"), (185_000, "3 min 5 s"), (7_260_000, "2 h 1 min"), (-5, "0.0 s")];
        for (millis, expected) in spans {
            assert_eq!(span(TimeDelta::milliseconds(millis)), expected);
        }
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("valid");
        let ages = [
            (1, "just now"),
            (59, "59 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (86_400, "2023-11-13 22:13 UTC"),
        ];
        for (secs, expected) in ages {
            assert_eq!(ago(now - TimeDelta::seconds(secs), now), expected);
        }
        assert_eq!(took(None, Some(now), now), None);
        assert_eq!(took(Some(now - TimeDelta::seconds(2)), None, now).as_deref(), Some("2.0 s"));
    }
}
