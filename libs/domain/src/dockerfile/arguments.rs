//! What the engine finds out only of stages that it builds, when it has replaced variables: texts that cannot be read,
//! ports, signals, mounts (`dispatch` in moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go). Where a variable
//! stands nothing is judged but the form.

use super::flags::{csv_fields, value_of, values_of};
use super::lines::LogicalLine;
use super::shell::{Read, Shell, Unread, Unset};
use super::statement::{Form, Statement};
use super::{Fault, ProblemClass, fault, shown};

/// Signals that have names on Linux.
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];
/// So many signals lie behind RTMIN, and one fewer before RTMAX.
const REAL_TIME_SIGNALS: u8 = 15;

/// Refuses what the engine refuses when it builds the stage of this instruction.
pub(super) fn check(line: &LogicalLine, escape: char) -> Result<(), Fault> {
    let Some(statement) = &line.statement else { return Ok(()) };
    let Statement { keyword, flags, form } = statement;
    match keyword.as_str() {
        "ENV" | "LABEL" => check_pairs(form, escape),
        "ARG" => check_args(form.arguments(), escape),
        "USER" | "WORKDIR" | "VOLUME" => check_words(form.arguments(), escape),
        "ADD" | "COPY" => {
            let flags = ["chown", "chmod", "checksum"].into_iter().filter_map(|name| value_of(flags, name));
            check_words(flags, escape)?;
            let sources = form.arguments().iter().filter(|word| !word.contains("<<"));
            check_words(sources, escape)?;
            check_bodies(line)
        }
        "EXPOSE" => form.arguments().iter().try_for_each(|port| check_port(port, escape)),
        "STOPSIGNAL" => form.arguments().iter().try_for_each(|signal| check_signal(signal, escape)),
        "RUN" => {
            if *form == Form::Json(Vec::new()) {
                return Err(fault(ProblemClass::MissingArguments, "RUN needs a command; [] is none"));
            }
            values_of(flags, "mount").try_for_each(|mount| check_mount(mount, escape))
        }
        _ => Ok(()),
    }
}

/// ARG before the first FROM; what stands in it is always read.
pub(super) fn check_args(words: &[String], escape: char) -> Result<(), Fault> {
    check_words(words.iter().filter_map(|word| word.split_once('=')).map(|(_, value)| value), escape)
}

fn check_pairs(form: &Form, escape: char) -> Result<(), Fault> {
    let Form::Pairs(pairs) = form else { return Ok(()) };
    check_words(pairs.iter().flat_map(|(name, value)| [name, value]), escape)
}

fn check_words<T: AsRef<str>>(words: impl IntoIterator<Item = T>, escape: char) -> Result<(), Fault> {
    words.into_iter().try_for_each(|word| read(word.as_ref(), escape).map(drop))
}

/// Heredocs of COPY and ADD: variables in them are replaced, quotes are nothing special.
fn check_bodies(line: &LogicalLine) -> Result<(), Fault> {
    for (heredoc, body) in line.heredocs.iter().filter(|(heredoc, _)| heredoc.expand) {
        if let Err(Unread::Wrong(why)) = Shell::heredoc_body().read(body) {
            let message = format!(
                "the heredoc {} cannot be read: {why}; quote its name to keep it as it is",
                shown(&heredoc.name)
            );
            return Err(fault(ProblemClass::BadSyntax, message));
        }
    }
    Ok(())
}

/// Nothing where we do not follow.
fn read(word: &str, escape: char) -> Result<Option<Read>, Fault> {
    match Shell::argument(escape, Unset::Unknown).read(word) {
        Ok(read) => Ok(Some(read)),
        Err(Unread::TooDeep) => Ok(None),
        Err(Unread::Wrong(why)) => {
            Err(fault(ProblemClass::BadSyntax, format!("\"{}\" cannot be read: {why}", shown(word))))
        }
    }
}

/// What is left when no variable stands in it.
fn known(word: &str, escape: char) -> Result<Option<Read>, Fault> {
    Ok(read(word, escape)?.filter(|read| read.names.is_empty()))
}

fn check_port(word: &str, escape: char) -> Result<(), Fault> {
    let Some(read) = known(word, escape)? else { return Ok(()) };
    for port in &read.words {
        // An address and a port of the host may stand before it; the engine reads them and forgets them.
        let own = port.rsplit(':').next().unwrap_or_default();
        let (range, protocol) = own.split_once('/').unwrap_or((own, "tcp"));
        let is_protocol = ["", "tcp", "udp", "sctp"].iter().any(|known| protocol.eq_ignore_ascii_case(known));
        if !is_protocol || !is_port_range(range) {
            let message = format!("EXPOSE is written EXPOSE port or EXPOSE port/udp, not {}", shown(port));
            return Err(fault(ProblemClass::BadArguments, message));
        }
    }
    Ok(())
}

fn is_port_range(range: &str) -> bool {
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    match range.split_once('-') {
        None => number(range).is_some(),
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
    }
}

fn check_signal(word: &str, escape: char) -> Result<(), Fault> {
    let Some(read) = known(word, escape)? else { return Ok(()) };
    let is_signal = match read.text.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => {
            let name = read.text.to_uppercase();
            is_signal_name(name.strip_prefix("SIG").unwrap_or(&name))
        }
    };
    if is_signal {
        return Ok(());
    }
    Err(fault(ProblemClass::BadArguments, format!("there is no signal {}", shown(&read.text))))
}

fn is_signal_name(name: &str) -> bool {
    let real_time = |rest: &str, most: u8| {
        rest.parse::<u8>().is_ok_and(|number| (1..=most).contains(&number) && !rest.starts_with(['0', '+']))
    };
    SIGNALS.contains(&name)
        || name.strip_prefix("RTMIN+").is_some_and(|rest| real_time(rest, REAL_TIME_SIGNALS))
        || name.strip_prefix("RTMAX-").is_some_and(|rest| real_time(rest, REAL_TIME_SIGNALS - 1))
}

/// What a mount has said so far.
#[derive(Default)]
struct Mount {
    kind: String,
    has_from: bool,
    has_source: bool,
    has_target: bool,
    has_id: bool,
    shares: bool,
    owns: bool,
}

/// `RUN --mount=…`, as `parseMount` of instructions/commands_runmount.go has it.
fn check_mount(mount: &str, escape: char) -> Result<(), Fault> {
    let fields = csv_fields(mount).unwrap_or_default();
    let mut said = Mount { kind: "bind".to_owned(), ..Mount::default() };
    for field in &fields {
        let value = match field.split_once('=') {
            None => None,
            Some((_, value)) => match known(value, escape)? {
                Some(read) => Some(read.text),
                // The rest hangs together with what we do not know.
                None => return Ok(()),
            },
        };
        let key = field.split('=').next().unwrap_or_default().to_lowercase();
        said.take(&key, value.as_deref()).map_err(bad_mount)?;
    }
    said.check().map_err(bad_mount)
}

fn bad_mount(why: String) -> Fault {
    fault(ProblemClass::BadFlag, format!("--mount: {why}"))
}

impl Mount {
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let asks = matches!(self.kind.as_str(), "secret" | "ssh");
        let Some(value) = value else {
            return match key {
                "readonly" | "ro" | "readwrite" | "rw" => Ok(()),
                "required" if asks => Ok(()),
                _ => Err(format!("{} needs a value here", shown(key))),
            };
        };
        let good = match key {
            "type" => {
                self.kind = value.to_lowercase();
                matches!(self.kind.as_str(), "bind" | "cache" | "tmpfs" | "secret" | "ssh")
            }
            "from" => {
                self.has_from = !value.is_empty();
                true
            }
            "source" | "src" => {
                self.has_source = !value.is_empty();
                true
            }
            "target" | "dst" | "destination" => {
                self.has_target = !value.is_empty();
                true
            }
            "readonly" | "ro" | "readwrite" | "rw" => is_bool(value),
            "required" => asks && is_bool(value),
            // Only in newer versions.
            "env" => {
                self.has_target = true;
                true
            }
            "size" => self.kind == "tmpfs",
            "id" => {
                self.has_id = !value.is_empty();
                true
            }
            "sharing" => {
                self.shares = true;
                ["shared", "private", "locked"].iter().any(|mode| value.eq_ignore_ascii_case(mode))
            }
            "mode" => {
                self.owns = true;
                u32::from_str_radix(value, 8).is_ok() && !value.starts_with('+')
            }
            "uid" | "gid" => {
                self.owns = true;
                value.parse::<u32>().is_ok() && !value.starts_with('+')
            }
            _ => return Err(format!("there is no {}", shown(key))),
        };
        if good { Ok(()) } else { Err(format!("{key} cannot be {}", shown(value))) }
    }

    fn check(&self) -> Result<(), String> {
        let kind = self.kind.as_str();
        if self.owns && !matches!(kind, "secret" | "ssh" | "cache") {
            return Err(format!("a mount of type {kind} takes no mode, uid or gid"));
        }
        if self.shares && kind != "cache" {
            return Err("only a mount of type cache takes sharing".to_owned());
        }
        if kind == "secret" && self.has_from {
            return Err("a secret comes from no stage".to_owned());
        }
        if kind == "secret" && !(self.has_source || self.has_target || self.has_id) {
            return Err("a secret needs its id".to_owned());
        }
        if kind == "secret" && self.has_source && self.has_id {
            return Err("a secret takes either source or id".to_owned());
        }
        Ok(())
    }
}

/// As Go's `strconv.ParseBool`.
fn is_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False")
}
