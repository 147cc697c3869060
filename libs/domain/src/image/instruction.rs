//! Instructions of an image's history as people wrote them: the classic builder keeps `/bin/sh -c #(nop)  CMD ["sh"]`,
//! BuildKit `RUN /bin/sh -c make # buildkit`, both `|1 A=b /bin/sh -c make` where arguments are set.

/// Longer ones are cut.
const MAX_CHARS: usize = 500;
/// How a shell begins.
const SHELL: &str = "/bin/sh -c ";
/// How the classic builder marks what runs nothing.
const NOP: &str = "#(nop) ";
/// How BuildKit marks its own.
const BUILDKIT: &str = " # buildkit";

/// On one line, without the words of the builder, cut at 500 characters.
pub fn readable(created_by: &str) -> String {
    let text = created_by.trim();
    let text = text.strip_suffix(BUILDKIT.trim_start()).map_or(text, str::trim_end);
    let (runs, rest) = match text.strip_prefix("RUN ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let shown = match in_shell(rest) {
        Some(nop) if nop.starts_with(NOP) => nop.trim_start_matches(NOP).trim().to_owned(),
        Some(command) => format!("RUN {command}"),
        None if runs => format!("RUN {rest}"),
        None => rest.to_owned(),
    };
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words,
    }
}

/// What a shell was given, whatever arguments were set.
fn in_shell(text: &str) -> Option<&str> {
    let Some((count, rest)) = text.strip_prefix('|').and_then(|rest| rest.split_once(' ')) else {
        return text.strip_prefix(SHELL);
    };
    let count: usize = count.parse().ok()?;
    // Values may hold spaces; so a shell is looked for first.
    let command = rest.split_once(SHELL).or_else(|| rest.split_once(" -c ")).map(|(_, command)| command);
    Some(command.unwrap_or_else(|| rest.splitn(count.saturating_add(1), ' ').nth(count).unwrap_or_default()))
}

/// Whether an entry that added nothing may be a layer all the same: surely, perhaps, or never (`None`).
pub(super) fn may_be_empty(created_by: &str) -> Option<bool> {
    let nop = created_by.contains(NOP.trim_end());
    match readable(created_by).split(' ').next().unwrap_or_default() {
        _ if nop => None,
        "RUN" | "COPY" | "ADD" | "WORKDIR" => Some(true),
        "ARG" | "CMD" | "ENTRYPOINT" | "ENV" | "EXPOSE" | "HEALTHCHECK" | "LABEL" | "MAINTAINER" | "ONBUILD"
        | "SHELL" | "STOPSIGNAL" | "USER" | "VOLUME" => None,
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_builders_are_taken_off() {
        for (written, wanted) in [
            ("/bin/sh -c #(nop) ADD file:0a in / ", "ADD file:0a in /"),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c make", "RUN make"),
            ("RUN /bin/sh -c make  all \\\n\t&& x # buildkit", "RUN make all \\ && x"),
            ("RUN |2 A=b C=d e /bin/sh -c make # buildkit", "RUN make"),
            ("|1 A=b /bin/sh -c make", "RUN make"),
            ("RUN |1 A=b /bin/bash -eo pipefail -c make # buildkit", "RUN make"),
            ("RUN |2 A=b C=d make all # buildkit", "RUN make all"),
            ("RUN |x y", "RUN |x y"),
            ("COPY a b # buildkit", "COPY a b"),
            ("RUN echo # buildkit # buildkit", "RUN echo # buildkit"),
            ("WORKDIR /x", "WORKDIR /x"),
            ("# buildkit", ""),
            ("", ""),
        ] {
            assert_eq!(readable(written), wanted, "{written:?}");
        }
        let long = readable(&"é".repeat(501));
        assert_eq!((long.chars().count(), long.ends_with('…')), (501, true));
        assert_eq!(readable(&"é".repeat(500)).chars().count(), 500);
    }
}
