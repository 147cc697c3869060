//! What each instruction must have, whatever else the file holds: moby/buildkit frontend/dockerfile/instructions.

use super::flags::{self, Kind};
use super::heredoc;
use super::statement::{Form, KEYWORDS, Statement};
use super::{Fault, ProblemClass, fault, shown};
use crate::nearest::nearest;

/// Refuses what the engine refuses of an instruction by itself.
pub(super) fn check(statement: &Statement) -> Result<(), Fault> {
    let Statement { keyword, flags, form } = statement;
    match keyword.as_str() {
        "FROM" => {
            check_from(form.arguments())?;
            flags::check(keyword, flags, &[("platform", Kind::Text)])
        }
        "ADD" => {
            check_copy(keyword, form)?;
            flags::check(keyword, flags, ADD)
        }
        "COPY" => {
            check_copy(keyword, form)?;
            flags::check(keyword, flags, COPY)
        }
        "RUN" => {
            flags::check(keyword, flags, RUN)?;
            flags::check_run(flags)
        }
        "CMD" | "ENTRYPOINT" => flags::check(keyword, flags, &[]),
        "SHELL" => {
            flags::check(keyword, flags, &[])?;
            check_shell(form)
        }
        "ENV" | "LABEL" => {
            flags::check(keyword, flags, &[])?;
            check_pairs(keyword, form)
        }
        // The engine passes over flags of these two.
        "ARG" => check_arg(form.arguments()),
        "STOPSIGNAL" => check_any(keyword, form),
        "EXPOSE" | "MAINTAINER" | "USER" | "WORKDIR" => {
            check_any(keyword, form)?;
            flags::check(keyword, flags, &[])
        }
        "VOLUME" => {
            check_any(keyword, form)?;
            flags::check(keyword, flags, &[])?;
            check_volumes(form.arguments())
        }
        "HEALTHCHECK" => check_probe(form, flags),
        "ONBUILD" => check_trigger(form, flags),
        unknown => Err(unknown_instruction(unknown)),
    }
}

const ADD: &[(&str, Kind)] = &[
    ("chown", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("keep-git-dir", Kind::Switch),
    ("checksum", Kind::Text),
    ("exclude", Kind::Texts),
    ("unpack", Kind::Switch),
];
const COPY: &[(&str, Kind)] = &[
    ("chown", Kind::Text),
    ("from", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("parents", Kind::Switch),
    ("exclude", Kind::Texts),
];
/// `device` is only in the labs channel.
const RUN: &[(&str, Kind)] =
    &[("mount", Kind::Texts), ("network", Kind::Text), ("security", Kind::Text), ("device", Kind::Texts)];
const HEALTHCHECK: &[(&str, Kind)] = &[
    ("interval", Kind::Text),
    ("timeout", Kind::Text),
    ("start-period", Kind::Text),
    ("start-interval", Kind::Text),
    ("retries", Kind::Text),
];

fn unknown_instruction(keyword: &str) -> Fault {
    let meant = nearest(keyword, KEYWORDS).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    fault(ProblemClass::UnknownInstruction, format!("unknown instruction {}{meant}", shown(keyword)))
}

fn missing(keyword: &str) -> Fault {
    fault(ProblemClass::MissingArguments, format!("{keyword} needs something behind it"))
}

fn check_any(keyword: &str, form: &Form) -> Result<(), Fault> {
    if form.arguments().is_empty() { Err(missing(keyword)) } else { Ok(()) }
}

fn check_from(words: &[String]) -> Result<(), Fault> {
    match words {
        [_] => Ok(()),
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            let name = name.to_lowercase();
            let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
            if fits {
                return Ok(());
            }
            let message = "a stage's name begins with a letter and has only letters, digits, -, _ and .";
            Err(fault(ProblemClass::BadFrom, format!("\"{}\" is no name of a stage: {message}", shown(&name))))
        }
        _ => Err(fault(ProblemClass::BadFrom, "FROM is written FROM image or FROM image AS name")),
    }
}

fn check_copy(keyword: &str, form: &Form) -> Result<(), Fault> {
    let [_, .., target] = form.arguments() else {
        let message = format!("{keyword} needs at least a source and a destination");
        return Err(fault(ProblemClass::MissingArguments, message));
    };
    match heredoc::parse(target) {
        Ok(Some(_)) => {
            Err(fault(ProblemClass::BadArguments, format!("{keyword} needs a destination behind the heredoc")))
        }
        Ok(None) | Err(_) => Ok(()),
    }
}

fn check_shell(form: &Form) -> Result<(), Fault> {
    match form {
        Form::Json(words) if !words.is_empty() => Ok(()),
        Form::Text(_) => {
            Err(fault(ProblemClass::BadArguments, "SHELL needs the JSON form: SHELL [\"program\", \"argument\"]"))
        }
        _ => Err(missing("SHELL")),
    }
}

fn check_pairs(keyword: &str, form: &Form) -> Result<(), Fault> {
    match form {
        Form::Pairs(pairs) if pairs.iter().any(|(name, _)| name.is_empty()) => {
            Err(fault(ProblemClass::BadArguments, format!("{keyword} needs a name before the =")))
        }
        Form::Pairs(pairs) if !pairs.is_empty() => Ok(()),
        _ => Err(missing(keyword)),
    }
}

fn check_arg(words: &[String]) -> Result<(), Fault> {
    if words.is_empty() {
        return Err(missing("ARG"));
    }
    if words.iter().any(|word| word.starts_with('=')) {
        return Err(fault(ProblemClass::BadArguments, "ARG needs a name before the ="));
    }
    Ok(())
}

fn check_volumes(volumes: &[String]) -> Result<(), Fault> {
    match volumes.iter().any(|volume| volume.trim().is_empty()) {
        true => Err(fault(ProblemClass::BadArguments, "VOLUME needs a path; an empty one is none")),
        false => Ok(()),
    }
}

fn check_probe(form: &Form, flags: &[String]) -> Result<(), Fault> {
    let Form::Probe(kind, run) = form else { return Err(missing("HEALTHCHECK")) };
    if kind.eq_ignore_ascii_case("NONE") {
        let empty = run.arguments().is_empty();
        return if empty {
            Ok(())
        } else {
            Err(fault(ProblemClass::BadArguments, "HEALTHCHECK NONE takes nothing more"))
        };
    }
    flags::check("HEALTHCHECK", flags, HEALTHCHECK)?;
    if !kind.eq_ignore_ascii_case("CMD") {
        let message =
            format!("HEALTHCHECK is written HEALTHCHECK CMD command or HEALTHCHECK NONE, not {}", shown(kind));
        return Err(fault(ProblemClass::BadArguments, message));
    }
    if run.arguments().is_empty() {
        return Err(fault(ProblemClass::MissingArguments, "HEALTHCHECK CMD needs a command"));
    }
    flags::check_probe(flags)
}

/// What a trigger holds is looked at by the engine only when an image is built upon this one.
fn check_trigger(form: &Form, flags: &[String]) -> Result<(), Fault> {
    let Form::Trigger(inner) = form else { return Err(missing("ONBUILD")) };
    flags::check("ONBUILD", flags, &[])?;
    match inner.keyword.as_str() {
        keyword @ ("ONBUILD" | "FROM" | "MAINTAINER") => {
            Err(fault(ProblemClass::BadArguments, format!("ONBUILD cannot hold {keyword}")))
        }
        _ => Ok(()),
    }
}
