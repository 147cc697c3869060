//! Makes a pool's queue. On a connection of its own, because the broker answers a difference by closing the
//! channel, and what publishes must not suffer for that.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use slipway_domain::placement::Pool;
use tokio::time::timeout;
use tracing::warn;

use super::address::Address;
use super::link::{ANSWER_WITHIN, Link};
use super::words::{explain, is_other_queue};
use crate::Limits;

/// The queue of a pool. Names of regions, classes and platforms hold no dots.
pub(crate) fn queue(pool: &Pool) -> ShortString {
    format!("slipway.offers.{}.{}.{}", pool.region, pool.class, pool.platform).into()
}

/// Declares the queue of a pool. One that exists with other arguments is used as it is.
pub(crate) async fn declare(address: &Address, limits: Limits, pool: &Pool) -> Result<(), String> {
    let link = Link::open(address, &format!("declare {pool}")).await?;
    let channel = link.channel(address).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(queue(pool), options, arguments(address, limits));
    let result = match timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_other_queue(&error) => {
            warn!(%pool, "the queue exists with other arguments and is used as it is: {}", explain(address, &error));
            Ok(())
        }
        Ok(Err(error)) => Err(explain(address, &error)),
        Err(_) => Err(format!("{address} did not declare queue {} in time", queue(pool))),
    };
    link.close().await;
    result
}

fn arguments(address: &Address, limits: Limits) -> FieldTable {
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    arguments.insert("x-queue-type".into(), text(address.queues.as_str()));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(limits.queue_length)));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(millis(limits.ttl)));
    arguments
}

/// A duration as AMQP counts it.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
