//! What the engine finds out when it puts stages together (`Dockerfile2LLB` in moby/buildkit
//! frontend/dockerfile/dockerfile2llb/convert.go): bases, who copies from whom, circles, which stages are built at all.

use std::collections::{HashMap, HashSet};

use super::flags::{csv_fields, value_of, values_of};
use super::lines::LogicalLine;
use super::reference::is_image;
use super::shell::{Read, Shell, Unread, Unset};
use super::statement::Statement;
use super::{Fault, Outline, Problem, ProblemClass, fault, shown};

/// Variables that FROM may use without an ARG.
const PREDEFINED: [&str; 12] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "SOURCE_DATE_EPOCH",
];
/// The base that is no image.
pub(super) const SCRATCH: &str = "scratch";

/// An instruction that takes something from another stage.
struct Edge {
    to: usize,
    line: usize,
}

/// How the stages hang together.
pub(super) struct Graph {
    edges: Vec<Vec<Edge>>,
    pub(super) built: HashSet<usize>,
    pub(super) problems: Vec<Problem>,
}

impl Graph {
    /// Reads the graph of an outline whose lines are all there. `lines` are its instructions.
    pub(super) fn of(outline: &mut Outline, lines: &[LogicalLine], target: Option<&str>) -> Self {
        let edges = outline.stages.iter().map(|_| Vec::new()).collect();
        let mut graph = Self { edges, built: HashSet::new(), problems: Vec::new() };
        graph.bases(outline, lines);
        graph.sources(outline, lines);
        graph.reach(outline, target);
        if !graph.has_circle() {
            graph.later_sources();
        }
        graph
    }

    /// Finds out what each stage stands upon. Of two stages with one name the later one counts, from there on.
    fn bases(&mut self, outline: &mut Outline, lines: &[LogicalLine]) {
        let declared = declared_args(outline, lines);
        let escape = outline.escape;
        let froms = lines.iter().filter_map(|line| line.statement.as_ref().map(|it| (line, it)));
        let platforms: HashMap<usize, &str> = froms
            .filter(|(_, statement)| statement.keyword == "FROM")
            .filter_map(|(line, statement)| Some((line.first, value_of(&statement.flags, "platform")?)))
            .collect();
        let mut names: HashMap<String, usize> = HashMap::new();
        for (index, stage) in outline.stages.iter_mut().enumerate() {
            let mut checked = Ok(());
            if !stage.base.is_empty() {
                match base_name(&stage.base, escape, &declared) {
                    Ok(Some(base)) => {
                        stage.parent = names.get(&base).copied();
                        checked = check_base(&base, stage.parent.is_some());
                    }
                    Ok(None) => {}
                    Err(fault) => checked = Err(fault),
                }
            }
            let platform = platforms.get(&stage.line).filter(|platform| !platform.contains('$'));
            let checked = checked.and_then(|()| platform.map_or(Ok(()), |platform| check_platform(platform)));
            if let Err(Fault { class, message }) = checked {
                self.problems.push(Problem { line: stage.line, class, message });
            }
            if let Some(name) = &stage.name {
                names.insert(name.clone(), index);
            }
        }
    }

    /// Finds out which instructions take files from which stages.
    fn sources(&mut self, outline: &Outline, lines: &[LogicalLine]) {
        let stages = outline.stages.len();
        let mut sources = Sources { names: last_by_name(outline), stages, count: stages, escape: outline.escape };
        for (instruction, line) in outline.instructions.iter().zip(lines) {
            let (Some(stage), Some(statement)) = (instruction.stage, &line.statement) else { continue };
            match sources.of(statement) {
                Ok(stages) => self.edges[stage].extend(stages.into_iter().map(|to| Edge { to, line: line.first })),
                Err(Fault { class, message }) => self.problems.push(Problem { line: line.first, class, message }),
            }
        }
    }

    /// Looks for a circle, of which one is told, without recursion: a file may have a hundred thousand stages.
    fn has_circle(&mut self) -> bool {
        let mut state = vec![0_u8; self.edges.len()];
        for start in 0..self.edges.len() {
            let mut path = vec![(start, 0)];
            while let Some((stage, next)) = path.pop() {
                if next == 0 {
                    if state[stage] != 0 {
                        continue;
                    }
                    state[stage] = 1;
                }
                let Some(edge) = self.edges[stage].get(next) else {
                    state[stage] = 2;
                    continue;
                };
                path.push((stage, next + 1));
                match state.get(edge.to) {
                    Some(0) => path.push((edge.to, 0)),
                    Some(1) => {
                        let message = "this stage takes files from one that takes files from it".to_owned();
                        self.problems.push(Problem { line: edge.line, class: ProblemClass::StageCycle, message });
                        return true;
                    }
                    _ => {}
                }
            }
        }
        false
    }

    /// Marks the stages that the target needs; the engine looks into no other.
    fn reach(&mut self, outline: &Outline, target: Option<&str>) {
        let names = last_by_name(outline);
        let found = match target {
            None => outline.stages.len().checked_sub(1),
            Some(name) => names.get(&name.to_lowercase()).copied(),
        };
        let Some(found) = found else {
            let line = outline.stages.last().map_or(1, |stage| stage.line);
            let message = format!("there is no stage {}", shown(target.unwrap_or_default()));
            self.problems.push(Problem { line, class: ProblemClass::TargetMissing, message });
            return;
        };
        let mut open = vec![found];
        while let Some(stage) = open.pop() {
            if self.built.insert(stage) {
                open.extend(outline.stages[stage].parent);
                open.extend(self.edges[stage].iter().map(|edge| edge.to));
            }
        }
    }

    /// A stage that is built can take files only from those before it.
    fn later_sources(&mut self) {
        for (stage, edges) in self.edges.iter().enumerate().filter(|(stage, _)| self.built.contains(stage)) {
            for edge in edges.iter().filter(|edge| edge.to > stage) {
                let message = "a stage can take files only from stages above it".to_owned();
                self.problems.push(Problem { line: edge.line, class: ProblemClass::BadSource, message });
            }
        }
    }
}

pub(super) fn last_by_name(outline: &Outline) -> HashMap<String, usize> {
    let named = outline.stages.iter().enumerate();
    named.filter_map(|(index, stage)| Some((stage.name.clone()?, index))).collect()
}

fn declared_args(outline: &Outline, lines: &[LogicalLine]) -> HashSet<String> {
    let before = outline.instructions.iter().zip(lines).take_while(|(it, _)| it.stage.is_none());
    let words = before.filter_map(|(_, line)| line.statement.as_ref()).filter(|statement| statement.keyword == "ARG");
    let names = words.flat_map(|statement| statement.form.arguments());
    names.map(|word| word.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// The base with quotes taken off; nothing where it hangs on an argument, which a build may set to anything.
fn base_name(base: &str, escape: char, declared: &HashSet<String>) -> Result<Option<String>, Fault> {
    let bad = |why: String| fault(ProblemClass::BadFrom, format!("the base {} cannot be read: {why}", shown(base)));
    let read = |unset| match Shell::argument(escape, unset).read(base) {
        Ok(read) => Ok(Some(read)),
        Err(Unread::Wrong(why)) => Err(bad(why)),
        Err(Unread::TooDeep) => Ok(None),
    };
    let Some(Read { names, .. }) = read(Unset::Unknown)? else { return Ok(None) };
    if names.iter().any(|name| declared.contains(name) || PREDEFINED.contains(&name.as_str())) {
        return Ok(None);
    }
    let Some(Read { text, .. }) = read(Unset::Empty)? else { return Ok(None) };
    match text.is_empty() {
        true => Err(bad("it is empty; declare its variable by ARG before the first FROM".to_owned())),
        false => Ok(Some(text)),
    }
}

fn check_base(base: &str, is_stage: bool) -> Result<(), Fault> {
    if is_stage || base == SCRATCH || is_image(base) {
        return Ok(());
    }
    Err(fault(ProblemClass::BadFrom, format!("{} is neither a stage above nor the name of an image", shown(base))))
}

/// `os/arch[/variant]`; the os may bear its version in parentheses.
fn check_platform(platform: &str) -> Result<(), Fault> {
    let fits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-()+".contains(c));
    let quoted = platform.contains(['"', '\'', '\\', '`']);
    if platform.is_empty() || quoted || (platform.split('/').count() <= 3 && platform.split('/').all(fits)) {
        return Ok(());
    }
    Err(fault(ProblemClass::BadFlag, format!("--platform is os/arch or os/arch/variant, not {}", shown(platform))))
}

/// Where instructions take files from.
struct Sources {
    names: HashMap<String, usize>,
    stages: usize,
    /// Images that are no stages get a number too, behind the stages.
    count: usize,
    escape: char,
}

impl Sources {
    /// The stages that an instruction takes files from.
    fn of(&mut self, statement: &Statement) -> Result<Vec<usize>, Fault> {
        match statement.keyword.as_str() {
            "COPY" => self.copied(statement).map(|stage| stage.into_iter().collect()),
            "RUN" => self.mounted(statement),
            _ => Ok(Vec::new()),
        }
    }

    fn copied(&mut self, statement: &Statement) -> Result<Option<usize>, Fault> {
        let Some(from) = value_of(&statement.flags, "from").filter(|from| !from.is_empty()) else { return Ok(None) };
        let same = match Shell::argument(self.escape, Unset::Empty).read(from) {
            Ok(read) => read.text == from,
            Err(Unread::Wrong(_)) => false,
            Err(Unread::TooDeep) => true,
        };
        if !same {
            let message = "--from takes no variable; name a stage that is FROM that image";
            return Err(fault(ProblemClass::BadSource, message));
        }
        let Ok(number) = from.parse::<i64>() else { return self.named(from) };
        match usize::try_from(number) {
            Ok(index) if index < self.count => Ok((index < self.stages).then_some(index)),
            _ => Err(fault(ProblemClass::BadSource, format!("there is no stage {number}"))),
        }
    }

    /// A stage by its name, or else an image, which must look like one.
    fn named(&mut self, from: &str) -> Result<Option<usize>, Fault> {
        if let Some(index) = self.names.get(&from.to_lowercase()) {
            return Ok(Some(*index));
        }
        self.count += 1;
        if from == SCRATCH || is_image(from) {
            return Ok(None);
        }
        Err(fault(ProblemClass::BadSource, format!("{} is neither a stage nor the name of an image", shown(from))))
    }

    /// To a mount a number is a name.
    fn mounted(&mut self, statement: &Statement) -> Result<Vec<usize>, Fault> {
        let mut found = Vec::new();
        for mount in values_of(&statement.flags, "mount") {
            let fields = csv_fields(mount).unwrap_or_default();
            let pairs = fields.iter().rev().filter_map(|field| field.split_once('='));
            let mut from = pairs.filter(|(key, _)| key.eq_ignore_ascii_case("from")).map(|(_, value)| value);
            match from.next().filter(|from| !from.is_empty()) {
                Some(from) => found.extend(self.named(from)?),
                // To the engine it is a mount from scratch.
                None => self.count += 1,
            }
        }
        Ok(found)
    }
}
