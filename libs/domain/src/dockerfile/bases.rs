//! The images that a Dockerfile is built upon, and the same Dockerfile with other names for them. Only what can be known
//! for certain is told: a FROM with quotes, or with variables that are more than a name, is left as it is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::lines::{LogicalLine, logical_lines};
use super::reference::{full_name, is_image};
use super::shell::{Shell, Unset};
use super::stages::{Graph, SCRATCH, last_by_name};
use super::{Outline, scan_for};

/// A FROM of a stage that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// What it names, with registry, path and tag: `docker.io/library/debian:12`.
    pub name: String,
    /// True for the one that the image stands upon.
    pub of_target: bool,
    /// The word as it is written.
    written: String,
    /// The lines of its instruction, from 1.
    lines: (usize, usize),
}

/// The bases that tags choose, in order, for these build arguments; not those that a digest chooses. None where the file
/// is wrong, or another frontend than Docker's reads it.
pub fn bases(text: &str, args: &BTreeMap<String, String>, target: Option<&str>) -> Vec<BaseImage> {
    let Some((outline, built)) = built_of(text, target) else { return Vec::new() };
    let values = values(&outline, &logical_lines(text).lines, args);
    let stages: HashSet<&str> = outline.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let under = under(&outline, target);
    let froms = outline.instructions.iter().filter(|it| it.keyword == "FROM");
    let found = froms.filter_map(|from| {
        let index = from.stage.filter(|index| built.contains(index))?;
        let stage = outline.stages.get(index).filter(|stage| stage.parent.is_none())?;
        let image = expanded(&stage.base, &values)?;
        let is_other = image == SCRATCH || image.contains('@') || stages.contains(image.to_lowercase().as_str());
        (!is_other && is_image(&image)).then(|| BaseImage {
            name: full_name(&image),
            of_target: under == Some(index),
            written: stage.base.clone(),
            lines: (from.line, from.end_line),
        })
    });
    found.collect()
}

/// The outline, and which stages are built for the target.
fn built_of(text: &str, target: Option<&str>) -> Option<(Outline, HashSet<usize>)> {
    let mut outline = scan_for(text, target);
    if !outline.problems.is_empty() || super::frontends(text).iter().any(|frontend| !frontend.is_dockers_own()) {
        return None;
    }
    let built = Graph::of(&mut outline, &logical_lines(text).lines, target).built;
    Some((outline, built))
}

/// The Dockerfile with these names in place of what the bases have; `None` where nothing changes. No line moves.
pub fn with_bases<'a>(text: &str, names: impl IntoIterator<Item = (&'a BaseImage, &'a str)>) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut changed = false;
    for (base, name) in names {
        changed |= rename(&mut lines, base, name);
    }
    changed.then(|| lines.concat())
}

/// False where the word is broken over lines.
fn rename(lines: &mut [String], base: &BaseImage, name: &str) -> bool {
    let (first, last) = base.lines;
    for (at, line) in lines.iter_mut().enumerate().take(last).skip(first - 1) {
        // Comments may stand between the lines of an instruction.
        let is_first = at + 1 == first;
        if !is_first && line.trim_start().starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace().skip(usize::from(is_first));
        if let Some(word) = words.find(|word| *word == base.written) {
            let start = word.as_ptr() as usize - line.as_ptr() as usize;
            line.replace_range(start..start + base.written.len(), name);
            return true;
        }
    }
    false
}

/// What the arguments before the first FROM are worth.
fn values(outline: &Outline, lines: &[LogicalLine], args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let before = outline.instructions.iter().zip(lines).take_while(|(it, _)| it.stage.is_none());
    let words = before.filter_map(|(_, line)| line.statement.as_ref()).filter(|statement| statement.keyword == "ARG");
    let mut values = BTreeMap::new();
    for word in words.flat_map(|statement| statement.form.arguments()) {
        let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(name, text)| (name, Some(text)));
        let value = match (args.get(name), default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(text)) => default_value(text, outline.escape, &values),
            (None, None) => None,
        };
        match value {
            Some(value) => values.insert(name.to_owned(), value),
            None => values.remove(name),
        };
    }
    values
}

/// In single quotes variables are only text, which is not followed.
fn default_value(text: &str, escape: char, values: &BTreeMap<String, String>) -> Option<String> {
    if text.contains('$') && text.contains(['\'', escape]) {
        return None;
    }
    let read = Shell::argument(escape, Unset::Kept).read(text).ok()?;
    expanded(&read.text, values)
}

/// The text with `$NAME` and `${NAME}` replaced; `None` where anything else stands in it, or a name has no value.
fn expanded(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut parts = text.split('$');
    let mut whole = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => part.split_at(part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len())),
        };
        whole.push_str(values.get(name)?);
        whole.push_str(rest);
    }
    (!whole.contains(['"', '\'', '\\', '`']) && !whole.contains(char::is_whitespace)).then_some(whole)
}

/// The stages that the image does not stand upon, such as those that it copies from, and in which commands run: what they
/// make is in no layer of it. By the names that the engine gives them in its steps. None where the file is wrong, or
/// another frontend than Docker's reads it.
pub fn stages_beside(text: &str, target: Option<&str>) -> Vec<String> {
    let Some((outline, built)) = built_of(text, target) else { return Vec::new() };
    let own = chain(&outline, target);
    let beside = |stage: &usize| built.contains(stage) && !own.contains(stage);
    let runs = outline.instructions.iter().filter(|it| it.keyword == "RUN").filter_map(|it| it.stage);
    let stages: BTreeSet<usize> = runs.filter(beside).collect();
    let name = |stage: usize| {
        let named = outline.stages.get(stage).and_then(|stage| stage.name.as_ref());
        named.map_or_else(|| format!("stage-{stage}"), |name| name.to_lowercase())
    };
    stages.into_iter().map(name).collect()
}

/// The stage whose base the target, or the last stage without one, stands upon in the end.
fn under(outline: &Outline, target: Option<&str>) -> Option<usize> {
    chain(outline, target).last().copied()
}

/// The target, or the last stage without one, and what it stands upon, stage by stage.
fn chain(outline: &Outline, target: Option<&str>) -> Vec<usize> {
    let first = match target {
        Some(name) => last_by_name(outline).get(&name.to_lowercase()).copied(),
        None => outline.stages.len().checked_sub(1),
    };
    // A stage stands only upon those above it.
    let next = |stage: &usize| outline.stages.get(*stage)?.parent.filter(|parent| parent < stage);
    std::iter::successors(first, next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn names(text: &str, given: &[(&str, &str)], target: Option<&str>) -> Vec<(String, bool)> {
        bases(text, &args(given), target).into_iter().map(|base| (base.name, base.of_target)).collect()
    }

    #[test]
    fn steps_of_other_stages_are_beside_the_image() {
        let text = "FROM a AS base\nRUN one\nFROM a AS made\nRUN make\nFROM a AS unused\nRUN never\nFROM base AS run\n\
            COPY --from=made /x /\nRUN last\n";
        let made: &[&str] = &["made"];
        for (target, wanted) in [(None, made), (Some("RUN"), made), (Some("base"), &[]), (Some("made"), &[])] {
            assert_eq!(stages_beside(text, target), wanted, "{target:?}");
        }
        assert_eq!(
            stages_beside("FROM a\nRUN x\nFROM a AS B\nRUN y\nFROM a\nCOPY --from=0 / /\nCOPY --from=b / /\n", None),
            ["stage-0", "b"]
        );
        for none in [
            "FROM a AS made\nCOPY x /\nFROM a\nCOPY --from=made /x /\n",
            "FROM a AS made\nRUN make\nFROM a\nCOPY --from=gone /\n",
        ] {
            assert_eq!(stages_beside(none, None), [""; 0], "{none}");
        }
    }

    #[test]
    fn bases_are_what_the_engine_asks_registries_for() {
        let text = "ARG V=12\nARG D=\"debian:${V}\"\nARG BARE\nFROM $D AS one\nRUN true\nFROM r.example:5000/a/b AS two\n\
            COPY --from=one /x /\nFROM golang:1 AS unused\nFROM scratch\nFROM two AS last\n";
        let (debian, other) = ("docker.io/library/debian:12".to_owned(), "r.example:5000/a/b:latest".to_owned());
        assert_eq!(names(text, &[], None), [(debian.clone(), false), (other, true)]);
        assert_eq!(names(text, &[], Some("ONE")), [(debian.clone(), true)]);
        assert_eq!(names(text, &[("V", "13")], Some("one"))[0].0, "docker.io/library/debian:13");
        assert_eq!(names(text, &[("D", "ubuntu")], Some("one"))[0].0, "docker.io/library/ubuntu:latest");
    }

    #[test]
    fn what_is_not_certain_is_left_alone() {
        for text in [
            "FROM scratch\n",
            "FROM a@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
            "ARG X\nFROM $X\n",
            "ARG X=y\nFROM ${X:-z}\n",
            "ARG X='$Y'\nFROM $X\n",
            "ARG X=b\nFROM a@sha256:0000000000000000000000000000000000000000000000000000000000000000 AS b\nFROM $X\n",
            "FROM $TARGETARCH/a\n",
            "FROM Debian\n",
            "# syntax=elsewhere.example/frontend\nFROM a\n",
            "RUN x\n",
            "",
        ] {
            assert_eq!(names(text, &[], None), [], "{text}");
        }
        assert!(names("FROM a\nRUN x\n", &[], Some("none")).is_empty());
    }

    #[test]
    fn only_the_words_of_bases_change() {
        let text = "# FROM a\r\nFROM --platform=linux/amd64 a AS a1\r\nRUN echo a # a\nfrom \\\n# a\n  a \\\n AS from\n\
            FROM a\nCOPY --from=a1 /a /a\nCOPY --from=from /a /a\n";
        let found = bases(text, &BTreeMap::new(), None);
        assert_eq!(found.len(), 3, "{found:?}");
        let new = with_bases(text, found.iter().map(|base| (base, "b@c"))).expect("changed");
        assert_eq!(
            new,
            "# FROM a\r\nFROM --platform=linux/amd64 b@c AS a1\r\nRUN echo a # a\nfrom \\\n# a\n  b@c \\\n AS from\n\
             FROM b@c\nCOPY --from=a1 /a /a\nCOPY --from=from /a /a\n"
        );
        assert_eq!(with_bases(text, []), None);
        let broken = "FROM de\\\nbian\n";
        let found = bases(broken, &BTreeMap::new(), None);
        assert_eq!(found[0].name, "docker.io/library/debian:latest");
        assert_eq!(with_bases(broken, found.iter().map(|base| (base, "b"))), None);
        let marked = "\u{feff}FROM a\n";
        let found = bases(marked, &BTreeMap::new(), None);
        assert_eq!(with_bases(marked, found.iter().map(|base| (base, "b"))).as_deref(), Some("\u{feff}FROM b\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_and_written(text in "(FROM|from|ARG|RUN|#|\\\\|\\$\\{?[A-C]\\}?|[a-c=:/@'\"]|AS| |\n){0,40}") {
            let found = bases(&text, &args(&[("A", "a"), ("B", "$")]), None);
            let lines = text.lines().count();
            if let Some(new) = with_bases(&text, found.iter().map(|base| (base, "x.example/y@z"))) {
                proptest::prop_assert_eq!(new.lines().count(), lines);
                proptest::prop_assert!(!found.is_empty() && new.contains("x.example/y@z"));
            }
        }
    }
}
