//! How many offers lie here and may still come, against how many are wanted. RabbitMQ fixes a consumer's prefetch
//! when it begins to consume, and an ack makes room again; so to take less, or to take no more after an ack, one
//! must cancel and consume anew. For few offers that is done exactly; for many, where it would cost three round
//! trips each, a quarter more or less is let be.

/// Most offers that one consumer asks for; more would lie in wait here while others are idle.
const MOST: u32 = 1000;

/// What to do with the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is as it should be.
    Keep,
    /// Cancel it.
    Cancel,
    /// Consume with this prefetch; before that, cancel the one that there is.
    Consume(u16),
}

/// Most offers that may lie here when so many are wanted.
pub(crate) fn most_ready(wanted: u32) -> u32 {
    wanted.saturating_add(wanted / 4)
}

/// The step that brings what lies here and may come to what is wanted. `may_come` is `None` without a subscription.
pub(crate) fn step(wanted: u32, ready: u32, may_come: Option<u32>) -> Step {
    let wanted = wanted.min(MOST);
    let missing = wanted.saturating_sub(ready);
    let least = wanted - wanted / 4;
    match may_come {
        Some(_) if wanted == 0 => Step::Cancel,
        Some(may_come) if (least..=most_ready(wanted)).contains(&ready.saturating_add(may_come)) => Step::Keep,
        None if missing == 0 => Step::Keep,
        Some(_) if missing == 0 => Step::Cancel,
        None | Some(_) => Step::Consume(u16::try_from(missing).unwrap_or(u16::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_by_table() {
        let table = [
            ((0, 0, None), Step::Keep),
            ((0, 0, Some(0)), Step::Cancel),
            ((0, 0, Some(3)), Step::Cancel),
            ((1, 0, None), Step::Consume(1)),
            ((1, 0, Some(1)), Step::Keep),
            ((1, 1, Some(0)), Step::Keep),
            ((1, 1, Some(1)), Step::Cancel),
            ((1, 0, Some(2)), Step::Consume(1)),
            ((3, 1, Some(1)), Step::Consume(2)),
            ((100, 0, Some(125)), Step::Keep),
            ((100, 60, Some(15)), Step::Keep),
            ((100, 60, Some(14)), Step::Consume(40)),
            ((100, 60, Some(66)), Step::Consume(40)),
            ((100, 120, Some(6)), Step::Cancel),
            ((100, 120, None), Step::Keep),
            ((u32::MAX, 0, None), Step::Consume(1000)),
            ((5000, 0, Some(1000)), Step::Keep),
        ];
        for ((wanted, ready, may_come), expected) in table {
            assert_eq!(
                step(wanted, ready, may_come),
                expected,
                "{wanted} wanted, {ready} ready, {may_come:?} may come"
            );
        }
    }

    proptest! {
        #[test]
        fn never_a_quarter_too_much_and_always_one_for_who_wants_one(wanted in 0..3000_u32, ready in 0..3000_u32, may_come: Option<u16>) {
            let ready = ready.min(most_ready(wanted));
            let after = match step(wanted, ready, may_come.map(u32::from)) {
                Step::Keep => may_come.map_or(0, u32::from),
                Step::Cancel => 0,
                Step::Consume(prefetch) => u32::from(prefetch),
            };
            prop_assert!(after == 0 || after + ready <= most_ready(wanted));
            prop_assert!(wanted == 0 || after + ready > 0);
        }
    }
}
