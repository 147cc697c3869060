//! The one way out to a forge's API, under the client crates and our own clients: checked and pinned addresses, one origin, a
//! time limit, a size limit, no retry. What is to be done about a refusal is decided here once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::{BodyError, Egress, EgressError, read_at_most};
use tokio::sync::OnceCell;
use url::Url;

/// Largest answer that is read; what we ask for is far smaller.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How often a redirect inside the forge's own origin is followed (renamed repositories).
const MAX_REDIRECTS: usize = 2;
/// Longest part of a forge's message that is repeated.
const MAX_MESSAGE_CHARS: usize = 200;
/// Wait when a forge limits us without saying for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// No forge makes us wait longer than this.
const MAX_WAIT: Duration = Duration::from_secs(6 * 3600);

/// Why a call to a forge did not work, sorted by what is to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// We ask too often: try again after this time, not earlier.
    #[error("the forge limits how often we may ask; again in {} s", .0.as_secs())]
    RetryAfter(Duration),
    /// The token is refused. Give up until it is renewed.
    #[error("the forge refuses the connection's token (status {0}); renew it or give it more rights")]
    Unauthorized(u16),
    /// Repository or commit do not exist, or not for this token. Give up.
    #[error("the forge does not know this repository or commit, or hides it from the connection's token: {0}")]
    NotFound(String),
    /// The forge does not want this request. Repeating it changes nothing.
    #[error("the forge refuses the request (status {status}): {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// The beginning of the forge's own words.
        message: String,
    },
    /// The request cannot be made at all.
    #[error("{0}")]
    Invalid(String),
    /// Unreachable, too slow, or broken for the moment: try again later.
    #[error("the forge does not answer as it should: {0}")]
    Transient(String),
}

/// Reaches one forge instance with one credential.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) egress: Egress,
    /// Pinned to the addresses that the host had when the first call was made.
    pub(crate) http: Arc<OnceCell<reqwest::Client>>,
    /// The API's address, ending with a slash.
    pub(crate) base: Url,
    /// None only where there is no credential yet.
    pub(crate) credential: Option<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
}

/// One request. `url` must be inside the origin of the transport's base.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Transport {
    /// Sends once. Any status is an answer; only what has none is an error.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, ForgeError> {
        tokio::time::timeout(self.timeout, self.send_in_origin(call))
            .await
            .map_err(|_| ForgeError::Transient(format!("no answer within {} ms", self.timeout.as_millis())))?
    }

    async fn send_in_origin(&self, mut call: Call) -> Result<Answer, ForgeError> {
        for _ in 0..=MAX_REDIRECTS {
            if call.url.origin() != self.base.origin() {
                return Err(ForgeError::Invalid("the request leaves the forge's own origin".to_owned()));
            }
            let mut response = self.send_once(&call).await?;
            if let Some(next) = same_origin_redirect(&call.url, response.status(), response.headers()) {
                call.url = next;
                continue;
            }
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let body = read_at_most(response, MAX_ANSWER_BYTES).await.map_err(|e| match e {
                BodyError::TooLong(_) => too_long(),
                BodyError::Broken(e) => broken(&e),
            })?;
            return Ok(Answer { status, headers, body });
        }
        Err(ForgeError::Transient("it redirects in circles".to_owned()))
    }

    async fn send_once(&self, call: &Call) -> Result<reqwest::Response, ForgeError> {
        let request = self
            .client()
            .await?
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .body(call.body.clone());
        let request = match &self.credential {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        request.send().await.map_err(|e| broken(&e))
    }

    async fn client(&self) -> Result<&reqwest::Client, ForgeError> {
        let refused = |e: EgressError| {
            if e.is_refusal() { ForgeError::Invalid(e.to_string()) } else { ForgeError::Transient(e.to_string()) }
        };
        self.http.get_or_try_init(|| self.egress.open(&self.base)).await.map_err(refused)
    }
}

/// What comes of an answer that is larger than we read.
pub(crate) fn too_long() -> ForgeError {
    ForgeError::Invalid(BodyError::TooLong(MAX_ANSWER_BYTES).to_string())
}

/// What a status other than success means. `message` is the forge's own text.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, message: &str, now: DateTime<Utc>) -> ForgeError {
    let code = status.as_u16();
    let short = || message.chars().take(MAX_MESSAGE_CHARS).collect();
    let limited = headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0")
        || message.to_ascii_lowercase().contains("rate limit");
    match code {
        401 => ForgeError::Unauthorized(code),
        403 if limited || headers.contains_key(header::RETRY_AFTER) => ForgeError::RetryAfter(wait(headers, now)),
        403 => ForgeError::Unauthorized(code),
        404 | 410 => ForgeError::NotFound(short()),
        429 => ForgeError::RetryAfter(wait(headers, now)),
        503 if headers.contains_key(header::RETRY_AFTER) => ForgeError::RetryAfter(wait(headers, now)),
        408 | 425 | 500..=599 => ForgeError::Transient(format!("status {code}")),
        300..=399 => ForgeError::Rejected { status: code, message: "it redirects to another origin".to_owned() },
        _ => ForgeError::Rejected { status: code, message: short() },
    }
}

/// Where a JSON answer says what is wrong: most forges, Bitbucket Cloud, Data Center, CODING, others again.
const MESSAGES: [&str; 5] = ["/message", "/error/message", "/errors/0/message", "/Response/Error/Message", "/error"];

/// The message of a JSON answer, else the whole answer as text.
pub(crate) fn message_of(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let told = json.as_ref().and_then(|json| MESSAGES.iter().find_map(|place| json.pointer(place)));
    match told {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

/// `Retry-After` (seconds or a date), else the time at which the limit is reset, else a minute.
fn wait(headers: &HeaderMap, now: DateTime<Utc>) -> Duration {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = |time: DateTime<Utc>| (time - now).to_std().unwrap_or_default();
    let after = text("retry-after").and_then(|value| match value.parse() {
        Ok(secs) => Some(Duration::from_secs(secs)),
        Err(_) => DateTime::parse_from_rfc2822(value).ok().map(|time| until(time.to_utc())),
    });
    let reset = || {
        let secs = text("x-ratelimit-reset").or_else(|| text("ratelimit-reset"))?.parse().ok()?;
        DateTime::from_timestamp(secs, 0).map(until)
    };
    after.or_else(reset).unwrap_or(DEFAULT_WAIT).min(MAX_WAIT)
}

fn same_origin_redirect(from: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    let to = from.join(headers.get(header::LOCATION)?.to_str().ok()?).ok()?;
    (to.origin() == from.origin()).then_some(to)
}

/// Without the error's own text, which names the address; its query may hold what must not be logged.
fn broken(e: &reqwest::Error) -> ForgeError {
    let what = if e.is_connect() {
        "it cannot be reached"
    } else if e.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    ForgeError::Transient(what.to_owned())
}
