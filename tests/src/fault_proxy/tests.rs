//! Each mode against a server that answers every byte with itself.

use std::io::ErrorKind;
use std::time::Instant;

use super::*;
use crate::wait::eventually;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every byte with itself until it reads an end; counts what it read.
struct Echo {
    address: String,
    read: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let read = Arc::new(AtomicU64::default());
        let count = Arc::clone(&read);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                connections.spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        count.fetch_add(read as u64, Ordering::AcqRel);
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, read, task }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn site() -> (Echo, FaultProxy) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(&echo.address).await.unwrap();
    (echo, proxy)
}

async fn connected(proxy: &FaultProxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    exchange(&mut stream, b"hello").await;
    stream
}

async fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    let both = async {
        stream.write_all(bytes).await.unwrap();
        stream.read_exact(&mut back).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, both).await.expect("an answer");
    assert_eq!(back, bytes);
}

/// How reading ends.
async fn end(stream: &mut TcpStream) -> std::io::Result<usize> {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end")
}

async fn reset(stream: &mut TcpStream) {
    assert_eq!(end(stream).await.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

async fn until(proxy: &FaultProxy, what: &str, wanted: impl Fn(Counts) -> bool) {
    let waited = eventually(what, PATIENCE, || async { Ok(wanted(proxy.counts()).then_some(())) });
    waited.await.unwrap_or_else(|error| panic!("{error}: {:?}", proxy.counts()));
}

#[tokio::test]
async fn everything_passes_and_is_counted() {
    let (_echo, proxy) = site().await;
    let mut stream = connected(&proxy).await;
    let large: Vec<u8> = (0..100_000).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; large.len()];
    let (wrote, got) = tokio::join!(write.write_all(&large), read.read_exact(&mut back));
    assert!(wrote.is_ok() && got.is_ok() && back == large);
    let second = connected(&proxy).await;
    assert_eq!((proxy.counts().accepted, proxy.counts().open), (2, 2));
    stream.shutdown().await.unwrap();
    assert_eq!(end(&mut stream).await.unwrap(), 0, "an end passes as an end");
    drop(second);
    until(&proxy, "both to end", |counts| counts.open == 0).await;
    assert_eq!((proxy.counts().cut, proxy.counts().passed_bytes), (0, 2 * (100_000 + 2 * 5)));
}

#[tokio::test]
async fn new_connections_are_refused_and_old_ones_go_on() {
    let (_echo, proxy) = site().await;
    let mut old = connected(&proxy).await;
    proxy.set(Mode::Refuse);
    let refused = eventually("a refusal", PATIENCE, || async {
        let error = TcpStream::connect(proxy.address()).await.err();
        Ok(error.filter(|error| error.kind() == ErrorKind::ConnectionRefused))
    });
    refused.await.unwrap();
    exchange(&mut old, b"still").await;
    proxy.set(Mode::Pass);
    let back = eventually("a connection", PATIENCE, || async { Ok(TcpStream::connect(proxy.address()).await.ok()) });
    exchange(&mut back.await.unwrap(), b"again").await;
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_nothing_later() {
    let (_echo, proxy) = site().await;
    let (mut one, mut two) = (connected(&proxy).await, connected(&proxy).await);
    proxy.cut_all();
    reset(&mut one).await;
    reset(&mut two).await;
    until(&proxy, "both to be gone", |counts| (counts.open, counts.cut) == (0, 2)).await;
    connected(&proxy).await;
}

#[tokio::test]
async fn half_open_swallows_both_ways_and_tells_nobody() {
    let (echo, proxy) = site().await;
    let (mut talks, mut ends, mut quiet) = (connected(&proxy).await, connected(&proxy).await, connected(&proxy).await);
    let before = echo.read.load(Ordering::Acquire);
    proxy.set(Mode::HalfOpen);
    talks.write_all(b"nobody hears this").await.unwrap();
    ends.shutdown().await.unwrap();
    until(&proxy, "the bytes to be swallowed", |counts| counts.swallowed_bytes == 17).await;
    assert_eq!((proxy.counts().open, echo.read.load(Ordering::Acquire)), (3, before));
    proxy.set(Mode::Pass);
    reset(&mut talks).await;
    exchange(&mut quiet, b"nothing of mine was lost").await;
}

#[tokio::test]
async fn one_way_drops_only_that_way() {
    let (echo, proxy) = site().await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mode::Drop(Direction::ToClient));
    stream.write_all(b"heard").await.unwrap();
    until(&proxy, "the answer to be swallowed", |counts| counts.swallowed_bytes == 5).await;
    assert_eq!(echo.read.load(Ordering::Acquire), 10);
    proxy.set(Mode::Pass);
    reset(&mut stream).await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mode::Drop(Direction::ToServer));
    stream.write_all(b"unheard").await.unwrap();
    until(&proxy, "the question to be swallowed", |counts| counts.swallowed_bytes == 12).await;
    assert_eq!(echo.read.load(Ordering::Acquire), 15);
}

#[tokio::test]
async fn slow_takes_its_time_and_a_change_is_felt_at_once() {
    let (_echo, proxy) = site().await;
    let mut stream = connected(&proxy).await;
    let latency = Duration::from_millis(40);
    proxy.set(Mode::Slow { latency, bytes_per_sec: None });
    let began = Instant::now();
    exchange(&mut stream, b"late").await;
    assert!(began.elapsed() >= 2 * latency, "{:?}", began.elapsed());
    proxy.set(Mode::Slow { latency: Duration::ZERO, bytes_per_sec: Some(2000) });
    let began = Instant::now();
    exchange(&mut stream, &[7; 400]).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    proxy.set(Mode::Slow { latency: Duration::from_secs(3600), bytes_per_sec: None });
    stream.write_all(b"for ever").await.unwrap();
    proxy.set(Mode::Pass);
    let mut back = [0; 8];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an answer").unwrap();
    assert_eq!(&back, b"for ever");
}

#[tokio::test]
async fn a_server_that_is_not_there_resets() {
    let free = crate::env::host::free_port().unwrap();
    let proxy = FaultProxy::start(&format!("127.0.0.1:{free}")).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    reset(&mut stream).await;
}
