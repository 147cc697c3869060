//! The secrets that a Dockerfile mounts.

use std::collections::BTreeSet;

use super::Outline;
use crate::secret::is_name;

/// The names of the secrets that RUN instructions mount, also those of ONBUILD; what is no name cannot be a secret's.
pub fn secret_mounts(outline: &Outline) -> BTreeSet<String> {
    let runs = outline.instructions.iter().filter_map(|it| match it.keyword.as_str() {
        "RUN" => Some(it.arguments.as_str()),
        "ONBUILD" => it
            .arguments
            .split_once(char::is_whitespace)
            .and_then(|(keyword, rest)| keyword.eq_ignore_ascii_case("RUN").then_some(rest)),
        _ => None,
    });
    runs.flat_map(mounts).filter_map(secret).filter(|name| is_name(name)).collect()
}

/// The values of the flags `--mount=` in front of a command.
fn mounts(arguments: &str) -> impl Iterator<Item = &str> {
    let flags = arguments.split_whitespace().take_while(|word| word.starts_with("--"));
    flags.filter_map(|flag| flag.strip_prefix("--mount="))
}

/// A secret mount's `id`, or the last part of its `target`, as BuildKit takes it.
fn secret(mount: &str) -> Option<String> {
    let mount = mount.trim_matches(|c| matches!(c, '"' | '\''));
    let fields = || mount.split(',').map(|field| field.trim().split_once('=').unwrap_or((field, "")));
    let value = |names: &[&str]| {
        let found = fields().find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.trim_matches(|c| matches!(c, '"' | '\'')).to_owned()).filter(|it| !it.is_empty())
    };
    if value(&["type"])?.eq_ignore_ascii_case("secret") {
        let of_target = || value(&["target", "dst", "destination"])?.rsplit('/').next().map(str::to_owned);
        return value(&["id"]).or_else(of_target);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    #[test]
    fn mounts_of_secrets_are_found_by_id_or_target() {
        let text = "FROM scratch\n\
            RUN --mount=type=secret,id=one --mount=type=cache,target=/x cat /run/secrets/one\n\
            RUN --network=none --mount=id=two,required=true,type=SECRET,target=/a/b \\\n  true\n\
            RUN --mount=type=secret,target=/root/.three true\n\
            ONBUILD RUN --mount=type=secret,dst=/etc/four true\n\
            RUN echo --mount=type=secret,id=five\n\
            RUN --mount=type=ssh,id=six true\n\
            RUN --mount=type=secret,id=a/b true\n\
            COPY --mount=type=secret,id=seven . .\n";
        let found = secret_mounts(&scan(text));
        assert_eq!(Vec::from_iter(found.iter().map(String::as_str)), ["four", "one", "two"]);
    }
}
