//! Ids, answers and messages, between the numbers of the reference and the words of the store.

use std::collections::BTreeMap;

use slipway_domain::agent::{Finish, Leave, LeaveRequest, PushedImage};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::Id;
use slipway_store::StoreError;
use slipway_store::job_cancels::CancelOutcome;
use uuid::Uuid;

use super::super::ops::{AFinish, CancelAnswer, LeaveAnswer, Refused, Try};

pub fn id<T: Id>(number: impl TryInto<u128>) -> T {
    T::from(Uuid::from_u128(number.try_into().ok().expect("not negative") + 1))
}

pub fn number(id: impl Id) -> usize {
    usize::try_from(id.uuid().as_u128() - 1).expect("an id of ours")
}

pub fn attempt_ref(attempt: Try) -> AttemptRef {
    AttemptRef { job: id(attempt.0), epoch: attempt.1 }
}

pub fn try_of(attempt: AttemptRef) -> Try {
    Try(number(attempt.job), attempt.epoch)
}

pub fn digest(attempt: Try) -> String {
    format!("sha256:{}.{}", attempt.0, attempt.1)
}

pub fn try_of_digest(digest: &str) -> Try {
    let (job, epoch) = digest["sha256:".len()..].split_once('.').expect("a digest of ours");
    Try(job.parse().expect("a job"), epoch.parse().expect("an epoch"))
}

pub fn numbers(ids: Vec<impl Id>) -> Vec<u32> {
    ids.into_iter().map(|id| number(id) as u32).collect()
}

pub fn refused(error: StoreError) -> Refused {
    match error {
        StoreError::Stale(what) => Refused::Stale(what),
        StoreError::NotFound(what) => Refused::NotFound(what),
        error => panic!("{error}"),
    }
}

pub fn leave(attempt: Try, tag: usize) -> LeaveRequest {
    let [registry, repository] = ["registry.example", "acme/app"].map(str::to_owned);
    LeaveRequest { registry, repository, tag: format!("t{tag}"), digest: digest(attempt) }
}

pub fn said(finish: &AFinish, moved_under: &BTreeMap<(Try, usize), i64>) -> Finish {
    let image = |tag: &usize| PushedImage {
        reference: format!("registry.example/acme/app:t{tag}"),
        digest: digest(finish.attempt),
        size_bytes: 1,
        moved: true,
        lease: moved_under.get(&(finish.attempt, *tag)).copied(),
    };
    let images = finish.moved.iter().map(image).collect();
    Finish {
        outcome: finish.outcome,
        failure: None,
        images,
        built: Vec::new(),
        remarks: Default::default(),
        log_end: 0,
        log_sha256: "00".repeat(32),
    }
}

pub fn told_leave(leave: Leave) -> LeaveAnswer {
    match leave {
        Leave::Granted { .. } => LeaveAnswer::Granted,
        Leave::NotMoved { .. } => LeaveAnswer::NotMoved,
        Leave::Wait { .. } => LeaveAnswer::Wait,
        Leave::Cancelled => LeaveAnswer::Cancelled,
    }
}

pub fn told_cancel(cancelled: CancelOutcome) -> CancelAnswer {
    match cancelled {
        CancelOutcome::Cancelled => CancelAnswer::Cancelled,
        CancelOutcome::Stopping(attempts) => CancelAnswer::Stopping(attempts.into_iter().map(try_of).collect()),
        CancelOutcome::AlreadyPublishing => CancelAnswer::AlreadyPublishing,
        CancelOutcome::AlreadyFinished => CancelAnswer::AlreadyFinished,
    }
}
