//! Many viewers of logs in one process: each follows a log over a connection of its own and notes when which byte was
//! told. They read only the ids of the events, because they share the machine with what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use slipway_domain::attempt::AttemptRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BUFFER_BYTES: usize = 4 * 1024;
const ANSWER: Duration = Duration::from_secs(30);

/// When the chunks of a log were written; all of one length, so that an offset tells which.
pub struct Sent {
    began: Instant,
    chunk_bytes: u64,
    nanos: Vec<AtomicU64>,
}

/// Where logs are followed.
#[derive(Debug, Clone)]
pub struct Place {
    /// `host:port`.
    pub address: String,
    /// Who asks.
    pub token: String,
    /// Whether only the end of the log is told.
    pub bell: bool,
}

/// One that is connected.
pub struct Viewer {
    stream: TcpStream,
    /// What stands before an offset.
    marker: Vec<u8>,
}

impl Sent {
    /// None yet of so many.
    pub fn new(count: usize, chunk_bytes: usize) -> Self {
        let nanos = (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { began: Instant::now(), chunk_bytes: chunk_bytes as u64, nanos }
    }

    /// The chunk with this number is written now.
    pub fn sends(&self, number: usize) {
        self.nanos[number].store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Viewer {
    /// Connects, and waits for the head of the answer.
    pub async fn connect(place: &Place, attempt: AttemptRef) -> Result<Self> {
        let mut stream = TcpStream::connect(&place.address).await.context("connecting a viewer")?;
        let AttemptRef { job, epoch } = attempt;
        let query = if place.bell { "?bell=1" } else { "" };
        let request = format!(
            "GET /api/v1/jobs/{job}/log/stream{query} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\naccept: \
             text/event-stream\r\n\r\n",
            place.token
        );
        stream.write_all(request.as_bytes()).await?;
        let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
        while memmem::find(&head, b"retry: ").is_none() {
            let read = tokio::time::timeout(ANSWER, stream.read(&mut buffer)).await.context("a viewer waits")??;
            ensure!(read > 0, "a viewer was answered {}", String::from_utf8_lossy(&head));
            head.extend_from_slice(&buffer[..read]);
        }
        ensure!(head.starts_with(b"HTTP/1.1 200"), "a viewer was answered {}", String::from_utf8_lossy(&head));
        Ok(Self { stream, marker: format!("id: {epoch}:").into_bytes() })
    }

    /// Seconds from each chunk's sending to its event here, until all came or nothing did for so long.
    pub async fn watch(mut self, sent: Arc<Sent>, patience: Duration) -> Vec<f64> {
        let finder = memmem::Finder::new(&self.marker);
        let mut lags = Vec::with_capacity(sent.nanos.len());
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut kept = 0;
        while lags.len() < sent.nanos.len() {
            let read = tokio::time::timeout(patience, self.stream.read(&mut buffer[kept..])).await;
            let Ok(Ok(read @ 1..)) = read else { break };
            let now = sent.now();
            let filled = kept + read;
            let mut seen = 0;
            // Of a marker that may have come in half.
            kept = filled.min(self.marker.len());
            for place in finder.find_iter(&buffer[..filled]) {
                let digits = &buffer[place + self.marker.len()..filled];
                match digits.iter().position(|byte| *byte == b'\n') {
                    Some(length) => seen = number(&digits[..length]) / sent.chunk_bytes,
                    // The next read brings the rest.
                    None => kept = filled - place,
                }
            }
            for nanos in sent.nanos.iter().take(usize::try_from(seen).unwrap_or(0)).skip(lags.len()) {
                lags.push(now.saturating_sub(nanos.load(Ordering::Relaxed)) as f64 / 1e9);
            }
            buffer.copy_within(filled - kept..filled, 0);
        }
        lags
    }
}

/// A number in decimal digits; 0 if it is none.
fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
