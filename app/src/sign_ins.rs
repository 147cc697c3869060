//! Tokens that are not known, counted by the address that shows them: in front of every listener, because every
//! service takes tokens.
//!
//! Beyond the limit an address is told to wait, and what it shows is not looked at until there is room for one more
//! failure. An address may be an office or a proxy with many behind it: a token that was good in this process lately
//! is looked at whatever the others there do. Hooks are never counted: they show no token, and a delivery that is
//! refused may be lost for good.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use slipway_live::Live;
use slipway_live::limit::{Counted, Limit};
use slipway_runtime::client_address::{TrustedProxies, neighbourhood};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::token_hash;
use slipway_runtime::problem::{ApiError, bearer};

/// Failures of one address: what a person mistypes is far below, and what is guessed far above.
const FAILURES: Limit = Limit::new(100, Duration::from_secs(600));
/// Addresses and tokens that are remembered; beyond that, all are forgotten.
const REMEMBERED: usize = 10_000;

/// Who failed too often. Cheap to clone.
#[derive(Clone)]
pub struct SignIns(Arc<Inner>);

struct Inner {
    live: Live,
    clock: Clock,
    proxies: TrustedProxies,
    limit: Limit,
    /// Until when an address waits.
    waiting: Mutex<HashMap<(Door, IpAddr), Instant>>,
    /// Hashes of tokens that were good.
    good: Mutex<HashSet<Vec<u8>>>,
}

/// Where a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Door {
    /// `POST /login`: the token is in the body.
    Login,
    /// Users' routes.
    Api,
    /// `POST /agent/v1/sessions`: a builder joins.
    Join,
}

/// A token that is shown.
struct Shown {
    door: Door,
    from: IpAddr,
    hash: Option<Vec<u8>>,
}

impl SignIns {
    /// Counts over all processes that share `live`.
    pub fn new(live: Live, clock: Clock, proxies: TrustedProxies) -> Self {
        Self::with(live, clock, proxies, FAILURES)
    }

    /// `router` with this in front of it.
    pub fn guard(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), watch))
    }

    fn with(live: Live, clock: Clock, proxies: TrustedProxies, limit: Limit) -> Self {
        Self(Arc::new(Inner { live, clock, proxies, limit, waiting: Mutex::default(), good: Mutex::default() }))
    }

    fn shown(&self, request: &Request) -> Option<Shown> {
        let door = Door::of(request.method(), request.uri().path())?;
        let token = bearer(request.headers());
        if token.is_none() && door != Door::Login {
            return None;
        }
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let from = neighbourhood(self.0.proxies.client(peer.ip(), request.headers()));
        Some(Shown { door, from, hash: token.map(token_hash) })
    }

    /// Refuses what is not to be looked at now.
    fn admit(&self, shown: &Shown) -> Result<(), ApiError> {
        let now = self.0.clock.monotonic();
        let Some(until) = lock(&self.0.waiting).get(&shown.place()).copied().filter(|until| *until > now) else {
            return Ok(());
        };
        let is_known = shown.hash.as_ref().is_some_and(|hash| lock(&self.0.good).contains(hash));
        if is_known { Ok(()) } else { Err(too_many(until - now)) }
    }

    /// Learns from the answer; what to answer instead.
    async fn learn(&self, shown: Shown, status: StatusCode) -> Result<(), ApiError> {
        if status.is_success()
            && let Some(hash) = shown.hash
        {
            remember(lock(&self.0.good), HashSet::len, |good| {
                good.insert(hash);
            });
        } else if status == StatusCode::UNAUTHORIZED
            && let Err(exceeded) = self.0.live.allow(shown.counted(), self.0.limit).await
        {
            let until = self.0.clock.monotonic() + exceeded.retry_after;
            let place = shown.place();
            remember(lock(&self.0.waiting), HashMap::len, |waiting| {
                waiting.insert(place, until);
            });
            return Err(too_many(exceeded.retry_after));
        }
        Ok(())
    }
}

impl Door {
    /// What opens by a token that is worth guessing. Tokens of sessions and attempts are not: they are short-lived, and
    /// many builders behind one address show old ones after a loss.
    fn of(method: &Method, path: &str) -> Option<Self> {
        match path {
            "/login" if method == Method::POST => Some(Self::Login),
            "/agent/v1/sessions" if method == Method::POST => Some(Self::Join),
            _ if path.starts_with("/api/v1/") => Some(Self::Api),
            _ => None,
        }
    }
}

impl Shown {
    fn counted(&self) -> Counted {
        match self.door {
            Door::Login | Door::Api => Counted::FailedSignIn(self.from),
            Door::Join => Counted::FailedJoin(self.from),
        }
    }

    fn place(&self) -> (Door, IpAddr) {
        (self.door, self.from)
    }
}

async fn watch(State(sign_ins): State<SignIns>, request: Request, next: Next) -> Response {
    let Some(shown) = sign_ins.shown(&request) else { return next.run(request).await };
    if let Err(problem) = sign_ins.admit(&shown) {
        return problem.into_response();
    }
    let response = next.run(request).await;
    match sign_ins.learn(shown, response.status()).await {
        Ok(()) => response,
        Err(problem) => problem.into_response(),
    }
}

fn too_many(wait: Duration) -> ApiError {
    let secs = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    let detail = format!("Too many unknown tokens came from your address; check yours and try again in {secs} s.");
    ApiError::TooMany(detail, secs)
}

/// Adds to what is remembered, or begins anew where that is full.
fn remember<T: Default>(mut held: MutexGuard<'_, T>, len: impl Fn(&T) -> usize, add: impl FnOnce(&mut T)) {
    if len(&held) >= REMEMBERED {
        *held = T::default();
    }
    add(&mut held);
}

/// A panic elsewhere leaves a map whole: every change of it is one call.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use http::{HeaderMap, header};
    use tower::ServiceExt as _;

    use super::*;

    const TIMES: u32 = 3;

    struct World {
        router: Router,
        clients: TrustedProxies,
    }

    impl World {
        fn new() -> Self {
            Self::limited(Limit::new(TIMES, Duration::from_secs(3600)))
        }

        fn limited(limit: Limit) -> Self {
            async fn enter(headers: HeaderMap) -> StatusCode {
                match bearer(&headers) {
                    Some(token) if token.starts_with("good") => StatusCode::OK,
                    Some(_) | None => StatusCode::UNAUTHORIZED,
                }
            }
            let router = Router::new()
                .route("/login", get(enter).post(enter))
                .route("/api/v1/builds", get(enter).post(enter))
                .route("/agent/v1/sessions", post(enter))
                .route("/agent/v1/claims", post(enter))
                .route("/hooks/1", post(enter));
            let clients: TrustedProxies = "10.0.0.0/8".parse().expect("valid");
            let sign_ins = SignIns::with(Live::memory(), Clock::system(), clients.clone(), limit);
            Self { router: sign_ins.guard(router), clients }
        }

        async fn ask(&self, method: Method, path: &str, token: &str, from: &str) -> Response {
            let request = Request::builder().method(method).uri(path).header("x-forwarded-for", from);
            let mut request = request.body(Body::empty()).expect("a request");
            if !token.is_empty() {
                let value = format!("Bearer {token}").parse().expect("a header");
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 1))));
            assert_eq!(self.clients.client([10, 0, 0, 1].into(), request.headers()).to_string(), from);
            self.router.clone().oneshot(request).await.expect("infallible")
        }

        async fn get(&self, token: &str, from: &str) -> u16 {
            self.ask(Method::GET, "/api/v1/builds", token, from).await.status().as_u16()
        }
    }

    #[tokio::test]
    async fn an_address_that_guesses_waits_and_others_do_not() {
        let world = World::new();
        for number in 0..TIMES {
            assert_eq!(world.get(&format!("bad{number}"), "192.0.2.1").await, 401);
        }
        let refused = world.ask(Method::GET, "/api/v1/builds", "bad", "192.0.2.1").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json");
        let secs: u32 = refused.headers()[header::RETRY_AFTER].to_str().expect("text").parse().expect("seconds");
        assert!((1100..=1200).contains(&secs), "{secs}");
        assert_eq!(world.get("good guess", "192.0.2.1").await, 429, "it is not even looked at");
        assert_eq!(world.get("good", "192.0.2.2").await, 200);
        assert_eq!(world.get("bad", "192.0.2.2").await, 401);
        assert_eq!(world.get("", "192.0.2.1").await, 401, "who shows no token guesses none");
    }

    #[tokio::test]
    async fn who_is_known_is_not_shut_out_by_a_neighbour() {
        let world = World::new();
        assert_eq!(world.get("good", "192.0.2.1").await, 200);
        while world.get("bad", "192.0.2.1").await != 429 {}
        assert_eq!(world.get("good", "192.0.2.1").await, 200);
        assert_eq!(world.get("good too", "192.0.2.1").await, 429);
        while world.get("bad", "2001:db8::1").await != 429 {}
        assert_eq!(world.get("bad", "2001:db8::2").await, 429, "they share an uplink");
        assert_eq!(world.get("bad", "2001:db8:0:1::1").await, 401);
    }

    #[tokio::test]
    async fn room_comes_back() {
        let world = World::limited(Limit::new(1, Duration::from_millis(200)));
        assert_eq!(world.get("bad", "192.0.2.1").await, 401);
        while world.get("bad", "192.0.2.1").await != 429 {}
        let waited = async { while world.get("good", "192.0.2.1").await != 200 {} };
        assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok());
    }

    #[tokio::test]
    async fn joins_and_logins_are_counted_and_hooks_never() {
        let world = World::new();
        let posts = async |path, times| {
            let mut last = StatusCode::OK;
            for _ in 0..times {
                last = world
                    .ask(Method::POST, path, if path == "/login" { "" } else { "bad" }, "192.0.2.1")
                    .await
                    .status();
            }
            last.as_u16()
        };
        for path in ["/hooks/1", "/agent/v1/claims"] {
            assert_eq!(posts(path, TIMES * 3).await, 401, "{path}");
        }
        assert_eq!(posts("/agent/v1/sessions", TIMES).await, 401);
        assert_eq!(posts("/agent/v1/sessions", 1).await, 429);
        assert_eq!(world.get("bad", "192.0.2.1").await, 401, "builders and people are counted apart");
        assert_eq!(posts("/login", TIMES - 1).await, 401);
        assert_eq!(posts("/login", 1).await, 429, "the page and the API are counted together");
    }
}
