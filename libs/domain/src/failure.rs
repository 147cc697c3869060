//! Why a job did not succeed: a class, whose fault it is, a sentence and a hint.

use serde::{Deserialize, Serialize};

use crate::attempt::AttemptOutcome;
use crate::text_enum::text_enum;

text_enum! {
    /// What went wrong, as a word that programs may rely on.
    FailureClass {
        /// A RUN command returned non-zero.
        RunFailed = "run_failed",
        /// A command was killed for its memory: somebody saw it.
        OutOfMemory = "out_of_memory",
        /// A command was killed, and nobody saw by whom.
        Killed = "killed",
        /// A RUN command wanted a package that there is not.
        DependencyNotFound = "dependency_not_found",
        /// A RUN command did not reach where its packages come from. Only what the command printed says so, so it is the
        /// user's, like all that a command does.
        DependencyUnreachable = "dependency_unreachable",
        /// The Dockerfile does not parse.
        DockerfileSyntax = "dockerfile_syntax",
        /// The Dockerfile wants to be built by a program that no operator allowed.
        FrontendForbidden = "frontend_forbidden",
        /// A build argument has a name that steers the engine.
        ArgReserved = "arg_reserved",
        /// There is no Dockerfile where it should be.
        DockerfileMissing = "dockerfile_missing",
        /// A FROM names an image that does not exist.
        BaseImageMissing = "base_image_missing",
        /// The wanted target stage does not exist.
        TargetMissing = "target_missing",
        /// A COPY or ADD source does not exist.
        CopySourceMissing = "copy_source_missing",
        /// The context or a path in it is not allowed.
        ContextInvalid = "context_invalid",
        /// The context is larger than the plan allows.
        ContextTooLarge = "context_too_large",
        /// `slipway.yml` is wrong.
        PipelineInvalid = "pipeline_invalid",
        /// The repository does not exist, or not for these credentials.
        SourceMissing = "source_missing",
        /// The repository refused the credentials.
        SourceAuth = "source_auth",
        /// The repository does not have the commit.
        CommitMissing = "commit_missing",
        /// The commit is larger than a build may fetch.
        SourceTooLarge = "source_too_large",
        /// The address of the repository is not allowed.
        SourceForbidden = "source_forbidden",
        /// The registry refused the credentials.
        RegistryAuth = "registry_auth",
        /// The registry refused the push.
        RegistryDenied = "registry_denied",
        /// The image is larger than the plan allows.
        ImageTooLarge = "image_too_large",
        /// The build has more tags than the plan allows.
        TooManyTags = "too_many_tags",
        /// The registry, or where it sends us, is not to be contacted, or not with its login.
        RegistryForbidden = "registry_forbidden",
        /// What answers at the registry's address answers as no registry does.
        RegistryInvalid = "registry_invalid",
        /// The build ran longer than it may.
        TimedOut = "timed_out",
        /// The build said nothing for longer than it may.
        Silent = "silent",
        /// It was stopped on request.
        Cancelled = "cancelled",
        /// The engine says no to this build in words we do not know.
        BuildRejected = "build_rejected",
        /// The repository's host does not answer.
        SourceUnreachable = "source_unreachable",
        /// The registry does not answer, or answers with 5xx.
        RegistryUnreachable = "registry_unreachable",
        /// A registry asks us to come back later.
        RateLimited = "rate_limited",
        /// The Docker engine does not answer.
        EngineDown = "engine_down",
        /// The builder's disk is full.
        DiskFull = "disk_full",
        /// The builder vanished.
        BuilderLost = "builder_lost",
        /// No builder took the job in time.
        NoBuilder = "no_builder",
        /// Anything else of ours, and what a newer release has a word of its own for.
        #[serde(other)]
        Internal = "internal",
    }
}

impl FailureClass {
    /// How an attempt that ended with this class is booked: the user's fault is `failed` and never
    /// retried, ours is `infra` and retried.
    pub fn outcome(self) -> AttemptOutcome {
        match self {
            Self::RunFailed
            | Self::OutOfMemory
            | Self::Killed
            | Self::DependencyNotFound
            | Self::DependencyUnreachable
            | Self::DockerfileSyntax
            | Self::FrontendForbidden
            | Self::ArgReserved
            | Self::DockerfileMissing
            | Self::BaseImageMissing
            | Self::TargetMissing
            | Self::CopySourceMissing
            | Self::ContextInvalid
            | Self::ContextTooLarge
            | Self::PipelineInvalid
            | Self::SourceMissing
            | Self::SourceAuth
            | Self::CommitMissing
            | Self::SourceTooLarge
            | Self::SourceForbidden
            | Self::RegistryAuth
            | Self::RegistryDenied
            | Self::ImageTooLarge
            | Self::TooManyTags
            | Self::RegistryForbidden
            | Self::RegistryInvalid
            | Self::BuildRejected => AttemptOutcome::Failed,
            Self::TimedOut | Self::Silent => AttemptOutcome::TimedOut,
            Self::Cancelled => AttemptOutcome::Cancelled,
            Self::BuilderLost => AttemptOutcome::Lost,
            Self::SourceUnreachable
            | Self::RegistryUnreachable
            | Self::RateLimited
            | Self::EngineDown
            | Self::DiskFull
            | Self::NoBuilder
            | Self::Internal => AttemptOutcome::Infra,
        }
    }

    /// True where a registry said no, and will say so again: asking once more changes nothing.
    pub fn is_registry_refusal(self) -> bool {
        matches!(self, Self::RegistryAuth | Self::RegistryDenied | Self::RegistryForbidden | Self::RegistryInvalid)
    }

    /// True where a registry said no, or said nothing that can be used.
    pub fn is_of_registry(self) -> bool {
        self.is_registry_refusal() || matches!(self, Self::RegistryUnreachable | Self::RateLimited)
    }

    /// What the user can do next, in one sentence.
    pub fn hint(self) -> &'static str {
        match self {
            Self::RunFailed => {
                "Read the last lines of the step's log; run the same command in the stage's image to reproduce it."
            }
            Self::OutOfMemory => {
                "Make the step use less memory (fewer parallel jobs), or move the project to a class with more."
            }
            Self::Killed => {
                "Something killed the command, most often the system for its memory; make the step use less of it."
            }
            Self::DependencyNotFound => {
                "Check the package's name and version, and that the package lists were fetched in the same RUN."
            }
            Self::DependencyUnreachable => {
                "The step could not reach where its packages come from. Check that address and the project's build.network, then retry."
            }
            Self::DockerfileSyntax => "Correct the named line of the Dockerfile.",
            Self::FrontendForbidden => {
                "Leave it out and the engine's own is used; an operator can allow the image with SLIPWAY_SYNTAX_ALLOW."
            }
            Self::ArgReserved => "Remove the argument: names that begin with BUILDKIT_ are the service's own.",
            Self::DockerfileMissing => {
                "Add a Dockerfile at the root of the repository, or set build.dockerfile of the project to where it is."
            }
            Self::BaseImageMissing => {
                "Check the image name in FROM; for a private image store its registry's login with POST /api/v1/registries."
            }
            Self::TargetMissing => "Set build.target to a stage that the Dockerfile names with AS.",
            Self::CopySourceMissing => "Check that the path is in the repository and not excluded by .dockerignore.",
            Self::ContextInvalid => {
                "Paths and symlinks must stay inside the checkout; correct build.dockerfile, build.context or the link."
            }
            Self::ContextTooLarge => "Exclude what the build does not need with a .dockerignore file.",
            Self::PipelineInvalid => "Correct slipway.yml as the message says.",
            Self::SourceMissing => {
                "Check the clone URL of the project; a private repository needs a connection with a token."
            }
            Self::SourceAuth => "Renew the token of the project's connection.",
            Self::CommitMissing => {
                "The commit is no longer on the forge, perhaps after a force push; build the branch's newest commit."
            }
            Self::SourceTooLarge => {
                "Keep large files out of the repository, in a registry or an object store for example."
            }
            Self::SourceForbidden => "An operator can allow this address with SLIPWAY_FETCH_ALLOW.",
            Self::RegistryAuth => "Store the registry's correct user and password with POST /api/v1/registries.",
            Self::RegistryDenied => "Check that the registry's user may push to this repository.",
            Self::ImageTooLarge => {
                "Leave out of the image what it does not need at run time (a second stage, fewer packages), or ask an \
                 operator for a plan with larger images."
            }
            Self::TooManyTags => "Remove tags from build.tags or from the project.",
            Self::RegistryForbidden => {
                "Name the registry by its own public https address; an operator can allow a private one with SLIPWAY_FETCH_ALLOW."
            }
            Self::RegistryInvalid => {
                "Check that the address is a registry's (OCI distribution, /v2/) and that no proxy or login page answers in its place."
            }
            Self::TimedOut => "Make the build faster, or raise the project's timeout.",
            Self::Silent => {
                "Let the step say how it goes; it may also wait for input or for a lock that it will never get."
            }
            Self::Cancelled => "Retry the build when you want it after all.",
            Self::BuildRejected => "Read the engine's message; it refused this build as written.",
            Self::SourceUnreachable => {
                "The repository's host did not answer. It is tried again by itself; if it stays so, check the host, then retry."
            }
            Self::RegistryUnreachable => {
                "The registry did not answer. It is tried again by itself; if it stays so, check the registry, then retry."
            }
            Self::RateLimited => "The registry limits how often we may ask; add credentials for it, or wait.",
            Self::EngineDown => "The builder's Docker engine does not answer; an operator should look at the builder.",
            Self::DiskFull => "The builder's disk is full; an operator should free or add space.",
            Self::BuilderLost => "The builder vanished in the middle; this is retried on another one.",
            Self::NoBuilder => "No builder of this pool took the job; an operator should look at the builders page.",
            Self::Internal => {
                "This is a fault of the service; an operator finds more under the job's id in the service's log."
            }
        }
    }
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// What happened and where, in one sentence for the user; never a secret.
    pub message: String,
    /// The step in which it happened, by name.
    pub step: Option<String>,
    /// The command's exit code.
    pub exit_code: Option<i64>,
    /// Line of the Dockerfile, from 1.
    pub dockerfile_line: Option<i64>,
    /// More for people; beside the others in JSON.
    #[serde(flatten)]
    pub detail: Box<Detail>,
}

/// What helps people to understand a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The Dockerfile that `dockerfile_line` is a line of, from the repository's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The place in the Dockerfile, with its neighbours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<ExcerptLine>,
    /// The last lines that the step wrote, masked, without escape sequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// What the user can do next, where more is known than the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One line of a Dockerfile that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcerptLine {
    /// Its number, from 1.
    pub line: i64,
    /// What it says, cut if it is long.
    pub text: String,
    /// True if it belongs to the instruction that failed.
    pub failing: bool,
}

impl Failure {
    /// A failure that is tied to no step.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            step: None,
            exit_code: None,
            dockerfile_line: None,
            detail: Box::default(),
        }
    }

    /// What the user can do next, in one or two sentences.
    pub fn advice(&self) -> &str {
        self.detail.hint.as_deref().unwrap_or_else(|| self.class.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the network, a limit of somebody's rate and our own faults are tried again.
    #[test]
    fn each_class_has_its_outcome() {
        let infra = [
            "source_unreachable",
            "registry_unreachable",
            "rate_limited",
            "engine_down",
            "disk_full",
            "no_builder",
            "internal",
        ];
        for class in FailureClass::ALL {
            let outcome = match class.as_str() {
                "timed_out" | "silent" => AttemptOutcome::TimedOut,
                "cancelled" => AttemptOutcome::Cancelled,
                "builder_lost" => AttemptOutcome::Lost,
                word if infra.contains(&word) => AttemptOutcome::Infra,
                _ => AttemptOutcome::Failed,
            };
            assert_eq!(class.outcome(), outcome, "{class}");
            assert!(class.hint().ends_with('.') && class.hint().len() > 20, "{class}");
        }
    }

    #[test]
    fn what_an_older_release_wrote_is_read_and_written_the_same() {
        let text = r#"{"class":"run_failed","message":"m","step":null,"exit_code":1,"dockerfile_line":2}"#;
        let failure: Failure = serde_json::from_str(text).expect("reads");
        assert_eq!(failure.advice(), FailureClass::RunFailed.hint());
        assert_eq!(serde_json::to_string(&failure).expect("writes"), text);
    }
}
