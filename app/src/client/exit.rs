//! How a command ends: the exit codes that scripts rely on, and the sentence that goes with a bad end.

use std::process::ExitCode;

use slipway_domain::build::BuildState;
use slipway_domain::delivery::DeliveryState;

/// What the help of commands that wait for a build says about their end.
pub const CODES: &str = "Exit codes: 0 the build succeeded, 1 it failed, 2 wrong usage, 3 not authorised, 4 not found, \
    5 the server does not answer or the build ended by a fault of the service, 130 cancelled.";

/// What the help of the command that replays a delivery says about its end.
pub const REPLAY_CODES: &str = "Exit codes: 0 it is replayed (with --wait: and made its builds, or has a reason not to), \
    1 it failed, 2 wrong usage or it cannot be replayed, 3 not authorised, 4 not found, 5 the server does not answer, \
    130 you stopped waiting.";

/// The exit codes of every client command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked, and the build, if one was followed, succeeded.
    Fine,
    /// The build did not succeed, by the user's own doing; or the delivery failed; or the Dockerfile is refused.
    BuildFailed,
    /// The command or its values are wrong.
    Usage,
    /// No token, a wrong one, one that may not do this; or a signature that does not hold.
    NotAuthorised,
    /// It does not exist, or not for this token.
    NotFound,
    /// The server does not answer, or failed.
    ServerError,
    /// The build was cancelled, or the user stopped waiting.
    Cancelled,
}

impl Exit {
    /// The code that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::BuildFailed => 1,
            Self::Usage => 2,
            Self::NotAuthorised => 3,
            Self::NotFound => 4,
            Self::ServerError => 5,
            Self::Cancelled => 130,
        }
    }

    /// The end of a command that waited for a build. `None` while the build goes on; a state that this
    /// client does not know is no success.
    pub fn of_build(state: &str) -> Option<Self> {
        match state.parse::<BuildState>() {
            Ok(BuildState::Pending | BuildState::Running) => None,
            Ok(BuildState::Succeeded) => Some(Self::Fine),
            Ok(BuildState::Failed | BuildState::Skipped) | Err(_) => Some(Self::BuildFailed),
            Ok(BuildState::Errored) => Some(Self::ServerError),
            Ok(BuildState::Cancelled | BuildState::Superseded) => Some(Self::Cancelled),
        }
    }

    /// The end of a command that waited for a delivery; `None` while it waits to be worked.
    pub fn of_delivery(state: &str) -> Option<Self> {
        match state.parse::<DeliveryState>() {
            Ok(DeliveryState::Received) => None,
            Ok(DeliveryState::Done | DeliveryState::Ignored) => Some(Self::Fine),
            Ok(DeliveryState::Failed) | Err(_) => Some(Self::BuildFailed),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// A command that did not do what it should.
#[derive(Debug)]
pub enum Failed {
    /// Told to the user in one sentence: what happened, where, what to do next.
    Said {
        /// How the command ends.
        exit: Exit,
        /// The sentence.
        message: String,
    },
    /// Whoever read our output went away, as `head` does; there is nobody to tell.
    NobodyListens,
}

impl Failed {
    /// The command or a value in it is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Said { exit: Exit::Usage, message: message.into() }
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Said { exit: Exit::NotFound, message: message.into() }
    }

    /// The server is not there, or failed.
    pub fn server(message: impl Into<String>) -> Self {
        Self::Said { exit: Exit::ServerError, message: message.into() }
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Said { exit, .. } => *exit,
            Self::NobodyListens => Exit::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_decides_the_exit_code() {
        let cases = [
            ("received", None),
            ("done", Some(0)),
            ("ignored", Some(0)),
            ("failed", Some(1)),
            ("of a newer server", Some(1)),
        ];
        for (state, code) in cases {
            assert_eq!(Exit::of_delivery(state).map(Exit::code), code, "{state}");
        }
    }

    #[test]
    fn a_build_decides_the_exit_code() {
        let cases = [
            ("pending", None),
            ("running", None),
            ("succeeded", Some(0)),
            ("failed", Some(1)),
            ("skipped", Some(1)),
            ("errored", Some(5)),
            ("cancelled", Some(130)),
            ("superseded", Some(130)),
            ("of a newer server", Some(1)),
        ];
        for (state, code) in cases {
            assert_eq!(Exit::of_build(state).map(Exit::code), code, "{state}");
        }
    }
}
