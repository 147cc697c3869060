//! Small checks and wordings that several nouns share.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_runtime::problem::ApiError;

use crate::texts::Texts;

/// Longest name of a project, tenant or token, in characters.
const MAX_NAME: usize = 100;

/// Longest text that is looked for in a list, in characters; the longest ref is shorter.
const MAX_SEARCHED: usize = 1000;

/// Names are 1 to 100 characters that people can see; `/` is allowed.
pub fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME {
        return Err(ApiError::Invalid(format!("{field} must have 1 to {MAX_NAME} characters; it has {length}.")));
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        return Err(ApiError::Invalid(format!(
            "{field} must not begin or end with a space or hold control characters."
        )));
    }
    Ok(())
}

/// What is looked for in a list: `None` for nothing. Databases refuse some control characters, and no name has one.
pub fn searched(field: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match &text {
        Some(text) if text.chars().any(char::is_control) => {
            Err(ApiError::Invalid(format!("{field} must not hold control characters.")))
        }
        Some(text) if text.chars().count() > MAX_SEARCHED => {
            Err(ApiError::Invalid(format!("{field} must have {MAX_SEARCHED} characters at most.")))
        }
        Some(_) | None => Ok(text),
    }
}

/// A span of time for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 1 min`.
pub fn span(span: TimeDelta, texts: Texts) -> String {
    let millis = span.num_milliseconds().max(0);
    let secs = millis / 1000;
    let told = match secs {
        0..10 => texts.t("time-seconds").with("secs", format!("{secs}.{}", millis % 1000 / 100)),
        10..60 => texts.t("time-seconds").with("secs", secs),
        60..3600 => texts.t("time-minutes").with("mins", secs / 60).with("secs", secs % 60),
        _ => texts.t("time-hours").with("hours", secs / 3600).with("mins", secs % 3600 / 60),
    };
    told.to_string()
}

/// How long something took, or has taken until now; empty if it has not begun.
pub fn took(
    started: Option<DateTime<Utc>>,
    finished: Option<DateTime<Utc>>,
    (now, texts): (DateTime<Utc>, Texts),
) -> String {
    started.map(|started| span(finished.unwrap_or(now) - started, texts)).unwrap_or_default()
}

/// How long ago something was; an older time is named.
#[derive(Debug, Clone)]
pub enum Ago {
    JustNow,
    Seconds(i64),
    Minutes(i64),
    Hours(i64),
    At(String),
}

impl Ago {
    /// From `at` to `now`.
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let secs = (now - at).num_seconds().max(0);
        match secs {
            0..5 => Self::JustNow,
            5..60 => Self::Seconds(secs),
            60..3600 => Self::Minutes(secs / 60),
            3600..86_400 => Self::Hours(secs / 3600),
            _ => Self::At(at.format("%Y-%m-%d %H:%M UTC").to_string()),
        }
    }

    /// In words.
    pub fn told(&self, texts: Texts) -> String {
        match self {
            Self::JustNow => texts.t("time-just-now").to_string(),
            Self::Seconds(count) => texts.t("time-seconds-ago").with("count", count).to_string(),
            Self::Minutes(count) => texts.t("time-minutes-ago").with("count", count).to_string(),
            Self::Hours(count) => texts.t("time-hours-ago").with("count", count).to_string(),
            Self::At(time) => time.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::ENGLISH;
    use crate::texts::language::Language;

    #[test]
    fn names_are_what_people_can_see() {
        for good in ["a", "acme/app", "プロジェクト", "with space inside"] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        let long = "x".repeat(101);
        for bad in ["", " a", "a ", "a\nb", "a\u{0}", &long] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
        assert!(check_name("name", &"é".repeat(100)).is_ok());
    }

    #[test]
    fn what_is_looked_for_is_trimmed_and_holds_no_control_characters() {
        let of = |text: &str| searched("q", Some(text.to_owned()));
        assert_eq!(of(" a b ").ok().flatten().as_deref(), Some("a b"));
        assert!(matches!((of(" "), searched("q", None)), (Ok(None), Ok(None))));
        assert!(of("a\u{0}b").is_err() && of(&"x".repeat(1001)).is_err());
    }

    #[test]
    fn spans_read_well() {
        let chinese = Texts { language: Language::Chinese };
        for (millis, wanted, in_chinese) in [
            (0, "0.0 s", "0.0 秒"),
            (449, "0.4 s", "0.4 秒"),
            (12_400, "12 s", "12 秒"),
            (185_000, "3 min 5 s", "3 分 5 秒"),
            (7_260_000, "2 h 1 min", "2 小时 1 分"),
            (-5, "0.0 s", "0.0 秒"),
        ] {
            let length = TimeDelta::milliseconds(millis);
            assert_eq!((span(length, ENGLISH).as_str(), span(length, chinese).as_str()), (wanted, in_chinese));
        }
    }
}
