//! Flags of instructions: which there are, how their values are written (instructions/bflag.go and the files beside).
//! Newer flags than an engine knows are refused by it; here the newest stable syntax is the rule.

use super::{Fault, ProblemClass, fault, shown};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or `=true` or `=false`.
    Switch,
    /// A value, once.
    Text,
    /// A value, any number of times.
    Texts,
}

/// Refuses flags that the instruction does not have, that are repeated, or that lack their value.
pub(super) fn check(keyword: &str, flags: &[String], known: &[(&str, Kind)]) -> Result<(), Fault> {
    let mut seen: Vec<&str> = Vec::new();
    for flag in flags {
        let (name, value) = name_and_value(flag);
        let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(bad(format!("{keyword} has no flag --{}", shown(name))));
        };
        if *kind != Kind::Texts && seen.contains(name) {
            return Err(bad(format!("the flag --{name} is given twice")));
        }
        // Of those that may be repeated, one is enough to know.
        if !seen.contains(name) {
            seen.push(name);
        }
        match (kind, value) {
            (Kind::Switch, None) | (Kind::Text | Kind::Texts, Some(_)) => {}
            (Kind::Switch, Some(value)) if ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)) => {}
            (Kind::Switch, Some(_)) => return Err(bad(format!("the flag --{name} takes true or false"))),
            (Kind::Text | Kind::Texts, None) => return Err(bad(format!("write --{name}=value, without blanks"))),
        }
    }
    Ok(())
}

/// The value of the flag, if it is given.
pub(super) fn value_of<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    values_of(flags, name).next()
}

/// All values of a flag that may be repeated.
pub(super) fn values_of<'a>(flags: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    flags.iter().map(|flag| name_and_value(flag)).filter(move |(flag, _)| *flag == name).filter_map(|(_, value)| value)
}

/// RUN: what the engine refuses before it knows any variable.
pub(super) fn check_run(flags: &[String]) -> Result<(), Fault> {
    for mount in values_of(flags, "mount") {
        let fields = csv_fields(mount).ok_or_else(|| bad("--mount is written --mount=key=value,key=value"))?;
        let from = fields.iter().filter_map(|field| field.split_once('='));
        let mut from = from.filter(|(key, _)| key.eq_ignore_ascii_case("from")).map(|(_, value)| value);
        if from.any(|value| value.split_once('$').is_some_and(|(_, rest)| !rest.is_empty())) {
            return Err(bad("from of a mount takes no variable; name a stage that is FROM that image"));
        }
    }
    // Variables may stand in neither.
    let words = [("network", ["default", "none", "host"].as_slice()), ("security", &["sandbox", "insecure"])];
    for (name, known) in words {
        match value_of(flags, name) {
            Some(value) if !known.contains(&value) && !value.contains('$') => {
                return Err(bad(format!("--{name} is one of {}, not {}", known.join(", "), shown(value))));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// HEALTHCHECK: times and the number of retries. An interval of 0 and no
/// retries are refused by older engines (BuildKit 0.8).
pub(super) fn check_probe(flags: &[String]) -> Result<(), Fault> {
    for name in ["interval", "timeout", "start-period", "start-interval"] {
        match value_of(flags, name) {
            None | Some("") => {}
            Some(value) => match nanoseconds(value) {
                Some(nanos) if nanos == 0.0 || nanos >= 1e6 => {}
                Some(_) => return Err(bad(format!("--{name} must be at least 1ms"))),
                None => return Err(bad(format!("--{name} is a time such as 1m30s, not {}", shown(value)))),
            },
        }
    }
    match value_of(flags, "retries") {
        Some(value) if !value.is_empty() && !value.parse::<i32>().is_ok_and(|retries| retries >= 0) => {
            Err(bad(format!("--retries is a number, not {}", shown(value))))
        }
        Some(_) | None => Ok(()),
    }
}

fn bad(message: impl Into<String>) -> Fault {
    fault(ProblemClass::BadFlag, message)
}

fn name_and_value(flag: &str) -> (&str, Option<&str>) {
    let flag = flag.strip_prefix("--").unwrap_or(flag);
    flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)))
}

/// One record of comma-separated values, as Go's encoding/csv reads it; nothing if it does not.
pub(super) fn csv_fields(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) = rest.split_once(',').map_or((rest, None), |(field, more)| (field, Some(more)));
            if field.contains('"') {
                return None;
            }
            fields.push(field.to_owned());
            match more {
                Some(more) => rest = more,
                None => return Some(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut tail = quoted;
        loop {
            let (part, behind) = tail.split_once('"')?;
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(more) => (field, tail) = (field + "\"", more),
                None => {
                    tail = behind;
                    break;
                }
            }
        }
        fields.push(field);
        match tail.strip_prefix(',') {
            Some(more) => rest = more,
            None if tail.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// A time as Go's `time.ParseDuration` reads it.
fn nanoseconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1.0, rest),
        Some(rest) => (1.0, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, more) = rest.split_at(end);
        // Rust reads "1." and ".5" as Go does, and refuses "." as Go does.
        let number: f64 = number.parse().ok()?;
        let end = more.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(more.len());
        let (unit, more) = more.split_at(end);
        sum += number * UNITS.iter().find(|(name, _)| *name == unit)?.1;
        rest = more;
    }
    // Go counts in 64 bits.
    (sum < 9.2e18).then_some(sign * sum)
}
