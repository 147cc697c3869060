//! The labels that a Dockerfile itself sets.

use std::collections::BTreeSet;

use super::lines::logical_lines;
use super::scan_for;
use super::shell::{Shell, Unset};
use super::stages::last_by_name;
use super::statement::Form;

/// Names of the labels that the target, or the last stage without one, gets by LABEL of its own or of a stage that it
/// stands upon; not those of its base image. A name that hangs on a variable is left out.
pub fn labels(text: &str, target: Option<&str>) -> BTreeSet<String> {
    let outline = scan_for(text, target);
    let target = match target {
        Some(name) => last_by_name(&outline).get(&name.to_lowercase()).copied(),
        None => outline.stages.len().checked_sub(1),
    };
    let mut beneath = BTreeSet::new();
    let mut next = target;
    while let Some(stage) = next.filter(|stage| beneath.insert(*stage)) {
        next = outline.stages.get(stage).and_then(|stage| stage.parent);
    }
    let read = logical_lines(text);
    let ours = outline.instructions.iter().zip(&read.lines);
    let ours = ours.filter(|(it, _)| it.keyword == "LABEL" && it.stage.is_some_and(|stage| beneath.contains(&stage)));
    let pairs = ours.filter_map(|(_, line)| match line.statement.as_ref().map(|statement| &statement.form) {
        Some(Form::Pairs(pairs)) => Some(pairs),
        _ => None,
    });
    let name = |written: &String| {
        let read = Shell::argument(read.escape, Unset::Empty).read(written).ok()?;
        read.names.is_empty().then_some(read.text)
    };
    pairs.flatten().filter_map(|(written, _)| name(written)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_stages_that_the_target_stands_upon_are_found() {
        let text = "ARG V=x\nFROM a AS base\nLABEL one=1 \"two\"='2' \\\n  three=3\nONBUILD LABEL onbuild=1\n\
            FROM base AS Run\nLABEL four 4 and more\nLABEL v$V=5\nFROM b AS other\nLABEL five=5\nFROM run\nLABEL six=6\n";
        let all = ["four", "one", "six", "three", "two"];
        for (target, wanted) in [
            (None, &all[..]),
            (Some("base"), &["one", "three", "two"]),
            (Some("RUN"), &["four", "one", "three", "two"]),
            (Some("other"), &["five"]),
            (Some("none"), &[]),
        ] {
            assert_eq!(Vec::from_iter(labels(text, target)), wanted, "{target:?}");
        }
        assert!(labels("", None).is_empty() && labels("FROM x AS x\nFROM x\n", Some("x")).is_empty());
    }
}
