//! Where BuildKit is, and how connections to it are opened: by an upgrade of HTTP/1.1 inside a Docker engine, in
//! HTTP/2 from the start where it stands alone.

use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use slipway_runtime::lifecycle::{Life, Task};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_util::io::ReaderStream;
use tonic::metadata::MetadataMap;

use crate::call::{Calls, STREAM_WINDOW_BYTES};
use crate::error::SolveError;
use crate::session::{Keep, METHODS, Served, Session};
use crate::socket::{Address, Hangup, Wire, dial};
use crate::upgrade::upgrade;

/// How long an engine may take to open a connection.
const OPEN: Duration = Duration::from_secs(20);
/// A session inside of calls is cut into messages of at most this size.
const TUNNEL_BYTES: usize = 64 << 10;
/// Headers by which a session says who it is and what it serves (BuildKit's `session` package).
const SESSION_ID: HeaderName = HeaderName::from_static("x-docker-expose-session-uuid");
/// A name for people.
const SESSION_NAME: HeaderName = HeaderName::from_static("x-docker-expose-session-name");
/// Engines share what sessions of one key upload as files; ours is new for every build.
const SESSION_KEY: HeaderName = HeaderName::from_static("x-docker-expose-session-sharedkey");
/// Repeated.
const SESSION_METHOD: HeaderName = HeaderName::from_static("x-docker-expose-session-grpc-method");

/// Where BuildKit is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// Inside a Docker engine of API 1.41 or newer.
    Docker(Address),
    /// A buildkitd alone.
    Buildkitd {
        /// Where it listens.
        address: Address,
        /// How it is known and knows us; none for a socket of this host.
        tls: Option<Tls>,
    },
}

/// What TLS to a buildkitd needs.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// With these authorities and this certificate of ours, for a server of this name.
    pub fn new(mut config: ClientConfig, name: ServerName<'static>) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config: Arc::new(config), name }
    }
}

impl Endpoint {
    /// A connection for calls, with windows of this size.
    pub(crate) async fn calls(&self, life: &Life, window_bytes: u32) -> Result<Calls, SolveError> {
        in_time(OPEN, async {
            match self {
                Self::Docker(address) => {
                    let (wire, hangup) = connect(address).await?;
                    let stream = upgrade(wire, "/grpc", HeaderMap::new()).await?;
                    Calls::open(life, stream, hangup, window_bytes).await
                }
                Self::Buildkitd { address, tls } => {
                    let (wire, hangup) = connect(address).await?;
                    Calls::open(life, TokioIo::new(secured(wire, tls.as_ref()).await?), hangup, window_bytes).await
                }
            }
        })
        .await
    }

    /// A session under this id.
    pub(crate) async fn session(&self, life: &Life, id: &str, served: Served) -> Result<Session, SolveError> {
        in_time(OPEN, async {
            let headers = session_headers(id)?;
            match self {
                Self::Docker(address) => {
                    let (wire, hangup) = connect(address).await?;
                    let stream = upgrade(wire, "/session", headers).await?;
                    Ok(Session::serve(life, stream, Keep::Socket(hangup), served))
                }
                Self::Buildkitd { .. } => {
                    let calls = self.calls(life, STREAM_WINDOW_BYTES).await?;
                    let (stream, task) = tunnel(life, &calls, headers).await?;
                    Ok(Session::serve(life, TokioIo::new(stream), Keep::Tunnel(task, calls), served))
                }
            }
        })
        .await
    }
}

/// Runs it, or gives up after this time.
pub async fn in_time<T>(within: Duration, work: impl Future<Output = Result<T, SolveError>>) -> Result<T, SolveError> {
    let late = |_| SolveError::Lost(format!("no answer within {} s", within.as_secs()));
    tokio::time::timeout(within, work).await.map_err(late)?
}

async fn connect(address: &Address) -> Result<(Box<dyn Wire>, Hangup), SolveError> {
    dial(address).await.map_err(|error| SolveError::Lost(error.to_string()))
}

async fn secured(wire: Box<dyn Wire>, tls: Option<&Tls>) -> Result<Box<dyn Wire>, SolveError> {
    let Some(Tls { config, name }) = tls else { return Ok(wire) };
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name.clone(), wire).await.map_err(|error| SolveError::Lost(error.to_string()))?;
    Ok(Box::new(stream))
}

fn session_headers(id: &str) -> Result<HeaderMap, SolveError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| SolveError::Invalid(error.to_string()));
    let mut headers = HeaderMap::new();
    headers.insert(SESSION_ID, value(id)?);
    headers.insert(SESSION_NAME, HeaderValue::from_static("slipway"));
    headers.insert(SESSION_KEY, value(id)?);
    for method in METHODS {
        headers.append(SESSION_METHOD, HeaderValue::from_static(method));
    }
    Ok(headers)
}

/// A session as a call: what the engine sends comes as messages, what we answer goes as messages.
async fn tunnel(life: &Life, calls: &Calls, headers: HeaderMap) -> Result<(DuplexStream, Task<()>), SolveError> {
    let (near, far) = tokio::io::duplex(TUNNEL_BYTES);
    let (from_us, mut to_us) = tokio::io::split(far);
    let pieces = ReaderStream::with_capacity(from_us, TUNNEL_BYTES)
        .filter_map(async |piece| Some(BytesMessage { data: piece.ok()?.to_vec() }));
    let mut request = tonic::Request::new(Box::pin(pieces));
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    let answer = calls.control().session(request).await;
    let mut stream = answer.map_err(|status| SolveError::of(&status))?.into_inner();
    let task = life.task("build session tunnel", async move {
        // The end of either side is the session's end, which whoever needs the session notices.
        while let Ok(Some(message)) = stream.message().await {
            if to_us.write_all(&message.data).await.is_err() {
                break;
            }
        }
        let _ = to_us.shutdown().await;
    });
    Ok((near, task))
}
