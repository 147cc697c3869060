//! A buildkitd alone, which no distribution has: a stand-in that speaks its protocol, by a socket and by TLS with
//! certificates on both sides, and gives errors as newer releases do. What it is told through the session it says
//! in its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse, InfoRequest,
    InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest, SolveResponse, StatusRequest,
    UpdateBuildHistoryRequest, UpdateBuildHistoryResponse, UsageRecord, VertexLog,
};
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::server::conn::http2 as server;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost::Message as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use slipway_domain::agent::{Login, RegistryLogin};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::io::ReaderStream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::*;
use crate::call::Calls;
use crate::endpoint::Tls;
use crate::error::Source;
use crate::socket::{Hangup, dial};

type Answer<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The stand-in. Cheap to clone.
#[derive(Clone)]
struct Daemon {
    life: Life,
    /// A connection that is never used: calls need a socket to hang up.
    anywhere: Address,
    sessions: Arc<Mutex<HashMap<String, Arc<Calls>>>>,
}

impl Daemon {
    async fn serve(self, wire: Box<dyn crate::socket::Wire>) {
        let routes = Routes::new(ControlServer::new(self)).prepare();
        let serving = server::Builder::new(TokioExecutor::new());
        let _ = serving.serve_connection(TokioIo::new(wire), TowerToHyperService::new(routes)).await;
    }

    async fn hangup(&self) -> Hangup {
        dial(&self.anywhere).await.expect("connected").1
    }

    fn session(&self, id: &str) -> Arc<Calls> {
        Arc::clone(&self.sessions.lock().expect("whole")[id])
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("a stand-in"))
}

/// An error as `solver/errdefs` makes it.
fn rejected() -> Status {
    let value = r#"{"info":{"filename":"Dockerfile"},"ranges":[{"start":{"line":7},"end":{"line":9}}]}"#;
    let type_url = "github.com/moby/buildkit/errdefs.Source+json".to_owned();
    let source = Any { type_url, value: value.as_bytes().to_vec() };
    let details = rpc::Status { code: 2, message: String::new(), details: vec![source] };
    Status::with_details(Code::Unknown, "process did not complete: exit code: 9", details.encode_to_vec().into())
}

#[async_trait]
impl Control for Daemon {
    type PruneStream = Answer<UsageRecord>;
    type StatusStream = Answer<StatusResponse>;
    type SessionStream = Answer<BytesMessage>;
    type ListenBuildHistoryStream = Answer<BuildHistoryEvent>;

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let asked = request.into_inner();
        let exports = asked.cache.iter().flat_map(|cache| &cache.exports);
        if exports.clone().any(|export| export.r#type == "registry" && !export.attrs.contains_key("ref")) {
            return Err(Status::unknown("failed to configure registry cache exporter: missing ref"));
        }
        if asked.frontend_attrs.contains_key("target") {
            return Err(rejected());
        }
        let calls = self.session(&asked.session);
        let (channel, origin) = (calls.channel(), http::Uri::from_static("http://session"));
        let mut question = Request::new(stream::empty());
        let path = asked.frontend_attrs["context"].replace("http://buildkit-session", "");
        question.metadata_mut().insert("urlpath", path.parse().expect("a path"));
        let pulled = UploadClient::with_origin(channel.clone(), origin.clone()).pull(question).await?.into_inner();
        let context: usize =
            pulled.map(|piece| piece.map_or(0, |piece| piece.data.len())).collect::<Vec<_>>().await.iter().sum();
        let secret = GetSecretRequest { id: "s".to_owned(), ..GetSecretRequest::default() };
        let secret = SecretsClient::with_origin(channel.clone(), origin.clone()).get_secret(secret).await?.into_inner();
        let host = CredentialsRequest { host: "r.example".to_owned() };
        let login = AuthClient::with_origin(channel, origin).credentials(host).await?.into_inner();
        let told = [
            ("context", context.to_string()),
            ("secret", String::from_utf8(secret.data).expect("text")),
            ("login", format!("{}:{}", login.username, login.secret)),
        ];
        let exporter_response = told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Response::new(SolveResponse { exporter_response }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let log = VertexLog { vertex: "v".to_owned(), msg: b"hello".to_vec(), ..VertexLog::default() };
        let status = StatusResponse { logs: vec![log], ..StatusResponse::default() };
        Ok(Response::new(Box::pin(stream::iter([Ok(status)]))))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let word = |name: &str| request.metadata().get(name).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let id = word("x-docker-expose-session-uuid").ok_or_else(|| Status::invalid_argument("no id"))?;
        assert!(request.metadata().get_all("x-docker-expose-session-grpc-method").iter().count() > 3);
        let (near, far) = tokio::io::duplex(1 << 16);
        let (from_us, mut to_us) = tokio::io::split(far);
        let mut incoming = request.into_inner();
        let (daemon, life) = (self.clone(), self.life.clone());
        let pump = life.task("stand-in", async move {
            while let Ok(Some(message)) = incoming.message().await {
                to_us.write_all(&message.data).await.expect("taken");
            }
        });
        let hangup = self.hangup().await;
        let opened = life.task("stand-in", async move {
            let calls = Calls::open(&daemon.life, TokioIo::new(near), hangup, 1 << 16).await.expect("a session");
            daemon.sessions.lock().expect("whole").insert(id, Arc::new(calls));
        });
        let pieces = ReaderStream::new(from_us).map(move |piece| {
            // Both live as long as the answer does.
            let _ = (&pump, &opened);
            Ok(BytesMessage { data: piece.expect("bytes").to_vec() })
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn disk_usage(&self, _: Request<DiskUsageRequest>) -> Result<Response<DiskUsageResponse>, Status> {
        absent()
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        absent()
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersResponse>, Status> {
        absent()
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        absent()
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        absent()
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        absent()
    }
}

async fn build(life: &Life, endpoint: Endpoint, target: Option<&str>) -> (Result<Solved, SolveError>, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let context = folder.path().join("context.tar");
    std::fs::write(&context, vec![1; 3_000_000]).expect("written");
    let login = Login { user: "me".to_owned(), password: "pw".to_owned() };
    let request = Solve {
        secrets: [("s".to_owned(), Bytes::from_static(b"value"))].into(),
        logins: vec![RegistryLogin { host: "r.example".to_owned(), login }],
        target: target.map(str::to_owned),
        ..Solve::new(context, folder.path().to_owned(), Export::Nothing)
    };
    let (reader, mut messages) = mpsc::channel::<StatusResponse>(4);
    let (buildkit, cancel) = (BuildKit::new(life.clone(), endpoint), CancellationToken::new());
    let listen = async {
        let mut bytes = 0;
        while let Some(message) = messages.recv().await {
            bytes += message.logs.iter().map(|log| log.msg.len()).sum::<usize>();
        }
        bytes
    };
    let building = tokio::time::timeout(PATIENCE, buildkit.solve(request, reader, &cancel));
    let (result, bytes) = tokio::join!(building, listen);
    (result.expect("in time"), bytes)
}

fn told(result: &Result<Solved, SolveError>) -> Vec<&str> {
    let exported = &result.as_ref().expect("built").exported;
    ["context", "secret", "login"].iter().map(|name| exported[*name].as_str()).collect()
}

#[tokio::test]
async fn a_daemon_alone_is_built_with_over_its_socket() {
    let (life, folder) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let address = Address::Unix(folder.path().join("buildkitd.sock"));
    let Address::Unix(path) = &address else { unreachable!() };
    let listener = UnixListener::bind(path).expect("a socket");
    let daemon = Daemon { life: life.clone(), anywhere: address.clone(), sessions: Arc::default() };
    let _serving = life.task("stand-in", async move {
        let life = daemon.life.clone();
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(life.task("stand-in", daemon.clone().serve(Box::new(stream))));
        }
    });
    let endpoint = Endpoint::Buildkitd { address, tls: None };
    let keeps = BuildKit::new(life.clone(), endpoint.clone()).keeps_caches(PATIENCE).await;
    assert!(keeps.expect("an answer"), "newer releases do");
    let (built, bytes) = build(&life, endpoint.clone(), None).await;
    assert_eq!((told(&built), bytes), (vec!["3000000", "value", "me:pw"], 5));
    let (failed, _) = build(&life, endpoint, Some("x")).await;
    let Err(SolveError::Said(said)) = failed else { panic!("{failed:?}") };
    assert_eq!(said.sources, [Source { file: "Dockerfile".to_owned(), lines: vec![(7, 9)] }]);
    assert!(said.message.ends_with("exit code: 9") && !said.session_lost, "{said:?}");
}

/// A certificate that signs itself, with its key.
fn certificate(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate")
}

fn key(of: &rcgen::CertifiedKey<rcgen::KeyPair>) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(of.signing_key.serialize_der()).into()
}

fn trusting(other: &rcgen::CertifiedKey<rcgen::KeyPair>) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(other.cert.der().clone()).expect("a certificate");
    roots
}

#[tokio::test]
async fn a_daemon_alone_is_built_with_over_tls_by_who_has_a_certificate() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (theirs, ours, life) = (certificate("buildkitd.example"), certificate("slipway.example"), Life::new());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(trusting(&ours).into(), provider.clone());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_client_cert_verifier(verifier.build().expect("a verifier"));
    let mut server = server.with_single_cert(vec![theirs.cert.der().clone()], key(&theirs)).expect("a server");
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = Address::Tcp(listener.local_addr().expect("an address").to_string());
    let daemon = Daemon { life: life.clone(), anywhere: address.clone(), sessions: Arc::default() };
    let _serving = life.task("stand-in", async move {
        let life = daemon.life.clone();
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, daemon) = (acceptor.clone(), daemon.clone());
            open.push(life.task("stand-in", async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    daemon.serve(Box::new(stream)).await;
                }
            }));
        }
    });
    let client = || {
        let client =
            rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        client.expect("versions").with_root_certificates(trusting(&theirs))
    };
    let name = ServerName::try_from("buildkitd.example").expect("a name");
    let known = client().with_client_auth_cert(vec![ours.cert.der().clone()], key(&ours)).expect("a client");
    let tls = Some(Tls::new(known, name.clone()));
    let (built, _) = build(&life, Endpoint::Buildkitd { address: address.clone(), tls }, None).await;
    assert_eq!(told(&built), ["3000000", "value", "me:pw"]);
    let tls = Some(Tls::new(client().with_no_client_auth(), name));
    let (refused, _) = build(&life, Endpoint::Buildkitd { address, tls }, None).await;
    assert!(matches!(refused, Err(SolveError::Lost(_))), "{refused:?}");
}
