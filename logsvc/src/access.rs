//! Who asks: the same tokens and browser sessions as everywhere else.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use slipway_domain::ids::JobId;
use slipway_runtime::ids::{random_bytes, token_hash};
use slipway_runtime::problem::{ApiError, bearer};
use slipway_runtime::web_session::web_session;
use slipway_store::{Scope, StoreError};

use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};

/// While an answer goes on, whoever gets it is looked up again this often.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Whoever asks.
pub(crate) struct Caller {
    credential: Credential,
    scope: Scope,
    renew_at: DateTime<Utc>,
}

/// Hashes of what a request brought.
enum Credential {
    None,
    Token(Vec<u8>),
    WebSession(Vec<u8>),
}

/// What the caller may see. Without a credential: what is public.
pub(crate) async fn scope(logs: &Logs, headers: &HeaderMap) -> Result<Scope, ApiError> {
    Ok(caller(logs, headers).await?.scope)
}

/// The caller, for an answer that goes on.
pub(crate) async fn caller(logs: &Logs, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let known = |credential, scope| Caller { credential, scope, renew_at: logs.clock().now() + some_of(RENEW_EVERY) };
    if let Some(token) = bearer(headers) {
        let token = Credential::Token(token_hash(token));
        let scope = token.scope(logs).await.map_err(store_problem)?;
        return scope.map(|scope| known(token, scope)).ok_or_else(|| {
            ApiError::Unauthorized("This token is unknown or revoked. Make a new one, or log in again.".to_owned())
        });
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::Unauthorized("Write the header as \"Authorization: Bearer <token>\".".to_owned()));
    }
    if let Some(session) = web_session(headers) {
        let session = Credential::WebSession(token_hash(session));
        if let Some(scope) = session.scope(logs).await.map_err(store_problem)? {
            return Ok(known(session, scope));
        }
    }
    Ok(known(Credential::None, Scope::Public))
}

impl Caller {
    /// What it may see, as far as is known.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, logs: &Logs) -> bool {
        logs.clock().now() >= self.renew_at
    }

    /// Looks again, where that is due, whether the caller still is who it was and may see the job.
    pub(crate) async fn renew(&mut self, logs: &Logs, job: JobId) -> Result<(), ReadError> {
        if !self.is_due(logs) {
            return Ok(());
        }
        self.scope = self.credential.scope(logs).await?.ok_or(ReadError::CredentialGone)?;
        logs.db().log_view(&self.scope, job, None).await?;
        self.renew_at = logs.clock().now() + RENEW_EVERY;
        Ok(())
    }
}

impl Credential {
    async fn scope(&self, logs: &Logs) -> Result<Option<Scope>, StoreError> {
        let known = match self {
            Self::None => return Ok(Some(Scope::Public)),
            Self::Token(hash) => logs.db().scope_for_token(hash).await?,
            Self::WebSession(hash) => logs.db().scope_for_web_session(hash, logs.clock().now()).await?,
        };
        Ok(known.map(|(_, scope)| scope))
    }
}

/// Any part of a time, so that those who came at once do not ask at once.
fn some_of(time: Duration) -> Duration {
    time.mul_f64(f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX))
}
