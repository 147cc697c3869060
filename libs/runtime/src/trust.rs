//! Which certificate authorities are believed: the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where else they
//! lie), and those of `SLIPWAY_CA_FILE` beside them, for forges, registries and agent listeners of a private authority.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Characters of one line of PEM.
const PEM_LINE: usize = 64;

/// The authorities beside the system's. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    own: Arc<[CertificateDer<'static>]>,
}

/// Why a file of authorities cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCaFile {
    /// It is not there, or not for us.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// There is no certificate in it.
    #[error("{path} holds no certificate; write one or more in PEM, each from -----BEGIN CERTIFICATE----- on")]
    Empty {
        /// The file.
        path: String,
    },
    /// One of its certificates is none.
    #[error("{path}: certificate {number} does not read: {reason}")]
    Broken {
        /// The file.
        path: String,
        /// Which of them, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
}

/// No TLS connection can be made with what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no TLS: {0}")]
pub struct NoTls(String);

impl Trust {
    /// The authorities in a file, in PEM.
    pub fn read(path: &Path) -> Result<Self, BadCaFile> {
        let shown = path.display().to_string();
        let pem = std::fs::read(path)
            .map_err(|error| BadCaFile::Unreadable { path: shown.clone(), reason: error.to_string() })?;
        let mut own = Vec::new();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
            let broken = |reason| BadCaFile::Broken { path: shown.clone(), number, reason };
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            RootCertStore::empty().add(certificate.clone()).map_err(|error| broken(error.to_string()))?;
            own.push(certificate);
        }
        if own.is_empty() { Err(BadCaFile::Empty { path: shown }) } else { Ok(Self { own: own.into() }) }
    }

    /// An HTTP client that believes them; the system's it believes anyway.
    pub fn client(&self, builder: reqwest::ClientBuilder) -> reqwest::Result<reqwest::ClientBuilder> {
        let own: reqwest::Result<Vec<_>> = self.own.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
        let own = own?;
        Ok(if own.is_empty() { builder } else { builder.tls_certs_merge(own) })
    }

    /// TLS for connections that are no HTTP client's. Reads the system's authorities: keep it.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, NoTls> {
        let mut roots = RootCertStore::empty();
        // The system's are many, and old ones among them may be of a form that nobody takes any more.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in self.own.iter() {
            roots.add(certificate.clone()).map_err(|error| NoTls(error.to_string()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoTls(error.to_string()))?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }

    /// The system's and these in PEM, for programs that take one file; `None` where the system's are all.
    pub fn bundle(&self) -> Option<String> {
        if self.own.is_empty() {
            return None;
        }
        let system = rustls_native_certs::load_native_certs().certs;
        Some(system.iter().chain(self.own.iter()).map(|der| pem(der)).collect())
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = vec!["-----BEGIN CERTIFICATE-----"];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(PEM_LINE));
        lines.push(line);
        rest = more;
    }
    lines.push("-----END CERTIFICATE-----\n");
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::egress::Egress;
    use crate::lifecycle::{Life, Task};

    /// A private authority, in a file, and a server that it vouches for.
    struct Private {
        folder: std::path::PathBuf,
        port: u16,
        _server: Task<()>,
    }

    impl Private {
        async fn start(name: &str) -> Self {
            let mut authority = CertificateParams::new(Vec::new()).expect("no names");
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            let pem = authority.self_signed(&key).expect("signed").pem();
            let folder = std::env::temp_dir().join(format!("slipway-trust-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("ca.pem"), pem).expect("a file");
            let own_key = KeyPair::generate().expect("a key");
            let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            let own = own.signed_by(&own_key, &Issuer::new(authority, key)).expect("signed");
            let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS")
                .with_no_client_auth()
                .with_single_cert(vec![own.der().clone()], PrivateKeyDer::Pkcs8(own_key.serialize_der().into()))
                .expect("they fit");
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let server = Life::new().task("server", async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                    let _ = stream.shutdown().await;
                }
            });
            Self { folder, port, _server: server }
        }

        fn trust(&self) -> Trust {
            Trust::read(&self.folder.join("ca.pem")).expect("an authority")
        }
    }

    impl Drop for Private {
        fn drop(&mut self) {
            // What stays of a test in a temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[tokio::test]
    async fn a_private_authority_is_believed_where_it_is_named_and_only_there() {
        let private = Private::start("believed").await;
        let url = format!("https://localhost:{}/", private.port).parse().expect("a URL");
        let egress = Egress::new("localhost".parse().expect("a name"));
        let stranger = egress.open(&url).await.expect("a client").get(url.clone()).send().await;
        assert!(stranger.is_err_and(|error| error.is_connect()), "nobody vouches for it");
        let client = egress.trusting(private.trust()).open(&url).await.expect("a client");
        assert_eq!(client.get(url).send().await.expect("an answer").status(), StatusCode::NO_CONTENT);

        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        for (trust, believed) in [(Trust::default(), false), (private.trust(), true)] {
            let socket = tokio::net::TcpStream::connect(("127.0.0.1", private.port)).await.expect("it listens");
            let connector = TlsConnector::from(trust.tls().expect("TLS"));
            assert_eq!(connector.connect(name.clone(), socket).await.is_ok(), believed);
        }
    }

    #[tokio::test]
    async fn a_bundle_holds_the_systems_authorities_and_ours() {
        let private = Private::start("bundle").await;
        assert_eq!(Trust::default().bundle(), None);
        let file = private.folder.join("bundle.pem");
        std::fs::write(&file, private.trust().bundle().expect("some")).expect("written");
        let all = Trust::read(&file).expect("it reads back").own;
        assert_eq!(all.last(), private.trust().own.first());
        assert_eq!(all.len(), rustls_native_certs::load_native_certs().certs.len() + 1);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_says_why() {
        let private = Private::start("broken").await;
        let whole = std::fs::read_to_string(private.folder.join("ca.pem")).expect("written");
        let told = |text: &str| {
            let file = private.folder.join("other.pem");
            std::fs::write(&file, text).expect("written");
            Trust::read(&file).expect_err(text).to_string()
        };
        for empty in ["", "\n", "# a comment only\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            assert!(told(empty).contains("holds no certificate"), "{empty:?}: {}", told(empty));
        }
        let second = format!("{whole}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(told(&second).contains("certificate 2 does not read"), "{}", told(&second));
        let missing = Trust::read(Path::new("/nowhere/ca.pem")).expect_err("missing").to_string();
        assert!(missing.contains("/nowhere/ca.pem cannot be read"), "{missing}");
    }
}
