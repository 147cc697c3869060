//! From the name of a BuildKit vertex back to the Dockerfile. The names are made by `prefixCommand` in
//! moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go: `[stage i/n] INSTRUCTION …`, where FROM
//! counts only if it names an image, and of the rest ADD, COPY, RUN and WORKDIR count.

use super::reference::full_name;
use super::{Instruction, Outline, Stage};

/// The line of the instruction that a vertex carries out, if it comes from the Dockerfile.
pub fn line_of_vertex(outline: &Outline, name: &str) -> Option<usize> {
    if let Some(image) = name.strip_prefix("[internal] load metadata for ") {
        return line_of_base(outline, image.trim());
    }
    let (prefix, text) = name.strip_prefix('[')?.split_once("] ")?;
    let (before, count) = prefix.rsplit_once(['/'])?;
    let total: usize = count.trim().parse().ok()?;
    // `[ 2/10]`, `[build 2/4]` and `[linux/arm64 build 2/4]`: the stage is the word before the number.
    let mut words = before.split_whitespace().rev();
    let index: usize = words.next()?.parse().ok()?;
    let stage = find_stage(outline, words.next())?;
    let keyword = text.split_whitespace().next()?.to_uppercase();

    let counted: Vec<&Instruction> =
        outline.instructions.iter().filter(|it| it.stage == Some(stage) && is_counted(outline, it)).collect();
    // ONBUILD triggers of the base image come first and are counted, but stand in no line of ours.
    let foreign = total.checked_sub(counted.len())?;
    let triggers_after = usize::from(counted.first().is_some_and(|it| it.keyword == "FROM"));
    let position = match index.checked_sub(1)? {
        first if first < triggers_after => first,
        later => later.checked_sub(foreign)?.max(triggers_after),
    };
    let found = counted.get(position)?;
    (index > triggers_after + foreign || position < triggers_after)
        .then_some(found)
        .filter(|found| found.keyword == keyword)
        .map(|found| found.line)
}

/// A stage is called by its name, by `stage-<index>`, or, when it is the only one, by nothing.
fn find_stage(outline: &Outline, word: Option<&str>) -> Option<usize> {
    match word {
        None => (outline.stages.len() == 1).then_some(0),
        Some(word) => outline
            .stages
            .iter()
            .position(|stage| stage.name.as_deref() == Some(word))
            .or_else(|| word.strip_prefix("stage-")?.parse().ok().filter(|index| *index < outline.stages.len()))
            // With a platform and a single stage the word is the platform.
            .or_else(|| (outline.stages.len() == 1).then_some(0)),
    }
}

fn is_counted(outline: &Outline, instruction: &Instruction) -> bool {
    match instruction.keyword.as_str() {
        "ADD" | "COPY" | "RUN" | "WORKDIR" => true,
        "FROM" => instruction.stage.and_then(|index| outline.stages.get(index)).is_some_and(names_image),
        _ => false,
    }
}

fn names_image(stage: &Stage) -> bool {
    stage.parent.is_none() && stage.base != "scratch"
}

fn line_of_base(outline: &Outline, image: &str) -> Option<usize> {
    // A digest is ours, unless it is written.
    let wanted = full_name(image.split('@').next().unwrap_or(image));
    let named_by = |stage: &&Stage| full_name(&stage.base) == wanted || full_name(&stage.base) == full_name(image);
    let mut images = outline.stages.iter().filter(|stage| names_image(stage));
    let named = images.clone().find(named_by);
    // A base with variables in it cannot be compared; alone, it must be the one.
    let only = || images.next().filter(|_| images.next().is_none());
    named.or_else(only).map(|stage| stage.line)
}
