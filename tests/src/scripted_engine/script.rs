//! From a Dockerfile to what a build of it does.

use std::ops::Range;
use std::time::Duration;

use slipway_domain::dockerfile::{Instruction, Outline, scan};

/// Lines of a RUN in a Dockerfile without a script.
const USUAL_LINES: usize = 20;
/// A log comes in pieces of at most this size, which end anywhere in a line.
pub(super) const PIECE_BYTES: usize = 8000;
/// Bytes of small pieces, in turn.
const SMALL_PIECES: [usize; 6] = [1, 7, 3, 29, 2, 11];
/// A log that takes its time comes in at least so many pieces.
const SLOW_PIECES: usize = 20;

/// What a build does, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    pub steps: Vec<Step>,
}

/// One vertex.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// As BuildKit calls it, `[2/3] RUN make`.
    pub name: String,
    /// The command, as BuildKit's errors have it.
    pub command: String,
    pub deeds: Vec<Deed>,
    /// Places of the steps whose results it takes.
    pub inputs: Vec<usize>,
}

/// Something that a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Log {
        lines: usize,
        over: Duration,
    },
    /// Lines as compilers and tests write them.
    Output {
        lines: usize,
    },
    /// One line.
    Say(String),
    /// One line of its error output.
    Complain(String),
    /// Warns of a line of the Dockerfile.
    Warn {
        line: i32,
        text: String,
    },
    /// A layer of so many bytes comes.
    Move {
        bytes: i64,
        over: Duration,
    },
    Sleep(Duration),
    Fail {
        exit_code: u8,
    },
    /// A fault of the engine, up to this attempt of the job.
    Infra {
        until: i64,
    },
    /// Writes just these.
    Bytes(Vec<u8>),
}

/// One script line.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Deed(Deed),
    Steps(usize),
}

impl Script {
    /// Reads it; an error is the engine's text for a Dockerfile that it refuses.
    pub fn read(dockerfile: &str) -> Result<Self, String> {
        let outline = scan(dockerfile);
        if let Some(problem) = outline.problems.first() {
            return Err(refusal(problem.line, &problem.message));
        }
        let (mut words, mut more) = (Vec::new(), 0);
        for (at, line) in dockerfile.lines().enumerate() {
            let Some(text) = line.trim().strip_prefix("# script:") else { continue };
            match word(text).ok_or_else(|| refusal(at + 1, &format!("unknown script \"{}\"", text.trim())))? {
                Word::Deed(deed) => words.push((at + 1, deed)),
                Word::Steps(count) => more += count,
            }
        }
        Ok(Self { steps: steps(&outline, &words, more) })
    }
}

/// Everything that a `log N` writes; equal for equal N, and no line occurs twice.
pub fn log_lines(lines: usize) -> String {
    (1..=lines).map(line).collect()
}

/// The same in pieces that end anywhere.
pub fn log_pieces(lines: usize, over: Duration) -> impl ExactSizeIterator<Item = Vec<u8>> {
    let line_bytes = line(1).len();
    let total = lines * line_bytes;
    let size = if over.is_zero() { PIECE_BYTES } else { total.div_ceil(SLOW_PIECES).clamp(1, PIECE_BYTES) };
    (0..total.div_ceil(size)).map(move |piece| {
        let (from, to) = (piece * size, total.min((piece + 1) * size));
        let (first, last) = (from / line_bytes, to.div_ceil(line_bytes));
        let text: String = (first + 1..=last).map(line).collect();
        text.as_bytes()[from - first * line_bytes..to - first * line_bytes].to_vec()
    })
}

/// Bytes in small pieces that end anywhere.
pub fn small_pieces(mut bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    SMALL_PIECES.into_iter().cycle().map_while(move |size| {
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then(|| piece.to_vec())
    })
}

/// All lines have one length.
fn line(number: usize) -> String {
    format!("{}\n", head(number))
}

/// What each line begins with.
pub(super) fn head(number: usize) -> String {
    format!("{number:08} {:016x}", bits(number))
}

/// The same for the same number, and otherwise as if it were random.
pub(super) fn bits(number: usize) -> u64 {
    // The mixing step of splitmix64.
    let mut bits = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn steps(outline: &Outline, words: &[(usize, Deed)], more: usize) -> Vec<Step> {
    let counted: Vec<&Instruction> = outline.instructions.iter().filter(|it| is_counted(outline, it)).collect();
    let (mut steps, mut stages) = (Vec::new(), Vec::new());
    for stage in 0..outline.stages.len() {
        let own: Vec<&&Instruction> = counted.iter().filter(|it| it.stage == Some(stage)).collect();
        // Where BuildKit puts the ONBUILD triggers of a base image: lines are found in spite of them.
        let more = if stage + 1 == outline.stages.len() { more } else { 0 };
        let total = own.len() + more;
        let (from, rest) = own.split_at(own.iter().take_while(|it| it.keyword == "FROM").count());
        let title = |number: usize, text: &str| format!("[{}{number}/{total}] {text}", stage_word(outline, stage));
        steps.extend(from.iter().map(|it| (it.line, title(1, &text(it)), text(it))));
        steps.extend((1..=more).map(|extra| {
            let text = format!("RUN scripted step {extra}");
            (0, title(from.len() + extra, &text), text)
        }));
        let place = from.len() + more;
        let first = steps.len() - place;
        steps.extend(rest.iter().enumerate().map(|(at, it)| (it.line, title(place + at + 1, &text(it)), text(it))));
        stages.push(first..steps.len());
    }
    let texts: Vec<&str> = steps.iter().map(|(.., text)| text.as_str()).collect();
    let mut inputs = inputs(outline, &stages, &texts).into_iter();
    let last = steps.iter().map(|(line, ..)| *line).max().unwrap_or_default();
    let mut before = 0;
    let with_deeds = steps.into_iter().map(|(line, name, text)| {
        let until = if line == last { usize::MAX } else { line };
        let mut deeds: Vec<Deed> = words
            .iter()
            .filter(|(at, _)| line > 0 && (before..until).contains(at))
            .map(|(_, deed)| deed.clone())
            .collect();
        before = before.max(line);
        if words.is_empty() && more == 0 && text.starts_with("RUN ") {
            deeds.push(Deed::Log { lines: USUAL_LINES, over: Duration::ZERO });
        }
        let command = text.strip_prefix("RUN ").unwrap_or(&text).to_owned();
        Step { name, command, deeds, inputs: inputs.next().unwrap_or_default() }
    });
    with_deeds.collect()
}

/// What each step takes: what is before it in its stage or below that, and the last of stages that it copies from.
fn inputs(outline: &Outline, stages: &[Range<usize>], texts: &[&str]) -> Vec<Vec<usize>> {
    let last_of = |stage: usize| {
        let below = std::iter::successors(Some(stage), |stage| outline.stages[*stage].parent);
        below.filter_map(|stage| stages[stage].clone().last()).next()
    };
    let stage_of = |name: &str| {
        let by_name = outline.stages.iter().rposition(|stage| stage.name.as_deref() == Some(name));
        by_name.or_else(|| name.parse().ok().filter(|at| *at < stages.len()))
    };
    let of_step = |stage: usize, place: usize| {
        let before =
            if place > stages[stage].start { Some(place - 1) } else { outline.stages[stage].parent.and_then(last_of) };
        let words = texts[place].split([' ', ',']);
        let copied = words.filter_map(|word| word.strip_prefix("--from=").or(word.strip_prefix("from=")));
        before.into_iter().chain(copied.filter_map(|name| last_of(stage_of(name)?))).collect()
    };
    let of_stage = |(stage, places): (usize, &Range<usize>)| places.clone().map(move |place| (stage, place));
    stages.iter().enumerate().flat_map(of_stage).map(|(stage, place)| of_step(stage, place)).collect()
}

fn text(instruction: &Instruction) -> String {
    format!("{} {}", instruction.keyword, instruction.arguments)
}

/// What stands before the number: nothing when there is one stage.
fn stage_word(outline: &Outline, stage: usize) -> String {
    match (outline.stages.len(), &outline.stages[stage].name) {
        (1, _) => String::new(),
        (_, Some(name)) => format!("{name} "),
        (_, None) => format!("stage-{stage} "),
    }
}

fn is_counted(outline: &Outline, instruction: &Instruction) -> bool {
    let Some(stage) = instruction.stage else { return false };
    match instruction.keyword.as_str() {
        "ADD" | "COPY" | "RUN" | "WORKDIR" => true,
        "FROM" => {
            let stage = &outline.stages[stage];
            stage.parent.is_none() && stage.base != "scratch"
        }
        _ => false,
    }
}

fn word(text: &str) -> Option<Word> {
    if let Some(line) = text.trim_start().strip_prefix("say ") {
        return Some(Word::Deed(Deed::Say(line.replace("\\e", "\x1b").replace("\\r", "\r"))));
    }
    if let Some(line) = text.trim_start().strip_prefix("complain ") {
        return Some(Word::Deed(Deed::Complain(line.to_owned())));
    }
    if let Some((line, text)) = text.trim_start().strip_prefix("warn ").and_then(|rest| rest.split_once(' ')) {
        return Some(Word::Deed(Deed::Warn { line: line.parse().ok()?, text: text.to_owned() }));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    Some(match words.as_slice() {
        ["steps", count] => Word::Steps(count.parse().ok()?),
        ["log", lines] => Word::Deed(Deed::Log { lines: lines.parse().ok()?, over: Duration::ZERO }),
        ["log", lines, "over", over] => Word::Deed(Deed::Log { lines: lines.parse().ok()?, over: duration(over)? }),
        ["output", lines] => Word::Deed(Deed::Output { lines: lines.parse().ok()? }),
        ["move", bytes] => Word::Deed(Deed::Move { bytes: bytes.parse().ok()?, over: Duration::ZERO }),
        ["move", bytes, "over", over] => Word::Deed(Deed::Move { bytes: bytes.parse().ok()?, over: duration(over)? }),
        ["sleep", time] => Word::Deed(Deed::Sleep(duration(time)?)),
        ["fail", "exit", code] => Word::Deed(Deed::Fail { exit_code: code.parse().ok()? }),
        ["infra"] => Word::Deed(Deed::Infra { until: i64::MAX }),
        ["infra", attempts] => Word::Deed(Deed::Infra { until: attempts.parse().ok()? }),
        ["bytes", hex] => Word::Deed(Deed::Bytes(hex::decode(hex).ok()?)),
        _ => return None,
    })
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

fn refusal(line: usize, message: &str) -> String {
    format!(
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: \
         dockerfile parse error line {line}: {message}"
    )
}

#[cfg(test)]
mod tests {
    use slipway_domain::dockerfile::line_of_vertex;

    use super::*;

    fn log(lines: usize) -> Deed {
        Deed::Log { lines, over: Duration::ZERO }
    }

    #[test]
    fn script_lines_belong_to_the_instruction_below() {
        let dockerfile = "# script: sleep 2s\nFROM a\n# script: log 30 over 3s\nENV X=1\n# script: sleep 50ms\n\
                          RUN make\nCOPY a /a\n# script: fail exit 7\nCMD x\n";
        let script = Script::read(dockerfile).unwrap();
        let deeds: Vec<_> = script.steps.iter().map(|step| step.deeds.as_slice()).collect();
        let slow = Deed::Log { lines: 30, over: Duration::from_secs(3) };
        assert_eq!(
            deeds,
            [
                [Deed::Sleep(Duration::from_secs(2))].as_slice(),
                &[slow, Deed::Sleep(Duration::from_millis(50))],
                &[Deed::Fail { exit_code: 7 }],
            ]
        );
    }

    #[test]
    fn a_step_says_lines_and_moves_bytes() {
        let dockerfile = "# script: move 300 over 2s\nFROM a\n# script: say section_end:1:a\\r\\e[0K\n\
                          # script: say --- two  words\n# script: warn 3 too  loud\n\
                          # script: complain of  it\nRUN make\n";
        let script = Script::read(dockerfile).unwrap();
        let deeds: Vec<_> = script.steps.iter().map(|step| step.deeds.as_slice()).collect();
        let said = [
            Deed::Say("section_end:1:a\r\x1b[0K".to_owned()),
            Deed::Say("--- two  words".to_owned()),
            Deed::Warn { line: 3, text: "too  loud".to_owned() },
            Deed::Complain("of  it".to_owned()),
        ];
        assert_eq!(deeds, [[Deed::Move { bytes: 300, over: Duration::from_secs(2) }].as_slice(), &said]);
    }

    #[test]
    fn without_a_script_each_run_writes_a_little() {
        let script = Script::read("FROM a\nRUN make\n").unwrap();
        let step = |(name, command): (&str, &str), deeds: Vec<Deed>, inputs: Vec<usize>| Step {
            name: name.to_owned(),
            command: command.to_owned(),
            deeds,
            inputs,
        };
        assert_eq!(
            script.steps,
            [
                step(("[1/2] FROM a", "FROM a"), vec![], vec![]),
                step(("[2/2] RUN make", "make"), vec![log(USUAL_LINES)], vec![0])
            ]
        );
    }

    #[test]
    fn a_step_takes_what_is_below_it_and_what_it_copies() {
        let dockerfile = "FROM a AS shared\nRUN zero\nFROM shared AS left\nFROM shared AS right\nRUN right\n\
                          FROM left\nRUN --mount=type=bind,from=0,target=/x x\nCOPY --from=right / /\n";
        let script = Script::read(dockerfile).unwrap();
        let inputs: Vec<_> = script.steps.iter().map(|step| step.inputs.as_slice()).collect();
        assert_eq!(inputs, [[].as_slice(), &[0], &[1], &[1, 1], &[3, 2]]);
    }

    #[test]
    fn lines_are_found_from_the_names_of_steps() {
        for (dockerfile, expected) in [
            ("FROM a\n\nRUN one\n# script: steps 2\nRUN \\\n two\n", vec![Some(1), None, None, Some(3), Some(5)]),
            (
                "FROM a AS b\nRUN one\nFROM scratch\nCOPY --from=b x x\nFROM b\nRUN two\n",
                vec![Some(1), Some(2), Some(4), Some(6)],
            ),
        ] {
            let outline = scan(dockerfile);
            let script = Script::read(dockerfile).unwrap();
            let lines: Vec<_> = script.steps.iter().map(|step| line_of_vertex(&outline, &step.name)).collect();
            assert_eq!(lines, expected, "{script:?}");
        }
    }

    #[test]
    fn small_pieces_are_the_whole() {
        let script = Script::read("FROM a\n# script: bytes 68690a\nRUN x\n").unwrap();
        assert_eq!(script.steps[1].deeds, [Deed::Bytes(b"hi\n".to_vec())]);
        assert!(Script::read("FROM a\n# script: bytes hello\nRUN x\n").is_err());
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(small_pieces(&bytes).collect::<Vec<_>>().concat(), bytes);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (dockerfile, part) in [
            ("FROM a\n# script: slep 2s\n", "line 2: unknown script \"slep 2s\""),
            ("FROM a\n# script: sleep 2\n", "line 2"),
            ("FROM a\n# script: warn here\n", "line 2"),
            ("FROM a\nRUNN x\n", "line 2"),
            ("", "line 1"),
        ] {
            let error = Script::read(dockerfile).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn pieces_make_the_whole_log() {
        for (lines, over) in [(0, 0), (1, 0), (1, 3), (20, 3), (5000, 0), (5000, 3)] {
            let pieces: Vec<_> = log_pieces(lines, Duration::from_secs(over)).collect();
            assert_eq!(String::from_utf8(pieces.concat()).unwrap(), log_lines(lines), "{lines} over {over}");
            assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            assert!(over == 0 || pieces.len() >= lines.min(SLOW_PIECES), "{}", pieces.len());
        }
    }
}
