//! The agent API as this builder calls it: one method per route, each call bounded in time, each failure
//! either a refusal (final) or an absence (try again). Tokens travel in headers only and are never logged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::StatusCode;
use reqwest::{Method, RequestBuilder};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_domain::agent::{
    ClaimRefusal, ClaimRequest, Claimed, Credentials, Finish, KeptCache, Leave, LeaveRequest, LeaveReturn, LogAck,
    LogEnd, OpenSession, Report, ReportAck, SessionOpened,
};
use slipway_domain::attempt::{AttemptRef, Phase};
use slipway_domain::ids::SessionId;
use slipway_runtime::trust::Trust;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A dispatcher that hangs must not cost the time that is left to find another one.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// How much of a refusal's body is kept for the log.
const REFUSAL_CHARS: usize = 500;

/// A connection pool to the agent listener.
#[derive(Debug, Clone)]
pub struct AgentClient {
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
    base: Url,
}

/// The routes of one attempt, with its token.
#[derive(Clone)]
pub struct AttemptApi {
    client: AgentClient,
    attempt: AttemptRef,
    token: String,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The control plane heard us and says no; asking again changes nothing.
    #[error("the control plane refused with {status}: {body}")]
    Refused {
        /// HTTP status, 400 to 499.
        status: StatusCode,
        /// The beginning of the answer, for the log.
        body: String,
    },
    /// Nobody answered, or the answer was lost, or it broke on the other side.
    #[error("the control plane does not answer: {0}")]
    Unavailable(String),
}

impl CallError {
    /// True when the answer means that this attempt or session is not ours any more.
    pub fn is_stale(&self) -> bool {
        const STALE: [StatusCode; 5] = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::GONE,
        ];
        matches!(self, Self::Refused { status, .. } if STALE.contains(status))
    }

    /// True when it does not fit to what is so by now.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }
}

/// What a claim led to.
#[derive(Debug)]
pub enum ClaimAnswer {
    /// The job is ours.
    Won(Box<Claimed>),
    /// It is not; the reason is only for the log.
    Refused(Option<ClaimRefusal>),
}

/// What logsvc says to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkAnswer {
    /// Taken; send what follows.
    Taken(LogAck),
    /// It expects another offset than the chunk began with.
    Elsewhere(LogAck),
}

impl AgentClient {
    /// `base` is the agent listener's address; nothing is contacted yet. The system's proxy settings are
    /// ignored: the channel could not follow them.
    pub fn new(base: &Url, trust: &Trust) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("slipway-builder/", env!("CARGO_PKG_VERSION")));
        let http =
            trust.client(http).and_then(reqwest::ClientBuilder::build).context("cannot set up the HTTP client")?;
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { http, tls: trust.tls()?, base })
    }

    /// Opens a session with the join token.
    pub async fn open_session(&self, join_token: &str, open: &OpenSession) -> Result<SessionOpened, CallError> {
        let request = self.request(Method::POST, "agent/v1/sessions", join_token)?;
        answer(request.timeout(SESSION_TIMEOUT).json(open)).await
    }

    /// Claims an offered job with the session token.
    pub async fn claim(&self, token: &str, claim: &ClaimRequest) -> Result<ClaimAnswer, CallError> {
        let request = self.request(Method::POST, "agent/v1/claims", token)?;
        match answer(request.timeout(SESSION_TIMEOUT).json(claim)).await {
            Ok(claimed) => Ok(ClaimAnswer::Won(Box::new(claimed))),
            Err(CallError::Refused { body, .. }) => Ok(ClaimAnswer::Refused(refusal(&body))),
            Err(error) => Err(error),
        }
    }

    /// Where the channel of a session is, `ws://…` or `wss://…`.
    pub fn channel_url(&self, session: SessionId) -> anyhow::Result<Url> {
        let mut url = self.base.join(&format!("agent/v1/sessions/{session}/channel")).context("bad server URL")?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).ok().context("the server URL must be http or https")?;
        Ok(url)
    }

    /// TLS for the channel, which is no HTTP client's.
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// The routes of one attempt.
    pub fn attempt(&self, attempt: AttemptRef, token: String) -> AttemptApi {
        AttemptApi { client: self.clone(), attempt, token }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> Result<RequestBuilder, CallError> {
        let url = self.base.join(path).map_err(|error| CallError::Unavailable(error.to_string()))?;
        Ok(self.http.request(method, url).bearer_auth(token))
    }
}

impl AttemptApi {
    /// The attempt.
    pub fn attempt(&self) -> AttemptRef {
        self.attempt
    }

    /// The token, for the spool that survives this process.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Tells how it goes.
    pub async fn report(&self, report: &Report) -> Result<ReportAck, CallError> {
        self.post("report", report).await
    }

    /// Asks for what a phase needs, for the secrets of these names, and for earlier images where they may help.
    pub async fn credentials(&self, phase: Phase, secrets: &[String], cache: bool) -> Result<Credentials, CallError> {
        // Names are words that need no escape.
        let path = self.path(&format!("credentials?phase={phase}&secrets={}&cache={cache}", secrets.join(",")));
        answer(self.client.request(Method::GET, &path, &self.token)?).await
    }

    /// Asks whether a tag may move.
    pub async fn leave(&self, leave: &LeaveRequest) -> Result<Leave, CallError> {
        self.post("leave", leave).await
    }

    /// Gives leave back.
    pub async fn leave_return(&self, back: &LeaveReturn) -> Result<(), CallError> {
        silent(self.request_to("leave/return")?.json(back)).await
    }

    /// Tells what was kept at a registry.
    pub async fn keep_cache(&self, kept: &KeptCache) -> Result<(), CallError> {
        silent(self.request_to("cache")?.json(kept)).await
    }

    /// Says the last word.
    pub async fn finish(&self, finish: &Finish) -> Result<(), CallError> {
        silent(self.request_to("finish")?.json(finish)).await
    }

    /// Announces the end of the log; repeating it asks how far it is durable.
    pub async fn log_end(&self, end: &LogEnd) -> Result<LogAck, CallError> {
        self.post("log/end", end).await
    }

    /// Sends one encoded chunk.
    pub async fn log_chunk(&self, chunk: Bytes) -> Result<ChunkAnswer, CallError> {
        let request = self.request_to("log")?.header(http::header::CONTENT_TYPE, "application/octet-stream");
        match answer::<LogAck>(request.body(chunk)).await {
            Ok(ack) => Ok(ChunkAnswer::Taken(ack)),
            Err(CallError::Refused { status: StatusCode::CONFLICT, body }) => match serde_json::from_str(&body) {
                Ok(ack) => Ok(ChunkAnswer::Elsewhere(ack)),
                // Another kind of conflict passes when it is tried again.
                Err(_) => Err(CallError::Unavailable(body)),
            },
            Err(error) => Err(error),
        }
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        answer(self.request_to(path)?.json(body)).await
    }

    fn request_to(&self, path: &str) -> Result<RequestBuilder, CallError> {
        self.client.request(Method::POST, &self.path(path), &self.token)
    }

    fn path(&self, rest: &str) -> String {
        format!("agent/v1/attempts/{}/{}/{rest}", self.attempt.job, self.attempt.epoch)
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, CallError> {
    let response = checked(request).await?;
    response.json().await.map_err(unavailable)
}

async fn silent(request: RequestBuilder) -> Result<(), CallError> {
    checked(request).await.map(drop)
}

async fn checked(request: RequestBuilder) -> Result<reqwest::Response, CallError> {
    let response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body: String = response.text().await.unwrap_or_default().chars().take(REFUSAL_CHARS).collect();
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_client_error() && !later {
        Err(CallError::Refused { status, body })
    } else {
        Err(CallError::Unavailable(format!("{status}: {body}")))
    }
}

fn unavailable(error: reqwest::Error) -> CallError {
    let error = anyhow::Error::new(error.without_url());
    CallError::Unavailable(format!("{error:#}"))
}

fn refusal(body: &str) -> Option<ClaimRefusal> {
    #[derive(serde::Deserialize)]
    struct Said {
        refusal: ClaimRefusal,
    }
    let said = serde_json::from_str(body).ok().map(|Said { refusal }| refusal);
    said.or_else(|| serde_json::from_str(body).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_follows_the_servers_scheme_and_path() {
        let session = slipway_runtime::ids::new_id::<SessionId>();
        for (base, start) in [("http://h:1/x", "ws://h:1/x/agent/v1/"), ("https://h/", "wss://h/agent/v1/")] {
            let client = AgentClient::new(&base.parse().expect("a URL"), &Trust::default()).expect("a client");
            let url = client.channel_url(session).expect("a URL").to_string();
            assert!(url.starts_with(start) && url.ends_with(&format!("{session}/channel")), "{url}");
        }
    }

    #[test]
    fn a_refusal_is_read_in_either_shape() {
        assert_eq!(refusal("\"gone\""), Some(ClaimRefusal::Gone));
        assert_eq!(refusal("{\"refusal\":\"tenant\",\"x\":1}"), Some(ClaimRefusal::Tenant));
        assert_eq!(refusal("<html>"), None);
    }
}
