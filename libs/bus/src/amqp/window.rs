//! How many offers the broker may still send, against how many are wanted. RabbitMQ fixes a consumer's prefetch
//! when it begins to consume, and an ack makes room again; so to take less, or to take no more after an ack, one
//! must cancel and consume anew. For few offers that is done exactly; for many, where it would cost three round
//! trips each, a quarter more may come, and what is too much is given back at once.

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

/// The step that brings what may still come to what is wanted. `may_come` is `None` without a subscription.
pub(crate) fn step(wanted: u32, may_come: Option<u32>) -> Step {
    let wanted = wanted.min(MOST);
    let slack = wanted / 4;
    match may_come {
        None if wanted == 0 => Step::Keep,
        Some(_) if wanted == 0 => Step::Cancel,
        Some(may_come) if may_come.abs_diff(wanted) <= slack => Step::Keep,
        None | Some(_) => Step::Consume(u16::try_from(wanted).unwrap_or(u16::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_by_table() {
        let table = [
            (0, None, Step::Keep),
            (0, Some(0), Step::Cancel),
            (0, Some(3), Step::Cancel),
            (1, None, Step::Consume(1)),
            (1, Some(1), Step::Keep),
            (1, Some(2), Step::Consume(1)),
            (3, Some(2), Step::Consume(3)),
            (100, Some(125), Step::Keep),
            (100, Some(75), Step::Keep),
            (100, Some(126), Step::Consume(100)),
            (100, Some(74), Step::Consume(100)),
            (u32::MAX, None, Step::Consume(1000)),
            (5000, Some(1000), Step::Keep),
        ];
        for (wanted, may_come, expected) in table {
            assert_eq!(step(wanted, may_come), expected, "{wanted} wanted, {may_come:?} may come");
        }
    }

    proptest! {
        #[test]
        fn after_a_step_never_more_than_a_quarter_too_much(wanted: u32, may_come: Option<u16>) {
            let after = match step(wanted, may_come.map(u32::from)) {
                Step::Keep => may_come.map_or(0, u32::from),
                Step::Cancel => 0,
                Step::Consume(prefetch) => u32::from(prefetch),
            };
            prop_assert!(after <= wanted.saturating_add(wanted / 4));
            prop_assert!(wanted == 0 || after > 0, "whoever wants one can get one");
        }
    }
}
