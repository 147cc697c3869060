//! The session of a build: a connection on which the engine calls us. On it stand the health service, without
//! which engines end it after a second, and what a build needs from us: context, secrets, logins.

mod auth;
pub mod definition;
mod health;
mod secrets;
mod upload;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::upload::v1::upload_server::UploadServer;
use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper_util::service::TowerToHyperService;
use slipway_domain::agent::RegistryLogin;
use slipway_runtime::lifecycle::{Life, Task};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::call::{CONNECTION_WINDOW_BYTES, Calls, GOODBYE, STREAM_WINDOW_BYTES};
use crate::nest::nest;
use crate::socket::Hangup;
use crate::tokens::Tokens;

/// Everything that an engine may call, as it wants to know it beforehand.
pub const METHODS: [&str; 8] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.upload.v1.Upload/Pull",
    "/moby.filesync.v1.FileSync/DiffCopy",
];

/// What is served to one build.
pub struct Served {
    /// The context.
    pub context: PathBuf,
    /// The path under which it is asked for.
    pub key: String,
    /// The Dockerfile and where it lies, unless it is that of the context.
    pub definition: Option<(String, Bytes)>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Bytes>,
    /// Logins by host.
    pub logins: Vec<RegistryLogin>,
    /// Who fetches tokens with them.
    pub tokens: Tokens,
}

/// An open session. When it is dropped, its socket is shut down.
pub struct Session {
    task: Task<()>,
    goodbye: CancellationToken,
    failed: Arc<OnceLock<io::Error>>,
    _keep: Keep,
}

/// What a session's connection lives in, to be ended with it.
pub enum Keep {
    /// A socket of its own.
    Socket(#[expect(dead_code, reason = "kept for its drop")] Hangup),
    /// Calls on another connection.
    Tunnel(#[expect(dead_code, reason = "kept for its drop")] Task<()>, #[expect(dead_code, reason = "as well")] Calls),
}

impl Session {
    /// Serves on a connection whose other side calls.
    pub fn serve<T>(life: &Life, stream: T, keep: Keep, served: Served) -> Self
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let failed = Arc::new(OnceLock::new());
        let routes = routes(life, served, &failed);
        let goodbye = CancellationToken::new();
        let (nest, brood) = nest();
        let mut builder = http2::Builder::new(nest);
        builder.initial_stream_window_size(STREAM_WINDOW_BYTES);
        builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connection = builder.serve_connection(stream, TowerToHyperService::new(routes));
        let asked = goodbye.clone();
        let serving = async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => return,
                () = asked.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        };
        let task = life.task("build session", brood.run(serving));
        Self { task, goodbye, failed, _keep: keep }
    }

    /// True while the engine can call.
    pub fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// What went wrong on this side, if anything did: the engine knows only the consequence.
    pub fn failure(&self) -> Option<io::Error> {
        self.failed.get().map(|error| io::Error::new(error.kind(), error.to_string()))
    }

    /// Ends it as HTTP/2 wants it.
    pub async fn close(self) {
        self.goodbye.cancel();
        let _ = tokio::time::timeout(GOODBYE, self.task.join()).await;
    }
}

fn routes(life: &Life, served: Served, failed: &Arc<OnceLock<io::Error>>) -> Routes {
    let context = upload::Context::new(life.clone(), served.context, served.key, Arc::clone(failed));
    Routes::new(HealthServer::new(health::Healthy))
        .add_service(AuthServer::new(auth::Logins::new(served.logins, served.tokens)))
        .add_service(SecretsServer::new(secrets::Values::new(served.secrets)))
        .add_service(FileSyncServer::new(definition::Definition::new(served.definition)))
        .add_service(UploadServer::new(context))
        .prepare()
}
