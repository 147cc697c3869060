//! Counts the objects that a log service reads: a way to the object store that passes everything on and looks at what
//! is asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const BUFFER_BYTES: usize = 64 * 1024;

/// A way that counts; it ends on drop.
pub struct ObjectReads {
    address: SocketAddr,
    count: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl ObjectReads {
    /// Listens and passes on to `to`, `host:port`.
    pub async fn start(to: String) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening before the object store")?;
        let address = listener.local_addr()?;
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to, counted) = (to.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // Whoever called sees the connection close.
                    let _ = pass(client, &to, &counted).await;
                });
            }
        });
        Ok(Self { address, count, task })
    }

    /// `host:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests for an object or for a part of one, so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for ObjectReads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, to: &str, count: &AtomicU64) -> Result<()> {
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asks = async {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            // Without a body and one after the other: a request for an object comes in one piece.
            let reads = memmem::find_iter(&buffer[..read], b"GET /").count();
            count.fetch_add(reads as u64, Ordering::Relaxed);
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    tokio::try_join!(asks, async { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) })?;
    Ok(())
}
