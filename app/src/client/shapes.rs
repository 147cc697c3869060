//! What of the server's answers is shown as text. Words stay text and unknown fields are skipped, so that
//! this client also reads what newer servers say.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_domain::remarks::Remarks;

use crate::client::exit::Failed;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The items, as the server wrote them.
    pub items: Vec<Value>,
    /// What to ask for next.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A secret, without its value.
#[derive(Debug, Deserialize)]
pub struct Secret {
    pub name: String,
    pub branches: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub changes: bool,
    pub updated_at: DateTime<Utc>,
}

/// A project.
#[derive(Debug, Deserialize)]
pub struct Project {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub forge: String,
    pub repo: Repo,
    #[serde(default)]
    pub image: Option<Image>,
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default)]
    pub visibility: String,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub hook: Option<Hook>,
}

#[derive(Debug, Deserialize)]
pub struct Repo {
    pub full_path: String,
}

#[derive(Debug, Deserialize)]
pub struct Image {
    pub repository: String,
}

#[derive(Deserialize)]
pub struct Hook {
    pub url: String,
    #[serde(default)]
    pub secret: Option<String>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A build.
#[derive(Debug, Deserialize)]
pub struct Build {
    pub id: String,
    pub project: String,
    #[serde(default)]
    pub project_name: Option<String>,
    pub state: String,
    pub trigger: String,
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    pub commit: String,
    #[serde(default)]
    pub title: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub waiting: Option<Waiting>,
    pub jobs: Vec<Job>,
    #[serde(default)]
    pub url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Waiting {
    pub reason: String,
    pub position: Option<i64>,
}

/// A part of a build.
#[derive(Debug, Deserialize)]
pub struct Job {
    pub id: String,
    #[serde(default)]
    pub build: Option<String>,
    pub kind: String,
    pub state: String,
    pub pool: String,
    pub attempts: Vec<Attempt>,
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub images: Vec<PushedImage>,
    #[serde(default)]
    pub built: Vec<Built>,
    pub failure: Option<Failure>,
}

#[derive(Debug, Deserialize)]
pub struct Attempt {
    pub epoch: i64,
    #[serde(default)]
    pub outcome: Option<String>,
    #[serde(default)]
    pub remarks: Remarks,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// Its number in the log; 0 if the server does not say.
    #[serde(default)]
    pub number: i64,
    pub name: String,
    pub state: String,
    #[serde(default)]
    pub cached: bool,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub exit_code: Option<i64>,
    /// Bytes that it has moved so far.
    pub moved_bytes: Option<i64>,
    /// Bytes that it will have moved.
    pub total_bytes: Option<i64>,
    /// Milliseconds in which it did not run between its begin and its end.
    #[serde(default)]
    pub paused_ms: Option<i64>,
}

impl Step {
    /// When it would have begun had it run in one go.
    pub fn ran_since(&self) -> Option<DateTime<Utc>> {
        let paused = TimeDelta::milliseconds(self.paused_ms.unwrap_or(0).max(0));
        let since = self.started_at?.checked_add_signed(paused)?;
        Some(self.finished_at.map_or(since, |finished| since.min(finished)))
    }
}

#[derive(Debug, Deserialize)]
pub struct PushedImage {
    #[serde(rename = "ref")]
    pub reference: String,
    pub digest: String,
    #[serde(default = "yes")]
    pub moved: bool,
}

/// An image, layer by layer.
#[derive(Debug, Deserialize)]
pub struct Built {
    pub target: Option<String>,
    pub size_bytes: i64,
    pub layers: Vec<Layer>,
    pub difference: Option<Difference>,
}

#[derive(Debug, Deserialize)]
pub struct Layer {
    pub size_bytes: i64,
    pub compressed_bytes: Option<i64>,
    pub instruction: String,
    #[serde(default)]
    pub new: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub struct Difference {
    pub build: String,
    pub size_bytes_change: i64,
    pub shared_layers: i64,
    pub new_layers: i64,
    pub gone_layers: i64,
}

#[derive(Debug, Deserialize)]
pub struct Failure {
    pub class: String,
    #[serde(default)]
    pub message: Option<String>,
    pub step: Option<String>,
    pub exit_code: Option<i64>,
    /// Its path from the repository's root.
    #[serde(default)]
    pub dockerfile: Option<String>,
    pub dockerfile_line: Option<i64>,
    pub hint: Option<String>,
    #[serde(default)]
    pub excerpt: Vec<ExcerptLine>,
    #[serde(default)]
    pub last_lines: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct ExcerptLine {
    pub line: i64,
    pub text: String,
    #[serde(default)]
    pub failing: bool,
}

/// What a forge sent.
#[derive(Debug, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub project: String,
    #[serde(default)]
    pub project_name: Option<String>,
    /// The forge's own id of it.
    #[serde(default)]
    pub delivery: Option<String>,
    pub event: String,
    #[serde(default)]
    pub auth: Option<String>,
    pub received_at: DateTime<Utc>,
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    pub state: String,
    pub reason: Option<String>,
    #[serde(default)]
    pub attempts: Option<i64>,
    pub builds: Vec<String>,
}

/// What came in with a delivery, secrets masked.
#[derive(Debug, Deserialize)]
pub struct Payload {
    pub headers: BTreeMap<String, String>,
    pub body: String,
    #[serde(default)]
    pub truncated: bool,
    pub kept: bool,
    /// What it means, as `slipway hook inspect` prints it.
    #[serde(default)]
    pub inspection: Option<Value>,
}

/// A builder.
#[derive(Debug, Deserialize)]
pub struct Builder {
    pub id: String,
    pub name: String,
    pub region: String,
    pub class: String,
    pub platform: String,
    pub slots: i64,
    pub busy: i64,
    pub state: String,
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A token by which builders join.
#[derive(Deserialize)]
pub struct JoinToken {
    pub token: String,
    #[serde(default)]
    pub pool: Option<String>,
}

impl Job {
    /// The newest attempt's number; 0 before the first.
    pub fn newest_epoch(&self) -> i64 {
        self.attempts.iter().map(|attempt| attempt.epoch).max().unwrap_or(0)
    }

    /// True once its state never changes again. A word that we do not know is no end.
    pub fn is_over(&self) -> bool {
        self.state.parse::<slipway_domain::job::JobState>().is_ok_and(slipway_domain::job::JobState::is_terminal)
    }
}

/// A part of an answer in the form in which we show it.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Failed> {
    T::deserialize(value).map_err(|error| {
        Failed::server(format!(
            "The server's answer is not what this client knows ({error}); use a client of the server's version."
        ))
    })
}

fn yes() -> bool {
    true
}
