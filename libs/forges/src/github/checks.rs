//! Check runs, which only a GitHub App may write: a build's state beside the commit, with notes on lines of its files
//! and buttons to run it again (<https://docs.github.com/en/rest/checks/runs>).
//!
//! Nothing is made twice: before a check run is made, one that bears our build's id is looked for, because an earlier
//! answer may have been lost. GitHub appends the annotations of each update to those that are there, so what it
//! counts already is not sent again.

use chrono::{DateTime, Utc};
use http::Method;
use octocrab::params::checks::{
    CheckRunConclusion, CheckRunOutput, CheckRunOutputAnnotation, CheckRunOutputAnnotationLevel, CheckRunStatus,
};
use serde::{Deserialize, Serialize};
use slipway_domain::build::BuildState;
use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::is_commit_id;

use super::call::{call, get, route};
use super::client::owner_and_name;
use crate::api::ForgeApi;
use crate::api::rest::read;
use crate::status::cut;
use crate::transport::{ForgeError, Transport};

/// Annotations that GitHub takes in one call.
const ANNOTATIONS_PER_CALL: usize = 50;
/// Annotations that we send for one check run.
const MAX_ANNOTATIONS: usize = 200;
/// GitHub refuses longer summaries, counting characters.
const MAX_SUMMARY_BYTES: usize = 65_535;
/// GitHub takes 64 KB for an annotation's message.
const MAX_MESSAGE_BYTES: usize = 65_535;
/// GitHub takes so many characters for an annotation's title; for the check run's own it says nothing.
const MAX_TITLE_CHARS: usize = 255;

/// The state of one build as a check run of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// The repository's full path.
    pub repo: String,
    /// Full commit id.
    pub commit: String,
    /// The context: of check runs with one name GitHub shows the newest.
    pub name: String,
    /// State of the build.
    pub state: BuildState,
    /// The build's id. GitHub gives it back with the re-run button, and we find the check run by it.
    pub external_id: String,
    /// Page of the build.
    pub details_url: Option<String>,
    /// One sentence; cut to 255 characters.
    pub title: String,
    /// Markdown; cut to 65,535 bytes.
    pub summary: String,
    /// The same in the same order whenever this state is sent. Beyond 200, and without path or message, they are left
    /// out.
    pub annotations: Vec<Annotation>,
    /// When the build's first job was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When the build ended; not sent before it did.
    pub completed_at: Option<DateTime<Utc>>,
}

/// A note on lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line.
    pub end_line: u32,
    /// How it looks.
    pub level: AnnotationLevel,
    /// What is to be said; plain text.
    pub message: String,
    /// Its heading.
    pub title: Option<String>,
}

/// How an annotation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// Grey.
    Notice,
    /// Yellow.
    Warning,
    /// Red.
    Failure,
}

/// GitHub's words for our state: the status, and how it ended if it did. Of errors of ours it has no own word.
pub fn words(state: BuildState) -> (CheckRunStatus, Option<CheckRunConclusion>) {
    let ended = |conclusion| (CheckRunStatus::Completed, Some(conclusion));
    match state {
        BuildState::Pending => (CheckRunStatus::Queued, None),
        BuildState::Running => (CheckRunStatus::InProgress, None),
        BuildState::Succeeded => ended(CheckRunConclusion::Success),
        BuildState::Failed | BuildState::Errored => ended(CheckRunConclusion::Failure),
        BuildState::Cancelled | BuildState::Superseded => ended(CheckRunConclusion::Cancelled),
        BuildState::Skipped => ended(CheckRunConclusion::Skipped),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    /// Only when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    head_sha: Option<&'a str>,
    name: &'a str,
    external_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_url: Option<&'a str>,
    status: CheckRunStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<CheckRunConclusion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<DateTime<Utc>>,
    output: CheckRunOutput,
}

#[derive(Deserialize)]
struct Runs {
    check_runs: Vec<There>,
}

/// A check run that GitHub has.
#[derive(Deserialize)]
struct There {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    output: OutputThere,
}

#[derive(Deserialize, Default)]
struct OutputThere {
    #[serde(default)]
    annotations_count: usize,
}

impl ForgeApi {
    /// Makes the check run, or updates the one that is known, else the one of this build that GitHub has; answers its
    /// id, for the next state of the same build. GitHub only, with a token of an App's installation. May be repeated
    /// after any error.
    pub async fn set_check_run(&self, run: &CheckRun, known: Option<u64>) -> Result<u64, ForgeError> {
        if self.kind != ForgeKind::Github {
            return Err(ForgeError::Invalid("only GitHub has check runs".to_owned()));
        }
        if !is_commit_id(&run.commit) {
            return Err(ForgeError::Invalid("the commit is not a full object id".to_owned()));
        }
        if run.external_id.is_empty() || run.name.is_empty() {
            return Err(ForgeError::Invalid("a check run needs a name and a build".to_owned()));
        }
        let (owner, name) = owner_and_name(&run.repo)?;
        Checks { transport: &self.transport, owner, name }.set(run, known).await
    }
}

/// The check runs of one repository.
struct Checks<'a> {
    transport: &'a Transport,
    owner: &'a str,
    name: &'a str,
}

impl Checks<'_> {
    async fn set(&self, run: &CheckRun, known: Option<u64>) -> Result<u64, ForgeError> {
        let notes: Vec<&Annotation> = run
            .annotations
            .iter()
            .filter(|note| !note.path.is_empty() && !note.message.is_empty())
            .take(MAX_ANNOTATIONS)
            .collect();
        let there = match known {
            Some(id) if notes.is_empty() => Some(There::bare(id)),
            Some(id) => Some(read(&get(self.transport, self.route(Some(id))).await?)?),
            None => self.find(run).await?,
        };
        let sent = there.as_ref().map_or(0, |there| there.output.annotations_count);
        let left = notes.get(sent..).unwrap_or_default();
        let (first, more) = left.split_at(left.len().min(ANNOTATIONS_PER_CALL));
        let id = match there {
            Some(there) => self.update(there.id, run, first).await?,
            None => self.make(run, first).await?,
        };
        for next in more.chunks(ANNOTATIONS_PER_CALL) {
            self.update(id, run, next).await?;
        }
        Ok(id)
    }

    /// The check run of this build. All are asked for, because the latest of its name may be another build's of the
    /// same commit.
    async fn find(&self, run: &CheckRun) -> Result<Option<There>, ForgeError> {
        let query = [("check_name", run.name.as_str()), ("filter", "all"), ("per_page", "100")];
        let route = route(["repos", self.owner, self.name, "commits", &run.commit, "check-runs"], &query)?;
        let found: Runs = read(&get(self.transport, route).await?)?;
        let ours = |there: &There| there.name == run.name && there.external_id.as_ref() == Some(&run.external_id);
        Ok(found.check_runs.into_iter().filter(ours).max_by_key(|there| there.id))
    }

    async fn make(&self, run: &CheckRun, annotations: &[&Annotation]) -> Result<u64, ForgeError> {
        let body = body(run, Some(&run.commit), annotations);
        let made: There = read(&call(self.transport, Method::POST, self.route(None), Some(&body)).await?)?;
        Ok(made.id)
    }

    async fn update(&self, id: u64, run: &CheckRun, annotations: &[&Annotation]) -> Result<u64, ForgeError> {
        let body = body(run, None, annotations);
        call(self.transport, Method::PATCH, self.route(Some(id)), Some(&body)).await?;
        Ok(id)
    }

    fn route(&self, id: Option<u64>) -> String {
        let all = format!("/repos/{}/{}/check-runs", self.owner, self.name);
        id.map_or(all.clone(), |id| format!("{all}/{id}"))
    }
}

impl There {
    /// One of which only the id matters.
    fn bare(id: u64) -> Self {
        Self { id, name: String::new(), external_id: None, output: OutputThere::default() }
    }
}

fn body<'a>(run: &'a CheckRun, head_sha: Option<&'a str>, annotations: &[&Annotation]) -> Body<'a> {
    let (status, conclusion) = words(run.state);
    Body {
        head_sha,
        name: &run.name,
        external_id: &run.external_id,
        details_url: run.details_url.as_deref(),
        status,
        conclusion,
        started_at: run.started_at,
        completed_at: run.completed_at.filter(|_| conclusion.is_some()),
        output: CheckRunOutput {
            title: cut(&run.title, MAX_TITLE_CHARS),
            summary: cut_bytes(&run.summary, MAX_SUMMARY_BYTES),
            text: None,
            annotations: annotations.iter().map(|note| annotation(note)).collect(),
            images: Vec::new(),
        },
    }
}

/// Lines count from 1, and the last is not before the first, or GitHub refuses the whole call.
fn annotation(note: &Annotation) -> CheckRunOutputAnnotation {
    let start_line = note.start_line.max(1);
    CheckRunOutputAnnotation {
        path: note.path.clone(),
        start_line,
        end_line: note.end_line.max(start_line),
        start_column: None,
        end_column: None,
        annotation_level: match note.level {
            AnnotationLevel::Notice => CheckRunOutputAnnotationLevel::Notice,
            AnnotationLevel::Warning => CheckRunOutputAnnotationLevel::Warning,
            AnnotationLevel::Failure => CheckRunOutputAnnotationLevel::Failure,
        },
        message: cut_bytes(&note.message, MAX_MESSAGE_BYTES),
        title: note.title.as_deref().map(|title| cut(title, MAX_TITLE_CHARS)),
        raw_details: None,
    }
}

fn cut_bytes(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

#[cfg(test)]
mod tests;
