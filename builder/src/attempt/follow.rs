//! What the engine says while it builds, on its way into steps, the log and the remarks.

use std::collections::HashMap;
use std::time::Duration;

use slipway_domain::agent::StepReport;
use slipway_domain::attempt::StepState;
use slipway_domain::failure::Failure;
use slipway_domain::image::Base;
use slipway_domain::remarks::Warning;
use slipway_logfmt::chunk::Stream;
use tokio::sync::mpsc;

use super::flow::Flow;
use super::limits;
use crate::work::engine::StepEvent;

/// What the log says where the engine cut a step's output.
const CUT: &str = "the engine cut this step's output; an operator can raise its limit \
    (BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED of the engine, at most 2147483647; \
    some releases take -1 for no limit, others for no output at all)";
/// Longest address that is shown of where a warning is explained, bytes.
const MAX_URL_BYTES: usize = 300;

impl Flow {
    /// Variants share steps, which have one digest; what one of them took is not the other's.
    pub(super) async fn follow(
        &self,
        mut events: mpsc::Receiver<StepEvent>,
        (place, dockerfile): (usize, &str),
    ) -> Result<(), Failure> {
        let own = |digest: String| if place == 0 { digest } else { format!("{place}:{digest}") };
        let silence = Duration::from_secs(self.spec.limits.silence_secs);
        // The engine's numbers begin at 1 in every variant; ours go on through all of them.
        let mut numbers = HashMap::new();
        loop {
            let event = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => event,
                    None => return Ok(()),
                },
                () = self.agent.clock.sleep(silence) => return Err(limits::silent(silence)),
            };
            match event {
                StepEvent::Step(report) => {
                    let inputs = report.inputs.iter().filter_map(|input| numbers.get(input).copied()).collect();
                    let (theirs, digest) = (report.number, own(report.digest.clone()));
                    let number = self.step(StepReport { digest, inputs, ..report }, place)?;
                    numbers.insert(theirs, number);
                }
                StepEvent::Log { digest, stream, bytes } => {
                    let stream = if stream == 2 { Stream::Stderr } else { Stream::Stdout };
                    self.log.write(narrow(self.progress.number(&own(digest))), stream, &bytes).await?;
                }
                StepEvent::Moves => {}
                StepEvent::Cut { digest } => {
                    let number = self.progress.number(&own(digest));
                    self.noted.cut(number);
                    self.log.meta(narrow(number), CUT)?;
                }
                StepEvent::Warning { digest, text, line, url } => {
                    let step = digest.map(|digest| self.progress.number(&own(digest)));
                    let text = self.bases.as_written(text);
                    self.warn(Warning { text, step, dockerfile: Some(dockerfile.to_owned()), line }, Some(&url))?;
                }
                StepEvent::Notice { digest, text } => {
                    self.log.meta(narrow(self.progress.number(&own(digest))), &text)?;
                }
            }
        }
    }

    /// Returns the step's number.
    fn step(&self, report: StepReport, place: usize) -> Result<i64, Failure> {
        // The engine writes the values of arguments into names.
        let name = self.bases.as_written(self.log.masked(&report.name));
        if report.state == StepState::Succeeded && !report.cached {
            self.ran.step(&name);
        }
        Base::of_step(&name).into_iter().for_each(|base| self.outputs.upon(place, base));
        let ended = match report.state {
            StepState::Pending | StepState::Running => false,
            StepState::Succeeded | StepState::Failed | StepState::Cancelled => true,
        };
        let number = self.progress.step(StepReport { name, ..report });
        if ended {
            self.log.end_step(narrow(number))?;
        }
        Ok(number)
    }

    /// Tells something that may be wrong in the log, and remembers it for the build's page; once, however often it is said.
    pub(super) fn warn(&self, warning: Warning, url: Option<&str>) -> Result<(), Failure> {
        let (text, path) = (self.log.masked(&warning.text), warning.dockerfile.map(|path| self.log.masked(&path)));
        let warning = Warning { text, dockerfile: path, ..warning }.bounded();
        let line = in_words(&warning, url.filter(|url| is_address(url)));
        let step = warning.step.map_or(0, narrow);
        if self.noted.warn(warning) { self.log.meta(step, &line) } else { Ok(()) }
    }
}

fn in_words(warning: &Warning, url: Option<&str>) -> String {
    let Warning { text, dockerfile, line, step: _ } = warning;
    let mut words = format!("Warning: {text}");
    if let (Some(path), Some(line)) = (dockerfile, line) {
        words.push_str(&format!(" ({path}:{line})"));
    }
    if let Some(url) = url {
        words.push(' ');
        words.push_str(url);
    }
    words
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") && text.len() <= MAX_URL_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As logs number steps.
pub(super) fn narrow(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_where_and_where_more_is_said() {
        let warning = Warning {
            text: "Empty continuation line".to_owned(),
            step: Some(1),
            dockerfile: Some("docker/Dockerfile".to_owned()),
            line: Some(3),
        };
        let nowhere = Warning { line: None, ..warning.clone() };
        assert_eq!(
            in_words(&warning, Some("https://docs.example/rule")),
            "Warning: Empty continuation line (docker/Dockerfile:3) https://docs.example/rule"
        );
        assert_eq!(in_words(&nowhere, None), "Warning: Empty continuation line");
        for (text, is) in [("https://a.example/b", true), ("javascript:alert(1)", false), ("https://a\u{1b}[0m", false)]
        {
            assert_eq!(is_address(text), is, "{text}");
        }
        assert!(!is_address(&format!("https://{}", "a".repeat(MAX_URL_BYTES))));
    }
}
