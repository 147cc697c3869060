//! How the steps of a build differ from those of the last good one: where the cache was lost, and what got slower.

use std::collections::HashMap;

use chrono::TimeDelta;
use slipway_domain::attempt::StepState;
use slipway_store::attempts::Step;

use crate::texts::Texts;
use crate::words::span;

/// A step is slower if it takes so many times as long …
const SLOWER_TIMES: i32 = 3;
/// … in halves, and so much longer.
const SLOWER_BY: TimeDelta = TimeDelta::seconds(2);
/// Most steps that are named as slower.
const MAX_SLOWER: usize = 5;

/// What differs, each in a sentence.
pub fn differences(steps: &[Step], earlier: &[Step], texts: Texts) -> Vec<String> {
    // Of several with one name the first counts.
    let known: HashMap<_, &Step> = earlier.iter().rev().map(|step| (key(&step.name), step)).collect();
    let before = |step: &Step| known.get(&key(&step.name)).copied();
    let ended = || steps.iter().filter(|step| step.state == StepState::Succeeded || step.state == StepState::Failed);
    let mut words = Vec::new();
    let lost = ended()
        .filter(|step| !step.cached && is_of_dockerfile(step) && before(step).is_some_and(|before| before.cached));
    let lost: Vec<&Step> = lost.collect();
    if let Some(first) = lost.first() {
        let told = match lost.len() {
            1 => texts.t("comparison-lost"),
            count => texts.t("comparison-lost-more").with("count", count - 1),
        };
        words.push(told.with("step", &first.name).to_string());
    }
    let mut slower: Vec<(TimeDelta, String)> = ended()
        .filter_map(|step| {
            let (now, then) = (took(step)?, took(before(step).filter(|before| !before.cached && !step.cached)?)?);
            let is_slower = now * 2 > then * SLOWER_TIMES && now - then > SLOWER_BY;
            let told = || texts.t("comparison-slower").with("step", &step.name).with("now", span(now, texts));
            is_slower.then(|| (now - then, told().with("before", span(then, texts)).to_string()))
        })
        .collect();
    slower.sort_by_key(|(by, _)| std::cmp::Reverse(*by));
    words.extend(slower.into_iter().take(MAX_SLOWER).map(|(_, words)| words));
    words
}

fn took(step: &Step) -> Option<TimeDelta> {
    step.ran(step.finished_at?)
}

/// Only these can be cached.
fn is_of_dockerfile(step: &Step) -> bool {
    step.name.starts_with('[') && !step.name.starts_with("[internal]") && !step.name.starts_with("[slipway]")
}

/// A step's name without its place among the steps of its stage, which changes with every line that is added above.
fn key(name: &str) -> (String, &str) {
    let Some((head, text)) = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        return (String::new(), name);
    };
    let words = head.split(' ').filter(|word| !word.contains('/') || word.starts_with("linux/"));
    (words.collect::<Vec<_>>().join(" "), text)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::texts::ENGLISH;

    fn step(name: &str, secs: i64, cached: bool) -> Step {
        Step {
            digest: name.to_owned(),
            number: 1,
            name: name.to_owned(),
            state: StepState::Succeeded,
            cached,
            started_at: Some(DateTime::UNIX_EPOCH),
            finished_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)),
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new().into(),
            paused_ms: None,
        }
    }

    #[test]
    fn the_first_lost_step_and_the_slower_ones_are_named() {
        let earlier = [
            step("[slipway] fetch source", 1, false),
            step("[build 2/4] COPY a b", 0, true),
            step("[build 3/4] RUN make", 0, true),
            step("[build 4/4] RUN test", 10, false),
            step("[stage-1 2/2] RUN quick", 1, false),
        ];
        let now = [
            step("[slipway] fetch source", 9, false),
            step("[build 2/5] RUN new", 5, false),
            step("[build 3/5] COPY a b", 1, false),
            step("[build 4/5] RUN make", 30, false),
            step("[build 5/5] RUN test", 14, false),
            step("[stage-1 2/2] RUN quick", 2, false),
        ];
        assert_eq!(
            differences(&now, &earlier, ENGLISH),
            [
                "The cache was lost at [build 3/5] COPY a b, and with it 1 more: what it reads, or what is above it, has changed.",
                "[slipway] fetch source took 9.0 s, and 1.0 s before.",
            ]
        );
        assert!(differences(&earlier, &earlier, ENGLISH).is_empty() && differences(&now, &[], ENGLISH).is_empty());
    }
}
