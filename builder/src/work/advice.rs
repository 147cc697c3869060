//! What the output of a command that failed means, for its user: a hint that can say more than the class, and for
//! package managers a class. It is a command's own words that are read here, so nothing of it decides whose fault it is.

use slipway_domain::failure::{Detail, Failure, FailureClass};

use super::failure::KILLED;

/// Words in the last lines, all of them on any lines, in small letters.
type Words = &'static [&'static str];

/// A package manager, or what it uses, did not reach the network; first match wins.
const UNREACHABLE: &[Words] = &[
    &["w: failed to fetch", "e: unable to locate package"],
    &["e: failed to fetch", "temporary failure resolving"],
    &["e: failed to fetch", "could not connect"],
    &["e: failed to fetch", "connection failed"],
    &["npm err", "enotfound"],
    &["npm err", "eai_again"],
    &["npm err", "etimedout"],
    &["npm err", "econnrefused"],
    &["npm err", "econnreset"],
    &["retrying (retry(total="],
    &["spurious network error"],
    &["failed to download from `http", "could not resolve host"],
    &["go: ", "dial tcp"],
    &["fetch http", "temporary error (try again later)"],
    &["warning: ignoring http", "unable to select packages"],
    &["cannot download repomd.xml"],
    &["curl: (6)"],
    &["curl: (7)"],
    &["curl: (28)"],
    &["wget: bad address"],
    &["wget: unable to resolve host address"],
    &["fatal: unable to access 'http", "could not resolve host"],
];

/// A package that there is not, by what stands before its name.
const NOT_FOUND: &[&str] = &[
    "E: Unable to locate package ",
    "E: Couldn't find any package by glob ",
    "No matching distribution found for ",
    "error: no matching package named ",
    "No match for argument: ",
    "Could not find artifact ",
    "ERROR:  Could not find a valid gem ",
];

/// The same where no name is told in one place.
const NOT_FOUND_WORDS: &[Words] = &[
    &["has no installation candidate"],
    &["npm err", "code e404"],
    &["npm err", "code etarget"],
    &["(no such package)", "unable to select packages"],
];

/// The failure with what its exit code and its last lines mean. A hint that it has already stays.
pub fn explained(failure: Failure) -> Failure {
    let Some(code) = failure.exit_code else { return failure };
    if !matches!(failure.class, FailureClass::RunFailed | FailureClass::Killed) {
        return failure;
    }
    if failure.detail.hint.is_some() {
        return failure;
    }
    let (class, hint) = match of_code(code, &failure.detail.last_lines) {
        Some(hint) => (failure.class, Some(hint)),
        None => of_output(failure.class, &failure),
    };
    with(class, hint, failure)
}

fn with(class: FailureClass, hint: Option<String>, failure: Failure) -> Failure {
    let detail = Box::new(Detail { hint, ..*failure.detail });
    Failure { class, detail, ..failure }
}

/// What a shell's exit codes say, and those of signals, which are 128 and the signal's number.
fn of_code(code: i64, lines: &[String]) -> Option<String> {
    let text = match code {
        126 => match said_before(lines, &[": Permission denied", ": cannot execute"]) {
            Some(name) => format!(
                "{name} is in the image but cannot be executed: make it executable (chmod +x, or COPY --chmod=755), and check that it is built for this platform."
            ),
            None => "The command is in the image but cannot be executed: make it executable (chmod +x), and check that it is built for this platform.".to_owned(),
        },
        127 => match said_before(lines, &[": not found", ": command not found", ": No such file or directory"]) {
            Some(name) => format!(
                "{name} is not in the image of this stage: install it in a RUN before, or correct its name or the PATH."
            ),
            None => "A command is not in the image of this stage: install it in a RUN before, or correct its name or the PATH.".to_owned(),
        },
        130 => "The command was interrupted (SIGINT), by itself or by something that it started.".to_owned(),
        132 => "The command crashed (SIGILL): it is built for another kind of processor than the builder's.".to_owned(),
        134 if has(lines, &["heap out of memory"]) => {
            "Node.js reached the end of its heap: raise it in this RUN with NODE_OPTIONS=--max-old-space-size=4096, as far as the plan's memory allows.".to_owned()
        }
        134 => "The command gave up by itself (SIGABRT); its last lines say why.".to_owned(),
        KILLED => return None,
        139 => "The command crashed (SIGSEGV): a fault in it or in a library of the image, or one that is built for another platform.".to_owned(),
        143 => "The command was ended (SIGTERM), by itself or by something that it started.".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// What tools say in words.
fn of_output(class: FailureClass, failure: &Failure) -> (FailureClass, Option<String>) {
    let lines = &failure.detail.last_lines;
    let plain = |text: &str| (class, Some(text.to_owned()));
    if class == FailureClass::Killed {
        return (class, None);
    }
    if has(lines, &["exec format error"]) {
        return plain("A program in the image is built for another platform than the builder's.");
    }
    if has(lines, &["no space left on device"]) {
        return plain("The step found no room on its disk: remove what it does not need in the same RUN.");
    }
    if has(lines, &["killed signal terminated program"]) || has(lines, &["cannot allocate memory"]) {
        return plain(FailureClass::OutOfMemory.hint());
    }
    if UNREACHABLE.iter().any(|words| has(lines, words)) {
        return (FailureClass::DependencyUnreachable, None);
    }
    if has(lines, &["e: failed to fetch", "404"]) {
        let hint = "The package lists of the image are older than what the server has: run apt-get update in the same RUN as apt-get install.";
        return (FailureClass::DependencyNotFound, Some(hint.to_owned()));
    }
    if let Some(name) = NOT_FOUND.iter().find_map(|before| said_after(lines, before)) {
        let updates = failure.step.as_deref().is_some_and(|step| step.contains("apt-get update"));
        let apt = has(lines, &["e: unable to locate package"]) && !updates;
        let hint = if apt {
            format!(
                "There is no package {name} in the image's lists: run apt-get update in the same RUN, or correct the name."
            )
        } else {
            format!("There is no package {name}: correct its name or version, or name the server that has it.")
        };
        return (FailureClass::DependencyNotFound, Some(hint));
    }
    if NOT_FOUND_WORDS.iter().any(|words| has(lines, words)) {
        return (FailureClass::DependencyNotFound, None);
    }
    (class, None)
}

fn has(lines: &[String], words: &[&str]) -> bool {
    words.iter().all(|word| lines.iter().any(|line| line.to_lowercase().contains(word)))
}

/// The word before one of these endings, in the last line that has one: `/bin/sh: 1: make: not found`.
fn said_before(lines: &[String], endings: &[&str]) -> Option<String> {
    lines.iter().rev().find_map(|line| {
        let before = endings.iter().find_map(|ending| line.split_once(ending)).map(|(before, _)| before)?;
        name_of(before.rsplit(": ").next()?)
    })
}

fn said_after(lines: &[String], beginning: &str) -> Option<String> {
    lines.iter().rev().find_map(|line| name_of(line.split_once(beginning)?.1.split_whitespace().next()?))
}

/// A name as it can stand in a sentence.
fn name_of(text: &str) -> Option<String> {
    let name = text.trim().trim_end_matches([',', '.', ';']).trim_matches(['\'', '"', '`']);
    let name: String = name.chars().take(80).collect();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

#[cfg(test)]
mod tests {
    use FailureClass::*;

    use super::*;

    fn of(code: i64, lines: &[&str]) -> Failure {
        let class = if code == KILLED { Killed } else { RunFailed };
        let last_lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let detail = Box::new(Detail { last_lines, ..Detail::default() });
        let failure = Failure { exit_code: Some(code), detail, ..Failure::new(class, "m") };
        explained(failure)
    }

    #[test]
    fn exit_codes_are_explained() {
        for (code, lines, wanted) in [
            (127, &["/bin/sh: 1: mvn: not found"][..], "mvn is not in the image"),
            (127, &["sh: mvn: not found", ""], "mvn is not in the image"),
            (127, &["bash: line 1: mvn: command not found"], "mvn is not in the image"),
            (127, &["/bin/sh: ./run.sh: No such file or directory"], "./run.sh is not in the image"),
            (127, &["quiet"], "A command is not in the image"),
            (126, &["/bin/sh: 1: ./run.sh: Permission denied"], "./run.sh is in the image but cannot be executed"),
            (126, &[], "cannot be executed"),
            (139, &[], "SIGSEGV"),
            (143, &[], "SIGTERM"),
            (130, &[], "SIGINT"),
            (134, &["FATAL ERROR: JavaScript heap out of memory"], "--max-old-space-size"),
            (134, &[], "SIGABRT"),
            (1, &["exec /usr/bin/x: exec format error"], "another platform"),
            (1, &["cp: error writing 'x': No space left on device"], "no room on its disk"),
            (1, &["g++: fatal error: Killed signal terminated program cc1plus"], "less memory"),
        ] {
            let failure = of(code, lines);
            assert!(failure.advice().contains(wanted), "{code} {lines:?}: {}", failure.advice());
            assert_eq!(failure.class, RunFailed);
        }
        assert_eq!((of(1, &["no"]).detail.hint, of(2, &[]).detail.hint), (None, None));
    }

    #[test]
    fn what_is_killed_or_no_command_is_left_alone() {
        assert_eq!((of(137, &["Killed"]).class, of(137, &[]).detail.hint), (Killed, None));
        let other = explained(Failure::new(CopySourceMissing, "m"));
        assert_eq!((other.class, other.detail.hint), (CopySourceMissing, None));
    }

    #[test]
    fn package_managers_are_understood() {
        for (lines, class, wanted) in [
            (
                &[
                    "W: Failed to fetch http://deb/InRelease  Temporary failure resolving 'deb'",
                    "E: Unable to locate package curl",
                ][..],
                DependencyUnreachable,
                "could not reach",
            ),
            (
                &["E: Unable to locate package curll"],
                DependencyNotFound,
                "no package curll in the image's lists: run apt-get update",
            ),
            (
                &[
                    "E: Failed to fetch http://deb/x_1_amd64.deb  404  Not Found [IP: 1.2.3.4 80]",
                    "E: Unable to fetch some archives",
                ],
                DependencyNotFound,
                "apt-get update in the same RUN",
            ),
            (&["E: Package 'x' has no installation candidate"], DependencyNotFound, "name and version"),
            (&["npm ERR! code ENOTFOUND", "npm ERR! network"], DependencyUnreachable, "could not reach"),
            (
                &["npm error code E404", "npm error 404 Not Found - GET https://r/nope"],
                DependencyNotFound,
                "name and version",
            ),
            (
                &[
                    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by NewConnectionError",
                    "ERROR: No matching distribution found for flask",
                ],
                DependencyUnreachable,
                "could not reach",
            ),
            (
                &["ERROR: No matching distribution found for flaskk==9"],
                DependencyNotFound,
                "no package flaskk==9: correct",
            ),
            (&["error: no matching package named `serdee` found"], DependencyNotFound, "no package serdee"),
            (&["curl: (6) Could not resolve host: example.org"], DependencyUnreachable, "could not reach"),
            (&["test db ... connection refused", "FAILED"], RunFailed, "last lines"),
        ] {
            let failure = of(1, lines);
            assert_eq!(failure.class, class, "{lines:?}");
            assert!(failure.advice().contains(wanted), "{lines:?}: {}", failure.advice());
        }
    }
}
