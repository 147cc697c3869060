//! Whether one upstream (a forge, a registry, an object store) is called at all. Pure: the caller says what
//! time it is and how its calls ended.
//!
//! Closed, everybody calls. After enough failures in a row it is open: nobody calls until a pause is over. Then
//! one call goes through to see; its answer closes the breaker, its failure opens it again, for longer.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backoff::Backoff;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// It opens after so many failures in a row; at least 1.
    pub failures: u32,
    /// First pause; each further one is doubled and shortened at random by up to a half.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

/// The breaker of one upstream.
#[derive(Debug, Clone)]
pub struct Breaker {
    rules: Rules,
    state: State,
    /// Rises whenever the state does: what calls of an earlier round tell comes too late.
    round: u64,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Called by everybody; so many failures since the last answer.
    Closed { failures: u32 },
    /// Called by nobody.
    Open { outage: Outage, until: DateTime<Utc> },
    /// Called once, to see.
    HalfOpen { outage: Outage },
}

/// How long an upstream has been out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Failures without an answer in between.
    pub failures: u32,
}

/// When a call began, to be handed back with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round(u64);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The upstream answered, if only to refuse.
    Answered,
    /// It was unreachable, silent or broken.
    Failed,
    /// Nothing was learnt: nobody was asked, or the caller went away.
    Untold,
}

/// What the end of a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nobody calls for this long.
    Opened(Outage, Duration),
    /// Everybody calls again.
    Closed(Outage),
}

impl Breaker {
    /// Closed.
    pub fn new(rules: Rules) -> Self {
        let backoff = Backoff::new(rules.first_pause, rules.longest_pause);
        Self { rules, state: State::Closed { failures: 0 }, round: 0, backoff }
    }

    /// Lets a call through, or says how long to wait. Whoever is let through tells how it [ended](Self::ended).
    pub fn admit(&mut self, now: DateTime<Utc>) -> Result<Round, Duration> {
        match self.state {
            State::Closed { .. } => Ok(Round(self.round)),
            State::HalfOpen { .. } => Err(self.rules.first_pause),
            State::Open { outage, until } => {
                let wait = self.wait(until, now);
                if !wait.is_zero() {
                    return Err(wait);
                }
                self.enter(State::HalfOpen { outage });
                Ok(Round(self.round))
            }
        }
    }

    /// Learns from a call that was let through.
    pub fn ended(&mut self, round: Round, ended: Ended, now: DateTime<Utc>) -> Option<Change> {
        if round.0 != self.round {
            return None;
        }
        match (self.state, ended) {
            (State::Closed { .. }, Ended::Answered) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Ended::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.rules.failures {
                    return Some(self.open(Outage { since: now, failures }, now));
                }
                self.state = State::Closed { failures };
            }
            (State::HalfOpen { outage }, Ended::Answered) => {
                self.backoff.reset();
                self.enter(State::Closed { failures: 0 });
                return Some(Change::Closed(outage));
            }
            (State::HalfOpen { outage }, Ended::Failed) => {
                let failures = outage.failures.saturating_add(1);
                return Some(self.open(Outage { failures, ..outage }, now));
            }
            // The next caller sees.
            (State::HalfOpen { outage }, Ended::Untold) => self.enter(State::Open { outage, until: now }),
            (State::Closed { .. }, Ended::Untold) | (State::Open { .. }, _) => {}
        }
        None
    }

    /// Since when it has been open or half-open; `None` while it is closed.
    pub fn outage(&self) -> Option<Outage> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { outage, .. } | State::HalfOpen { outage } => Some(outage),
        }
    }

    /// How long until it may let a call through; zero when it would now or somebody is looking.
    pub fn retry_in(&self, now: DateTime<Utc>) -> Duration {
        match self.state {
            State::Closed { .. } | State::HalfOpen { .. } => Duration::ZERO,
            State::Open { until, .. } => self.wait(until, now),
        }
    }

    fn open(&mut self, outage: Outage, now: DateTime<Utc>) -> Change {
        let pause = self.backoff.pause();
        self.enter(State::Open { outage, until: now + pause });
        Change::Opened(outage, pause)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }

    fn wait(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
        let wait = (until - now).to_std().unwrap_or_default();
        // More than was ever agreed: the clock was set back, and the end of the pause is not known.
        if wait > self.rules.longest_pause { Duration::ZERO } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules =
        Rules { failures: 3, first_pause: Duration::from_secs(2), longest_pause: Duration::from_secs(8) };

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(secs)
    }

    /// Calls once at this time.
    fn call(breaker: &mut Breaker, secs: i64, ended: Ended) -> Option<Change> {
        let round = breaker.admit(at(secs)).expect("it is let through");
        breaker.ended(round, ended, at(secs))
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..3 {
            call(&mut breaker, 0, Ended::Failed);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        use Ended::{Answered, Failed, Untold};
        let cases: [(&[Ended], bool); 6] = [
            (&[Failed, Failed], false),
            (&[Failed, Failed, Failed], true),
            (&[Failed, Failed, Answered, Failed, Failed], false),
            (&[Failed, Untold, Failed, Untold, Failed], true),
            (&[Untold, Untold, Untold, Untold], false),
            (&[Answered, Failed, Failed, Failed], true),
        ];
        for (ends, open) in cases {
            let mut breaker = Breaker::new(RULES);
            let mut last = None;
            for ended in ends {
                last = call(&mut breaker, 0, *ended);
            }
            assert_eq!(breaker.outage().is_some(), open, "{ends:?}");
            assert_eq!(breaker.admit(at(0)).is_err(), open, "{ends:?}");
            assert_eq!(matches!(last, Some(Change::Opened(Outage { failures: 3, .. }, _))), open, "{last:?}");
        }
    }

    #[test]
    fn one_call_sees_while_the_others_wait() {
        let mut breaker = opened();
        let probe = breaker.admit(at(2)).expect("the pause is over");
        assert_eq!(breaker.admit(at(2)), Err(RULES.first_pause));
        assert_eq!(breaker.admit(at(1000)), Err(RULES.first_pause), "however long the first one takes");
        let outage = Outage { since: at(0), failures: 3 };
        assert_eq!(breaker.ended(probe, Ended::Answered, at(1000)), Some(Change::Closed(outage)));
        assert!(breaker.admit(at(1000)).is_ok() && breaker.admit(at(1000)).is_ok());
        // Well again: it takes as many failures as ever, and pauses as short as at first.
        assert_eq!((call(&mut breaker, 1000, Ended::Failed), call(&mut breaker, 1000, Ended::Failed)), (None, None));
        let Some(Change::Opened(_, pause)) = call(&mut breaker, 1000, Ended::Failed) else { panic!("the third") };
        assert!(pause <= RULES.first_pause, "{pause:?}");
    }

    #[test]
    fn each_failed_look_pauses_longer_up_to_the_bound() {
        let mut breaker = opened();
        let mut now = 0;
        for (failures, step) in [(4, 4), (5, 8), (6, 8), (7, 8)] {
            now += 8;
            let Some(Change::Opened(outage, pause)) = call(&mut breaker, now, Ended::Failed) else { panic!("{now}") };
            assert_eq!(outage, Outage { since: at(0), failures });
            let step = Duration::from_secs(step);
            assert!((step / 2..=step).contains(&pause), "{pause:?} of {step:?}");
            assert_eq!(breaker.admit(at(now)), Err(pause));
            assert_eq!(breaker.retry_in(at(now)), pause);
        }
    }

    #[test]
    fn a_look_that_told_nothing_is_repeated_at_once() {
        let mut breaker = opened();
        assert_eq!(call(&mut breaker, 2, Ended::Untold), None);
        assert!(breaker.outage().is_some());
        assert!(matches!(call(&mut breaker, 2, Ended::Answered), Some(Change::Closed(_))));
    }

    #[test]
    fn what_calls_of_an_earlier_round_tell_comes_too_late() {
        let mut breaker = Breaker::new(RULES);
        let early = breaker.admit(at(0)).expect("closed");
        for _ in 0..3 {
            call(&mut breaker, 0, Ended::Failed);
        }
        for ended in [Ended::Answered, Ended::Failed, Ended::Untold] {
            assert_eq!(breaker.ended(early, ended, at(1)), None);
        }
        let probe = breaker.admit(at(2)).expect("the pause is over");
        assert_eq!(breaker.ended(early, Ended::Answered, at(2)), None);
        assert!(breaker.admit(at(2)).is_err(), "only the one that looks may close it");
        assert!(breaker.ended(probe, Ended::Answered, at(2)).is_some());
        assert_eq!(breaker.ended(probe, Ended::Failed, at(2)), None, "a call ends once");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let mut breaker = opened();
        assert!(breaker.admit(at(-3600)).is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        End(prop::sample::Index, Ended),
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ended = prop_oneof![Just(Ended::Answered), Just(Ended::Failed), Just(Ended::Untold)];
        prop_oneof![
            3 => Just(Step::Admit),
            3 => (any::<prop::sample::Index>(), ended).prop_map(|(index, ended)| Step::End(index, ended)),
            1 => (-20i64..20).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn a_breaker_lets_one_look_and_never_waits_for_ever(steps in prop::collection::vec(step(), 0..200)) {
            let (mut breaker, mut now, mut under_way) = (Breaker::new(RULES), 0i64, Vec::new());
            // Rounds of looks that are under way.
            let mut looks: Vec<Round> = Vec::new();
            let mut in_a_row = 0;
            for step in steps {
                let was_out = breaker.outage();
                match step {
                    Step::Pass(secs) => now += secs,
                    Step::Admit => match breaker.admit(at(now)) {
                        Ok(round) => {
                            under_way.push(round);
                            if was_out.is_some() {
                                prop_assert!(looks.is_empty(), "two look at once");
                                looks.push(round);
                            }
                        }
                        Err(wait) => {
                            prop_assert!(was_out.is_some() && !wait.is_zero() && wait <= RULES.longest_pause);
                        }
                    },
                    Step::End(index, ended) if !under_way.is_empty() => {
                        let round = under_way.swap_remove(index.index(under_way.len()));
                        let is_look = looks.contains(&round);
                        let current = is_look || (was_out.is_none() && round == Round(breaker.round));
                        let change = breaker.ended(round, ended, at(now));
                        looks.retain(|look| *look != round);
                        if !current {
                            prop_assert_eq!((change, breaker.outage()), (None, was_out), "a late word counted");
                            continue;
                        }
                        match ended {
                            Ended::Answered => in_a_row = 0,
                            Ended::Failed => in_a_row += 1,
                            Ended::Untold => {}
                        }
                        prop_assert_eq!(breaker.outage().is_some(), in_a_row >= RULES.failures);
                        if let Some(outage) = breaker.outage() {
                            prop_assert_eq!(outage.failures, in_a_row);
                        }
                    }
                    Step::End(..) => {}
                }
            }
            // However it came here: once nobody looks, whoever waits as long as it was told is let through.
            for look in looks {
                breaker.ended(look, Ended::Untold, at(now));
            }
            if let Err(wait) = breaker.admit(at(now)) {
                prop_assert!(wait <= RULES.longest_pause && breaker.admit(at(now) + wait).is_ok());
            }
        }
    }
}
