//! What the limits of a tenant's plan mean for an attempt.

use std::time::Duration;

use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::plan::{Limits, duration};
use slipway_domain::size::bytes as in_words;

use crate::work::cgroup::Hits;

/// A failure of a build as one sees it who knows how often limits were hit.
pub(super) fn judged(failure: Failure, hits: Hits, limits: &Limits) -> Failure {
    if !matches!(failure.class, FailureClass::RunFailed | FailureClass::Killed) {
        return failure;
    }
    let said = failure.message.trim_end_matches('.');
    if hits.oom_kills > 0 {
        let memory = in_words(limits.memory_bytes);
        let hint = format!("Killed for memory: limit {memory}. {}", FailureClass::OutOfMemory.hint());
        let detail = Box::new(Detail { hint: Some(hint), ..*failure.detail });
        let message = format!("{said}, because a process was killed for its memory (limit {memory})");
        return Failure { class: FailureClass::OutOfMemory, message, detail, ..failure };
    }
    if hits.pids_refused > 0 {
        let message = format!("{said}, after more processes were wanted than the plan allows ({})", limits.pids);
        return Failure { message, ..failure };
    }
    failure
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
        let class = if code == 137 { FailureClass::Killed } else { FailureClass::RunFailed };
        let message = format!("RUN x ended with exit code {code}");
        Failure { exit_code: Some(code), ..Failure::new(class, message) }
    }

    #[test]
    fn a_killed_command_ran_out_of_memory_only_where_the_kernel_says_so() {
        use FailureClass::{BaseImageMissing, Killed, OutOfMemory, RunFailed};
        let limits = Limits { memory_bytes: 2 << 30, pids: 9, ..Limits::default() };
        let none = Hits::default();
        let (oom, pids) = (Hits { oom_kills: 1, ..none }, Hits { pids_refused: 3, ..none });
        for (failure, hits, class, part) in [
            (ended(137), oom, OutOfMemory, "killed for its memory (limit 2.0 GiB)"),
            // A compiler was killed, and make says 2.
            (ended(2), oom, OutOfMemory, "exit code 2, because a process was killed for its memory"),
            (ended(137), none, Killed, "exit code 137"),
            (ended(2), none, RunFailed, "exit code 2"),
            (ended(2), pids, RunFailed, "than the plan allows (9)"),
            (Failure::new(BaseImageMissing, "no such image"), oom, BaseImageMissing, "no such image"),
        ] {
            let judged = judged(failure, hits, &limits);
            assert_eq!((judged.class, judged.message.contains(part)), (class, true), "{judged:?}");
            assert_eq!(judged.advice().starts_with("Killed for memory: limit 2.0 GiB. "), class == OutOfMemory);
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
