//! Sessions: connections on which a client serves what its builds need. Only the context is ever asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use futures_util::stream;
use http::Uri;
use hyper::client::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::{Request, Status};

/// Largest context.
const MAX_CONTEXT_BYTES: usize = 256 << 20;

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<String, http2::SendRequest<Body>>>>);

impl Sessions {
    /// Keeps a session under its id until its client lets go.
    pub async fn hold(&self, id: String, connection: Upgraded) {
        let Ok((sender, connection)) = http2::handshake(TokioExecutor::new(), connection).await else { return };
        self.lock().insert(id.clone(), sender);
        let _ = connection.await;
        self.lock().remove(&id);
    }

    /// What a session uploads under this URL.
    pub async fn upload(&self, id: &str, url: &str) -> Result<Vec<u8>, Status> {
        let sender = self.lock().get(id).cloned();
        let lost = || Status::unknown(format!("no active session for {id}: context deadline exceeded"));
        let sender = sender.ok_or_else(lost)?;
        let call = tower::service_fn(move |request| sender.clone().send_request(request));
        let mut client = UploadClient::with_origin(call, Uri::from_static("http://session"));
        let mut question = Request::new(stream::empty::<BytesMessage>());
        let path = url.strip_prefix("http://buildkit-session").unwrap_or(url);
        let path = path.parse().map_err(|_| Status::unknown("the context has no URL"))?;
        question.metadata_mut().insert("urlpath", path);
        let mut answer = client.pull(question).await?.into_inner();
        let mut context = Vec::new();
        while let Some(piece) = answer.message().await? {
            context.extend_from_slice(&piece.data);
            if context.len() > MAX_CONTEXT_BYTES {
                return Err(Status::unknown("the context is too large"));
            }
        }
        Ok(context)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, http2::SendRequest<Body>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
