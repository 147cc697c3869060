//! What forges are asked, whatever their words for it, and what there is to answer.

use serde_json::Value;

use super::status::Status;

/// A request that the forge understands.
#[derive(Debug)]
pub(super) enum Asked {
    /// Shows a state beside a commit.
    Status(Status),
    /// A commit, by its id or the beginning of it.
    Commit(String),
    /// A file at a commit.
    File { commit: String, path: String },
    /// The commit of a full ref.
    Head(String),
    /// What differs between two commits.
    Compare { before: String, after: String },
    /// The files of a change.
    Change(u64),
    /// What a person may do.
    Right(String),
    /// The number of a person.
    User(String),
    /// What the person with this number may do.
    Member(usize),
    /// Those who may push and whose names hold this.
    Writers(String),
    /// The checks beside a commit.
    Checks(String),
    /// The repository.
    Repo,
    /// The repository with this id.
    RepoById,
}

/// What is found.
#[derive(Debug)]
pub(super) enum Found {
    Commit {
        id: String,
        message: String,
    },
    Text(String),
    /// What two commits differ in.
    Compared(Files),
    /// What a change touches.
    Files(Files),
    /// Whether the person may push.
    Right(bool),
    User {
        number: usize,
        login: String,
    },
    Writers(Vec<String>),
    /// Numbers and names.
    Checks(Vec<(usize, String)>),
    Repo {
        path: String,
    },
    /// Not there; why a forge says so may matter.
    Absent,
}

/// Files that differ.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) paths: Vec<String>,
    /// The commit that both come from, of a comparison.
    pub(super) base: Option<String>,
    /// There are commits in the second that the first has not.
    pub(super) ahead: bool,
    /// Some are not listed.
    pub(super) cut: bool,
}

/// What is sent back.
#[derive(Debug)]
pub(super) enum Reply {
    Json(u16, Value),
    Text(String),
}
