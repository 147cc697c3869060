//! The stories lead everywhere: each answer that the reference knows is given in some of them. No database is asked.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use proptest_state_machine::ReferenceStateMachine as _;

use super::STEPS;
use super::story::Stories;

/// Parts of answers.
const ANSWERS: [&str; 32] = [
    "Enqueued { existing: true }",
    "Leads(None)",
    "Admitted(Err(Stale(\"leadership\")))",
    "Admitted(Ok(None))",
    "Changed(true)",
    "Err(Gone)",
    "Err(Session)",
    "Err(Avoided)",
    "Err(Tenant)",
    "Reported(Ok(true))",
    "Reported(Err(Stale(\"attempt\")))",
    "Leave(Ok(Granted))",
    "Leave(Ok(NotMoved))",
    "Leave(Ok(Wait))",
    "Leave(Ok(Cancelled))",
    "Leave(Err(Stale(\"attempt\")))",
    "Ended(Ok([Now(Succeeded)]))",
    "Ended(Ok([Now(Queued)]))",
    "Ended(Ok([Now(Errored)]))",
    "Ended(Ok([Now(Cancelled)]))",
    "Ended(Ok([Before]))",
    "Ended(Ok([Stale]))",
    "Cancelled(Stopping([",
    "Cancelled(AlreadyPublishing)",
    "Cancelled(AlreadyFinished)",
    ", Ready)",
    ", TimedOut)",
    ", Cancelled)",
    ", Errored)",
    "look: Booked",
    "look: LetGo",
    "look: Restored(",
];

#[test]
fn stories_meet_every_answer() {
    let mut runner = TestRunner::deterministic();
    let strategy = Stories::sequential_strategy(STEPS);
    let mut missing = ANSWERS.to_vec();
    for _ in 0..3000 {
        let (mut model, steps, _) = strategy.new_tree(&mut runner).expect("a story").current();
        for step in &steps {
            model.take(step);
            let answer = format!("{:?}", model.first);
            missing.retain(|part| !answer.contains(part));
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("no story was answered {missing:?}");
}
