//! What people should know of an attempt beside how it ended: what the engine warned of, and what its log does not hold.

use serde::{Deserialize, Serialize};

/// So many warnings are kept with their words; of the others the number.
pub const MAX_WARNINGS: usize = 5;
/// So many steps are named whose output was cut.
pub const MAX_CUT_STEPS: usize = 20;
/// Longest words of a warning, and longest path, in characters.
const MAX_CHARS: usize = 300;

/// The remarks of one attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remarks {
    /// How many warnings there were.
    #[serde(default)]
    pub warning_count: i64,
    /// The first of them.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Bytes that are left out of the log, because the plan allows no longer one.
    #[serde(default)]
    pub log_left_out_bytes: i64,
    /// Numbers of the steps whose output the engine itself cut.
    #[serde(default)]
    pub cut_steps: Vec<i64>,
}

/// Something that may be wrong, and that the build did not fail of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is, on one line, masked.
    pub text: String,
    /// The step whose log has it, by its number; `None` if it belongs to none.
    #[serde(default)]
    pub step: Option<i64>,
    /// The Dockerfile that it is about, from the repository's root.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// The line there, from 1.
    #[serde(default)]
    pub line: Option<i64>,
}

impl Remarks {
    /// No more than is kept, whatever engines and builders tell.
    pub fn bounded(self) -> Self {
        let Self { warning_count, mut warnings, log_left_out_bytes, mut cut_steps } = self;
        warnings.truncate(MAX_WARNINGS);
        cut_steps.truncate(MAX_CUT_STEPS);
        let warnings: Vec<Warning> = warnings.into_iter().map(Warning::bounded).collect();
        let told = i64::try_from(warnings.len()).unwrap_or(i64::MAX);
        Self {
            warning_count: warning_count.max(told),
            warnings,
            log_left_out_bytes: log_left_out_bytes.max(0),
            cut_steps,
        }
    }
}

impl Warning {
    /// On one line, and not too long.
    pub fn bounded(self) -> Self {
        Self { text: one_line(&self.text), dockerfile: self.dockerfile.as_deref().map(one_line), ..self }
    }
}

fn one_line(text: &str) -> String {
    let mut line: String = text.trim().chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str) -> Warning {
        Warning { text: text.to_owned(), step: None, dockerfile: None, line: None }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_counted() {
        let long = "é".repeat(1000);
        let remarks = Remarks {
            warning_count: 2,
            warnings: vec![Warning { dockerfile: Some("a\nb".to_owned()), ..warning(&long) }; 9],
            log_left_out_bytes: -1,
            cut_steps: (0..100).collect(),
        };
        let Remarks { warning_count, warnings, log_left_out_bytes, cut_steps } = remarks.bounded();
        assert_eq!((warning_count, warnings.len(), log_left_out_bytes, cut_steps.len()), (5, 5, 0, MAX_CUT_STEPS));
        assert_eq!(warnings[0].dockerfile.as_deref(), Some("a b"));
        assert!(warnings[0].text.chars().count() == MAX_CHARS + 1 && warnings[0].text.ends_with('…'));
        let again = Remarks { warnings: warnings.clone(), ..Remarks::default() }.bounded();
        assert_eq!(again.warnings.len(), MAX_WARNINGS);
    }

    #[test]
    fn rows_of_an_older_release_have_no_remarks() {
        assert_eq!(serde_json::from_str::<Remarks>("{}").expect("reads"), Remarks::default());
        assert_eq!(warning(" a\tb\u{1b}[0m\n").bounded().text, "a b [0m");
    }
}
