//! Base images of registries that mean harm, pulled by a real engine.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use slipway_domain::agent::RegistryLogin;

use super::*;

/// A server that notes what it is asked, with the login that came along.
pub(super) struct Server {
    pub(super) at: String,
    seen: Arc<Mutex<Vec<String>>>,
    _life: Life,
    _task: slipway_runtime::lifecycle::Task<()>,
}

impl Server {
    pub(super) async fn start(
        address: &str,
        answer: impl Fn(&str, &str) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind((address, 0)).await.expect("a port");
        let at = listener.local_addr().expect("bound").to_string();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&seen);
        let app = axum::Router::new().fallback(move |request: Request| {
            let auth = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
            let line = format!("{} {}", request.method(), request.uri());
            notes.lock().expect("a lock").push(format!("{line} {auth}"));
            let response = answer(&line, auth);
            async move { response }
        });
        let life = Life::new();
        let task = life.task("registry", async move { axum::serve(listener, app).await.expect("it serves") });
        Self { at, seen, _life: life, _task: task }
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }
}

pub(super) fn response(status: u16, header: (&str, &str), body: &str) -> Response<Body> {
    let response = Response::builder().status(status).header(header.0, header.1);
    response.body(Body::from(body.to_owned())).expect("an answer")
}

/// A registry that wants a token of this service, and then has nothing.
async fn registry(realm: String) -> Server {
    Server::start("127.0.0.1", move |_, auth| {
        let ask = format!("Bearer realm=\"{realm}\",service=\"reg\",scope=\"repository:team/app:pull\"");
        match auth {
            "Bearer good" => response(404, ("x", "y"), "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"),
            _ => response(401, ("www-authenticate", &ask), "{}"),
        }
    })
    .await
}

async fn pull(site: &Site, server: &Server) -> Failure {
    let text = salted(&format!("FROM {}/team/app:SALT\nRUN true\n", server.at));
    let mut request = site.request(&text, offline()).await;
    let login = Login { user: "robot".to_owned(), password: "canary".to_owned() };
    request.logins = vec![RegistryLogin { host: server.at.clone(), login }];
    let (events, mut seen) = mpsc::channel(1000);
    let drain = async { while seen.recv().await.is_some() {} };
    let build = async {
        let built = site.engine.build(request, &events, &CancellationToken::new()).await;
        drop(events);
        built
    };
    let (built, ()) = tokio::join!(build, drain);
    let failure = built.expect_err("no such base");
    assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    failure
}

#[tokio::test]
async fn an_engine_gets_no_login_for_a_token_service_elsewhere() {
    let Some(site) = site().await else { return };
    let elsewhere = Server::start("127.0.0.2", |_, _| response(200, ("x", "y"), "{\"token\":\"good\"}")).await;
    let evil = registry(format!("http://{}/token", elsewhere.at)).await;
    let failure = pull(&site, &evil).await;
    assert_eq!((failure.class, failure.dockerfile_line), (FailureClass::RegistryForbidden, Some(1)), "{failure:?}");
    assert!(failure.message.contains(&evil.at) && failure.advice().contains(&evil.at), "{failure:?}");
    assert_eq!(elsewhere.seen(), Vec::<String>::new());
    assert!(evil.seen().iter().all(|line| !line.contains("Basic")), "{:?}", evil.seen());

    // Its own one gets the login, from here.
    let own =
        Server::start("127.0.0.1", |_, _| response(200, ("x", "y"), "{\"token\":\"good\",\"expires_in\":300}")).await;
    let honest = registry(format!("http://{}/token", own.at)).await;
    let failure = pull(&site, &honest).await;
    assert_eq!(failure.class, FailureClass::BaseImageMissing, "{failure:?}");
    assert!(own.seen().iter().all(|line| line.contains("account=robot Basic ")) && !own.seen().is_empty());
    assert!(honest.seen().iter().any(|line| line.ends_with("Bearer good")), "{:?}", honest.seen());
    // Another build gets a token of its own, not this one's.
    let before = own.seen().len();
    pull(&site, &honest).await;
    assert!(own.seen().len() > before, "{:?}", own.seen());
}

#[tokio::test]
async fn a_registry_that_is_none_is_no_fault_of_ours() {
    let Some(site) = site().await else { return };
    let mut wrong = Vec::new();
    for (status, kind, body, class) in [
        (200, "text/html", "<html>log in</html>", FailureClass::RegistryInvalid),
        (200, "application/vnd.docker.distribution.manifest.v2+json", "not JSON", FailureClass::RegistryInvalid),
        (503, "text/plain", "later", FailureClass::RegistryUnreachable),
        (429, "text/plain", "slowly", FailureClass::RateLimited),
        (403, "text/plain", "no", FailureClass::RegistryAuth),
        (404, "text/plain", "no", FailureClass::BaseImageMissing),
    ] {
        let server = Server::start("127.0.0.1", move |_, _| response(status, ("content-type", kind), body)).await;
        let failure = pull(&site, &server).await;
        if (failure.class, failure.dockerfile_line) != (class, Some(1)) || !failure.message.contains(&server.at) {
            wrong.push((status, kind, failure));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
