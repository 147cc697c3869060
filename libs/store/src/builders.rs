//! Builders as operators see them, and the tokens by which they join.

use chrono::{DateTime, Utc};
use slipway_domain::builder::{BuilderState, Load};
use slipway_domain::ids::{BuilderId, JoinTokenId, SessionId, TenantId};
use slipway_domain::placement::Pool;
use slipway_domain::timing;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::Db;
use crate::db::{execute, on_db, on_tx};
use crate::error::{Result, StoreError};
use crate::jobs::delta;

/// A builder with its newest session.
#[derive(Debug, Clone, PartialEq)]
pub struct BuilderView {
    /// The builder.
    pub id: BuilderId,
    /// For people.
    pub name: String,
    /// Where it belongs.
    pub pool: Pool,
    /// Jobs it runs at once.
    pub slots: i64,
    /// Jobs it runs now, by the rows.
    pub busy: i64,
    /// How it stands.
    pub state: BuilderState,
    /// How busy its host is.
    pub load: Load,
    /// Its last committed heartbeat.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Its release.
    pub release: String,
    /// The tenant that its shared engine is bound to.
    pub serves_tenant: Option<TenantId>,
    /// An operator drained it; it takes nothing until one resumes it.
    pub drained: bool,
}

#[derive(FromRow)]
struct BuilderRow {
    id: BuilderId,
    name: String,
    #[sqlx(try_from = "String")]
    pool: Pool,
    slots: i64,
    release: String,
    drained: bool,
    serves_tenant: Option<TenantId>,
    busy: i64,
    session_state: Option<String>,
    draining: Option<bool>,
    load: Option<Json<Load>>,
    renewed_at: Option<DateTime<Utc>>,
    channel_closed_at: Option<DateTime<Utc>>,
    close_reason: Option<String>,
}

impl Db {
    /// Makes a join token for one pool; only its hash is kept.
    pub async fn create_join_token(&self, id: JoinTokenId, hash: &[u8], pool: &Pool, now: DateTime<Utc>) -> Result<()> {
        const INSERT: &str = "insert into join_tokens (id, hash, pool, created_at) values ($1, $2, $3, $4) \
            on conflict (hash) do nothing";
        let mut tx = self.begin_write().await?;
        execute!(&mut tx, INSERT, id, hash, pool.to_string(), now);
        tx.commit().await
    }

    /// Every builder, by name.
    pub async fn list_builders(&self, now: DateTime<Utc>) -> Result<Vec<BuilderView>> {
        const LIST: &str = "select b.id, b.name, b.pool, b.slots, b.release, b.drained, b.serves_tenant, \
            (select count(*) from attempts a where a.builder_id = b.id and a.state = 'open') as busy, \
            s.state as session_state, s.draining, s.load, s.renewed_at, s.channel_closed_at, s.close_reason from builders b \
            left join sessions s on s.id = (select id from sessions l where l.builder_id = b.id \
            order by l.opened_at desc, l.id desc limit 1) order by b.name, b.id";
        let rows: Vec<BuilderRow> = on_db!(self, conn => sqlx::query_as(LIST).fetch_all(conn).await?);
        Ok(rows.into_iter().map(|row| row.view(now)).collect())
    }

    /// Asks a builder to take nothing new, finish and leave (`drained`), or takes that back. Holds over sessions
    /// and restarts. Returns its open session, if it has one.
    pub async fn drain_builder(&self, id: BuilderId, drained: bool) -> Result<Option<SessionId>> {
        const DRAIN: &str = "update builders set drained = $2 where id = $1";
        const SESSION: &str = "select id from sessions where builder_id = $1 and state = 'open'";
        let mut tx = self.begin_write().await?;
        let found = execute!(&mut tx, DRAIN, id, drained);
        if found == 0 {
            return Err(StoreError::NotFound("builder"));
        }
        let session = on_tx!(&mut tx, conn => sqlx::query_scalar(SESSION).bind(id).fetch_optional(conn).await?);
        tx.commit().await?;
        Ok(session)
    }

    /// The open sessions whose builders do not know yet what operators want, for telling them (again): with true
    /// they shall drain, with false they drain and need not. One that drains by its own wish is among the latter.
    pub async fn untold_drains(&self) -> Result<Vec<(SessionId, bool)>> {
        const UNTOLD: &str = "select s.id, b.drained from sessions s join builders b on b.id = s.builder_id \
            where s.state = 'open' and b.drained <> s.draining";
        Ok(on_db!(self, conn => sqlx::query_as(UNTOLD).fetch_all(conn).await?))
    }
}

impl BuilderRow {
    fn view(self, now: DateTime<Utc>) -> BuilderView {
        let open = self.session_state.as_deref() == Some("open");
        let silent = self.renewed_at.is_none_or(|at| now - at > delta(timing::HEARTBEAT * 2));
        let state = if !open {
            if self.close_reason.as_deref() == Some("lost") { BuilderState::Lost } else { BuilderState::Offline }
        } else if silent || self.channel_closed_at.is_some() {
            BuilderState::Suspect
        } else if self.drained || self.draining == Some(true) {
            BuilderState::Draining
        } else {
            BuilderState::Online
        };
        BuilderView {
            id: self.id,
            name: self.name,
            pool: self.pool,
            slots: self.slots,
            busy: self.busy,
            state,
            load: self.load.map(|Json(load)| load).unwrap_or_default(),
            last_seen_at: self.renewed_at,
            release: self.release,
            serves_tenant: self.serves_tenant,
            drained: self.drained,
        }
    }
}
