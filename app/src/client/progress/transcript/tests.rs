use chrono::TimeDelta;
use proptest::prelude::*;
use slipway_domain::remarks::Warning;

use super::*;

/// What comes in.
#[derive(Debug, Clone)]
enum Input {
    /// A step writes a text at this millisecond.
    Log(i64, i64, &'static str),
    /// The builder writes of a step.
    Ours(i64, i64, &'static str),
    /// The build's JSON knows of so many warnings, and tells those of this line of the Dockerfile.
    Remarks(i64, &'static [(&'static str, i64)]),
    /// The build's JSON says this.
    Steps(Vec<Step>),
    /// So many milliseconds of silence.
    Tick(u64),
    Tear,
    EndLog,
    Finish,
    Conclude,
}

use Input::{Conclude, EndLog, Finish, Log, Ours, Remarks, Steps, Tear, Tick};

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
}

fn step(number: i64, state: &str, started: Option<i64>, finished: Option<i64>) -> Step {
    Step {
        number,
        name: format!("step {number}"),
        state: state.to_owned(),
        cached: false,
        started_at: started.map(at),
        finished_at: finished.map(at),
        exit_code: None,
        moved_bytes: None,
        total_bytes: None,
        paused_ms: None,
    }
}

fn runs(number: i64, started: i64) -> Step {
    step(number, "running", Some(started), None)
}

fn done(number: i64, started: i64, finished: i64) -> Step {
    step(number, "succeeded", Some(started), Some(finished))
}

fn feed(transcript: &mut Transcript, input: Input) {
    match input {
        Log(step, millis, text) => transcript.write(part(step, millis, text)),
        Ours(step, millis, text) => transcript.write(Part { is_ours: true, ..part(step, millis, text) }),
        Remarks(warning_count, warnings) => {
            let warning = |(text, line): &(&str, i64)| Warning {
                text: (*text).to_owned(),
                step: None,
                dockerfile: Some("Dockerfile".to_owned()),
                line: Some(*line),
            };
            let warnings = warnings.iter().map(warning).collect();
            transcript.remark(&slipway_domain::remarks::Remarks { warning_count, warnings, ..Default::default() });
        }
        Steps(steps) => transcript.tell(&steps),
        Tick(millis) => transcript.tick(Duration::from_millis(millis)),
        Tear => transcript.tear(),
        EndLog => transcript.end_log(),
        Finish => transcript.finish(),
        Conclude => drop(transcript.conclude()),
    }
}

fn part(step: i64, millis: i64, text: &str) -> Part<'_> {
    Part { step, at: Some(at(millis)), is_ours: false, text }
}

/// What each input makes appear.
fn play(inputs: Vec<(Input, &str)>) {
    let mut transcript = Transcript::default();
    for (index, (input, expected)) in inputs.into_iter().enumerate() {
        let told = format!("{index}: {input:?}");
        feed(&mut transcript, input);
        let shown: String = transcript.take().iter().map(|line| line.paint(false)).collect();
        assert_eq!(shown, expected, "{told}");
    }
}

#[test]
fn one_step_after_the_other() {
    play(vec![
        (Steps(vec![runs(1, 0)]), ""),
        (Tick(1000), "#1 step 1\n"),
        (Log(1, 100, "a\n"), "#1 0.100 a\n"),
        (Steps(vec![done(1, 0, 200), runs(2, 200)]), ""),
        (Log(1, 190, "last\n"), "#1 0.190 last\n"),
        (Log(2, 300, "x\n"), ""),
        (Log(2, 1300, "y\n"), "#1 DONE 0.2s\n\n#2 step 2\n#2 0.100 x\n#2 1.100 y\n"),
        (EndLog, ""),
        (
            Steps(vec![done(1, 0, 200), Step { exit_code: Some(1), ..step(2, "failed", Some(200), Some(1400)) }]),
            "#2 ERROR: exit code: 1\n",
        ),
        (Finish, ""),
    ]);
}

#[test]
fn ends_come_after_a_silence_if_nothing_else_is_written() {
    let cached = Step { cached: true, ..done(1, 0, 1) };
    play(vec![
        (Steps(vec![cached, Step { paused_ms: Some(7000), ..done(2, 0, 9000) }, step(3, "pending", None, None)]), ""),
        (Tick(900), ""),
        (Tick(100), "#1 step 1\n#1 CACHED\n\n#2 step 2\n#2 DONE 2.0s\n"),
        (Steps(vec![step(3, "cancelled", Some(0), Some(1)), step(4, "of a newer server", None, None)]), ""),
        (Tick(1000), "\n#3 step 3\n#3 CANCELED\n"),
        (Finish, ""),
    ]);
}

#[test]
fn a_running_step_keeps_its_block_for_a_while() {
    play(vec![
        (Steps(vec![runs(1, 0), runs(2, 0), runs(3, 0)]), ""),
        (Log(1, 100, "a\n"), "#1 step 1\n#1 0.100 a\n"),
        (Log(2, 200, "x\n"), ""),
        (Log(1, 300, "b\n"), "#1 0.300 b\n"),
        (Tick(4700), ""),
        (Tick(100), "#1 ...\n\n#2 step 2\n#2 0.200 x\n"),
        (Log(1, 5200, "c\n"), ""),
        // An end interrupts; then whoever waits gets a block.
        (
            Steps(vec![runs(1, 0), runs(2, 0), done(3, 0, 100)]),
            "#2 ...\n\n#3 step 3\n#3 DONE 0.1s\n\n#1 step 1\n#1 5.200 c\n",
        ),
        (Log(2, 5300, "y\n"), ""),
        (Log(1, 5400, "d\n"), "#1 5.400 d\n"),
        (Finish, "#1 ...\n\n#2 step 2\n#2 5.300 y\n"),
    ]);
}

#[test]
fn lines_of_ours_stand_alone_and_at_once() {
    play(vec![
        (Log(0, 0, "Building team/app\n"), "Building team/app\n"),
        (Log(0, 1, "It may use much.\n"), "It may use much.\n"),
        (Steps(vec![runs(1, 0)]), ""),
        (Log(1, 100, "a\n"), "\n#1 step 1\n#1 0.100 a\n"),
        (Log(0, 200, "Note.\n"), "#1 ...\n\nNote.\n"),
        (Log(1, 300, "b\n"), "\n#1 step 1\n#1 0.300 b\n"),
    ]);
}

#[test]
fn a_line_that_comes_late_is_followed_by_its_end_again() {
    play(vec![
        (Steps(vec![done(1, 0, 100)]), ""),
        (Tick(1000), "#1 step 1\n#1 DONE 0.1s\n"),
        (Log(1, 90, "late\n"), "\n#1 step 1\n#1 0.090 late\n"),
        (EndLog, "#1 DONE 0.1s\n"),
    ]);
}

#[test]
fn lines_wait_for_the_name_of_their_step() {
    play(vec![
        (Log(1, 100, "a\n"), ""),
        (Log(1, 4000, "b\n"), ""),
        (Steps(vec![runs(1, 50)]), "#1 step 1\n#1 0.050 a\n#1 3.950 b\n"),
        (Log(2, 5000, "nobody names it\n"), ""),
        (EndLog, ""),
        (Finish, "#1 ...\n\n#2\n#2 0.000 nobody names it\n"),
    ]);
    play(vec![(Log(1, 100, "a\n"), ""), (Tick(4999), ""), (Tick(1), "#1\n#1 0.000 a\n")]);
}

#[test]
fn what_is_over_is_told_in_the_order_of_its_log() {
    play(vec![
        (Steps(vec![done(1, 0, 1000), done(2, 1000, 9000), Step { cached: true, ..done(3, 500, 500) }]), ""),
        (Log(1, 900, "a\n"), "#1 step 1\n#1 0.900 a\n"),
        (Log(2, 1600, "x\n"), "#1 ...\n\n#3 step 3\n#3 CACHED\n\n#2 step 2\n#2 0.600 x\n"),
        (Log(2, 8000, "y\n"), "#2 7.000 y\n#2 ...\n\n#1 step 1\n#1 DONE 1.0s\n"),
        (EndLog, "\n#2 step 2\n#2 DONE 8.0s\n"),
        (Finish, ""),
    ]);
}

#[test]
fn lines_are_put_together_and_torn_only_where_bytes_are_missing() {
    play(vec![
        (Steps(vec![runs(1, 0)]), ""),
        (Log(1, 100, "on"), ""),
        (Log(1, 200, "e\ntwo\n\nthr"), "#1 step 1\n#1 0.100 one\n#1 0.200 two\n#1 0.200 \n"),
        (Tear, ""),
        (Log(1, 300, "ee\nfour"), "#1 0.200 thr\n#1 0.300 ee\n"),
        (EndLog, "#1 0.300 four\n"),
    ]);
}

#[test]
fn a_step_that_failed_says_its_last_lines_again_at_the_end() {
    let failed = |number| Step { exit_code: Some(2), ..step(number, "failed", Some(0), Some(2000)) };
    play(vec![
        (Steps(vec![runs(1, 0), runs(2, 0)]), ""),
        (
            Log(1, 1, "0\n1\n2\n3\n4\n5\n6\n"),
            "#1 step 1\n#1 0.001 0\n#1 0.001 1\n#1 0.001 2\n#1 0.001 3\n#1 0.001 4\n#1 0.001 5\n#1 0.001 6\n",
        ),
        (Log(1, 2, "7\n8\n10%\r20%\n"), "#1 0.002 7\n#1 0.002 8\n#1 0.002 20%\n"),
        (Log(2, 3, "well\n"), ""),
        (EndLog, "#1 ...\n\n#2 step 2\n#2 0.003 well\n"),
        (
            Steps(vec![failed(1), done(2, 0, 2000), failed(3)]),
            "#2 DONE 2.0s\n\n#1 step 1\n#1 ERROR: exit code: 2\n\n#3 step 3\n#3 ERROR: exit code: 2\n",
        ),
        // It comes late, and it is the eleventh.
        (Log(1, 4, "9\n"), "\n#1 step 1\n#1 0.004 9\n#1 ERROR: exit code: 2\n"),
        (Finish, ""),
        (
            Conclude,
            "------\n > step 1:\n0.001 1\n0.001 2\n0.001 3\n0.001 4\n0.001 5\n0.001 6\n0.002 7\n0.002 8\n\
             0.002 20%\n0.004 9\n------\n------\n > step 3:\n------\n",
        ),
    ]);
}

#[test]
fn names_of_steps_are_told_whose_last_lines_were() {
    let mut transcript = Transcript::default();
    transcript.tell(&[step(1, "failed", None, None), step(2, "failed", None, None), done(3, 0, 1)]);
    transcript.write(part(2, 0, &format!("{}\n", "é".repeat(1001))));
    transcript.write(part(3, 0, "c\n"));
    transcript.finish();
    transcript.take();
    assert_eq!(transcript.conclude(), ["step 2"]);
    let last = transcript
        .take()
        .into_iter()
        .find_map(|line| if let Line::Last { text, .. } = line { Some(text) } else { None });
    assert_eq!(last, Some(format!("{}…", "é".repeat(1000))));
}

#[test]
fn warnings_stand_in_their_step_or_at_the_end() {
    play(vec![
        (Steps(vec![runs(1, 0)]), ""),
        (Log(1, 100, "half a li"), ""),
        (
            Ours(1, 100, "Warning: old (Dockerfile:3) https://docs.example/old\n"),
            "#1 step 1\n#1 0.100 half a li\n#1 WARN: old (Dockerfile:3) https://docs.example/old\n",
        ),
        // A step may write what it wants.
        (Log(1, 200, "Warning: x\n"), "#1 0.200 Warning: x\n"),
        (Ours(0, 300, "Warning: lo"), ""),
        (Ours(0, 300, "ose\n"), ""),
        (Ours(0, 400, "Warning: lost"), ""),
        (EndLog, ""),
        (Steps(vec![step(1, "failed", Some(0), Some(500))]), "#1 ERROR\n"),
        (Remarks(4, &[("old", 3), ("loose", 7), ("older", 9)]), ""),
        (Finish, ""),
        (
            Conclude,
            "------\n > step 1:\n0.100 half a li\n0.200 Warning: x\n------\n\n 4 warnings found:\n - loose\n - lost\n - \
             loose (Dockerfile:7)\n - older (Dockerfile:9)\n",
        ),
    ]);
    play(vec![(Remarks(1, &[("old", 3)]), ""), (Finish, ""), (Conclude, " 1 warning found:\n - old (Dockerfile:3)\n")]);
}

#[test]
fn another_attempt_begins_anew_behind_the_first() {
    let mut first = Transcript::default();
    first.tell(&[runs(1, 0)]);
    first.write(part(1, 1, "a\n"));
    first.finish();
    let mut second = Transcript::after(&mut first);
    second.tell(&[runs(1, 10)]);
    second.write(part(1, 20, "b\n"));
    let shown: String = second.take().iter().map(|line| line.paint(false)).collect();
    assert_eq!(shown, "#1 step 1\n#1 0.001 a\n\n#1 step 1\n#1 0.010 b\n");
}

#[test]
fn the_block_at_the_bottom_knows_what_runs() {
    let mut transcript = Transcript::default();
    transcript.tell(&[done(1, 0, 5), runs(2, 7), step(3, "pending", None, None)]);
    transcript.write(Part { at: None, ..part(9, 0, "unknown\n") });
    let running = vec![Running { step: 2, name: "step 2".to_owned(), started_at: Some(at(7)), moved: None }];
    assert_eq!(transcript.standing(), Standing { running, ended: 1, known: 3 });
}

/// Any course of a build: steps 0 to 3 write, states are told early, late or never, in whatever order.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let state = |number| {
        prop_oneof![
            Just(runs(number, 0)),
            (0i64..20_000).prop_map(move |end| done(number, 0, end)),
            Just(Step { cached: true, ..done(number, 0, 0) }),
            Just(step(number, "failed", None, None)),
            Just(step(number, "pending", None, None)),
        ]
    };
    let input = prop_oneof![
        4 => (0i64..4, 0i64..20_000, prop::sample::select(vec!["a\n", "b\nc\n", "par", "t\n", "\n"]))
            .prop_map(|(step, at, text)| Log(step, at, text)),
        1 => (state(1), state(2)).prop_map(|(one, two)| Steps(vec![one, two])),
        1 => state(3).prop_map(|three| Steps(vec![three])),
        1 => (0u64..6000).prop_map(Tick),
    ];
    prop::collection::vec(input, 0..40)
}

proptest! {
    #[test]
    fn every_line_appears_once_in_its_steps_order_and_ends_come_last(inputs in inputs()) {
        let mut written: BTreeMap<i64, String> = BTreeMap::new();
        let mut told: BTreeMap<i64, Step> = BTreeMap::new();
        let mut transcript = Transcript::default();
        let mut lines = Vec::new();
        for input in inputs.into_iter().chain([Finish]) {
            match &input {
                Log(step, _, text) => written.entry(*step).or_default().push_str(text),
                Steps(steps) => told.extend(steps.iter().map(|step| (step.number, step.clone()))),
                Ours(..) | Remarks(..) | Tick(_) | Tear | EndLog | Finish | Conclude => {}
            }
            feed(&mut transcript, input);
            lines.extend(transcript.take());
        }
        let mut shown: BTreeMap<i64, String> = BTreeMap::new();
        let mut last: BTreeMap<i64, &Line> = BTreeMap::new();
        let mut block = None;
        for line in &lines {
            match line {
                Line::Blank => block = None,
                Line::Begin { step, .. } => block = Some(*step),
                Line::Left { step } => prop_assert_eq!(block.take(), Some(*step)),
                Line::Output { step, text, .. } => {
                    prop_assert_eq!(block, Some(*step), "output stands in its step's block");
                    shown.entry(*step).or_default().push_str(&format!("{text}\n"));
                    last.insert(*step, line);
                }
                Line::Own { text } => shown.entry(OWN).or_default().push_str(&format!("{text}\n")),
                Line::Warning { .. } | Line::Warnings { .. } | Line::Listed { .. } => prop_assert!(false, "nobody warned"),
                Line::Rule | Line::Failed { .. } | Line::Last { .. } => prop_assert!(false, "it did not end"),
                Line::End { step, .. } => {
                    prop_assert_eq!(block.take(), Some(*step));
                    last.insert(*step, line);
                }
            }
        }
        for text in written.values_mut().filter(|text| !text.ends_with('\n')) {
            text.push('\n');
        }
        prop_assert_eq!(shown, written);
        for (number, step) in told {
            if ["succeeded", "failed"].contains(&step.state.as_str()) {
                prop_assert!(matches!(last.get(&number), Some(Line::End { .. })), "{number} in {lines:?}");
            }
        }
    }
}
