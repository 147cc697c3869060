//! Statuses: what each forge takes, and what stands after it took one.

use std::time::Instant;

use serde_json::Value;

use super::{Answer, Seen, Told};
use crate::world::Forge;

/// A state that shall stand beside a commit.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) commit: String,
    pub(super) state: String,
    /// Whose state it is.
    pub(super) context: String,
    /// The same in words, where that is another field.
    pub(super) name: String,
    pub(super) description: String,
    pub(super) url: String,
    /// A number that it goes to, where the forge wants one.
    pub(super) check: Option<usize>,
    pub(super) fields: Value,
}

/// What a forge takes.
struct Limits {
    states: &'static [&'static str],
    longest_context: usize,
    longest_description: usize,
}

impl Limits {
    fn of(kind: Forge) -> Self {
        let (states, longest_context, longest_description): (&[&str], _, _) = match kind {
            Forge::Github => (&["error", "failure", "pending", "success"], 255, 140),
            Forge::Gitlab => (&["pending", "running", "success", "failed", "canceled", "skipped"], 255, 255),
            Forge::Bitbucket => (&["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"], 40, 255),
            Forge::BitbucketDc => (&["INPROGRESS", "SUCCESSFUL", "FAILED"], 255, 255),
            Forge::Gitea => (&["pending", "success", "error", "failure", "warning"], 255, 255),
            Forge::Gitee => (&["queued", "in_progress", "success", "failure", "cancelled", "skipped"], 255, 255),
            Forge::Coding => (&["COMMIT_STATE_PENDING", "COMMIT_STATE_SUCCESS", "COMMIT_STATE_ERROR"], 255, 255),
        };
        Self { states, longest_context, longest_description }
    }
}

impl Status {
    /// What the forge would not take, in words.
    pub(super) fn fault(&self, kind: Forge) -> Option<String> {
        let limits = Limits::of(kind);
        let length = |text: &str| text.chars().count();
        if self.commit.len() != 40 {
            return Some(format!("{} is no commit id", self.commit));
        }
        if !limits.states.contains(&self.state.as_str()) {
            return Some(format!("{} is no state", self.state));
        }
        let fits = (1..=limits.longest_context).contains(&length(&self.context)) && self.name.starts_with("slipway/");
        if !fits || !(1..=limits.longest_description).contains(&length(&self.description)) {
            return Some(format!("context or description: {}", self.fields));
        }
        (!self.url.contains("/builds/")).then(|| format!("the page: {}", self.fields))
    }
}

impl Seen {
    /// Takes or refuses a status, and remembers it.
    pub(super) fn take(&mut self, kind: Forge, status: &Status) -> Answer {
        if let Some(wrong) = status.fault(kind) {
            self.wrong.push(wrong);
        }
        let key = (status.commit.clone(), status.context.clone());
        if kind == Forge::Gitee {
            // One check of a name for a commit: made once, changed from then on.
            let known = self.checks(&status.commit).into_iter().find(|(_, name)| *name == status.context);
            if known.map(|(number, _)| number) != status.check {
                self.wrong.push(format!("a second check of this name, or none of this number: {}", status.fields));
            }
        }
        let mut answer = self.answers.pop_front().or(self.always).unwrap_or(Answer::Take);
        let takes = matches!(answer, Answer::Take | Answer::Lose | Answer::Hang);
        let (next, known) = (self.shown.len() + 1, self.shown.get(&key));
        if takes && kind == Forge::Gitlab && known.is_some_and(|(_, state)| *state == status.state) {
            answer = Answer::Repeated;
        } else if takes {
            let number = known.map_or(next, |(number, _)| *number);
            self.shown.insert(key, (number, status.state.clone()));
        }
        self.told.push(Told {
            commit: status.commit.clone(),
            state: status.state.clone(),
            context: status.name.clone(),
            url: status.url.clone(),
            fields: status.fields.clone(),
            answer,
            at: Instant::now(),
        });
        answer
    }
}
