//! Makes one transcript of two sources that come in any order: the log of an attempt, and what the build's JSON
//! tells of its steps. It reads as BuildKit's plain progress: a step's output stands in blocks, a running step keeps
//! its block for a while before another gets one, and a step's end follows its last line. Pure: time comes in with
//! the log and with [`Transcript::tick`].

mod track;
mod warnings;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::remarks::Remarks;

use crate::client::progress::line::Line;
use crate::client::progress::live::{Running, Standing};
use crate::client::progress::transcript::track::{Said, Track, Written};
use crate::client::progress::transcript::warnings::Warnings;
use crate::client::shapes::Step;

/// How long a running step keeps its block while others wait with theirs.
const BLOCK: Duration = Duration::from_secs(5);
/// A step that ended may still have lines on their way; they come within this time, in the log's time or in silence.
const GRACE: Duration = Duration::from_secs(1);
/// Lines of a step that nobody named yet wait this long for its name.
const NAME: Duration = Duration::from_secs(5);
/// Lines of ours that belong to no step.
const OWN: i64 = 0;

/// The transcript of one attempt.
#[derive(Debug, Default)]
pub struct Transcript {
    tracks: BTreeMap<i64, Track>,
    /// Whose block is the last one, if it can go on.
    current: Option<i64>,
    block_began: Duration,
    /// Time as it passes in the log, and in its silence.
    now: Duration,
    /// Since the newest line.
    silent: Duration,
    newest_at: Option<DateTime<Utc>>,
    /// The whole log is here.
    complete: bool,
    begun: bool,
    warnings: Warnings,
    out: Vec<Line>,
}

/// A part of a log that one step wrote at one time.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The step.
    pub step: i64,
    /// When, by the builder's clock.
    pub at: Option<DateTime<Utc>>,
    /// The builder wrote it, not the step.
    pub is_ours: bool,
    /// What was written; lines may be cut anywhere.
    pub text: &'a str,
}

impl Transcript {
    /// Of another attempt, behind the lines of the one before and the warnings that none of its blocks has.
    pub fn after(before: &mut Self) -> Self {
        before.out.extend(before.warnings.list());
        Self { begun: before.begun, out: before.take(), ..Self::default() }
    }

    /// True once [`Transcript::end_log`] was called.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes a part of the log, in the log's order.
    pub fn write(&mut self, part: Part<'_>) {
        let Part { step, at, is_ours, text } = part;
        self.pass(at);
        for track in self.tracks.values_mut() {
            track.quiet = Duration::ZERO;
        }
        let track = self.tracks.entry(step).or_default();
        track.write(text, Written { is_ours, at, arrived: self.now });
        self.put_off_warnings();
        self.settle();
    }

    /// Takes what the build's JSON says that the engine warned of.
    pub fn remark(&mut self, remarks: &Remarks) {
        self.warnings.remark(remarks);
    }

    /// Takes the steps as the build's JSON tells them.
    pub fn tell(&mut self, steps: &[Step]) {
        for step in steps.iter().filter(|step| step.number > OWN) {
            self.tracks.entry(step.number).or_default().tell(step);
        }
        self.settle();
    }

    /// Time passes while the log can come in.
    pub fn tick(&mut self, elapsed: Duration) {
        self.now = self.now.saturating_add(elapsed);
        self.silent = self.silent.saturating_add(elapsed);
        for track in self.tracks.values_mut() {
            track.quiet = track.quiet.saturating_add(elapsed);
        }
        self.settle();
    }

    /// Bytes are missing here: what was begun goes on no more.
    pub fn tear(&mut self) {
        self.tracks.values_mut().for_each(Track::tear);
        self.put_off_warnings();
    }

    /// The log has come to its end; the last states of the steps may be missing yet.
    pub fn end_log(&mut self) {
        self.complete = true;
        self.tear();
        self.settle();
    }

    /// Nothing comes any more: everything that waits is written.
    pub fn finish(&mut self) {
        self.end_log();
        while let Some(step) = self.oldest(|_| true) {
            self.show(step);
        }
    }

    /// The build is over: what its failed steps said last, and the warnings that no step's block has. Gives the names of
    /// the steps whose last lines were told.
    pub fn conclude(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for (name, lines) in self.tracks.values().filter_map(Track::last_words) {
            self.out.extend([Line::Rule, Line::Failed { name: name.to_owned() }]);
            self.out.extend(lines.iter().map(|(since, text)| Line::Last { since: *since, text: text.clone() }));
            self.out.push(Line::Rule);
            if !lines.is_empty() {
                told.push(name.to_owned());
            }
        }
        let warnings = self.warnings.list();
        if !warnings.is_empty() && self.begun {
            self.out.push(Line::Blank);
        }
        self.out.extend(warnings);
        told
    }

    /// The lines since the last call.
    pub fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.out)
    }

    /// True while lines wait for the name of their step.
    pub fn misses_names(&self) -> bool {
        self.tracks.iter().any(|(step, track)| *step != OWN && track.has_lines() && !track.is_named())
    }

    /// How far the steps are.
    pub fn standing(&self) -> Standing {
        let named = || self.tracks.iter().filter(|(_, track)| track.is_named());
        let running = named().filter(|(_, track)| track.is_running());
        Standing {
            running: running
                .map(|(step, track)| Running {
                    step: *step,
                    name: track.name.clone().unwrap_or_default(),
                    started_at: track.started_at,
                    moved: track.moved,
                })
                .collect(),
            ended: named().filter(|(_, track)| track.end.is_some()).count(),
            known: named().count(),
        }
    }

    /// Warnings that belong to no step come at the end.
    fn put_off_warnings(&mut self) {
        let warnings = self.tracks.get_mut(&OWN).map(Track::take_warnings).unwrap_or_default();
        warnings.into_iter().for_each(|text| self.warnings.put_off(text));
    }

    /// Moves time to that of a line, less what has passed as silence before it.
    fn pass(&mut self, at: Option<DateTime<Utc>>) {
        let Some(at) = at else { return };
        let gone = self.newest_at.map_or(Duration::ZERO, |newest| (at - newest).to_std().unwrap_or_default());
        self.now = self.now.saturating_add(gone.saturating_sub(self.silent));
        self.newest_at = self.newest_at.max(Some(at));
        self.silent = Duration::ZERO;
    }

    /// Writes what can be written by now.
    fn settle(&mut self) {
        if let Some(current) = self.current {
            self.show(current);
        }
        for step in self.ended() {
            self.show(step);
        }
        if self.tracks.get(&OWN).is_some_and(Track::has_lines) {
            self.show(OWN);
        }
        // Blocks change at their time only; after the log's end nothing is worth waiting for.
        while let Some(step) = self.next() {
            self.show(step);
        }
    }

    /// Steps whose end is known and whose lines are all here, in the order of their ends.
    fn ended(&self) -> Vec<i64> {
        let mut ended: Vec<(Option<DateTime<Utc>>, i64)> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.end_is_due() && self.has_passed(track.finished_at, track))
            .map(|(step, track)| (track.finished_at, *step))
            .collect();
        ended.sort_unstable();
        ended.into_iter().map(|(_, step)| step).collect()
    }

    /// True if the log has all lines of a step up to a time.
    fn has_passed(&self, time: Option<DateTime<Utc>>, track: &Track) -> bool {
        let passed = time
            .zip(self.newest_at)
            .is_some_and(|(time, newest)| (newest - time).to_std().is_ok_and(|since| since > GRACE));
        self.complete || passed || track.quiet >= GRACE
    }

    /// The running step that gets the next block, if it is time for one.
    fn next(&self) -> Option<i64> {
        let is_held = self.current.is_some_and(|current| current != OWN);
        if is_held && !self.complete && self.now.saturating_sub(self.block_began) < BLOCK {
            return None;
        }
        self.oldest(|track| track.is_named() || self.now.saturating_sub(track.waits_since()) >= NAME)
    }

    /// Of the steps with something to show and this property, the one that waits longest.
    fn oldest(&self, property: impl Fn(&Track) -> bool) -> Option<i64> {
        let waits =
            |track: &Track| track.has_lines() || (track.begin_is_due() && self.has_passed(track.started_at, track));
        let waiting = self.tracks.iter().filter(|(step, track)| Some(**step) != self.current && waits(track));
        let waiting = waiting.filter(|(_, track)| property(track));
        waiting.min_by_key(|(step, track)| (track.waits_since(), **step)).map(|(step, _)| *step)
    }

    /// Writes a step's lines in its block, and its end if that is due.
    fn show(&mut self, step: i64) {
        let Some(track) = self.tracks.get(&step) else { return };
        let ends = track.end_is_due() && self.has_passed(track.finished_at, track);
        if self.current == Some(step) && !ends && !track.has_lines() {
            return;
        }
        self.open(step);
        let Some(track) = self.tracks.get_mut(&step) else { return };
        track.begun = true;
        for said in track.take_lines() {
            self.out.push(match said {
                Said::Line { text, .. } if step == OWN => Line::Own { text },
                Said::Line { since, text } => Line::Output { step, since, text },
                Said::Warning { text } => {
                    self.warnings.tell(&text);
                    Line::Warning { step, text }
                }
            });
        }
        if ends && let Some(end) = track.end {
            track.end_shown = true;
            self.out.push(Line::End { step, end });
            self.current = None;
        }
    }

    /// Begins a step's block unless it is the last one.
    fn open(&mut self, step: i64) {
        if self.current == Some(step) {
            return;
        }
        if let Some(left) = self.current.filter(|left| *left != OWN) {
            self.out.push(Line::Left { step: left });
        }
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(Line::Blank);
        }
        if step != OWN {
            let name = self.tracks.get(&step).and_then(|track| track.name.clone());
            self.out.push(Line::Begin { step, name });
        }
        self.current = Some(step);
        self.block_began = self.now;
    }
}

#[cfg(test)]
mod tests;
