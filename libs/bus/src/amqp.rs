//! The bus on RabbitMQ, over lapin 4. The rules, each with a test that breaks what it guards against:
//!
//! * Publishing and consuming never share a connection: while `connection.blocked` holds, lapin writes nothing to
//!   it, acks included.
//! * Any error of a channel drops its connection, and everything on it is built anew, with growing pauses, for
//!   ever; lapin's own recovery stays off. A consumer has a connection of its own, so that a missing queue or a
//!   missing permission of one pool costs the others nothing.
//! * A connection that ends without a word is found by heartbeats (10 s) and by looking at its state.
//! * A consumer declares nothing: its user needs no permission but to read its queue.
//! * What cannot be read is acked and counted. What a newer release wrote is held for a second and given back, so
//!   that a newer consumer beside us gets it; the queue's TTL ends that.
//!
//! Only RabbitMQ 4 does these, and nothing here depends on them: a delivery limit of 20 for quorum queues (an offer
//! lives 10 s, so it is not reached), priorities in quorum queues (offers have none), and cancelling instead of
//! closing on an expired ack (nothing is held un-acked for long).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slipway_domain::agent::Offer;
use slipway_domain::placement::Pool;
use slipway_runtime::clock::Clock;
use slipway_runtime::lifecycle::Life;

use crate::{BusError, Limits};

mod address;
mod board;
pub(crate) mod consume;
mod declare;
mod desk;
mod link;
mod pool;
mod publish;
mod window;
mod words;

/// First and longest pause before a connection is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that lasted this long was good: the pauses begin small again.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// How often a connection's state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A broker. Clones share its connections.
#[derive(Clone)]
pub struct AmqpBus {
    core: Arc<Core>,
    publisher: Arc<publish::Publisher>,
}

/// What all connections of one bus need.
pub(crate) struct Core {
    address: address::Address,
    limits: Limits,
    life: Life,
    clock: Clock,
    board: board::Board,
}

impl AmqpBus {
    pub(crate) fn open(url: &str, limits: Limits, life: &Life, clock: &Clock) -> Result<Self, BusError> {
        let address = address::Address::parse(url).map_err(BusError::BadUrl)?;
        let core = Core { address, limits, life: life.clone(), clock: clock.clone(), board: board::Board::default() };
        Ok(Self { core: Arc::new(core), publisher: Arc::default() })
    }

    pub(crate) fn health(&self) -> Result<(), String> {
        self.core.board.problem()
    }

    pub(crate) fn connect(&self) {
        self.publisher.connect(&self.core);
    }

    pub(crate) async fn declare(&self, pool: &Pool) -> Result<(), BusError> {
        self.publisher.declare(&self.core, pool).await
    }

    pub(crate) async fn publish(&self, pool: &Pool, offer: Offer) -> Result<(), BusError> {
        self.publisher.publish(&self.core, pool, offer).await
    }

    pub(crate) fn consume(&self, pool: &Pool) -> consume::AmqpConsumer {
        consume::AmqpConsumer::start(&self.core, pool.clone())
    }
}

impl fmt::Debug for AmqpBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBus").field("address", &self.core.address).finish_non_exhaustive()
    }
}
