//! Object storage behind verbs of the domain: the segments of logs, and large bodies of deliveries. Names are written once
//! and never changed, or again with the same bytes, so that a folder and every S3-like store behave alike. The layout of
//! names lives here and nowhere else. Objects are small (a segment is about 1 MiB) and sent whole; only the archive of a log, which holds
//! all its segments, is sent in parts where it is large.

#[cfg(test)]
mod contract;
mod open;
mod place;

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::DeliveryId;
use tracing::debug;

use crate::place::Place;

/// A verb ends within this time, tries and the wait for a free connection included.
const DEADLINE: Duration = Duration::from_secs(25);
/// Removing a log takes a call per thousand objects.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(60);
/// A look at the store's health ends within this time.
const CHECK_DEADLINE: Duration = Duration::from_millis(1500);
/// What is sent at once of an archive, bytes; S3 wants 5 MiB at least.
const PART_BYTES: usize = 8 << 20;
/// Nobody writes it: reading it tells whether the store answers, and costs next to nothing.
const ABSENT: &str = "slipway/absent";
/// Where bodies of deliveries lie.
const BODIES: &str = "deliveries";
/// Written once per bucket, to see that the store refuses to write it twice.
const PROOF: &str = "slipway/created-once";

/// A call that did not do what was asked. Never quotes credentials.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The URL is of no kind that we know, or its folder cannot be used.
    #[error("blob URL: {0}")]
    BadUrl(String),
    /// There is no such object.
    #[error("object {0} not found")]
    NotFound(String),
    /// The store said no, or nothing: which one, what it said, what to look at.
    #[error("object storage: {0}")]
    Storage(String),
}

/// The result of this library.
pub type Result<T> = std::result::Result<T, BlobError>;

/// Whether an object was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was made and is durable.
    Created,
    /// One of this name exists already and was left as it is. It may be our own: a put whose answer was lost
    /// is tried again.
    AlreadyExists,
}

/// Names one segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentKey {
    /// Whose log.
    pub attempt: AttemptRef,
    /// Offset of its first byte.
    pub start: i64,
    /// Whose it is, where one of another attempt of this epoch has the name without.
    pub mark: Option<Mark>,
}

/// Tells attempts apart that a job gave one epoch: a database that was brought back from a backup gives again what it
/// had given since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// By the SHA-256 of the attempt's token, which is random.
    pub fn of(token_hash: &[u8]) -> Self {
        Self(token_hash.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte)))
    }
}

/// One object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    place: Arc<Place>,
}

impl Blobs {
    /// Opens a store by URL, without asking it anything:
    ///
    /// * `file:///folder`, which is made if it is not there;
    /// * `s3://bucket/prefix?endpoint=…&region=…`, credentials from `AWS_ACCESS_KEY_ID` and
    ///   `AWS_SECRET_ACCESS_KEY` or the host's role, further settings from `AWS_*`;
    /// * `gs://bucket/prefix`, settings from `GOOGLE_*`;
    /// * `az://container/prefix?account=…`, settings from `AZURE_*`.
    pub fn from_url(url: &str) -> Result<Self> {
        open::by_url(url, &open::variables())
    }

    /// Whether objects can be read: the store answers, takes our credentials and has the bucket. What is wrong
    /// is told in words for operators.
    pub async fn check(&self) -> Result<()> {
        match self.within(CHECK_DEADLINE, self.store.get(&Path::from(ABSENT))).await {
            Ok(_) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the store refuses to write an object twice, on which logs stand: some S3-like stores ignore the
    /// condition and would let two writers overwrite each other. Writes one tiny object, once per bucket.
    pub async fn prove_write_once(&self) -> Result<()> {
        for _ in 0..2 {
            if self.create(&Path::from(PROOF), Bytes::from_static(b"once")).await? == Put::AlreadyExists {
                return Ok(());
            }
        }
        let place = &self.place;
        Err(BlobError::Storage(format!(
            "{place} overwrites objects although it is asked not to (If-None-Match: *); use a store that knows \
             conditional writes"
        )))
    }

    /// Stores a segment, durably, unless one of this name exists.
    pub async fn put_segment(&self, key: SegmentKey, bytes: Bytes) -> Result<Put> {
        self.create(&segment_path(key), bytes).await
    }

    /// Reads a segment.
    pub async fn get_segment(&self, key: SegmentKey) -> Result<Bytes> {
        let path = segment_path(key);
        self.within(DEADLINE, async { self.store.get(&path).await?.bytes().await }).await
    }

    /// Removes a segment that no row names; gone already is as good.
    pub async fn delete_segment(&self, key: SegmentKey) -> Result<()> {
        match self.within(DEADLINE, self.store.delete(&segment_path(key))).await {
            Ok(()) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores the archive of an attempt's log, durably, in place of one that was there: whoever writes it writes the same
    /// bytes. Nothing is changed where the bytes break off with an error.
    pub async fn put_archive<E: From<BlobError>>(
        &self,
        attempt: AttemptRef,
        mark: Mark,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>>,
    ) -> std::result::Result<(), E> {
        let path = archive_path(attempt, mark);
        let mut bytes = pin!(bytes);
        let mut waiting = BytesMut::new();
        let mut upload: Option<Box<dyn MultipartUpload>> = None;
        let sent = async {
            while let Some(more) = bytes.next().await {
                waiting.extend_from_slice(&more?);
                // Some stores want parts of one size.
                while waiting.len() >= PART_BYTES {
                    let part = waiting.split_to(PART_BYTES).freeze();
                    if upload.is_none() {
                        upload = Some(self.sent(self.store.put_multipart(&path)).await?);
                    }
                    if let Some(upload) = &mut upload {
                        self.sent(upload.put_part(part.into())).await?;
                    }
                }
            }
            let rest = PutPayload::from(waiting.split().freeze());
            match &mut upload {
                None => self.sent(self.store.put(&path, rest)).await?,
                Some(upload) => {
                    if rest.content_length() > 0 {
                        self.sent(upload.put_part(rest)).await?;
                    }
                    self.sent(upload.complete()).await?
                }
            };
            Ok(())
        };
        let sent = sent.await;
        if sent.is_err()
            && let Some(mut upload) = upload
            && let Err(error) = self.within(DEADLINE, upload.abort()).await
        {
            debug!(%attempt, %error, "parts of an archive stay until the store removes them");
        }
        sent
    }

    /// Bytes of an archive; not found where it ends before them.
    pub async fn archive_range(&self, attempt: AttemptRef, mark: Mark, range: Range<u64>) -> Result<Bytes> {
        let (path, end) = (archive_path(attempt, mark), range.end);
        match self.within(DEADLINE, self.store.get_range(&path, range)).await {
            // Stores say so in many ways.
            Err(error @ BlobError::Storage(_)) => match self.within(DEADLINE, self.store.head(&path)).await {
                Ok(there) if there.size < end => Err(BlobError::NotFound(path.to_string())),
                _ => Err(error),
            },
            other => other,
        }
    }

    /// Stores the body of a delivery, durably, under a name that is used once.
    pub async fn put_body(&self, name: DeliveryId, bytes: Bytes) -> Result<()> {
        self.create(&body_path(name), bytes).await.map(drop)
    }

    /// Reads the body of a delivery.
    pub async fn get_body(&self, name: DeliveryId) -> Result<Bytes> {
        let path = body_path(name);
        self.within(DEADLINE, async { self.store.get(&path).await?.bytes().await }).await
    }

    /// Removes the body of a delivery; gone already is as good.
    pub async fn delete_body(&self, name: DeliveryId) -> Result<()> {
        match self.within(DEADLINE, self.store.delete(&body_path(name))).await {
            Ok(()) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Bodies that were stored before `before`, at most `limit`.
    pub async fn old_bodies(&self, before: DateTime<Utc>, limit: usize) -> Result<Vec<DeliveryId>> {
        let prefix = Path::from(BODIES);
        let old = self
            .store
            .list(Some(&prefix))
            .try_filter(|object| std::future::ready(object.last_modified < before))
            .try_filter_map(|object| {
                std::future::ready(Ok(object.location.filename().and_then(|name| name.parse::<DeliveryId>().ok())))
            })
            .take(limit)
            .try_collect();
        self.within(REMOVAL_DEADLINE, old).await
    }

    /// Removes all segments of an attempt's log and says how many there were.
    pub async fn delete_log(&self, attempt: AttemptRef) -> Result<u64> {
        let removed = self.within(REMOVAL_DEADLINE, self.remove_all(&log_path(attempt))).await?;
        debug!(%attempt, removed, "log removed from object storage");
        Ok(removed)
    }

    /// A call of an upload. What the store does not find is the upload, which it ended: with success where the answer was
    /// lost.
    async fn sent<T>(&self, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        self.within(DEADLINE, call).await.map_err(|error| match error {
            BlobError::NotFound(what) => BlobError::Storage(format!("{}: the upload of {what} is gone", self.place)),
            error => error,
        })
    }

    async fn create(&self, path: &Path, bytes: Bytes) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        let put = async {
            match self.store.put_opts(path, PutPayload::from(bytes), options).await {
                Ok(_) => Ok(Put::Created),
                // Of another writer that has not finished: whether it will is not known.
                Err(error) if place::is_conflict(&error) => Err(error),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::AlreadyExists),
                Err(error) => Err(error),
            }
        };
        self.within(DEADLINE, put).await
    }

    async fn remove_all(&self, prefix: &Path) -> object_store::Result<u64> {
        let paths: Vec<Path> = self.store.list(Some(prefix)).map_ok(|object| object.location).try_collect().await?;
        let mut removed = 0;
        let mut results = self.store.delete_stream(futures_util::stream::iter(paths).map(Ok).boxed());
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => removed += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// A call that ends, with its error in words.
    async fn within<T>(&self, deadline: Duration, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.place.explain(&error)),
            Err(_) => Err(BlobError::Storage(format!("{} did not answer within {deadline:?}", self.place))),
        }
    }
}

/// `logs/{shard}/{job}/{epoch}`; the shard spreads jobs, whose ids begin with their time.
fn log_path(attempt: AttemptRef) -> Path {
    let job = attempt.job.to_string();
    let shard = job.get(job.len().saturating_sub(2)..).unwrap_or_default();
    Path::from_iter(["logs", shard, &job, &attempt.epoch.to_string()])
}

fn body_path(name: DeliveryId) -> Path {
    Path::from_iter([BODIES, &name.to_string()])
}

fn segment_path(key: SegmentKey) -> Path {
    // Sixteen hexadecimal digits, so that names sort as offsets do.
    let mark = key.mark.map_or_else(String::new, |Mark(mark)| format!("-{mark:016x}"));
    log_path(key.attempt).join(format!("{:016x}{mark}.zst", key.start))
}

/// Beside the segments, so that it is removed with them.
fn archive_path(attempt: AttemptRef, Mark(mark): Mark) -> Path {
    log_path(attempt).join(format!("archive-{mark:016x}.zst"))
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::JobId;

    use super::*;

    #[test]
    fn the_layout_of_names_stays() {
        let attempt = AttemptRef { job: JobId::from(uuid::Uuid::from_u128(0xab)), epoch: 2 };
        let path = |mark| segment_path(SegmentKey { attempt, start: 255, mark }).to_string();
        let folder = "logs/ab/00000000-0000-0000-0000-0000000000ab/2";
        assert_eq!(path(None), format!("{folder}/00000000000000ff.zst"));
        let hash = [0, 1, 2, 3, 0xff, 5, 6, 7, 8, 9];
        assert_eq!(path(Some(Mark::of(&hash))), format!("{folder}/00000000000000ff-00010203ff050607.zst"));
        let archive = archive_path(attempt, Mark::of(&hash)).to_string();
        assert_eq!(archive, format!("{folder}/archive-00010203ff050607.zst"));
    }
}
