//! What is refused before the engine hears of it: programs that no operator allowed, arguments that steer the engine,
//! and a file that kills it.

use slipway_domain::dockerfile::{ProblemClass, SYNTAX_ARG, SyntaxAllow, excerpt, is_reserved_arg, scan};
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::spec::BuildOptions;

/// Refuses arguments that are the service's own, and a frontend that is not allowed. These are the options as users
/// gave them, before the service adds arguments of its own.
pub(super) fn check_args(allow: &SyntaxAllow, options: &BuildOptions) -> Result<(), Failure> {
    for (name, value) in options.args.iter().flatten() {
        if is_reserved_arg(name) {
            let message = format!("The build argument {} is reserved.", short(name));
            return Err(Failure::new(FailureClass::ArgReserved, message));
        }
        if name == SYNTAX_ARG
            && let Some(image) = allow.refused_value(value)
        {
            let message = format!("The build argument {SYNTAX_ARG} names {}, which may not build here.", short(image));
            return Err(Failure::new(FailureClass::FrontendForbidden, message));
        }
    }
    Ok(())
}

/// Refuses a Dockerfile that names a frontend that is not allowed, or has nothing to build.
pub(super) fn check_dockerfile(allow: &SyntaxAllow, text: &str) -> Result<(), Failure> {
    if let Some(frontend) = allow.refused(text) {
        let what = if frontend.image.is_empty() {
            "a frontend that cannot be read".to_owned()
        } else {
            short(&frontend.image)
        };
        let message = format!("Line {} of the Dockerfile names {what}, which may not build here.", frontend.line);
        return Err(at(FailureClass::FrontendForbidden, message, text, frontend.line));
    }
    // Docker 20.10 dies of a file with nothing but ARG, and every build of its other jobs with it.
    let problems = scan(text).problems;
    match problems.into_iter().find(|problem| problem.class == ProblemClass::NoStage) {
        Some(problem) => {
            let message = format!("The Dockerfile cannot be built: {}.", problem.message);
            Err(at(FailureClass::DockerfileSyntax, message, text, problem.line))
        }
        None => Ok(()),
    }
}

fn at(class: FailureClass, message: String, text: &str, line: usize) -> Failure {
    let detail = Box::new(Detail { excerpt: excerpt(text, &scan(text), line), ..Detail::default() });
    Failure { dockerfile_line: i64::try_from(line).ok(), detail, ..Failure::new(class, message) }
}

/// The same of this file, which is named where a line of it is.
pub(super) fn in_file(failure: Failure, path: String) -> Failure {
    let dockerfile = failure.dockerfile_line.map(|_| path);
    Failure { detail: Box::new(Detail { dockerfile, ..*failure.detail }), ..failure }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow() -> SyntaxAllow {
        "docker/dockerfile:1,reg.example/own:2".parse().expect("images")
    }

    #[test]
    fn arguments_that_steer_the_engine_are_refused() {
        for (name, value, class) in [
            ("VERSION", "1", None),
            ("buildkit_x", "1", None),
            ("BUILDKIT_SYNTAX", "docker/dockerfile:1", None),
            ("BUILDKIT_SYNTAX", "reg.example/own:2 with words", None),
            ("BUILDKIT_SYNTAX", "reg.example/other", Some(FailureClass::FrontendForbidden)),
            ("BUILDKIT_SYNTAX", "", Some(FailureClass::FrontendForbidden)),
            ("BUILDKIT_CACHE_MOUNT_NS", "other", Some(FailureClass::ArgReserved)),
            ("BUILDKIT_INLINE_CACHE", "1", Some(FailureClass::ArgReserved)),
            ("BUILDKIT_SANDBOX_HOSTNAME", "x", Some(FailureClass::ArgReserved)),
        ] {
            let args = Some([(name.to_owned(), value.to_owned())].into());
            let options = BuildOptions { args, ..BuildOptions::default() };
            let checked = check_args(&allow(), &options);
            assert_eq!(checked.as_ref().err().map(|failure| failure.class), class, "{name}={value}");
            assert!(checked.err().is_none_or(|failure| failure.message.contains(name)), "{name}={value}");
        }
    }

    #[test]
    fn frontends_that_nobody_allowed_are_refused_with_their_line() {
        use FailureClass::{DockerfileSyntax, FrontendForbidden};
        for (text, refused) in [
            ("FROM scratch\n", None),
            ("# syntax=docker/dockerfile:1\nFROM scratch\n", None),
            ("# syntax=docker.io/docker/dockerfile:1\nFROM scratch\n", None),
            ("# syntax=reg.example/own:2\nwhatever it reads\n", None),
            ("# syntax=docker/dockerfile:1-labs\nFROM scratch\n", Some((FrontendForbidden, 1))),
            ("#!/x\n// syntax=evil/frontend\nFROM scratch\n", Some((FrontendForbidden, 2))),
            ("{\"syntax\": \"evil/frontend\"}", Some((FrontendForbidden, 1))),
            ("# escape=`\n# SYNTAX = evil/frontend\nFROM scratch\n", Some((FrontendForbidden, 2))),
            ("ARG A=1\nARG B\n", Some((DockerfileSyntax, 1))),
            ("", Some((DockerfileSyntax, 1))),
            ("FROM scratch\nRUNN x\n", None),
        ] {
            let failure = check_dockerfile(&allow(), text).err();
            let found = failure.as_ref().map(|failure| (failure.class, failure.dockerfile_line));
            assert_eq!(found, refused.map(|(class, line)| (class, Some(line))), "{text}");
        }
        let none = check_dockerfile(&SyntaxAllow::default(), "# syntax=docker/dockerfile:1\nFROM x\n");
        assert_eq!(none.map_err(|failure| failure.class), Err(FrontendForbidden));
    }
}
