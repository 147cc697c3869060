//! The counting connection: one script, run once per question. Whoever asks waits for it a moment at most, and
//! while Redis is away each process counts for itself: a limit is then as many times as high as there are
//! processes, but nobody is let through unseen and nobody waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult};
use tokio::sync::mpsc;

use super::Common;
use super::link::{ANSWER, Backoff, End, PING_EVERY, Status, answered};
use super::words;
use crate::limit::{Counted, Counts, Exceeded, Limit};

/// Whoever asks waits this long for Redis.
const PATIENCE: Duration = Duration::from_millis(50);

/// `KEYS[1]`: when the key would have all its room again, in microseconds of Redis' own clock. `ARGV`: what one
/// takes, and the whole. Answers 0, or after how many microseconds there is room.
const TAKE: &str = "local time = redis.call('TIME') \
    local now = time[1] * 1000000 + time[2] \
    local after = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1] \
    local over = after - now - ARGV[2] \
    if over > 0 then return over end \
    redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000)) \
    return 0";

type Slot = Arc<Mutex<Option<MultiplexedConnection>>>;

/// The askers' end. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    common: Common,
    slot: Slot,
    broken: mpsc::Sender<()>,
    status: Arc<Status>,
    own: Counts,
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Counting {
    common: Common,
    slot: Slot,
    broken: mpsc::Receiver<()>,
    status: Arc<Status>,
}

impl Counter {
    /// Both ends.
    pub(super) fn new(common: Common, status: Arc<Status>) -> (Self, Counting) {
        let (sender, broken) = mpsc::channel(1);
        let slot = Slot::default();
        let counting =
            Counting { common: common.clone(), slot: Arc::clone(&slot), broken, status: Arc::clone(&status) };
        (Self { common, slot, broken: sender, status, own: Counts::default() }, counting)
    }

    /// Counts one more if there is room, here where Redis does not answer in time.
    pub(super) async fn take(&self, counted: Counted, limit: Limit) -> Result<(), Exceeded> {
        let connection = connection(&self.slot).clone();
        if let Some(connection) = connection {
            match tokio::time::timeout(PATIENCE, self.ask(connection, counted, limit)).await {
                Ok(Ok(over)) => {
                    self.status.up();
                    return over.map_or(Ok(()), Err);
                }
                Ok(Err(error)) => self.failed(&error),
                Err(_) => self.let_go(),
            }
        }
        self.own.take(counted, limit, self.common.clock.monotonic())
    }

    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        counted: Counted,
        limit: Limit,
    ) -> RedisResult<Option<Exceeded>> {
        let key = format!("{}limit:{}", self.common.target.prefix, counted.name());
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(key).arg(limit.each_micros()).arg(limit.per_micros());
        let over: u64 = command.query_async(&mut connection).await?;
        Ok((over > 0).then_some(Exceeded { retry_after: Duration::from_micros(over) }))
    }

    fn failed(&self, error: &RedisError) {
        if error.is_unrecoverable_error() || error.is_timeout() {
            self.let_go();
        } else {
            // The connection is good, only this is refused.
            self.status.away(words::problem(&self.common.target, error));
        }
    }

    /// Nobody waits for this connection any more; the loop makes a new one.
    fn let_go(&self) {
        *connection(&self.slot) = None;
        // One that was told already needs no second word.
        let _ = self.broken.try_send(());
    }
}

impl Counting {
    /// Until the last handle is gone.
    pub(super) async fn run(mut self) {
        let clock = self.common.clock.clone();
        let mut backoff = Backoff::new(clock.monotonic());
        loop {
            backoff.begin(clock.monotonic());
            let end = match self.connect().await {
                Ok(connection) => self.serve(connection).await,
                Err(end) => end,
            };
            *connection(&self.slot) = None;
            match end {
                End::Unused => return,
                End::Broken(problem) => self.status.away(problem),
            }
            let mut pause = std::pin::pin!(clock.sleep(backoff.next(clock.monotonic())));
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    told = self.broken.recv() => if told.is_none() { return },
                }
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, End> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
        let target = &self.common.target;
        answered(target, target.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    async fn serve(&mut self, mut own: MultiplexedConnection) -> End {
        let target = Arc::clone(&self.common.target);
        let mut shown = false;
        loop {
            if let Err(end) = answered(&target, redis::cmd("PING").exec_async(&mut own)).await {
                return end;
            }
            if !shown {
                shown = true;
                *connection(&self.slot) = Some(own.clone());
                self.status.up();
            }
            tokio::select! {
                told = self.broken.recv() => match told {
                    Some(()) => return End::Broken(words::slow(&target, PATIENCE)),
                    None => return End::Unused,
                },
                () = self.common.clock.sleep(PING_EVERY) => {}
            }
        }
    }
}

/// A slot is whole after every assignment.
fn connection(slot: &Slot) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
