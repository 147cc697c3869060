//! A commit status: what developers see beside the commit on the forge.

use slipway_domain::build::BuildState;

/// The state of one build, for one commit and context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// The repository's full path.
    pub repo: String,
    /// Full commit id.
    pub commit: String,
    /// State of the build.
    pub state: BuildState,
    /// Name of the status; the same name replaces the older status.
    pub context: String,
    /// One sentence; cut to what the forge takes.
    pub description: String,
    /// Page of the build.
    pub target_url: Option<String>,
    /// Short name of the branch or tag. GitLab needs it to find the right pipeline.
    pub ref_name: Option<String>,
    /// What GitLab answered to the first status of this commit, see [`StatusSent`].
    pub pipeline_id: Option<u64>,
}

/// The forge has the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSent {
    /// GitLab's pipeline; to be given with the next status of the same commit, which otherwise can land
    /// on another pipeline.
    pub pipeline_id: Option<u64>,
}

/// A text of at most so many characters; what was cut ends with an ellipsis.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}
