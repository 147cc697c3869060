//! What is added to a failure before it is told: the last lines of its step, what they mean, and no secret anywhere.

use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::failure::{Detail, ExcerptLine, Failure};
use slipway_domain::remarks::{Remarks, Warning};

use super::{Attempt, Verdict};
use crate::attempt_log::AttemptLog;
use crate::work::advice::explained;

impl Attempt {
    /// The verdict with all that is known about it.
    pub(super) fn tell_fully(&self, verdict: Verdict) -> Verdict {
        let (outcome, failure) = verdict?;
        let failure = failure.map(|failure| {
            let failure = masked(failure, &self.log);
            let failure = match outcome {
                AttemptOutcome::Failed if failure.step.is_some() => self.with_step(failure),
                // What was at work then is worth knowing, too.
                AttemptOutcome::TimedOut | AttemptOutcome::Infra => self.with_step(failure),
                AttemptOutcome::Succeeded
                | AttemptOutcome::Failed
                | AttemptOutcome::Lost
                | AttemptOutcome::HandedBack
                | AttemptOutcome::Cancelled => failure,
            };
            explained(failure)
        });
        Some((outcome, failure))
    }

    /// What is to be known beside the verdict. Secrets that were not known when it was noted are masked as well.
    pub(super) fn remarks(&self) -> Remarks {
        let remarks = self.noted.remarks(self.log.left_out_bytes());
        let masked = |warning: Warning| Warning {
            text: self.log.masked(&warning.text),
            dockerfile: warning.dockerfile.map(|path| self.log.masked(&path)),
            ..warning
        };
        Remarks { warnings: remarks.warnings.into_iter().map(masked).collect(), ..remarks }
    }

    fn with_step(&self, failure: Failure) -> Failure {
        let Some(step) = self.progress.step_of(failure.step.as_deref()) else { return failure };
        let number = u32::try_from(step.number).unwrap_or(u32::MAX);
        // A full disk ends the log, not what was seen of it.
        let _ = self.log.end_step(number);
        let detail = Box::new(Detail { last_lines: self.log.last_lines(number), ..*failure.detail });
        Failure { step: Some(step.name), detail, ..failure }
    }
}

/// The failure without a secret. The engine's words and a step's name hold the values of arguments.
fn masked(failure: Failure, log: &AttemptLog) -> Failure {
    let line = |line: ExcerptLine| ExcerptLine { text: log.masked(&line.text), ..line };
    let Detail { dockerfile, excerpt, last_lines, hint } = *failure.detail;
    let dockerfile = dockerfile.map(|path| log.masked(&path));
    let excerpt = excerpt.into_iter().map(line).collect();
    Failure {
        message: log.masked(&failure.message),
        step: failure.step.map(|step| log.masked(&step)),
        detail: Box::new(Detail { dockerfile, excerpt, last_lines, hint: hint.map(|hint| log.masked(&hint)) }),
        ..failure
    }
}
