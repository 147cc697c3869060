//! Progress that waits for its reader: a little in memory, the rest in a file that has no name, so that it is gone
//! with its owner.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use prost::Message as _;
use slipway_runtime::lifecycle::Life;

/// What waits in memory.
const MEMORY_BYTES: usize = 1 << 20;
/// How much of the file is read at once.
const READ_BYTES: usize = 256 << 10;
/// Each message in the file has its length before it.
const HEAD_BYTES: usize = 4;

/// A queue of messages, first in, first out.
pub struct Backlog {
    life: Life,
    folder: PathBuf,
    max_bytes: u64,
    memory: VecDeque<(StatusResponse, usize)>,
    memory_bytes: usize,
    disk: Option<Disk>,
}

struct Disk {
    file: Arc<File>,
    read_at: u64,
    write_at: u64,
}

impl Backlog {
    /// An empty one, whose file would lie in `folder` and be at most `max_bytes` long.
    pub fn new(life: Life, folder: PathBuf, max_bytes: u64) -> Self {
        Self { life, folder, max_bytes, memory: VecDeque::new(), memory_bytes: 0, disk: None }
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.disk.is_none()
    }

    /// Puts it behind everything else.
    pub async fn push(&mut self, message: StatusResponse) -> io::Result<()> {
        let size = message.encoded_len();
        let fits = self.memory.is_empty() || self.memory_bytes + size <= MEMORY_BYTES;
        if self.disk.is_none() && fits {
            self.remember(message, size);
            return Ok(());
        }
        let head = u32::try_from(size).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(HEAD_BYTES + size);
        frame.extend_from_slice(&head.to_be_bytes());
        message.encode(&mut frame).map_err(io::Error::other)?;
        self.write(frame).await
    }

    /// The oldest message.
    pub async fn pop(&mut self) -> io::Result<Option<StatusResponse>> {
        if self.memory.is_empty() && self.disk.is_some() {
            self.refill().await?;
        }
        Ok(self.memory.pop_front().map(|(message, size)| {
            self.memory_bytes -= size;
            message
        }))
    }

    fn remember(&mut self, message: StatusResponse, size: usize) {
        self.memory_bytes += size;
        self.memory.push_back((message, size));
    }

    async fn write(&mut self, frame: Vec<u8>) -> io::Result<()> {
        let disk = match &mut self.disk {
            Some(disk) => disk,
            empty => {
                let folder = self.folder.clone();
                let file = block(&self.life, move || tempfile::tempfile_in(folder)).await?;
                empty.insert(Disk { file: Arc::new(file), read_at: 0, write_at: 0 })
            }
        };
        let (file, at, end) = (Arc::clone(&disk.file), disk.write_at, disk.write_at + frame.len() as u64);
        if end > self.max_bytes {
            let text = format!("more than {} bytes of progress wait for their reader", self.max_bytes);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        block(&self.life, move || file.write_all_at(&frame, at)).await?;
        disk.write_at = end;
        Ok(())
    }

    /// Takes the file's next messages into memory; lets the file go when it has no more.
    async fn refill(&mut self) -> io::Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let (file, at, end) = (Arc::clone(&disk.file), disk.read_at, disk.write_at);
        let (messages, next) = block(&self.life, move || read_some(&file, at, end)).await?;
        disk.read_at = next;
        if disk.read_at >= disk.write_at {
            self.disk = None;
        }
        for message in messages {
            let size = message.encoded_len();
            self.remember(message, size);
        }
        Ok(())
    }
}

/// At least one whole message from `at` on, and where the next one begins.
fn read_some(file: &File, at: u64, end: u64) -> io::Result<(Vec<StatusResponse>, u64)> {
    let left = usize::try_from(end - at).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(READ_BYTES)];
    file.read_exact_at(&mut bytes, at)?;
    let whole = HEAD_BYTES + head(&bytes).unwrap_or_default();
    if whole > bytes.len() {
        let had = bytes.len();
        bytes.resize(whole.min(left), 0);
        file.read_exact_at(&mut bytes[had..], at + had as u64)?;
    }
    let (mut messages, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(message) = head(rest).and_then(|size| rest.get(HEAD_BYTES..HEAD_BYTES + size)) {
        messages.push(StatusResponse::decode(message).map_err(io::Error::other)?);
        rest = &rest[HEAD_BYTES + message.len()..];
    }
    let read = bytes.len() - rest.len();
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the progress on disk is not what was written"));
    }
    Ok((messages, at + read as u64))
}

fn head(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk::<HEAD_BYTES>().and_then(|head| usize::try_from(u32::from_be_bytes(*head)).ok())
}

async fn block<T: Send + 'static>(life: &Life, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    life.blocking("build progress", work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::VertexLog;
    use proptest::prelude::*;

    use super::*;

    fn message(number: usize, size: usize) -> StatusResponse {
        let log = VertexLog { vertex: number.to_string(), msg: vec![b'x'; size], ..VertexLog::default() };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    fn backlog(folder: &tempfile::TempDir, max_bytes: u64) -> Backlog {
        Backlog::new(Life::new(), folder.path().to_owned(), max_bytes)
    }

    #[tokio::test]
    async fn what_is_too_much_for_the_disk_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut backlog = backlog(&folder, 1000);
        backlog.push(message(0, MEMORY_BYTES)).await.expect("one fits in memory");
        backlog.push(message(1, 900)).await.expect("it fits on disk");
        let error = backlog.push(message(2, 200)).await.expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        // The file has no name.
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn order_is_kept_and_nothing_is_lost(
            steps in proptest::collection::vec((any::<bool>(), prop_oneof![0..500_usize, 200_000..1_200_000_usize]), 1..40)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let folder = tempfile::tempdir().expect("a folder");
                let mut backlog = backlog(&folder, u64::MAX);
                let mut expected = VecDeque::new();
                for (number, (push, size)) in steps.into_iter().enumerate() {
                    if push {
                        backlog.push(message(number, size)).await.expect("pushed");
                        expected.push_back(message(number, size));
                    } else {
                        assert_eq!(backlog.pop().await.expect("popped"), expected.pop_front());
                    }
                    assert_eq!(backlog.is_empty(), expected.is_empty());
                    assert!(backlog.memory_bytes <= MEMORY_BYTES + 1_300_000);
                }
                while let Some(message) = expected.pop_front() {
                    assert_eq!(backlog.pop().await.expect("popped"), Some(message));
                }
                assert!(backlog.is_empty() && backlog.disk.is_none() && backlog.memory_bytes == 0);
            });
        }
    }
}
