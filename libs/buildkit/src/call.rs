//! Calls to the engine: a connection of HTTP/2 under BuildKit's `Control` service.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use slipway_runtime::lifecycle::{Life, Task};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::error::{SolveError, innermost};
use crate::nest::nest;
use crate::socket::Hangup;

/// What an engine may send on a stream before it is read. h2 counts small unread frames against half of the
/// connection's window and ends the connection when they are too many: the small window of streams and the large
/// one of connections keep any build away from that limit. Adaptive windows do not.
pub const STREAM_WINDOW_BYTES: u32 = 65_535;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Largest message that is taken, as by BuildKit's own client.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// How long an engine may take to end a connection that has no calls any more.
pub const GOODBYE: Duration = Duration::from_secs(2);
/// HTTP/2 wants an authority; nobody reads it.
const ORIGIN: &str = "http://buildkit";

/// A client of the control service.
pub type Control = ControlClient<Channel>;

/// An open connection for calls. When it is dropped, its socket is shut down and with it every call ends.
pub struct Calls {
    channel: Channel,
    task: Task<()>,
    _hangup: Hangup,
}

/// One connection as tonic wants it.
#[derive(Clone)]
pub struct Channel(http2::SendRequest<Body>);

impl Calls {
    /// Begins HTTP/2 on a connection, with windows of this size for each call.
    pub async fn open<T>(life: &Life, stream: T, hangup: Hangup, window_bytes: u32) -> Result<Self, SolveError>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let (nest, brood) = nest();
        let mut builder = http2::Builder::new(nest);
        builder.initial_stream_window_size(window_bytes);
        builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let (sender, connection) =
            builder.handshake(stream).await.map_err(|error| SolveError::Lost(innermost(&error)))?;
        let task = life.task("build calls", async move {
            // Its error is also that of each call on it.
            let _ = brood.run(connection).await;
        });
        Ok(Self { channel: Channel(sender), task, _hangup: hangup })
    }

    /// A client on this connection.
    pub fn control(&self) -> Control {
        let origin = Uri::from_static(ORIGIN);
        ControlClient::with_origin(self.channel.clone(), origin).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The connection itself, for other services than the control service.
    #[cfg(test)]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Ends the connection as HTTP/2 wants it, once the last client is gone.
    pub async fn close(self) {
        drop(self.channel);
        // Whatever the engine makes of it, the socket is shut down after this.
        let _ = tokio::time::timeout(GOODBYE, self.task.join()).await;
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
