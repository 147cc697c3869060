//! Leadership by lease row: at most one holder's term passes [`check_lead`], whatever the holders believe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::ids::ProcessId;

use crate::Db;
use crate::db::{Tx, execute, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::delta;

/// A won leadership. Its term is checked in every commit of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// What is led.
    pub name: &'static str,
    /// Who leads.
    pub holder: ProcessId,
    /// Rises with every change of the holder.
    pub term: i64,
}

impl Db {
    /// Takes or renews the lead; `None` while somebody else holds it.
    pub async fn take_lead(
        &self,
        name: &'static str,
        holder: ProcessId,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<Option<Lead>> {
        const TAKE: &str = "insert into leaders (name, holder, term, expires_at) values ($1, $2, 1, $3) \
            on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at, \
            term = case when leaders.holder = excluded.holder then leaders.term else leaders.term + 1 end \
            where leaders.holder = excluded.holder or leaders.expires_at < $4 returning term";
        let mut tx = self.begin_write().await?;
        let term: Option<i64> = on_tx!(&mut tx, conn => sqlx::query_scalar(TAKE)
            .bind(name)
            .bind(holder)
            .bind(now + delta(lease))
            .bind(now)
            .fetch_optional(conn)
            .await?);
        tx.commit().await?;
        Ok(term.map(|term| Lead { name, holder, term }))
    }

    /// Gives the lead up, so that the next holder need not wait for the lease to end.
    pub async fn leave_lead(&self, lead: &Lead, now: DateTime<Utc>) -> Result<()> {
        const LEAVE: &str = "update leaders set expires_at = $4 where name = $1 and holder = $2 and term = $3";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, LEAVE, lead.name, lead.holder, lead.term, now - delta(Duration::from_micros(1)));
        tx.commit().await
    }
}

/// Fails with `Stale` unless `lead` still holds. Locks the row, so the term cannot change before the commit.
pub(crate) async fn check_lead(tx: &mut Tx, lead: &Lead, now: DateTime<Utc>) -> Result<()> {
    const CHECK: &str = "update leaders set term = term where name = $1 and holder = $2 and term = $3 \
        and expires_at > $4";
    let held = execute!(tx, CHECK, lead.name, lead.holder, lead.term, now);
    if held == 1 { Ok(()) } else { Err(StoreError::Stale("leadership")) }
}
