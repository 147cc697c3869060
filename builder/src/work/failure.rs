//! From the engine's words to a class. The Engine API gives errors of BuildKit as text only, so this is
//! a table over the texts of BuildKit 0.8 (Docker 20.10) and of later releases. A text that nobody knows
//! is the user's: the engine refused the build as written.

use std::sync::LazyLock;

use regex::Regex;
use slipway_domain::failure::FailureClass;

/// What an error text of the engine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The class.
    pub class: FailureClass,
    /// The exit code of the command, if one failed.
    pub exit_code: Option<i64>,
    /// The Dockerfile's line, if the text names one.
    pub line: Option<i64>,
    /// The text without the engine's own paths and prefixes, for the user.
    pub text: String,
}

/// The exit status of a process that was killed by SIGKILL.
pub(super) const KILLED: i64 = 137;
/// Longest text that is kept, in characters.
const MAX_TEXT: usize = 600;

/// Which words mean which class, first match wins; all lower case.
const BUILD_WORDS: &[(&[&str], FailureClass)] = &[
    (&["no space left on device"], FailureClass::DiskFull),
    (&["parse error"], FailureClass::DockerfileSyntax),
    (&["unknown instruction"], FailureClass::DockerfileSyntax),
    (&["unknown flag"], FailureClass::DockerfileSyntax),
    (&["file with no instructions"], FailureClass::DockerfileSyntax),
    (&["cannot be empty"], FailureClass::DockerfileSyntax),
    (&["no build stage in current context"], FailureClass::DockerfileSyntax),
    (&["invalid reference format"], FailureClass::DockerfileSyntax),
    (&["base name", "should not be blank"], FailureClass::DockerfileSyntax),
    (&["failed to read dockerfile"], FailureClass::DockerfileMissing),
    (&["cannot locate specified dockerfile"], FailureClass::DockerfileMissing),
    (&["target stage", "could not be found"], FailureClass::TargetMissing),
    (&["failed to compute cache key"], FailureClass::CopySourceMissing),
    (&["failed to calculate checksum"], FailureClass::CopySourceMissing),
    (&["failed to walk", "no such file or directory"], FailureClass::CopySourceMissing),
    (&["lstat", "no such file or directory"], FailureClass::CopySourceMissing),
    (&["toomanyrequests"], FailureClass::RateLimited),
    (&["too many requests"], FailureClass::RateLimited),
    // Docker Hub answers so for an image that does not exist, too.
    (&["pull access denied"], FailureClass::BaseImageMissing),
    (&["insufficient_scope"], FailureClass::BaseImageMissing),
    (&["401 unauthorized"], FailureClass::RegistryAuth),
    (&["403 forbidden"], FailureClass::RegistryAuth),
    (&["unauthorized:"], FailureClass::RegistryAuth),
    (&["no basic auth credentials"], FailureClass::RegistryAuth),
    (&["incorrect username or password"], FailureClass::RegistryAuth),
    (&["manifest unknown"], FailureClass::BaseImageMissing),
    (&["no match for platform"], FailureClass::BaseImageMissing),
    (&["invalid character '"], FailureClass::RegistryInvalid),
    (&["unexpected end of json input"], FailureClass::RegistryInvalid),
    (&["unexpected media type"], FailureClass::RegistryInvalid),
    (&["encountered unknown type"], FailureClass::RegistryInvalid),
    (&["network bridge not found"], FailureClass::EngineDown),
    (&["no active session"], FailureClass::EngineDown),
    (&["transport is closing"], FailureClass::EngineDown),
    (&["error reading from server"], FailureClass::EngineDown),
    (&["failed to do request"], FailureClass::RegistryUnreachable),
    (&["connection refused"], FailureClass::RegistryUnreachable),
    (&["connection reset"], FailureClass::RegistryUnreachable),
    (&["no such host"], FailureClass::RegistryUnreachable),
    (&["server misbehaving"], FailureClass::RegistryUnreachable),
    (&["i/o timeout"], FailureClass::RegistryUnreachable),
    (&["tls handshake timeout"], FailureClass::RegistryUnreachable),
    (&["x509:"], FailureClass::RegistryUnreachable),
    (&["500 internal server error"], FailureClass::RegistryUnreachable),
    (&["502 bad gateway"], FailureClass::RegistryUnreachable),
    (&["503 service unavailable"], FailureClass::RegistryUnreachable),
    (&["504 gateway"], FailureClass::RegistryUnreachable),
    (&["create llb definition", "not found"], FailureClass::BaseImageMissing),
    (&["failed to resolve source metadata", "not found"], FailureClass::BaseImageMissing),
    (&["failed to load cache key", "not found"], FailureClass::BaseImageMissing),
    (&["context canceled"], FailureClass::Cancelled),
    (&["context deadline exceeded"], FailureClass::RegistryUnreachable),
    (&["connection error"], FailureClass::EngineDown),
];

/// The same for pushing. What is not known here is the registry's trouble, not the user's.
const PUSH_WORDS: &[(&[&str], FailureClass)] = &[
    (&["no space left on device"], FailureClass::DiskFull),
    (&["toomanyrequests"], FailureClass::RateLimited),
    (&["too many requests"], FailureClass::RateLimited),
    (&["insufficient_scope"], FailureClass::RegistryDenied),
    (&["requested access to the resource is denied"], FailureClass::RegistryDenied),
    (&["denied:"], FailureClass::RegistryDenied),
    (&["403 forbidden"], FailureClass::RegistryDenied),
    (&["name unknown"], FailureClass::RegistryDenied),
    (&["name invalid"], FailureClass::RegistryDenied),
    (&["tag invalid"], FailureClass::RegistryDenied),
    (&["immutable"], FailureClass::RegistryDenied),
    (&["method not allowed"], FailureClass::RegistryDenied),
    (&["quota"], FailureClass::RegistryDenied),
    (&["unauthorized"], FailureClass::RegistryAuth),
    (&["authentication required"], FailureClass::RegistryAuth),
    (&["no basic auth credentials"], FailureClass::RegistryAuth),
    (&["incorrect username or password"], FailureClass::RegistryAuth),
    (&["denied"], FailureClass::RegistryDenied),
    (&["does not exist locally"], FailureClass::Internal),
    (&["cannot connect to the docker daemon"], FailureClass::EngineDown),
];

#[expect(clippy::expect_used, reason = "the patterns are constants that the tests compile")]
static EXIT_CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:exit code: |non-zero code: )(\d{1,5})").expect("a pattern"));
#[expect(clippy::expect_used, reason = "the patterns are constants that the tests compile")]
static LINE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"parse error (?:on )?line (\d{1,7})").expect("a pattern"));
#[expect(clippy::expect_used, reason = "the patterns are constants that the tests compile")]
static ENGINE_PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"/[^\s:"]*/(?:tmp/|buildkit-mount|docker-builder)[^\s:"/]*/?"#).expect("a pattern"));

/// What BuildKit says about a build that failed.
pub fn of_build(message: &str) -> Verdict {
    let exit_code = number(&EXIT_CODE, message);
    let class = match exit_code {
        // A command that failed is the user's, whatever it printed. The code does not say who killed it.
        Some(KILLED) => FailureClass::Killed,
        Some(_) if message.contains("context canceled") => FailureClass::Cancelled,
        Some(_) => FailureClass::RunFailed,
        None => lookup(BUILD_WORDS, message).unwrap_or(FailureClass::BuildRejected),
    };
    Verdict { class, exit_code, line: number(&LINE, message), text: clean(message) }
}

/// What the engine says about a push that failed.
pub fn of_push(message: &str) -> Verdict {
    let class = lookup(PUSH_WORDS, message).unwrap_or(FailureClass::RegistryUnreachable);
    Verdict { class, exit_code: None, line: None, text: clean(message) }
}

fn lookup(table: &[(&[&str], FailureClass)], message: &str) -> Option<FailureClass> {
    let message = message.to_lowercase();
    table.iter().find(|(words, _)| words.iter().all(|word| message.contains(word))).map(|(_, class)| *class)
}

fn number(pattern: &Regex, message: &str) -> Option<i64> {
    pattern.captures(message)?.get(1)?.as_str().parse().ok()
}

/// Takes away what is the engine's own: the chain of prefixes and the paths of its temporary files.
fn clean(message: &str) -> String {
    const PREFIXES: &[&str] = &[
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
        "failed to create LLB definition: ",
    ];
    let mut text = message.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    ENGINE_PATH.replace_all(text, "").chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use FailureClass::*;

    use super::*;

    #[test]
    fn engine_texts_have_classes() {
        let llb = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: ";
        for (message, class, exit_code, line) in [
            ("executor failed running [/bin/sh -c exit 42]: exit code: 42", RunFailed, Some(42), None),
            ("executor failed running [/bin/sh -c nope]: exit code: 127", RunFailed, Some(127), None),
            ("executor failed running [/bin/sh -c x]: exit code: 137", Killed, Some(137), None),
            (
                "executor failed running [/bin/sh -c echo no space left on device]: exit code: 1",
                RunFailed,
                Some(1),
                None,
            ),
            ("process \"/bin/sh -c false\" did not complete successfully: exit code: 1", RunFailed, Some(1), None),
            ("The command '/bin/sh -c x' returned a non-zero code: 3", RunFailed, Some(3), None),
            (
                "executor failed running [/bin/sh -c sleep 9]: exit code: 1: context canceled: context canceled",
                Cancelled,
                Some(1),
                None,
            ),
            (
                &format!("{llb}dockerfile parse error line 2: unknown instruction: RUNN"),
                DockerfileSyntax,
                None,
                Some(2),
            ),
            ("dockerfile parse error on line 7: unknown instruction: X", DockerfileSyntax, None, Some(7)),
            (&format!("{llb}target stage zzz could not be found"), TargetMissing, None, None),
            (
                &format!(
                    "{llb}failed to do request: Head \"http://127.0.0.1:1/v2/x/manifests/y\": dial tcp 127.0.0.1:1: connect: connection refused"
                ),
                RegistryUnreachable,
                None,
                None,
            ),
            (
                &format!(
                    "{llb}pulling from host 127.0.0.1:5000 failed with status code [manifests 1]: 401 Unauthorized"
                ),
                RegistryAuth,
                None,
                None,
            ),
            (&format!("{llb}127.0.0.1:5000/nothing:1: not found"), BaseImageMissing, None, None),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                BaseImageMissing,
                None,
                None,
            ),
            ("toomanyrequests: You have reached your pull rate limit", RateLimited, None, None),
            ("failed to compute cache key: \"/f\" not found: not found", CopySourceMissing, None, None),
            ("failed to calculate checksum of ref x::y: \"/f\": not found", CopySourceMissing, None, None),
            (
                "failed to read dockerfile: open /var/lib/docker/tmp/buildkit-mount123/Dockerfile: no such file or directory",
                DockerfileMissing,
                None,
                None,
            ),
            ("write /var/lib/docker/x: no space left on device", DiskFull, None, None),
            ("no active session for abc: context deadline exceeded", EngineDown, None, None),
            (&format!("{llb}invalid character '<' looking for beginning of value"), RegistryInvalid, None, None),
            ("network.host is not allowed", BuildRejected, None, None),
        ] {
            let verdict = of_build(message);
            assert_eq!((verdict.class, verdict.exit_code, verdict.line), (class, exit_code, line), "{message}");
        }
    }

    #[test]
    fn push_texts_have_classes() {
        for (message, class) in [
            ("unauthorized: authentication required", RegistryAuth),
            ("no basic auth credentials", RegistryAuth),
            ("denied: requested access to the resource is denied", RegistryDenied),
            (
                "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required",
                RegistryDenied,
            ),
            ("name unknown: The repository with name 'x' does not exist", RegistryDenied),
            ("toomanyrequests: slow down", RateLimited),
            ("Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", RegistryUnreachable),
            ("received unexpected HTTP status: 500 Internal Server Error", RegistryUnreachable),
            ("EOF", RegistryUnreachable),
        ] {
            assert_eq!(of_push(message).class, class, "{message}");
        }
    }

    #[test]
    fn paths_and_prefixes_of_the_engine_are_taken_away() {
        let verdict = of_build(
            "failed to solve with frontend dockerfile.v0: failed to read dockerfile: open /srv/docker/tmp/buildkit-mount123/deploy/Dockerfile: no such file or directory",
        );
        assert_eq!(verdict.text, "failed to read dockerfile: open deploy/Dockerfile: no such file or directory");
        assert_eq!(of_build(&"x".repeat(5000)).text.len(), MAX_TEXT);
    }
}
