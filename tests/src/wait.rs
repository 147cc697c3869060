//! Waiting for a condition with a deadline. Nothing here or in a test sleeps for a fixed time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: at first, and where it takes longer. Many tests that wait at once would else keep
/// the machine from what they wait for.
const INTERVAL: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(100);

/// Asks `check` until it has an answer; an error that names `what` after `deadline`. An error of `check`
/// ends the wait.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, mut check: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + deadline;
    let mut pause = INTERVAL;
    loop {
        if let Some(answer) = check().await? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} for {what}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause + INTERVAL / 4).min(LONGEST);
    }
}

/// The same for code that cannot await, such as `Drop`; false after `deadline`.
pub fn eventually_blocking(deadline: Duration, mut check: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while !check() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(INTERVAL);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_ends_with_the_answer_the_error_or_the_deadline() {
        let mut asked = 0;
        let answer = eventually("the third look", Duration::from_secs(5), || {
            asked += 1;
            let seen = (asked == 3).then_some("here");
            async move { Ok(seen) }
        });
        assert_eq!(answer.await.unwrap(), "here");
        let never = eventually("godot", Duration::from_millis(30), || async { Ok(None::<()>) }).await;
        assert!(never.unwrap_err().to_string().contains("godot"));
        let broken = eventually("a fault", Duration::from_secs(5), || async {
            Err::<Option<()>, _>(anyhow::anyhow!("it broke"))
        });
        assert_eq!(broken.await.unwrap_err().to_string(), "it broke");
    }
}
