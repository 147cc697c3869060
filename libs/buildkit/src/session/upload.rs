//! `moby.upload.v1.Upload`: the context, read from disk while it is sent.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_server::Upload;
use futures_util::{Stream, stream};
use slipway_runtime::lifecycle::Life;
use std::io::Read as _;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// One message; an engine takes less than 4 MiB.
const PIECE_BYTES: u64 = 1 << 20;

/// A file that is sent as often as it is asked for.
pub struct Context {
    life: Life,
    path: PathBuf,
    url_path: String,
    failed: Arc<OnceLock<io::Error>>,
}

impl Context {
    /// Serves this file under `/key`. What cannot be read is told in `failed`.
    pub fn new(life: Life, path: PathBuf, key: String, failed: Arc<OnceLock<io::Error>>) -> Self {
        Self { life, path, url_path: format!("/{key}"), failed }
    }
}

#[async_trait]
impl Upload for Context {
    type PullStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn pull(&self, request: Request<Streaming<BytesMessage>>) -> Result<Response<Self::PullStream>, Status> {
        let asked = request.metadata().get("urlpath").and_then(|path| path.to_str().ok());
        if asked != Some(self.url_path.as_str()) {
            return Err(Status::not_found("this session does not upload that"));
        }
        let failed = Arc::clone(&self.failed);
        let unreadable = move |error: io::Error| {
            let status = Status::internal("the context cannot be read");
            // The first one counts.
            let _ = failed.set(error);
            status
        };
        let (life, path) = (self.life.clone(), self.path.clone());
        let file = blocking(&life, move || std::fs::File::open(path)).await.map_err(&unreadable)?;
        let pieces = stream::try_unfold(Arc::new(file), move |file| {
            let (life, unreadable) = (life.clone(), unreadable.clone());
            async move {
                let reading = Arc::clone(&file);
                let read = blocking(&life, move || {
                    let mut data = Vec::new();
                    (&*reading).take(PIECE_BYTES).read_to_end(&mut data).map(|_| data)
                });
                let data = read.await.map_err(unreadable)?;
                Ok((!data.is_empty()).then_some((BytesMessage { data }, file)))
            }
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

async fn blocking<T: Send + 'static>(
    life: &Life,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    life.blocking("context upload", work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
