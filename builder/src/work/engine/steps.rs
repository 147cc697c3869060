//! Vertices become steps. A vertex is sent many times, may begin and end more than once (looked up in the
//! cache, then run), and keeps only its digest, so everything is merged by that.

use std::collections::{BTreeSet, HashMap, HashSet};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexWarning};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::agent::{MAX_INPUTS, StepReport};
use slipway_domain::attempt::StepState;

use super::StepEvent;
use super::runs::Runs;
use super::transfers::Transfers;
use crate::work::failure;

/// Longest name of a step, in characters; a RUN with a heredoc can be as long as a program.
const MAX_NAME: usize = 500;
/// What BuildKit writes into a step's log when it drops the rest.
const CLIPPED: &[u8] = b"[output clipped";
/// How the step is named that looks for layers of an earlier image. The build goes on when it fails.
const IMPORT: &str = "importing cache manifest from ";
/// The most of its error that is told, in characters.
const MAX_ERROR: usize = 300;

/// All steps of one build.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<Known>,
    /// Places in `steps` by digest.
    places: HashMap<String, usize>,
    errors: Vec<(usize, String)>,
    clipped: HashSet<String>,
    /// Earlier images that could not be read, by their steps.
    unread: HashSet<String>,
    transfers: Transfers,
}

#[derive(Debug)]
struct Known {
    report: StepReport,
    /// Digests of the vertices that it depends on, some of which may be told after it, or never.
    inputs: Vec<String>,
    runs: Runs,
}

impl Steps {
    /// Takes in what the engine says and returns what is new, steps before their logs.
    pub(super) fn take(&mut self, status: StatusResponse, now: DateTime<Utc>) -> Vec<StepEvent> {
        let mut events = Vec::new();
        // First, so that a step that ended has moved all that it says.
        let mut moved = BTreeSet::new();
        for transfer in status.statuses {
            let digest = transfer.vertex.clone();
            if self.transfers.take(transfer) {
                moved.insert(digest);
            }
        }
        let known = self.steps.len();
        for vertex in status.vertexes {
            events.extend(self.not_imported(&vertex));
            events.extend(self.vertex(vertex).map(StepEvent::Step));
        }
        if self.steps.len() > known {
            events.extend(self.waited_for().into_iter().map(StepEvent::Step));
        }
        if !moved.is_empty() {
            events.push(StepEvent::Moves);
        }
        events.extend(moved.iter().filter_map(|digest| self.moved(digest, now)).map(StepEvent::Step));
        for log in status.logs {
            if log.msg.windows(CLIPPED.len()).any(|window| window == CLIPPED) && self.clipped.insert(log.vertex.clone())
            {
                events.push(StepEvent::Cut { digest: log.vertex.clone() });
            }
            events.push(StepEvent::Log { digest: log.vertex, stream: log.stream, bytes: Bytes::from(log.msg) });
        }
        events.extend(status.warnings.into_iter().map(|warning| self.warning(warning)));
        events
    }

    /// Ends what still runs, and returns it.
    pub(super) fn stop(&mut self, now: DateTime<Utc>) -> Vec<StepEvent> {
        let transfers = &self.transfers;
        let open = |step: &&mut StepReport| matches!(step.state, StepState::Pending | StepState::Running);
        let open = self.steps.iter_mut().map(|known| &mut known.report).filter(open);
        open.map(|step| {
            count(transfers, step);
            step.state = StepState::Cancelled;
            step.finished_at = step.started_at.map(|_| now);
            StepEvent::Step(step.clone())
        })
        .collect()
    }

    /// The step whose error ended the build: of those that failed the one whose words the build's error has, because
    /// some, such as looking for a cache, may fail. Else the first one that was not merely stopped by another's.
    pub(super) fn failed_with(&self, message: &str) -> Option<&StepReport> {
        let meant = self.errors.iter().find(|(_, error)| message.contains(error.as_str()));
        meant.or(self.errors.first()).map(|(at, _)| &self.steps[*at].report)
    }

    /// Engines repeat them when somebody asks anew how a build goes.
    fn warning(&self, warning: VertexWarning) -> StepEvent {
        let VertexWarning { vertex, short, url, ranges, .. } = warning;
        let line = ranges.first().and_then(|range| range.start).map(|start| i64::from(start.line));
        StepEvent::Warning {
            digest: self.places.contains_key(&vertex).then_some(vertex),
            text: String::from_utf8_lossy(&short).into_owned(),
            line: line.filter(|line| *line > 0),
            url,
        }
    }

    /// What its log says of an earlier image that cannot be read.
    fn not_imported(&mut self, vertex: &Vertex) -> Option<StepEvent> {
        if vertex.error.is_empty() || !is_import(&vertex.name) || !self.unread.insert(vertex.digest.clone()) {
            return None;
        }
        let error: String = vertex.error.chars().take(MAX_ERROR).collect();
        let text = format!("it cannot be read, so that its layers are built anew: {error}");
        Some(StepEvent::Notice { digest: vertex.digest.clone(), text })
    }

    /// A step whose transfers went on, if it is to be told again.
    fn moved(&mut self, digest: &str, now: DateTime<Utc>) -> Option<StepReport> {
        let step = &mut self.steps[*self.places.get(digest)?].report;
        let before = step.clone();
        if step.finished_at.is_none() && !self.transfers.is_due(digest, now) {
            return None;
        }
        count(&self.transfers, step);
        (*step != before).then(|| step.clone())
    }

    fn vertex(&mut self, vertex: Vertex) -> Option<StepReport> {
        let at = self.place(&vertex);
        let before = self.steps[at].report.clone();
        let is_new = before.started_at.is_none() && before.state == StepState::Pending;
        if !vertex.inputs.is_empty() {
            let mut told = HashSet::new();
            let inputs = vertex.inputs.into_iter().filter(|input| told.insert(input.clone()));
            self.steps[at].inputs = inputs.take(MAX_INPUTS).collect();
            self.steps[at].report.inputs = self.numbers(at);
        }
        let Known { report: step, runs, .. } = &mut self.steps[at];
        let (started, completed) = (time(vertex.started.as_ref()), time(vertex.completed.as_ref()));
        if let Some(started) = started {
            runs.take(started, completed);
        }
        step.paused_ms = runs.paused_ms();
        step.started_at = step.started_at.or(started);
        step.finished_at = completed.or(step.finished_at);
        step.cached = vertex.cached;
        step.state = match (started, completed) {
            (None, None) => StepState::Pending,
            (_, None) => StepState::Running,
            (_, Some(_)) if vertex.error.is_empty() => StepState::Succeeded,
            (_, Some(_)) if vertex.error.contains("context canceled") || is_import(&step.name) => StepState::Cancelled,
            (_, Some(_)) => StepState::Failed,
        };
        step.exit_code = match step.state {
            StepState::Failed => failure::of_build(&vertex.error).exit_code,
            StepState::Succeeded if !step.cached && is_run(&step.name) => Some(0),
            _ => None,
        };
        count(&self.transfers, step);
        let (changed, failed) = (*step != before, step.state == StepState::Failed);
        if failed && !self.errors.iter().any(|(known, _)| *known == at) {
            self.errors.push((at, vertex.error));
        }
        (changed || is_new).then(|| self.steps[at].report.clone())
    }

    /// The place of its step, which is made if there is none.
    fn place(&mut self, vertex: &Vertex) -> usize {
        if let Some(at) = self.places.get(&vertex.digest) {
            return *at;
        }
        let at = self.steps.len();
        let number = i64::try_from(at).unwrap_or(i64::MAX).saturating_add(1);
        self.steps.push(Known { report: new_step(vertex, number), inputs: Vec::new(), runs: Runs::default() });
        self.places.insert(vertex.digest.clone(), at);
        at
    }

    /// Numbers of the steps that one depends on, as far as they were told.
    fn numbers(&self, at: usize) -> Vec<i64> {
        let known = self.steps[at].inputs.iter().filter_map(|digest| self.places.get(digest));
        known.filter(|input| **input != at).map(|input| self.steps[*input].report.number).collect()
    }

    /// Steps that depend on others which were told only now.
    fn waited_for(&mut self) -> Vec<StepReport> {
        let mut changed = Vec::new();
        for at in 0..self.steps.len() {
            let Known { report, inputs, .. } = &self.steps[at];
            let numbers = if report.inputs.len() < inputs.len() { self.numbers(at) } else { continue };
            let report = &mut self.steps[at].report;
            if report.inputs != numbers {
                report.inputs = numbers;
                changed.push(report.clone());
            }
        }
        changed
    }
}

fn new_step(vertex: &Vertex, number: i64) -> StepReport {
    StepReport {
        digest: vertex.digest.clone(),
        number,
        name: vertex.name.chars().take(MAX_NAME).collect(),
        state: StepState::Pending,
        cached: false,
        started_at: None,
        finished_at: None,
        exit_code: None,
        moved_bytes: None,
        total_bytes: None,
        inputs: Vec::new(),
        paused_ms: None,
    }
}

fn count(transfers: &Transfers, step: &mut StepReport) {
    let moved = transfers.of(&step.digest);
    (step.moved_bytes, step.total_bytes) = (moved.bytes, moved.total);
}

fn is_import(name: &str) -> bool {
    name.starts_with(IMPORT)
}

fn is_run(name: &str) -> bool {
    name.split_once("] ").is_some_and(|(_, text)| text.starts_with("RUN "))
}

fn time(stamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let stamp = stamp?;
    DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::{VertexLog, VertexStatus};
    use bollard_buildkit_proto::pb::{Position, Range};

    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn vertex(digest: &str, started: Option<Timestamp>, completed: Option<Timestamp>, error: &str) -> StatusResponse {
        let vertex = Vertex {
            digest: digest.to_owned(),
            name: format!("[1/2] RUN {digest}"),
            started,
            completed,
            error: error.to_owned(),
            ..Vertex::default()
        };
        StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }
    }

    fn take(steps: &mut Steps, status: StatusResponse) -> Vec<StepEvent> {
        steps.take(status, DateTime::UNIX_EPOCH)
    }

    fn one(events: Vec<StepEvent>) -> StepReport {
        match events.as_slice() {
            [StepEvent::Step(step)] => step.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_step_is_merged_over_all_that_is_said_of_it() {
        let mut steps = Steps::default();
        let step = one(take(&mut steps, vertex("a", None, None, "")));
        assert_eq!((step.number, step.state), (1, StepState::Pending));
        assert_eq!(one(take(&mut steps, vertex("b", None, None, ""))).number, 2);
        assert_eq!(one(take(&mut steps, vertex("a", at(1), None, ""))).state, StepState::Running);
        let step = one(take(&mut steps, vertex("a", at(1), at(2), "")));
        assert_eq!((step.state, step.exit_code), (StepState::Succeeded, Some(0)));
        // It runs after all: the times span both, and the pause between them is told.
        let step = one(take(&mut steps, vertex("a", at(3), None, "")));
        assert_eq!((step.state, step.exit_code, step.paused_ms), (StepState::Running, None, Some(1000)));
        let step = one(take(&mut steps, vertex("a", at(3), at(4), "executor failed running [x]: exit code: 7")));
        assert_eq!((step.state, step.exit_code), (StepState::Failed, Some(7)));
        assert_eq!(step.started_at.map(|t| t.timestamp()), Some(1));
        assert_eq!(step.finished_at.map(|t| t.timestamp()), Some(4));
        assert_eq!(step.paused_ms, Some(1000));
        assert_eq!(take(&mut steps, vertex("a", at(3), at(4), "executor failed running [x]: exit code: 7")).len(), 0);
    }

    #[test]
    fn inputs_are_told_as_numbers_once_their_steps_are() {
        let mut steps = Steps::default();
        let plan = |digest: &str, inputs: &[&str]| {
            let mut status = vertex(digest, None, None, "");
            status.vertexes[0].inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
            status
        };
        let told = |events: &[StepEvent]| {
            let told = events.iter().map(|event| match event {
                StepEvent::Step(step) => (step.number, step.inputs.clone()),
                other => panic!("{other:?}"),
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&take(&mut steps, plan("c", &["a", "b", "a", "c", "never"]))), [(1, vec![])]);
        assert_eq!(told(&take(&mut steps, plan("b", &[]))), [(2, vec![]), (1, vec![2])], "with what waited for it");
        assert_eq!(told(&take(&mut steps, plan("a", &["b"]))), [(3, vec![2]), (1, vec![3, 2])]);
        let begun = one(take(&mut steps, vertex("c", at(1), None, "")));
        assert_eq!(begun.inputs, [3, 2], "a message without them takes nothing back");
        let many: Vec<String> = (0..2 * MAX_INPUTS).map(|input| format!("many {input}")).collect();
        for input in &many {
            take(&mut steps, plan(input, &[]));
        }
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(one(take(&mut steps, plan("d", &many))).inputs.len(), MAX_INPUTS);
    }

    #[test]
    fn the_failed_step_is_the_one_that_was_not_stopped() {
        let mut steps = Steps::default();
        take(&mut steps, vertex("a", at(1), at(2), "executor failed running [x]: exit code: 1: context canceled"));
        take(&mut steps, vertex("b", at(1), at(2), "executor failed running [x]: exit code: 3"));
        take(&mut steps, vertex("c", at(1), None, ""));
        take(&mut steps, vertex("d", at(1), at(2), "executor failed running [y]: exit code: 4"));
        let failed = |message: &str| steps.failed_with(message).expect("one failed").digest.clone();
        assert_eq!(failed("something else"), "b");
        assert_eq!(failed("failed to solve: executor failed running [y]: exit code: 4"), "d");
        let stopped = one(steps.stop(DateTime::UNIX_EPOCH));
        assert_eq!((stopped.digest.as_str(), stopped.state), ("c", StepState::Cancelled));
        assert_eq!(steps.stop(DateTime::UNIX_EPOCH).len(), 0);
    }

    #[test]
    fn an_earlier_image_that_cannot_be_read_is_told_once_and_fails_nothing() {
        let mut steps = Steps::default();
        let mut import = vertex("i", at(1), at(2), "r/a@sha256:x: not found");
        import.vertexes[0].name = format!("{IMPORT}r/a@sha256:x");
        let events = take(&mut steps, import.clone());
        let [StepEvent::Notice { text, .. }, StepEvent::Step(step)] = events.as_slice() else { panic!("{events:?}") };
        assert!(text.contains("not found") && step.state == StepState::Cancelled, "{step:?}");
        assert_eq!(take(&mut steps, import).len(), 0);
        take(&mut steps, vertex("b", at(1), at(2), "executor failed running [x]: exit code: 3"));
        assert_eq!(steps.failed_with("something else").map(|step| step.digest.as_str()), Some("b"));
    }

    #[test]
    fn logs_are_bytes_and_a_clip_is_told_once() {
        let mut steps = Steps::default();
        let log = |msg: &[u8]| {
            let log = VertexLog { vertex: "a".to_owned(), stream: 2, msg: msg.to_vec(), ..VertexLog::default() };
            StatusResponse { logs: vec![log], ..StatusResponse::default() }
        };
        let events = take(&mut steps, log(b"\xff\xfe"));
        assert_eq!(
            events,
            [StepEvent::Log { digest: "a".to_owned(), stream: 2, bytes: Bytes::from_static(b"\xff\xfe") }]
        );
        let clip = b"x\n[output clipped, log limit 200KiB/s reached]\n";
        assert!(matches!(take(&mut steps, log(clip)).as_slice(), [StepEvent::Cut { .. }, StepEvent::Log { .. }]));
        assert_eq!(take(&mut steps, log(clip)).len(), 1);
    }

    #[test]
    fn warnings_come_with_their_lines_and_known_steps() {
        let mut steps = Steps::default();
        let range = Range { start: Some(Position { line: 3, character: 0 }), end: None };
        let warning = |vertex: &str, ranges: Vec<Range>| VertexWarning {
            vertex: vertex.to_owned(),
            short: b"Empty continuation line".to_vec(),
            url: "https://docs.example/rule".to_owned(),
            ranges,
            ..VertexWarning::default()
        };
        let mut status = vertex("a", at(1), None, "");
        status.warnings = vec![warning("a", vec![range]), warning("b", Vec::new())];
        let told = |digest: Option<&str>, line| StepEvent::Warning {
            digest: digest.map(str::to_owned),
            text: "Empty continuation line".to_owned(),
            line,
            url: "https://docs.example/rule".to_owned(),
        };
        assert_eq!(take(&mut steps, status)[1..], [told(Some("a"), Some(3)), told(None, None)]);
    }

    #[test]
    fn transfers_are_summed_told_once_a_second_and_kept() {
        let mut steps = Steps::default();
        let second = |millis| DateTime::from_timestamp_millis(millis).expect("in range");
        let part = |id: &str, current, total| VertexStatus {
            vertex: "a".to_owned(),
            id: id.to_owned(),
            current,
            total,
            ..VertexStatus::default()
        };
        let status = |statuses| StatusResponse { statuses, ..StatusResponse::default() };
        let moved = |events: &[StepEvent]| {
            let told = events.iter().filter_map(|event| match event {
                StepEvent::Step(step) => Some((step.moved_bytes, step.total_bytes)),
                StepEvent::Log { .. }
                | StepEvent::Moves
                | StepEvent::Cut { .. }
                | StepEvent::Warning { .. }
                | StepEvent::Notice { .. } => None,
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(moved(&steps.take(vertex("a", at(1), None, ""), second(0))), [(None, None)]);
        let first = status(vec![part("x", 10, 100), part("y", 0, 50), part("resolve", 0, 0)]);
        let events = steps.take(first.clone(), second(0));
        assert_eq!((moved(&events), events.contains(&StepEvent::Moves)), (vec![(Some(10), Some(150))], true));
        assert!(steps.take(first, second(5_000)).is_empty(), "it stands still");
        assert_eq!(moved(&steps.take(status(vec![part("x", 60, 100)]), second(5_000))), [(Some(60), Some(150))]);
        let soon = steps.take(status(vec![part("x", 70, 100)]), second(5_900));
        assert_eq!(soon, [StepEvent::Moves], "twice in a second");
        let unknown = steps.take(status(vec![part("context", 5, 0)]), second(6_000));
        assert_eq!(moved(&unknown), [(Some(75), None)], "who knows how much there is");
        let mut end = vertex("a", at(1), at(7), "");
        end.statuses = vec![part("x", 100, 100), part("y", 50, 50), part("context", 8, 8)];
        assert_eq!(moved(&steps.take(end, second(6_100))), [(Some(158), Some(158))], "once, with all of it");
        assert_eq!(moved(&steps.take(status(vec![part("late", 2, 2)]), second(6_200))), [(Some(160), Some(160))]);
    }
}
