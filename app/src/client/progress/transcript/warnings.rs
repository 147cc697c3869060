//! What the engine warned of: what stands in the steps' blocks, and what is left for the end.

use slipway_domain::remarks::{Remarks, Warning};

use crate::client::progress::line::Line;

/// So many are kept with their words, as many as builders tell of one attempt; the others are counted.
const MAX_KEPT: usize = 1000;

/// The warnings of one attempt.
#[derive(Debug, Default)]
pub struct Warnings {
    told: Known,
    put_off: Known,
    remarks: Remarks,
}

#[derive(Debug, Default)]
struct Known {
    texts: Vec<String>,
    count: usize,
}

impl Warnings {
    /// One stands in its step's block.
    pub fn tell(&mut self, text: &str) {
        self.told.add(text);
    }

    /// One belongs to no step.
    pub fn put_off(&mut self, text: String) {
        self.put_off.add(&text);
    }

    /// What the build's JSON says of them, of which the log may have lost some.
    pub fn remark(&mut self, remarks: &Remarks) {
        self.remarks = remarks.clone();
    }

    /// Those that no step's block has, in the form in which buildx ends.
    pub fn list(&self) -> Vec<Line> {
        let is_known = |words: &String| self.told.has(words) || self.put_off.has(words);
        let lost = self.remarks.warnings.iter().map(words).filter(|words| !is_known(words));
        let listed: Vec<String> = self.put_off.texts.iter().cloned().chain(lost).collect();
        let all = usize::try_from(self.remarks.warning_count).unwrap_or(0).saturating_sub(self.told.count);
        let count = all.max(self.put_off.count).max(listed.len());
        if count == 0 {
            return Vec::new();
        }
        let more = (count > listed.len()).then(|| format!("… and {} more", count - listed.len()));
        let listed = listed.into_iter().chain(more).map(|text| Line::Listed { text });
        std::iter::once(Line::Warnings { count }).chain(listed).collect()
    }
}

impl Known {
    fn add(&mut self, text: &str) {
        self.count += 1;
        if self.texts.len() < MAX_KEPT {
            self.texts.push(text.to_owned());
        }
    }

    /// In the log an address may follow where more is said.
    fn has(&self, words: &str) -> bool {
        let says =
            |text: &String| text.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(" http"));
        self.texts.iter().any(says)
    }
}

/// A warning with its place, as builders write it into the log.
fn words(warning: &Warning) -> String {
    match (&warning.dockerfile, warning.line) {
        (Some(path), Some(line)) => format!("{} ({path}:{line})", warning.text),
        _ => warning.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str, line: Option<i64>) -> Warning {
        Warning { text: text.to_owned(), step: None, dockerfile: Some("docker/Dockerfile".to_owned()), line }
    }

    fn listed(warnings: &Warnings) -> String {
        warnings.list().iter().map(|line| line.paint(false)).collect()
    }

    #[test]
    fn what_no_block_has_is_listed_once() {
        let mut warnings = Warnings::default();
        assert_eq!(listed(&warnings), "");
        warnings.tell("old (docker/Dockerfile:3) https://docs.example/old");
        warnings.remark(&Remarks { warning_count: 1, warnings: vec![warning("old", Some(3))], ..Remarks::default() });
        assert_eq!(listed(&warnings), "", "it was told");
        let told =
            |count| Remarks { warning_count: count, warnings: vec![warning("old", Some(3))], ..Remarks::default() };
        warnings.remark(&told(5));
        assert_eq!(listed(&warnings), " 4 warnings found:\n - … and 4 more\n", "the log lost those without words");
        warnings.remark(&told(1));
        warnings.put_off("loose".to_owned());
        assert_eq!(listed(&warnings), " 1 warning found:\n - loose\n");
        warnings.remark(&Remarks {
            warning_count: 9,
            warnings: vec![warning("old", Some(3)), warning("loose", None), warning("old", Some(30))],
            ..Remarks::default()
        });
        let expected = " 8 warnings found:\n - loose\n - old (docker/Dockerfile:30)\n - … and 6 more\n";
        assert_eq!(listed(&warnings), expected, "the log lost the others");
    }

    #[test]
    fn a_log_that_warns_without_end_is_counted() {
        let mut warnings = Warnings::default();
        (0..=MAX_KEPT).for_each(|number| warnings.put_off(format!("number {number}")));
        let lines = warnings.list();
        assert_eq!((lines.len(), &lines[0]), (MAX_KEPT + 2, &Line::Warnings { count: MAX_KEPT + 1 }));
        assert_eq!(lines.last(), Some(&Line::Listed { text: "… and 1 more".to_owned() }));
    }
}
