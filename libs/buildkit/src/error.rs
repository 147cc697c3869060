//! Why a build has no image. What the engine said and a lost connection are told apart, because only the first
//! is an answer; gRPC gives both the same code.

use std::io;

use tonic::{Code, Status};

use crate::errdefs;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// The engine says so.
    #[error("{}", .0.message)]
    Said(Box<Said>),
    /// The engine cannot be reached, or the connection to it broke: nobody knows what became of the call.
    #[error("the connection to the build engine is lost: {0}")]
    Lost(String),
    /// The caller stopped it.
    #[error("stopped on request")]
    Cancelled,
    /// The context cannot be read, or progress that waits for its reader cannot be written to disk.
    #[error("{what}: {error}")]
    Here {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The request cannot be made like this.
    #[error("{0}")]
    Invalid(String),
}

/// What an engine says about a call that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its words.
    pub message: String,
    /// The number of the gRPC code; engines give most errors of builds as 2, unknown.
    pub code: i32,
    /// Where in which file, in the engine's order; none on engines that do not say it, such as BuildKit 0.8.
    pub sources: Vec<Source>,
    /// The digest of the vertex that failed, where the engine says it.
    pub vertex: Option<String>,
    /// How the engine describes the operation that failed, by BuildKit's keys such as `llb.customname`.
    pub description: Vec<(String, String)>,
    /// True if the session had ended by then: the error may be a consequence of that.
    pub session_lost: bool,
}

/// Lines of a file, as the engine names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as `Dockerfile`.
    pub file: String,
    /// First and last lines, both from 1 and inclusive.
    pub lines: Vec<(u32, u32)>,
}

impl SolveError {
    /// From a call's end to a reason.
    pub(crate) fn of(status: &Status) -> Self {
        if !is_said(status) {
            return Self::Lost(innermost(status));
        }
        let said = Said { message: status.message().to_owned(), code: status.code().into(), ..Said::default() };
        Self::Said(Box::new(errdefs::read(status.details(), said)))
    }

    pub(crate) fn here(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Here { what, error }
    }
}

/// An answer has the headers of one; what our side makes of a broken connection has a cause and no headers.
fn is_said(status: &Status) -> bool {
    status.metadata().contains_key("content-type")
        && std::error::Error::source(status).is_none()
        && !(status.code() == Code::Internal && status.message() == "Missing response message.")
}

/// The last cause in a chain, which names what happened.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    fn with_headers(code: Code, message: &str) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert("content-type", "application/grpc".parse().expect("a value"));
        Status::with_metadata(code, message, metadata)
    }

    #[test]
    fn an_answer_is_told_from_a_broken_connection() {
        let said = SolveError::of(&with_headers(Code::Unknown, "exit code: 3"));
        assert!(matches!(said, SolveError::Said(said) if said.message == "exit code: 3" && said.code == 2));
        let broken = Status::from_error(Box::new(io::Error::other("broken pipe")));
        assert!(matches!(SolveError::of(&broken), SolveError::Lost(text) if text == "broken pipe"));
        let empty = with_headers(Code::Internal, "Missing response message.");
        assert!(matches!(SolveError::of(&empty), SolveError::Lost(_)));
        let mut torn = Status::from_error(Box::new(io::Error::other("reset")));
        *torn.metadata_mut() = with_headers(Code::Ok, "").metadata().clone();
        assert!(matches!(SolveError::of(&torn), SolveError::Lost(_)));
    }
}
