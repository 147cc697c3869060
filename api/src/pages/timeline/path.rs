//! The critical path, backwards from the step that ended last: each time the input that ended last. Where no input is known,
//! as of our own steps, it is guessed from the times: whatever a step waited for, nothing that ended after its begin can have
//! been. Builders tell the inputs and are not trusted: they may name what is not there, or each other.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::agent::MAX_INPUTS;
use slipway_store::attempts::Step;

use super::Lane;

/// A step that begins so soon after another ended waited for it.
const AT_ONCE: TimeDelta = TimeDelta::milliseconds(50);
/// At most so many steps that never began are gone through to what they would have taken.
const MAX_UNBEGUN: usize = 64;
/// So many steps are looked at for a guess.
const MAX_TRIED: usize = 1000;

/// Places of the steps on it.
pub(super) fn critical(lanes: &[Lane<'_>], steps: &[Step]) -> HashSet<usize> {
    let path = Path::new(lanes, steps);
    let mut chain = HashSet::new();
    let mut next = path.by_end.last().copied();
    while let Some(place) = next.filter(|place| chain.insert(*place)) {
        next = path.input(place, &chain).or_else(|| path.guess(place, &chain));
    }
    chain
}

struct Path<'a> {
    lanes: &'a [Lane<'a>],
    /// Places of lanes, the one that ended last at the end.
    by_end: Vec<usize>,
    by_number: HashMap<i64, Found<'a>>,
}

/// A step by its number.
enum Found<'a> {
    Lane(usize),
    /// It never began, as engines skip what is before a step that they find in a cache.
    Unbegun(&'a Step),
}

impl<'a> Path<'a> {
    fn new(lanes: &'a [Lane<'a>], steps: &'a [Step]) -> Self {
        let unbegun = steps.iter().filter(|step| step.started_at.is_none());
        let mut by_number: HashMap<_, _> = unbegun.map(|step| (step.number, Found::Unbegun(step))).collect();
        by_number.extend(lanes.iter().enumerate().map(|(place, lane)| (lane.step.number, Found::Lane(place))));
        let mut path = Self { lanes, by_end: (0..lanes.len()).collect(), by_number };
        path.by_end.sort_by_key(|place| end(&lanes[*place]));
        path
    }

    /// Of its inputs, and of theirs that never began, the one that ended last, but not after the step itself.
    fn input(&self, place: usize, chain: &HashSet<usize>) -> Option<usize> {
        let lane = &self.lanes[place];
        let (mut open, mut passed) = (vec![lane.step], HashSet::new());
        let mut found = Vec::new();
        while let Some(step) = open.pop() {
            for number in step.inputs.iter().take(MAX_INPUTS) {
                match self.by_number.get(number) {
                    Some(Found::Lane(input)) => found.push(*input),
                    Some(Found::Unbegun(step)) if passed.len() < MAX_UNBEGUN && passed.insert(*number) => {
                        open.push(step)
                    }
                    Some(Found::Unbegun(_)) | None => {}
                }
            }
        }
        let fits = |input: &usize| !chain.contains(input) && self.lanes[*input].to <= lane.to + AT_ONCE;
        found.into_iter().filter(fits).max_by_key(|input| end(&self.lanes[*input]))
    }

    /// What ended last before it began.
    fn guess(&self, place: usize, chain: &HashSet<usize>) -> Option<usize> {
        let begun = self.lanes[place].from;
        let ended = self.by_end.partition_point(|place| self.lanes[*place].to <= begun + AT_ONCE);
        let tried = self.by_end[..ended].iter().rev().take(MAX_TRIED);
        tried.copied().find(|place| self.lanes[*place].from < begun && !chain.contains(place))
    }
}

/// Of those that ended together the one that ran for longer counts.
fn end(lane: &Lane<'_>) -> (DateTime<Utc>, TimeDelta) {
    (lane.to, lane.ran)
}

#[cfg(test)]
mod tests {
    use slipway_domain::attempt::StepState;

    use super::*;

    /// A step: its number, what it takes, and when it began and ended, in milliseconds, if it did.
    fn step(number: i64, inputs: &[i64], times: Option<(i64, i64)>) -> Step {
        let at = |millis| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis);
        Step {
            digest: number.to_string(),
            number,
            name: format!("step {number}"),
            state: if times.is_some() { StepState::Succeeded } else { StepState::Pending },
            cached: times.is_some_and(|(from, to)| from == to),
            started_at: times.map(|(from, _)| at(from)),
            finished_at: times.map(|(_, to)| at(to)),
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: inputs.to_vec().into(),
            paused_ms: None,
        }
    }

    fn numbers(steps: &[Step]) -> Vec<i64> {
        let lanes: Vec<Lane<'_>> = steps.iter().filter_map(|step| Lane::new(step, DateTime::UNIX_EPOCH)).collect();
        let mut numbers: Vec<i64> = critical(&lanes, steps).into_iter().map(|place| lanes[place].step.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Two stages upon one; the second ends just before the first one's last step begins.
    fn diamond() -> Vec<Step> {
        vec![
            step(1, &[], Some((0, 1000))),
            step(2, &[1], Some((1010, 4000))),
            step(3, &[1], Some((1010, 4005))),
            step(4, &[2], Some((4010, 9000))),
            step(5, &[4, 3], Some((9010, 10_000))),
        ]
    }

    #[test]
    fn inputs_tell_what_times_only_guess() {
        let known = diamond();
        assert_eq!(numbers(&known), [1, 2, 4, 5]);
        let unknown: Vec<Step> = known.into_iter().map(|step| Step { inputs: Vec::new().into(), ..step }).collect();
        assert_eq!(numbers(&unknown), [1, 3, 4, 5], "as an older builder tells it");
    }

    #[test]
    fn where_nothing_is_known_times_go_on() {
        let mut steps = diamond();
        steps.insert(0, step(10, &[], Some((-900, -10))));
        steps.push(step(11, &[], Some((10_020, 12_000))));
        steps.push(step(12, &[99, -1, i64::MIN], Some((12_010, 13_000))));
        assert_eq!(numbers(&steps), [1, 2, 4, 5, 10, 11, 12], "our own steps stand before and behind");
    }

    #[test]
    fn what_never_began_is_gone_through() {
        let mut steps = diamond();
        steps[4].inputs = vec![20, 3].into();
        steps.extend([step(20, &[21, 20], None), step(21, &[20, 4], None)]);
        assert_eq!(numbers(&steps), [1, 2, 4, 5]);
        steps[4].inputs = vec![20].into();
        steps[6].inputs = vec![20].into();
        assert_eq!(numbers(&steps), [1, 2, 4, 5], "they lead nowhere, and times are left");
    }

    #[test]
    fn cached_steps_are_on_the_path() {
        let steps = [
            step(1, &[], Some((0, 100))),
            step(2, &[1], Some((110, 110))),
            step(3, &[2], Some((110, 110))),
            step(4, &[], Some((0, 111))),
            step(5, &[3], Some((120, 900))),
        ];
        assert_eq!(numbers(&steps), [1, 2, 3, 5]);
    }

    #[test]
    fn an_input_that_ended_after_its_step_was_not_waited_for() {
        let steps = [
            step(1, &[], Some((0, 1000))),
            step(2, &[], Some((0, 8000))),
            step(3, &[1, 2], Some((1010, 1010))),
            step(4, &[3], Some((1020, 9000))),
        ];
        assert_eq!(numbers(&steps), [1, 3, 4]);
    }

    #[test]
    fn inputs_in_a_circle_end() {
        let circle = [
            step(1, &[3], Some((0, 1000))),
            step(2, &[1, 2], Some((0, 1000))),
            step(3, &[2, 3], Some((0, 1000))),
            step(3, &[1], Some((0, 1000))),
        ];
        assert!(!numbers(&circle).is_empty());
        let all: Vec<i64> = (0..3000).collect();
        let began = |number: i64| (number % 2 == 0).then_some((0, 1000));
        let steps: Vec<Step> = all.iter().map(|number| step(*number, &all, began(*number))).collect();
        assert!(!numbers(&steps).is_empty());
    }
}
