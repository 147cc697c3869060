use super::*;

fn failed(class: FailureClass) -> Result<(), Failure> {
    Err(Failure::new(class, "why"))
}

#[test]
fn the_last_word_follows_cause_and_result() {
    use AttemptOutcome as O;
    let word = |cause, result| verdict(cause, result).map(|(outcome, failure)| (outcome, failure.map(|f| f.class)));
    assert_eq!(word(None, Ok(())), Some((O::Succeeded, None)));
    assert_eq!(word(None, failed(FailureClass::RunFailed)), Some((O::Failed, Some(FailureClass::RunFailed))));
    assert_eq!(word(None, failed(FailureClass::DiskFull)), Some((O::Infra, Some(FailureClass::DiskFull))));
    let stopped = || failed(FailureClass::Cancelled);
    assert_eq!(word(Some(Halt::Cancelled), stopped()), Some((O::Cancelled, Some(FailureClass::Cancelled))));
    assert_eq!(word(Some(Halt::TimedOut), stopped()), Some((O::TimedOut, Some(FailureClass::TimedOut))));
    assert_eq!(word(Some(Halt::HandedBack), stopped()), Some((O::HandedBack, None)));
    assert_eq!(word(Some(Halt::Stopped), stopped()), None);
    assert_eq!(word(Some(Halt::Stopped), Ok(())), None);
    assert_eq!(word(Some(Halt::Cancelled), Ok(())), Some((O::Succeeded, None)), "it was published before");
}
