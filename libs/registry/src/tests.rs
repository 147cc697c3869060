//! Against a small registry that checks what it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine as _;
use slipway_runtime::egress::FetchAllow;
use slipway_runtime::lifecycle::{Life, Task};

use super::*;

mod evil;

const IMAGE: &str =
    r#"{"schemaVersion":2,"config":{"digest":"sha256:c","size":10},"layers":[{"size":100},{"size":1000}]}"#;
const TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[derive(Clone, Copy, PartialEq)]
enum Auth {
    None,
    Basic,
    Bearer,
    /// Names a token service inside the network.
    EvilRealm,
}

/// By reference: media type and bytes.
type Manifests = HashMap<String, (String, Vec<u8>)>;

#[derive(Clone)]
struct Fake {
    auth: Auth,
    /// Answers every request for a manifest with this status.
    broken: Option<u16>,
    says_digest: bool,
    manifests: Arc<Mutex<Manifests>>,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Server {
    _life: Life,
    _task: Task<()>,
    port: u16,
    fake: Fake,
}

impl Server {
    async fn start(auth: Auth, change: fn(&mut Fake)) -> Self {
        let mut fake = Fake { auth, broken: None, says_digest: true, manifests: Arc::default(), seen: Arc::default() };
        change(&mut fake);
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(IMAGE)));
        for name in ["b1.1", digest.as_str()] {
            let manifest = (TYPE.to_owned(), IMAGE.as_bytes().to_vec());
            fake.manifests.lock().expect("a lock").insert(name.to_owned(), manifest);
        }
        // What a builder attaches comes first here.
        let attached = r#"{"layers":[{"size":7}]}"#;
        let other = format!("sha256:{}", hex::encode(Sha256::digest(attached)));
        let unknown = format!("{{\"digest\":\"{other}\",\"platform\":{{\"os\":\"unknown\"}}}}");
        fake.manifests.lock().expect("a lock").insert(other, (TYPE.to_owned(), attached.into()));
        let index =
            format!("{{\"manifests\":[{unknown},{{\"digest\":\"{digest}\",\"size\":5}},{{\"digest\":\"{digest}\"}}]}}");
        let oci = "application/vnd.oci.image.index.v1+json; charset=utf-8".to_owned();
        fake.manifests.lock().expect("a lock").insert("index".to_owned(), (oci, index.into_bytes()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let app = axum::Router::new().fallback(answer).with_state((fake.clone(), port));
        let life = Life::new();
        let task = life.task("registry", async move { axum::serve(listener, app).await.expect("it serves") });
        Self { _life: life, _task: task, port, fake }
    }

    async fn registry(&self, login: Option<(&str, &str)>) -> Registry {
        let login = login.map(|(user, password)| Login { user: user.to_owned(), password: password.to_owned() });
        let repository = format!("127.0.0.1:{}/team/app", self.port);
        Registry::connect(&egress("127.0.0.1"), &repository, login.as_ref()).await.expect("connected")
    }

    fn seen(&self) -> Vec<String> {
        self.fake.seen.lock().expect("a lock").clone()
    }
}

fn egress(allow: &str) -> Egress {
    Egress::new(allow.parse::<FetchAllow>().expect("a list"))
}

async fn answer(State((fake, port)): State<(Fake, u16)>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let auth = header("authorization");
    let line = format!("{} {}", parts.method, parts.uri);
    fake.seen.lock().expect("a lock").push(line);
    let response = Response::builder();
    let good_basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("robot:pw"));
    if parts.uri.path() == "/token" {
        let query = parts.uri.query().unwrap_or("");
        assert_eq!(query, "service=reg&scope=repository%3Ateam%2Fapp%3Apull%2Cpush&account=robot");
        let status = if auth == good_basic { 200 } else { 401 };
        return response.status(status).body("{\"access_token\":\"tok\",\"expires_in\":60}".into()).expect("good");
    }
    let ask = match fake.auth {
        Auth::None => None,
        Auth::Basic => (auth != good_basic).then(|| "Basic realm=x".to_owned()),
        Auth::Bearer => (auth != "Bearer tok")
            .then(|| format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"reg\",scope=\"x\"")),
        Auth::EvilRealm => Some("Bearer realm=\"http://10.0.0.1/token\",service=\"reg\"".to_owned()),
    };
    if let Some(ask) = ask {
        return response.status(401).header("www-authenticate", ask).body(Body::empty()).expect("good");
    }
    let Some(reference) = parts.uri.path().strip_prefix("/v2/team/app/manifests/") else {
        return response.status(404).body(Body::empty()).expect("good");
    };
    if let Some(status) = fake.broken {
        return response.status(status).body("{\"errors\":[]}".into()).expect("good");
    }
    let mut manifests = fake.manifests.lock().expect("a lock");
    if parts.method == "PUT" {
        drop(manifests);
        let bytes: Bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let mut manifests = fake.manifests.lock().expect("a lock");
        manifests.insert(reference.to_owned(), (header("content-type"), bytes.to_vec()));
        return response.status(201).body(Body::empty()).expect("good");
    }
    assert!(header("accept").contains("oci.image.index") && header("accept").contains("distribution.manifest.v2"));
    match manifests.get_mut(reference) {
        None => response.status(404).body("{}".into()).expect("good"),
        Some((media_type, bytes)) => {
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(&*bytes)));
            let response = response.header("content-type", media_type.as_str());
            let response = if fake.says_digest { response.header("docker-content-digest", digest) } else { response };
            response.body(Body::from(bytes.clone())).expect("good")
        }
    }
}

#[tokio::test]
async fn a_tag_gets_the_same_bytes_and_digest() {
    for (auth, says_digest) in [(Auth::None, true), (Auth::Basic, true), (Auth::Bearer, true), (Auth::None, false)] {
        let server = match says_digest {
            true => Server::start(auth, |_| {}).await,
            false => Server::start(auth, |fake| fake.says_digest = false).await,
        };
        let registry = server.registry(Some(("robot", "pw"))).await;
        assert_eq!(registry.digest("gone").await, Ok(None));
        let digest = registry.digest("b1.1").await.expect("an answer").expect("a digest");
        let manifest = registry.manifest(&digest).await.expect("a manifest");
        assert_eq!((manifest.digest.as_str(), manifest.media_type.as_str()), (digest.as_str(), TYPE));
        assert_eq!(registry.size_bytes(&manifest).await, Ok(1110));
        let index = registry.manifest("index").await.expect("an index");
        assert_eq!(index.media_type, "application/vnd.oci.image.index.v1+json");
        assert_eq!(registry.size_bytes(&index).await, Ok(2227));
        let layers = registry.layers(&manifest).await.expect("layers");
        assert_eq!(layers.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [100, 1000]);
        assert_eq!(registry.layers(&index).await, Ok(layers), "of what runs");
        let layers = registry.layers(&manifest).await.expect("layers");
        assert_eq!(layers.iter().map(|(_, size)| size).sum::<i64>(), 1100);
        assert_eq!(registry.layers(&index).await, Ok(layers), "of the child that runs");
        registry.put_tag("latest", &manifest, Duration::from_secs(5)).await.expect("put");
        let stored = server.fake.manifests.lock().expect("a lock")["latest"].clone();
        assert_eq!(stored, (TYPE.to_owned(), IMAGE.as_bytes().to_vec()));
        assert_eq!(registry.digest("latest").await, Ok(Some(digest)));
        // The token is fetched once, not for every request.
        let tokens = server.seen().iter().filter(|line| line.contains("/token")).count();
        assert_eq!(tokens, usize::from(auth == Auth::Bearer));
    }
}

#[tokio::test]
async fn refusals_have_their_classes() {
    use FailureClass::*;
    for (auth, login, class) in [
        (Auth::Basic, Some(("robot", "wrong-canary")), RegistryAuth),
        (Auth::Basic, None, RegistryAuth),
        (Auth::Bearer, Some(("robot", "wrong-canary")), RegistryAuth),
        (Auth::EvilRealm, Some(("robot", "canary")), RegistryForbidden),
    ] {
        let server = Server::start(auth, |_| {}).await;
        let failure = server.registry(login).await.digest("b1.1").await.expect_err("refused");
        assert_eq!(failure.class, class, "{}", failure.message);
        assert!(!failure.message.contains("canary"), "{}", failure.message);
    }
    for (status, class) in [
        (403, RegistryDenied),
        (429, RateLimited),
        (503, RegistryUnreachable),
        (400, RegistryDenied),
        (302, RegistryForbidden),
    ] {
        let server = Server::start(Auth::None, |_| {}).await;
        let manifest = server.registry(None).await.manifest("b1.1").await.expect("a manifest");
        let broken = Server { fake: Fake { broken: Some(status), ..server.fake.clone() }, ..server };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let app = axum::Router::new().fallback(answer).with_state((broken.fake.clone(), port));
        let life = Life::new();
        let _task = life.task("registry", async move { axum::serve(listener, app).await });
        let registry = Registry::connect(&egress("127.0.0.1"), &format!("127.0.0.1:{port}/team/app"), None).await;
        let registry = registry.expect("connected");
        let failure = registry.put_tag("latest", &manifest, Duration::from_secs(5)).await.expect_err("refused");
        assert_eq!(failure.class, class, "{status}: {}", failure.message);
        assert!(failure.message.contains("/team/app") && failure.message.contains("latest"), "{}", failure.message);
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_was_asked_for_are_refused() {
    let server = Server::start(Auth::None, |_| {}).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let other = (TYPE.to_owned(), IMAGE.as_bytes().to_vec());
    server.fake.manifests.lock().expect("a lock").insert(digest.clone(), other);
    let failure = server.registry(None).await.manifest(&digest).await.expect_err("other bytes");
    assert_eq!(failure.class, FailureClass::RegistryUnreachable, "{}", failure.message);
}

#[tokio::test]
async fn hosts_pass_the_guard() {
    for (allow, repository, class) in [
        ("", "127.0.0.1:5000/a/b", FailureClass::RegistryForbidden),
        ("", "10.0.0.1/a", FailureClass::RegistryForbidden),
        ("", "no-slash", FailureClass::RegistryDenied),
        ("127.0.0.1", "127.0.0.1:5000/a/../b", FailureClass::RegistryDenied),
        ("127.0.0.1", "127.0.0.1:5000/a?x", FailureClass::RegistryDenied),
        ("127.0.0.1", "user@127.0.0.1:5000/a", FailureClass::RegistryDenied),
        ("", "nowhere.invalid/a", FailureClass::RegistryUnreachable),
    ] {
        let failure = Registry::connect(&egress(allow), repository, None).await.err().expect("refused");
        assert_eq!(failure.class, class, "{repository}: {}", failure.message);
    }
    let registry = Registry::connect(&egress("127.0.0.1"), "127.0.0.1:1/a", None).await.expect("lazy");
    assert_eq!(registry.digest("x").await.expect_err("closed").class, FailureClass::RegistryUnreachable);
}

#[test]
fn docker_hub_has_its_own_host() {
    let names = |text: &str| split(text).ok();
    assert_eq!(names("docker.io/x"), Some(("registry-1.docker.io".to_owned(), "library/x".to_owned())));
    assert_eq!(names("docker.io/a/x"), Some(("registry-1.docker.io".to_owned(), "a/x".to_owned())));
    assert_eq!(names("r.example:5000/a/b"), Some(("r.example:5000".to_owned(), "a/b".to_owned())));
    for bad in ["x", "h/", "h/A", "h/a//b", "h/a:tag", "h/a@sha256:0", "h/.."] {
        assert_eq!(names(bad), None, "{bad}");
    }
}
