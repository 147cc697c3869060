//! Where the lines of a log are, against a walk over its bytes.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use slipway_logfmt::chunk::Chunk;
use slipway_logsvc::fuzzing::Runs;

use crate::input;

/// Runs the target.
pub fn run(input: &[u8]) {
    let _ = places(&mut Unstructured::new(input));
}

/// A line, as a walk finds it.
struct Line {
    step: u32,
    start: i64,
}

/// Every line with whoever wrote its first byte.
fn walk(log: &Chunk) -> Vec<Line> {
    let mut writers = log.spans.iter().flat_map(|span| std::iter::repeat_n(span.step, span.len as usize));
    let (mut lines, mut begins) = (Vec::new(), true);
    for (at, byte) in log.bytes.iter().enumerate() {
        let step = writers.next().expect("spans cover the bytes");
        if begins {
            lines.push(Line { step, start: at as i64 });
        }
        begins = *byte == b'\n';
    }
    lines
}

fn places(input: &mut Unstructured<'_>) -> Result<()> {
    let bytes = input::text(input, 80)?;
    let log = input::chunk(input, 0, bytes)?;
    let runs = input::parts(input, &log)?;
    let index = Runs::of(&runs).expect("runs that follow each other are taken");
    let lines = walk(&log);
    assert_eq!(index.lines(), lines.len() as i64, "lines");
    let mut of_steps: BTreeMap<u32, Vec<i64>> = log.spans.iter().map(|span| (span.step, Vec::new())).collect();
    for line in &lines {
        of_steps.entry(line.step).or_default().push(line.start);
    }
    let steps: BTreeMap<u32, i64> = index.steps().into_iter().collect();
    assert_eq!(steps, of_steps.iter().map(|(step, own)| (*step, own.len() as i64)).collect(), "lines of steps");
    let run_of = |at: i64| runs.iter().find(|run| run.offset <= at && at < run.end()).map(|run| run.offset);
    for (step, own) in &of_steps {
        for (before, start) in own.iter().enumerate() {
            let run = run_of(*start).expect("a run");
            let earlier = own.iter().filter(|other| **other < run).count() as i64;
            let found = index.run_of_step_line(*step, before as i64 + 1);
            assert_eq!(found, Some((run, earlier)), "line {} of step {step}", before + 1);
        }
    }
    for at in 0..log.end() {
        let start = run_of(at).expect("a run");
        let breaks = log.bytes[..start as usize].iter().filter(|byte| **byte == b'\n').count() as i64;
        let continues = start > 0 && log.bytes[start as usize - 1] != b'\n';
        assert_eq!(index.run_at(at), Some((start, breaks, continues)), "the run of byte {at}");
        for step in of_steps.keys() {
            let next = runs.iter().find(|run| run.offset > at && run.spans.iter().any(|span| span.step == *step));
            assert_eq!(index.next_of_step(at, *step), next.map(|run| run.offset), "step {step} behind byte {at}");
        }
    }
    if let [_, .., last] = runs.as_slice() {
        assert!(Runs::of(std::slice::from_ref(last)).is_none(), "a log without its beginning was taken");
    }
    Ok(())
}
