//! Connections that really close. Dropping a handle of an HTTP library may leave its socket open, and an open
//! socket keeps a build alive; so every connection comes with a second handle of its socket that shuts it down.

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Longest part of a wrong address that is quoted, in characters.
const MAX_QUOTED: usize = 200;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket of this host.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
}

/// An address that is none of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no address of an engine; write unix:///path/to/docker.sock or tcp://host:port")]
pub struct BadAddress(String);

/// A stream of bytes in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// Shuts its connection down, in both directions, when it is dropped. Keeps the socket open until then.
#[derive(Debug)]
pub struct Hangup(Handle);

#[derive(Debug)]
enum Handle {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream),
}

/// Connects; waits for as long as the system does.
pub async fn dial(address: &Address) -> io::Result<(Box<dyn Wire>, Hangup)> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?.into_std()?;
            let hangup = Hangup(Handle::Unix(stream.try_clone()?));
            Ok((Box::new(UnixStream::from_std(stream)?), hangup))
        }
        Address::Tcp(host) => {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            let stream = stream.into_std()?;
            let hangup = Hangup(Handle::Tcp(stream.try_clone()?));
            Ok((Box::new(TcpStream::from_std(stream)?), hangup))
        }
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        // An error means that the other side was first.
        let _ = match &self.0 {
            Handle::Unix(socket) => socket.shutdown(Shutdown::Both),
            Handle::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl Address {
    /// What `DOCKER_HOST` says, else the engine's usual socket.
    pub fn from_docker_host() -> Result<Self, BadAddress> {
        match std::env::var("DOCKER_HOST") {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::Unix(PathBuf::from("/var/run/docker.sock"))),
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.chars().take(MAX_QUOTED).collect());
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("tcp" | "http", host)) => {
                let host = host.trim_end_matches('/');
                let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                port.map(|_| Self::Tcp(host.to_owned())).ok_or_else(bad)
            }
            None if text.starts_with('/') => Ok(Self::Unix(PathBuf::from(text))),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[tokio::test]
    async fn a_dropped_hangup_ends_a_connection_that_is_still_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let unix = UnixListener::bind(&path).expect("a socket");
        let (held, hangup) = dial(&Address::Unix(path)).await.expect("connected");
        let (mut other, _) = unix.accept().await.expect("accepted");
        drop(hangup);
        assert_eq!(other.read(&mut [0]).await.expect("read"), 0);
        drop(held);
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = Address::Tcp(tcp.local_addr().expect("an address").to_string());
        let (_held, hangup) = dial(&address).await.expect("connected");
        let (mut other, _) = tcp.accept().await.expect("accepted");
        drop(hangup);
        assert_eq!(other.read(&mut [0]).await.expect("read"), 0);
    }

    #[test]
    fn addresses_are_read_as_docker_writes_them() {
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        assert_eq!("unix:///a/b.sock".parse(), unix("/a/b.sock"));
        assert_eq!("/a/b.sock".parse(), unix("/a/b.sock"));
        assert_eq!("tcp://h:2375/".parse(), Ok(Address::Tcp("h:2375".to_owned())));
        for bad in ["", "docker.sock", "unix://docker.sock", "tcp://h", "ssh://h:22", "tcp://h:x"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
