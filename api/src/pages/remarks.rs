//! What a build's page says beside how it ended: what the log does not hold, and what the engine warned of.

use slipway_domain::remarks::{Remarks, Warning};
use slipway_domain::size::bytes;

use crate::texts::Texts;

/// The remarks of a job's newest attempt, in words.
#[derive(Debug, Default)]
pub(super) struct RemarkFacts {
    /// Words about a log that is longer than the plan allows.
    pub(super) left_out: Option<String>,
    /// The steps whose output the engine cut.
    pub(super) cut_steps: Vec<i64>,
    /// How many warnings there are, in words.
    pub(super) warned: Option<String>,
    pub(super) warnings: Vec<WarningRow>,
    /// How many are not shown, in words.
    pub(super) more: Option<String>,
}

/// One warning.
#[derive(Debug)]
pub(super) struct WarningRow {
    /// Where in the Dockerfile it is.
    pub(super) place: Option<String>,
    pub(super) text: String,
    /// The step whose log has it.
    pub(super) step: Option<i64>,
}

impl RemarkFacts {
    pub(super) fn new(remarks: &Remarks, texts: Texts) -> Self {
        let Remarks { warning_count, warnings, log_left_out_bytes, cut_steps } = remarks;
        let more = warning_count.saturating_sub(i64::try_from(warnings.len()).unwrap_or(i64::MAX));
        Self {
            left_out: (*log_left_out_bytes > 0)
                .then(|| texts.t("build-log-left-out").with("size", bytes(*log_left_out_bytes)).to_string()),
            cut_steps: cut_steps.clone(),
            warned: (*warning_count > 0).then(|| texts.t("build-warnings").with("count", *warning_count).to_string()),
            warnings: warnings.iter().map(WarningRow::from).collect(),
            more: (more > 0).then(|| texts.t("build-more-warnings").with("count", more).to_string()),
        }
    }
}

impl From<&Warning> for WarningRow {
    fn from(warning: &Warning) -> Self {
        Self {
            place: place(warning.dockerfile.as_deref(), warning.line),
            text: warning.text.clone(),
            step: warning.step,
        }
    }
}

/// A line of a file as compilers name it, `docker/Dockerfile:12`.
pub(super) fn place(path: Option<&str>, line: Option<i64>) -> Option<String> {
    Some(format!("{}:{}", path?, line?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::ENGLISH;

    #[test]
    fn an_attempt_without_remarks_says_nothing() {
        let RemarkFacts { left_out, cut_steps, warned, warnings, more } =
            RemarkFacts::new(&Remarks::default(), ENGLISH);
        assert_eq!((left_out, warned, more, cut_steps.len(), warnings.len()), (None, None, None, 0, 0));
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let warning = |line| Warning { text: "w".to_owned(), step: Some(1), dockerfile: Some("a/D".to_owned()), line };
        let remarks = Remarks {
            warning_count: 9,
            warnings: vec![warning(Some(12)), warning(None)],
            log_left_out_bytes: 3 << 20,
            cut_steps: vec![4],
        };
        let facts = RemarkFacts::new(&remarks, ENGLISH);
        assert_eq!(facts.warned.as_deref(), Some("9 warnings"));
        assert_eq!(facts.more.as_deref(), Some("and 7 more in the log"));
        assert!(facts.left_out.is_some_and(|words| words.contains("3.0 MiB")));
        let places: Vec<_> = facts.warnings.iter().map(|row| row.place.as_deref()).collect();
        assert_eq!(places, [Some("a/D:12"), None]);
        let one = Remarks { warning_count: 1, warnings: vec![warning(None)], ..Remarks::default() };
        let facts = RemarkFacts::new(&one, ENGLISH);
        assert_eq!((facts.warned.as_deref(), facts.more), (Some("1 warning"), None));
    }
}
