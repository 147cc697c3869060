//! What both connections share: how one is, and how long to wait before the next is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{RedisError, RedisResult};
use slipway_runtime::ids::random_bytes;
use tracing::{info, warn};

use super::target::Target;
use super::words;

/// A connection is made, and a command answered, within this time.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// A silent connection is asked this often whether it lives.
pub(super) const PING_EVERY: Duration = Duration::from_secs(2);
/// The first pause before a connection is made again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A connection that served this long was a good one: the next pause is the shortest again.
const GOOD: Duration = Duration::from_secs(5);

/// Why a connection is not used any more.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody needs it.
    Unused,
    /// It broke, in words.
    Broken(String),
}

/// How one connection is.
#[derive(Debug)]
pub(super) struct Status {
    name: &'static str,
    place: String,
    state: Mutex<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Away(String),
}

/// Doubling pauses with jitter, so that many processes do not return in one instant.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    began: Instant,
}

impl Status {
    /// Of a connection that was not made yet.
    pub(super) fn new(name: &'static str, target: &Arc<Target>) -> Self {
        Self { name, place: target.place.clone(), state: Mutex::new(State::Connecting) }
    }

    /// It serves.
    pub(super) fn up(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Up);
        if let State::Away(_) = before {
            info!(connection = self.name, redis = %self.place, "Redis is back");
        }
    }

    /// It does not. Told once per reason, not once per try.
    pub(super) fn away(&self, problem: String) {
        let state = State::Away(problem.clone());
        if std::mem::replace(&mut *self.lock(), state.clone()) != state {
            warn!(connection = self.name, problem, "no connection to Redis; it is tried again until it works");
        }
    }

    /// What is wrong, in words.
    pub(super) fn health(&self) -> Result<(), String> {
        match &*self.lock() {
            State::Up => Ok(()),
            State::Connecting => Err(format!("connecting to Redis at {}", self.place)),
            State::Away(problem) => Err(problem.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is whole after every assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backoff {
    /// Before the first connection.
    pub(super) fn new(now: Instant) -> Self {
        Self { pause: PAUSE_MIN, began: now }
    }

    /// A connection is being made.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// The pause after it ended.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.began) >= GOOD {
            self.pause = PAUSE_MIN;
        }
        let [dice] = random_bytes::<1>();
        // From half to the whole of it.
        let pause = self.pause.mul_f64(0.5 + f64::from(dice) / 512.0);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// Waits for Redis' answer, but not for ever.
pub(super) async fn answered<T>(target: &Target, answer: impl Future<Output = RedisResult<T>>) -> Result<T, End> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(broken(target, &error)),
        Err(_) => Err(End::Broken(words::silence(target, ANSWER.as_secs()))),
    }
}

fn broken(target: &Target, error: &RedisError) -> End {
    if error.is_timeout() {
        return End::Broken(words::silence(target, ANSWER.as_secs()));
    }
    if error.is_connection_dropped() && !error.is_connection_refusal() {
        return End::Broken(words::closed(target));
    }
    End::Broken(words::problem(target, error))
}

#[cfg(test)]
mod tests {
    use slipway_runtime::clock::Clock;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_shrink_after_a_good_connection() {
        let start = Clock::system().monotonic();
        let mut backoff = Backoff::new(start);
        let mut bound = PAUSE_MIN;
        for _ in 0..20 {
            backoff.begin(start);
            let pause = backoff.next(start + Duration::from_secs(1));
            assert!(pause >= bound / 2 && pause <= bound, "{pause:?} within {bound:?}");
            bound = (bound * 2).min(PAUSE_MAX);
        }
        assert_eq!(bound, PAUSE_MAX);
        assert!(backoff.next(start + GOOD) <= PAUSE_MIN);
    }

    #[test]
    fn a_status_tells_what_is_wrong_until_it_is_up() {
        let target = Arc::new(Target::parse("redis://host").expect("valid"));
        let status = Status::new("listening", &target);
        assert_eq!(status.health(), Err("connecting to Redis at host:6379".to_owned()));
        status.away("it is away".to_owned());
        assert_eq!(status.health(), Err("it is away".to_owned()));
        status.up();
        assert_eq!(status.health(), Ok(()));
    }
}
