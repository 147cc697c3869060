//! What the limits of a tenant's plan mean for an attempt.

use std::time::Duration;

use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::plan::{Limits, duration};
use slipway_domain::size::bytes as in_words;

use crate::work::cgroup::Hits;

/// The exit status of a process that was killed by SIGKILL.
const KILLED: i64 = 137;

/// A failure of a build as one sees it who knows whether limits were hit; `None` when nobody knows.
pub(super) fn judged(failure: Failure, hits: Option<Hits>, limits: &Limits) -> Failure {
    let command = matches!(failure.class, FailureClass::RunFailed | FailureClass::OutOfMemory);
    let Some(hits) = hits.filter(|_| command) else { return failure };
    let said = failure.message.trim_end_matches('.');
    if hits.oom_kills > 0 {
        let memory = in_words(limits.memory_bytes);
        let message = format!("{said}: it was killed for its memory, of which the plan allows {memory}.");
        return Failure { class: FailureClass::OutOfMemory, message, ..failure };
    }
    let message = match hits.pids_refused {
        0 if failure.exit_code == Some(KILLED) => format!("{said}: something killed it, and not for its memory."),
        0 => failure.message.clone(),
        _ => format!("{said}: it wanted more than the {} processes that the plan allows.", limits.pids),
    };
    Failure { class: FailureClass::RunFailed, message, ..failure }
}

/// Refuses an image of this size.
pub(super) fn check_size(bytes: u64, limits: &Limits) -> Result<(), Failure> {
    if bytes <= limits.image_bytes {
        return Ok(());
    }
    let (has, allowed) = (in_words(bytes), in_words(limits.image_bytes));
    let message = format!("The image has {has} unpacked; the plan allows {allowed}.");
    Err(Failure::new(FailureClass::ImageTooLarge, message))
}

/// Refuses so many tags.
pub(super) fn check_tags(tags: usize, limits: &Limits) -> Result<(), Failure> {
    if u64::try_from(tags).is_ok_and(|tags| tags <= limits.tags) {
        return Ok(());
    }
    let message = format!("The build has {tags} tags; the plan allows {}.", limits.tags);
    Err(Failure::new(FailureClass::TooManyTags, message))
}

/// Nothing was heard for so long.
pub(super) fn silent(silence: Duration) -> Failure {
    let long = duration(silence.as_secs());
    let message = format!("The build said nothing for {long}, which is as long as the plan allows, and was stopped.");
    Failure::new(FailureClass::Silent, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i64) -> Failure {
        let class = if code == KILLED { FailureClass::OutOfMemory } else { FailureClass::RunFailed };
        let message = format!("RUN x ended with exit code {code}");
        Failure { exit_code: Some(code), ..Failure::new(class, message) }
    }

    #[test]
    fn a_killed_command_ran_out_of_memory_only_where_the_kernel_says_so() {
        let limits = Limits { memory_bytes: 2 << 30, pids: 9, ..Limits::default() };
        let none = Hits::default();
        let (oom, pids) = (Hits { oom_kills: 1, ..none }, Hits { pids_refused: 3, ..none });
        use FailureClass::{BaseImageMissing, OutOfMemory, RunFailed};
        for (failure, hits, class, part) in [
            (
                ended(KILLED),
                Some(oom),
                OutOfMemory,
                ": it was killed for its memory, of which the plan allows 2.0 GiB.",
            ),
            // A compiler was killed, and make says 2.
            (ended(2), Some(oom), OutOfMemory, "exit code 2: it was killed for its memory"),
            (ended(KILLED), Some(none), RunFailed, "something killed it, and not for its memory"),
            (ended(KILLED), None, OutOfMemory, "exit code 137"),
            (ended(2), Some(none), RunFailed, "exit code 2"),
            (ended(2), Some(pids), RunFailed, "more than the 9 processes"),
            (Failure::new(BaseImageMissing, "no such image"), Some(oom), BaseImageMissing, "no such image"),
        ] {
            let judged = judged(failure, hits, &limits);
            assert_eq!(judged.class, class, "{}", judged.message);
            assert!(judged.message.ends_with(part) || judged.message.contains(part), "{}", judged.message);
        }
    }

    #[test]
    fn what_is_as_large_as_allowed_is_allowed() {
        let limits = Limits { image_bytes: 1000, tags: 2, ..Limits::default() };
        assert_eq!(check_size(1000, &limits), Ok(()));
        let said = check_size(1001, &limits).expect_err("too large");
        assert_eq!((said.class, said.message.contains("has 1001 B unpacked")), (FailureClass::ImageTooLarge, true));
        assert_eq!(check_tags(2, &limits), Ok(()));
        assert_eq!(check_tags(3, &limits).expect_err("too many").class, FailureClass::TooManyTags);
    }
}
