//! Object storage behind verbs of the domain: the segments of logs. Only names that are written once and
//! never changed, so that a folder and every S3-like store behave alike. The layout of names lives here
//! and nowhere else.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use slipway_domain::attempt::AttemptRef;
use tracing::debug;
use url::Url;

/// A call that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The URL is of no kind that we know, or its folder cannot be used.
    #[error("blob URL: {0}")]
    BadUrl(String),
    /// There is no such object.
    #[error("object {0} not found")]
    NotFound(String),
    /// The store said no, or nothing.
    #[error("object storage: {0}")]
    Storage(#[from] object_store::Error),
}

/// The result of this library.
pub type Result<T> = std::result::Result<T, BlobError>;

/// Whether an object was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was made and is durable.
    Created,
    /// One of this name exists already and was left as it is.
    AlreadyExists,
}

/// Names one segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentKey {
    /// Whose log.
    pub attempt: AttemptRef,
    /// Offset of its first byte.
    pub start: i64,
}

/// One object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Opens a store by URL: `file:///folder`, which is made if it is not there.
    pub fn from_url(url: &str) -> Result<Self> {
        let parsed = Url::parse(url).map_err(|error| BlobError::BadUrl(format!("\"{url}\": {error}")))?;
        match parsed.scheme() {
            "file" => {
                let folder = parsed
                    .to_file_path()
                    .map_err(|()| BlobError::BadUrl(format!("\"{url}\" names no folder; write file:///path")))?;
                Self::folder(folder)
            }
            other => Err(BlobError::BadUrl(format!("\"{other}\" is not known here; write file:///path"))),
        }
    }

    fn folder(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)
            .map_err(|error| BlobError::BadUrl(format!("folder {} cannot be made: {error}", folder.display())))?;
        // An acknowledged log byte must survive a power cut.
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Stores a segment, durably, unless one of this name exists.
    pub async fn put_segment(&self, key: SegmentKey, bytes: Bytes) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&segment_path(key), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::AlreadyExists),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a segment.
    pub async fn get_segment(&self, key: SegmentKey) -> Result<Bytes> {
        match self.store.get(&segment_path(key)).await {
            Ok(found) => Ok(found.bytes().await?),
            Err(object_store::Error::NotFound { path, .. }) => Err(BlobError::NotFound(path)),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a segment that no row names; gone already is as good.
    pub async fn delete_segment(&self, key: SegmentKey) -> Result<()> {
        match self.store.delete(&segment_path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all segments of an attempt's log and says how many there were.
    pub async fn delete_log(&self, attempt: AttemptRef) -> Result<u64> {
        let prefix = log_path(attempt);
        let paths: Vec<Path> = self.store.list(Some(&prefix)).map_ok(|object| object.location).try_collect().await?;
        let mut removed = 0;
        let mut results = self.store.delete_stream(futures_util::stream::iter(paths).map(Ok).boxed());
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => removed += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        debug!(%attempt, removed, "log removed from object storage");
        Ok(removed)
    }
}

/// `logs/{shard}/{job}/{epoch}`; the shard spreads jobs, whose ids begin with their time.
fn log_path(attempt: AttemptRef) -> Path {
    let job = attempt.job.to_string();
    let shard = job.get(job.len().saturating_sub(2)..).unwrap_or_default();
    Path::from_iter(["logs", shard, &job, &attempt.epoch.to_string()])
}

fn segment_path(key: SegmentKey) -> Path {
    // Sixteen hexadecimal digits, so that names sort as offsets do.
    log_path(key.attempt).join(format!("{:016x}.zst", key.start))
}

#[cfg(test)]
mod tests {
    use slipway_domain::ids::JobId;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn blobs() -> (Blobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::from_file_path(folder.path().join("not/yet/there")).expect("a URL");
        (Blobs::from_url(url.as_str()).expect("it opens"), folder)
    }

    fn key(epoch: i64, start: i64) -> SegmentKey {
        SegmentKey { attempt: AttemptRef { job: JobId::from(uuid::Uuid::from_u128(0xab)), epoch }, start }
    }

    #[test]
    fn the_layout_of_names_stays() {
        let path = segment_path(key(2, 255)).to_string();
        assert_eq!(path, "logs/ab/00000000-0000-0000-0000-0000000000ab/2/00000000000000ff.zst");
    }

    #[test]
    fn unknown_urls_are_refused_with_what_to_write() {
        for url in ["s3+x://bucket", "nonsense", "file://host/x"] {
            let error = Blobs::from_url(url).expect_err("refused").to_string();
            assert!(error.starts_with("blob URL"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_segment_is_written_once() {
        let (blobs, _folder) = blobs();
        let first = Bytes::from_static(b"first");
        assert_eq!(blobs.put_segment(key(1, 0), first.clone()).await.expect("put"), Put::Created);
        let second = blobs.put_segment(key(1, 0), Bytes::from_static(b"second")).await.expect("put");
        assert_eq!(second, Put::AlreadyExists);
        assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), first);
        assert!(matches!(blobs.get_segment(key(1, 5)).await, Err(BlobError::NotFound(_))));
    }

    #[tokio::test]
    async fn of_many_writers_one_wins() {
        let (blobs, _folder) = blobs();
        let puts = (0..16u8).map(|writer| blobs.put_segment(key(1, 0), Bytes::from(vec![writer; 1000])));
        let results = futures_util::future::try_join_all(puts).await.expect("put");
        assert_eq!(results.iter().filter(|put| **put == Put::Created).count(), 1);
        let winner = results.iter().position(|put| *put == Put::Created).expect("one");
        assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), vec![winner as u8; 1000]);
    }

    #[tokio::test]
    async fn a_deleted_log_is_gone_and_its_neighbour_stays() {
        let (blobs, folder) = blobs();
        let other = SegmentKey { attempt: AttemptRef { job: new_id(), epoch: 1 }, start: 0 };
        for key in [key(1, 0), key(1, 10), key(11, 0), other] {
            blobs.put_segment(key, Bytes::from_static(b"x")).await.expect("put");
        }
        assert_eq!(blobs.delete_log(key(1, 0).attempt).await.expect("delete"), 2);
        assert_eq!(blobs.delete_log(key(1, 0).attempt).await.expect("delete again"), 0);
        assert!(matches!(blobs.get_segment(key(1, 10)).await, Err(BlobError::NotFound(_))));
        assert!(blobs.get_segment(key(11, 0)).await.is_ok());
        assert!(blobs.get_segment(other).await.is_ok());
        blobs.delete_segment(other).await.expect("delete");
        blobs.delete_segment(other).await.expect("delete again");
        drop(folder);
    }
}
