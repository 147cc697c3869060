//! `moby.buildkit.secrets.v1.Secrets`: the values of secret mounts, from memory.

use std::collections::BTreeMap;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bytes::Bytes;
use tonic::{Request, Response, Status, async_trait};

/// The values by id.
pub struct Values(BTreeMap<String, Bytes>);

impl Values {
    /// Serves these.
    pub fn new(values: BTreeMap<String, Bytes>) -> Self {
        Self(values)
    }
}

#[async_trait]
impl Secrets for Values {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(value) => Ok(Response::new(GetSecretResponse { data: value.to_vec() })),
            None => Err(Status::not_found(format!("secret {id} not found"))),
        }
    }
}
