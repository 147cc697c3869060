//! A server whose certificate nobody vouches for but its own file, as private authorities are.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use slipway_runtime::lifecycle::{Life, Task};
use slipway_runtime::trust::Trust;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::engine;
use super::fake::Fake;

/// TLS in front of a server on this machine; ends when it is dropped.
pub struct Front {
    /// It is reached as `localhost`.
    pub port: u16,
    /// Who believes it.
    pub trust: Trust,
    _task: Task<()>,
}

impl Front {
    pub async fn of(address: String) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), cert.pem()).expect("written");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
            .expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let life = Life::new();
        let task = life.clone().task("front", async move {
            let mut passing = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                passing.push(life.task("passing", async move {
                    // Whoever does not believe us hangs up.
                    let Ok(mut outside) = acceptor.accept(socket).await else { return };
                    let mut inside = TcpStream::connect(address).await.expect("it listens");
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }));
            }
        });
        Self { port, trust: Trust::read(file.path()).expect("an authority"), _task: task }
    }
}

#[tokio::test]
async fn a_builder_joins_a_control_plane_of_a_private_authority() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let front = Front::of(fake.host().to_owned()).await;
    let mut config = fake.config(dir.path(), &socket);
    config.server_url = format!("https://localhost:{}/", front.port).parse().expect("a URL");
    config.trust = front.trust.clone();
    let builder = crate::agent::run(config, slipway_runtime::clock::Clock::system(), life.clone());
    let _builder = life.task("builder", builder);
    fake.until("a heartbeat over the channel", |told| told.beats.iter().any(|beat| beat.free == 1)).await;
}
