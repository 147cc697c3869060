//! What the pools had and what was wanted of them, minute by minute. Whoever writes a minute first has written it, so that
//! several may.

use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::placement::Pool;
use sqlx::FromRow;

use crate::Db;
use crate::db::{execute, on_db};
use crate::error::Result;
use crate::readable::{Rows, split};

/// Samples are kept for this long.
pub const KEPT: TimeDelta = TimeDelta::days(7);

/// A pool in some minutes of the past: the fewest slots and the most jobs of them.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FleetSample {
    /// `region/class/platform`.
    #[sqlx(try_from = "String")]
    pub pool: Pool,
    /// The first of these minutes, counted since 1970.
    pub minute: i64,
    /// Jobs that its builders could run at once; those that drain do not count.
    pub slots: i64,
    /// Jobs on a builder.
    pub running: i64,
    /// Jobs on a builder, and those that waited for one.
    pub wanted: i64,
    /// In so many of these minutes more was wanted than there were slots.
    pub short_minutes: i64,
}

/// Which samples to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFilter {
    /// Only of this pool.
    pub pool: Option<Pool>,
    /// From this minute on.
    pub since: i64,
    /// So many minutes become one; at least 1.
    pub step: i64,
}

/// The minute of a time, as samples count them.
pub fn minute_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

impl Db {
    /// Writes how every pool with jobs or builders stands, unless its minute is there already, and forgets what is
    /// older than [`KEPT`]. Gives the number of pools that were written.
    pub async fn sample_fleet(&self, now: DateTime<Utc>) -> Result<u64> {
        const COUNT: &str = "select pool, cast(sum(slots) as bigint), cast(sum(running) as bigint), \
            cast(sum(waiting) as bigint) from ( \
            select pool, 0 as slots, \
                case when state in ('running', 'cancelling') then 1 else 0 end as running, \
                case when state in ('queued', 'ready', 'dispatched') then 1 else 0 end as waiting \
                from jobs where deadline_at is not null \
            union all \
            select s.pool, b.slots, 0, 0 from sessions s join builders b on b.id = s.builder_id \
                where s.state = 'open' and not s.draining and not b.drained \
            ) as counts group by pool";
        const SAMPLE: &str = "insert into fleet_samples (minute, pool, slots, running, waiting) \
            values ($1, $2, $3, $4, $5) on conflict (minute, pool) do nothing";
        const FORGET: &str = "delete from fleet_samples where minute < $1";
        // Counting a long backlog takes a while, and nobody's write waits for it.
        let counts: Vec<(String, i64, i64, i64)> = on_db!(self, conn => sqlx::query_as(COUNT).fetch_all(conn).await?);
        let mut tx = self.begin_write().await?;
        let mut written = 0;
        for (pool, slots, running, waiting) in counts {
            written += execute!(&mut tx, SAMPLE, minute_of(now), pool, slots, running, waiting);
        }
        execute!(&mut tx, FORGET, minute_of(now - KEPT));
        tx.commit().await?;
        Ok(written)
    }

    /// The samples of all pools or of one, by pool and time.
    pub async fn fleet_samples(&self, filter: &SampleFilter) -> Result<Vec<FleetSample>> {
        const SAMPLES: &str = "select pool, minute / $1 * $1 as minute, min(slots) as slots, max(running) as running, \
            max(running + waiting) as wanted, \
            cast(sum(case when running + waiting > slots then 1 else 0 end) as bigint) as short_minutes from fleet_samples \
            where minute >= $2 and ($3 is null or pool = $3) group by 1, 2 order by 1, 2";
        let samples: Rows<FleetSample> = on_db!(self, conn => split(&sqlx::query(SAMPLES)
            .bind(filter.step.max(1))
            .bind(filter.since)
            .bind(filter.pool.as_ref().map(Pool::to_string))
            .fetch_all(conn)
            .await?));
        Ok(samples.tell("fleet_samples"))
    }
}
