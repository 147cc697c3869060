use proptest::prelude::*;

use super::{JobEvent, JobState};
use crate::attempt::AttemptOutcome;

fn every_event() -> Vec<JobEvent> {
    let mut events = vec![
        JobEvent::Unblocked,
        JobEvent::NeedNotMet,
        JobEvent::Admitted,
        JobEvent::Dispatched,
        JobEvent::OfferDeclined,
        JobEvent::Claimed,
        JobEvent::CancelRequested,
        JobEvent::DeadlinePassed,
    ];
    for &outcome in AttemptOutcome::ALL {
        for retry_left in [false, true] {
            events.push(JobEvent::AttemptEnded { outcome, retry_left });
        }
    }
    events
}

/// One line per legal transition: `state event -> state`. What is not listed is illegal.
const TABLE: &str = "
blocked    Unblocked -> queued
blocked    NeedNotMet -> skipped
blocked    CancelRequested -> cancelled
blocked    DeadlinePassed -> cancelled
queued     Admitted -> ready
queued     CancelRequested -> cancelled
queued     DeadlinePassed -> errored
ready      Dispatched -> dispatched
ready      CancelRequested -> cancelled
ready      DeadlinePassed -> errored
dispatched Claimed -> running
dispatched OfferDeclined -> ready
dispatched DeadlinePassed -> ready
dispatched CancelRequested -> cancelled
running    CancelRequested -> cancelling
running    DeadlinePassed -> timed_out
running    AttemptEnded{succeeded,false} -> succeeded
running    AttemptEnded{succeeded,true} -> succeeded
running    AttemptEnded{failed,false} -> failed
running    AttemptEnded{failed,true} -> failed
running    AttemptEnded{timed_out,false} -> timed_out
running    AttemptEnded{timed_out,true} -> timed_out
running    AttemptEnded{infra,false} -> errored
running    AttemptEnded{infra,true} -> queued
running    AttemptEnded{lost,false} -> errored
running    AttemptEnded{lost,true} -> queued
running    AttemptEnded{handed_back,false} -> queued
running    AttemptEnded{handed_back,true} -> queued
cancelling CancelRequested -> cancelling
cancelling DeadlinePassed -> cancelled
cancelling AttemptEnded{*,*} -> cancelled
";

fn event_name(event: JobEvent) -> String {
    match event {
        JobEvent::AttemptEnded { outcome, retry_left } => format!("AttemptEnded{{{outcome},{retry_left}}}"),
        other => format!("{other:?}"),
    }
}

fn expected(state: JobState, event: JobEvent) -> Option<JobState> {
    let name = event_name(event);
    TABLE.lines().filter(|line| !line.is_empty()).find_map(|line| {
        let (left, right) = line.split_once(" -> ").expect("a row has an arrow");
        let (row_state, row_event) = left.split_once(' ').expect("a row has a state and an event");
        let row_event = row_event.trim();
        let any = row_event == "AttemptEnded{*,*}" && name.starts_with("AttemptEnded");
        (row_state == state.as_str() && (row_event == name || any)).then(|| right.parse().expect("a state"))
    })
}

#[test]
fn every_state_and_event_is_as_the_table_says() {
    for &state in JobState::ALL {
        for event in every_event() {
            assert_eq!(state.next(event).ok(), expected(state, event), "{state} + {}", event_name(event));
        }
    }
}

#[test]
fn every_row_of_the_table_was_reached() {
    let rows = TABLE.lines().filter(|line| !line.is_empty()).count();
    let legal = JobState::ALL
        .iter()
        .flat_map(|&state| every_event().into_iter().map(move |event| (state, event)))
        .filter(|&(state, event)| state.next(event).is_ok())
        .count();
    // The one row with stars stands for every outcome with and without a retry.
    assert_eq!(legal, rows - 1 + AttemptOutcome::ALL.len() * 2);
}

proptest! {
    #[test]
    fn random_lives_keep_the_rules(choices in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let events = every_event();
        let mut state = JobState::Blocked;
        let mut cancel_asked = false;
        for choice in choices {
            let event = *choice.get(&events);
            let before = state;
            if let Ok(after) = state.next(event) {
                prop_assert!(!before.is_terminal(), "terminal states never change");
                cancel_asked |= event == JobEvent::CancelRequested;
                state = after;
            }
            if cancel_asked {
                prop_assert!(matches!(state, JobState::Cancelling | JobState::Cancelled),
                    "a cancelled job never becomes {state}");
            }
            if state == JobState::Running && before != JobState::Running {
                prop_assert_eq!(before, JobState::Dispatched, "only a dispatched job is claimed");
            }
            if state == JobState::Ready {
                prop_assert!(matches!(before, JobState::Queued | JobState::Dispatched | JobState::Ready));
            }
        }
    }
}
