//! Registries that mean harm, or are none: slow, talking nonsense, sending us elsewhere.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// How it answers a request.
enum Reply {
    /// With this status line and headers, and this body.
    Say(String, String),
    /// Never.
    Silence,
    /// With a body that never ends.
    Drip(&'static str),
}

/// A server that notes the heads of its requests, on an address of its own.
struct Evil {
    _life: Life,
    _task: Task<()>,
    at: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Evil {
    async fn start(address: &str, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a port");
        let at = listener.local_addr().expect("bound").to_string();
        let (life, seen, answer) = (Life::new(), Arc::<Mutex<Vec<String>>>::default(), Arc::new(answer));
        let (notes, tasks) = (Arc::clone(&seen), life.clone());
        let task = life.task("evil registry", async move {
            let mut serving = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, answer) = (Arc::clone(&notes), Arc::clone(&answer));
                serving
                    .push(tasks.task("evil connection", async move { serve(stream, &notes, answer.as_ref()).await }));
            }
        });
        Self { _life: life, _task: task, at, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }

    async fn registry(&self, login: bool) -> Registry {
        let login = login.then(|| Login { user: "robot".to_owned(), password: "canary".to_owned() });
        let repository = format!("{}/team/app", self.at);
        Registry::connect(&egress("127.0.0.0/8"), &repository, login.as_ref()).await.expect("connected")
    }
}

/// One request for each connection.
async fn serve(mut stream: TcpStream, notes: &Mutex<Vec<String>>, answer: &(dyn Fn(&str) -> Reply + Send + Sync)) {
    let mut head = Vec::new();
    let mut byte = [0];
    // A TLS hello is no head and gets none.
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) if head.len() < 16 * 1024 && (head.len() > 1 || byte[0] != 0x16) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    notes.lock().expect("a lock").push(head.clone());
    match answer(&head) {
        Reply::Say(head, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Silence => std::future::pending().await,
        Reply::Drip(head) => {
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

fn manifest() -> Manifest {
    Manifest { digest: String::new(), media_type: TYPE.to_owned(), bytes: IMAGE.as_bytes().to_vec() }
}

fn said(head: &str, body: &str) -> Reply {
    Reply::Say(head.to_owned(), body.to_owned())
}

/// Class, and that place and hint are there and no secret is.
fn check(failure: &Failure, class: FailureClass, place: &str) {
    assert_eq!(failure.class, class, "{}", failure.message);
    assert!(failure.message.contains(place), "{place}: {}", failure.message);
    let text = format!("{} {}", failure.message, failure.advice());
    assert!(failure.advice().len() > 20 && !text.contains("canary") && !text.contains("token?"), "{text}");
}

#[tokio::test]
async fn redirects_are_followed_nowhere() {
    let inside = Evil::start("127.0.0.1", |_| said("200 OK", "the inside")).await;
    let beside = inside.at.clone();
    for (target, host) in [
        (format!("http://{beside}/v2/team/app/manifests/x?token?canary"), "127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "169.254.169.254"),
        ("https://10.1.2.3/v2/".to_owned(), "10.1.2.3"),
    ] {
        let location = target.clone();
        let evil = Evil::start("127.0.0.1", move |head| match head.contains("authorization: Basic") {
            true => Reply::Say(format!("307 Temporary Redirect\r\nlocation: {location}"), String::new()),
            false => said("401 Unauthorized\r\nwww-authenticate: Basic realm=x", ""),
        })
        .await;
        let registry = evil.registry(true).await;
        let place = format!("{}/team/app", evil.at);
        let head = registry.digest("x").await.expect_err("sent on");
        let get = registry.manifest("x").await.expect_err("sent on");
        let put = registry.put_tag("x", &manifest(), Duration::from_secs(5)).await.expect_err("sent on");
        for failure in [head, get, put] {
            check(&failure, FailureClass::RegistryForbidden, &place);
            assert!(failure.message.contains(&format!("sends us on to {host} (307")), "{}", failure.message);
        }
    }
    assert_eq!(inside.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_login_goes_to_no_token_service_elsewhere() {
    let elsewhere = Evil::start("127.0.0.2", |_| said("200 OK", "{\"token\":\"t\"}")).await;
    let beside = Evil::start("127.0.0.1", |_| said("200 OK", "{\"token\":\"t\",\"expires_in\":60}")).await;
    let onward = elsewhere.at.clone();
    let sends_on = Evil::start("127.0.0.1", move |_| {
        Reply::Say(format!("302 Found\r\nlocation: http://{onward}/token?canary"), String::new())
    })
    .await;
    for (realm, login, class) in [
        (format!("http://{}/token", elsewhere.at), true, Some(FailureClass::RegistryForbidden)),
        ("http://169.254.169.254/token".to_owned(), true, Some(FailureClass::RegistryForbidden)),
        ("http://169.254.169.254/token".to_owned(), false, Some(FailureClass::RegistryForbidden)),
        ("https://10.0.0.1/token".to_owned(), false, Some(FailureClass::RegistryForbidden)),
        (format!("http://{}/token", sends_on.at), true, Some(FailureClass::RegistryForbidden)),
        ("no address".to_owned(), true, Some(FailureClass::RegistryInvalid)),
        // The same host at another port is the registry's own.
        (format!("http://{}/token", beside.at), true, None),
    ] {
        let named = realm.clone();
        let evil = Evil::start("127.0.0.1", move |head| match head.contains("authorization: Bearer t\r\n") {
            true => said("404 Not Found", ""),
            false => {
                Reply::Say(format!("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{named}\""), String::new())
            }
        })
        .await;
        let answer = evil.registry(login).await.digest("x").await;
        match class {
            None => assert_eq!(answer, Ok(None)),
            Some(class) => check(&answer.expect_err("refused"), class, &evil.at),
        }
        assert!(evil.seen().iter().all(|head| !head.contains("Basic")), "the registry did not ask for it");
    }
    assert_eq!(elsewhere.seen(), Vec::<String>::new());
    assert!(beside.seen()[0].contains("authorization: Basic"), "{:?}", beside.seen());
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    for body in ["<html>log in</html>", "{}", "{\"token\":\"\"}", "{\"token\":\"a\\r\\nx: y\"}", "[]", "{\"token\":1}"]
    {
        let evil = Evil::start("127.0.0.1", move |head| match head.starts_with("GET /token") {
            true => said("200 OK", body),
            false => {
                let host = head.split("host: ").nth(1).and_then(|rest| rest.lines().next()).expect("a host");
                Reply::Say(
                    format!("401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{host}/token\""),
                    String::new(),
                )
            }
        })
        .await;
        let failure = evil.registry(true).await.digest("x").await.expect_err("no token");
        check(&failure, FailureClass::RegistryInvalid, &evil.at);
    }
}

#[tokio::test]
async fn nonsense_is_no_manifest() {
    let index = |children: &str| {
        format!("content-type: application/vnd.oci.image.index.v1+json\n{{\"manifests\":[{children}]}}")
    };
    let many = vec![format!("{{\"digest\":\"sha256:{}\"}}", "0".repeat(64)); MAX_CHILDREN + 1].join(",");
    for (answer, whole) in [
        ("content-type: text/html\n<html>log in</html>".to_owned(), false),
        ("content-type: application/json\n{\"config\":{}}".to_owned(), false),
        ("content-type: application/json\n{\"mediaType\":\"text/html\"}".to_owned(), false),
        ("x: y\n\u{0}\u{1}".to_owned(), false),
        (format!("content-type: {TYPE}\nnot JSON"), true),
        (format!("content-type: {TYPE}\n{{\"layers\":[{{\"size\":\"many\"}}]}}"), true),
        (index("{\"digest\":\"../../../token\"}"), true),
        (index("{\"digest\":\"http://169.254.169.254/\"}"), true),
        (index(&many), true),
    ] {
        let evil = Evil::start("127.0.0.1", move |_| {
            let (head, body) = answer.split_once('\n').expect("a head");
            Reply::Say(format!("200 OK\r\n{head}"), body.to_owned())
        })
        .await;
        let registry = evil.registry(true).await;
        let got = registry.manifest("x").await;
        assert_eq!(got.is_ok(), whole, "{got:?}");
        let failure = match got {
            // A HEAD that says no digest is looked into.
            Err(failure) => {
                assert_eq!(registry.digest("x").await.map_err(|failure| failure.class), Err(failure.class));
                failure
            }
            Ok(manifest) => registry.size_bytes(&manifest).await.expect_err("no sizes"),
        };
        check(&failure, FailureClass::RegistryInvalid, &evil.at);
        assert!(evil.seen().iter().all(|head| head.contains(" /v2/team/app/manifests/x ") || head.contains(" /v2/ ")));
    }
    // The type that stands in the manifest counts where the answer says none.
    let evil = Evil::start("127.0.0.1", |_| said("200 OK", &format!("{{\"mediaType\":\"{TYPE}\"}}"))).await;
    assert_eq!(evil.registry(false).await.manifest("x").await.map(|manifest| manifest.media_type), Ok(TYPE.to_owned()));
}

#[tokio::test]
async fn slow_answers_end_in_time() {
    let within = Duration::from_millis(300);
    for drips in [false, true] {
        let evil = Evil::start("127.0.0.1", move |_| match drips {
            true => Reply::Drip("503 Service Unavailable"),
            false => Reply::Silence,
        })
        .await;
        let registry = evil.registry(true).await;
        let manifest = manifest();
        let put = tokio::time::timeout(Duration::from_secs(10), registry.put_tag("x", &manifest, within));
        let failure = put.await.expect("it ends").expect_err("no answer");
        check(&failure, FailureClass::RegistryUnreachable, &evil.at);
    }
}
