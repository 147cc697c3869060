//! One AMQP connection that can always be got rid of. lapin runs each in a thread of its own that ends with its
//! socket; a broker that is frozen or has blocked us would hold that thread, so we keep a handle to shut it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::time::timeout;

use super::address::Address;
use super::words::explain;

/// Longest time for name, TCP and TLS together, and the same again for AMQP's greeting.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a request on an open connection.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest time for a polite end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// AMQP's reply code for a polite end.
const REPLY_SUCCESS: u16 = 200;

/// An open connection. Dropping it cuts it.
pub(crate) struct Link {
    connection: Connection,
    cut: Cut,
}

impl Link {
    /// Connects and logs in. `name` is what the broker shows; the error is for operators.
    pub(crate) async fn open(address: &Address, name: &str) -> Result<Self, String> {
        let tls = tls(address).await?;
        let cut = Cut::default();
        let (held, is_tls) = (cut.clone(), address.tls);
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("slipway {name}").into())
            .with_client_property("product".into(), "slipway".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
        let opening = Connection::connector(
            address.uri(),
            runtime,
            async move |uri, runtime| {
                let (host, port) = (uri.authority.host, uri.authority.port);
                let opened = timeout(OPEN_WITHIN, async {
                    let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, found).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        held.hold(TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?));
                    }
                    if is_tls { stream.into_tls(&host, tls.as_ref()).await } else { Ok(stream) }
                });
                match opened.await {
                    Ok(opened) => Ok(opened?),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                }
            },
            properties,
        );
        match timeout(OPEN_WITHIN * 2, opening).await {
            Ok(Ok(connection)) => Ok(Self { connection, cut }),
            Ok(Err(error)) => Err(explain(address, &error)),
            Err(_) => {
                cut.now();
                Err(format!("{address} accepts connections but does not answer"))
            }
        }
    }

    /// A new channel.
    pub(crate) async fn channel(&self, address: &Address) -> Result<Channel, String> {
        answered(address, self.connection.create_channel()).await
    }

    /// What the broker says of the whole connection. There must be one listener at most: events are shared
    /// between listeners, not copied to them.
    pub(crate) fn events(&self) -> BoxStream<'static, Event> {
        self.connection.events_listener().boxed()
    }

    /// True while the connection is usable.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Takes leave of the broker, or cuts the connection when that takes long.
    pub(crate) async fn close(self) {
        // A broker that is gone needs no goodbye.
        let _ = timeout(CLOSE_WITHIN, self.connection.close(REPLY_SUCCESS, "goodbye".into())).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut.now();
    }
}

/// Waits for the broker's answer; errors in an operator's words.
pub(crate) async fn answered<T>(
    address: &Address,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(ANSWER_WITHIN, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain(address, &error)),
        Err(_) => Err(format!("{address} did not answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

async fn tls(address: &Address) -> Result<OwnedTLSConfig, String> {
    let Some(path) = &address.ca_file else { return Ok(OwnedTLSConfig::default()) };
    // Read at each connect, so that a renewed file needs no restart.
    let pem = tokio::fs::read_to_string(path).await;
    let pem = pem.map_err(|error| format!("cacertfile {}: {error}", path.display()))?;
    Ok(OwnedTLSConfig { cert_chain: Some(pem), ..OwnedTLSConfig::default() })
}

/// A second handle to the socket.
#[derive(Clone, Default)]
struct Cut(Arc<Mutex<Option<TcpStream>>>);

impl Cut {
    fn hold(&self, socket: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    fn now(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
