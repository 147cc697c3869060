//! Asks the server: one method per verb, every refusal as a sentence.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method};
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde_json::Value;
use slipway_runtime::ids::new_token;
use slipway_runtime::trust::Trust;
use url::{Host, Url};

use crate::client::exit::Failed;
use crate::client::problem::{Refusal, not_ours, refused, unreachable};
use crate::client::token::Token;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a whole answer of the API.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest silence of a log; the server says at least a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Values of a query.
pub type Query<'a> = &'a [(&'a str, String)];

/// One server and the token for it.
pub struct Api {
    http: Client,
    server: Url,
    token: Option<Token>,
}

impl Api {
    /// A server by its address, such as `http://127.0.0.1:8080`.
    pub fn new(server: Url, token: Option<Token>, trust: &Trust) -> Result<Self, Failed> {
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            // A redirect would carry the token somewhere else, or turn a POST into a GET.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")));
        let builder = if is_loopback(&server) { builder.no_proxy() } else { builder };
        let http = trust.client(builder).and_then(reqwest::ClientBuilder::build);
        let http = http.map_err(|error| Failed::server(format!("No HTTP client can be made: {error}.")))?;
        Ok(Self { http, server, token })
    }

    /// The server's address.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// True if the token would cross a network in clear text.
    pub fn exposes_token(&self) -> bool {
        self.token.is_some() && self.server.scheme() == "http" && !is_loopback(&self.server)
    }

    /// Reads an object.
    pub async fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failed> {
        let request = || self.request(Method::GET, path, query).map(|request| request.timeout(ANSWER_TIMEOUT));
        self.object(self.ask(request).await?).await
    }

    /// Makes or changes something. A lost answer is asked for again; the key keeps it from being done twice.
    pub async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<Value, Failed> {
        self.post_with(path, &[], body).await
    }

    /// The same with a query.
    pub async fn post_with(&self, path: &[&str], query: Query<'_>, body: Option<&Value>) -> Result<Value, Failed> {
        let key = new_token("cli");
        let request = || {
            let request =
                self.request(Method::POST, path, query)?.timeout(ANSWER_TIMEOUT).header("idempotency-key", &key);
            Ok(if let Some(body) = body { request.json(body) } else { request })
        };
        self.object(self.ask(request).await?).await
    }

    /// Puts something in its place; done twice it is the same.
    pub async fn put(&self, path: &[&str], query: Query<'_>, body: &Value) -> Result<Value, Failed> {
        let request = || Ok(self.request(Method::PUT, path, query)?.timeout(ANSWER_TIMEOUT).json(body));
        self.object(self.ask(request).await?).await
    }

    /// Takes something away.
    pub async fn delete(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failed> {
        let request = || self.request(Method::DELETE, path, query).map(|request| request.timeout(ANSWER_TIMEOUT));
        self.object(self.ask(request).await?).await
    }

    /// Opens something that is read piece by piece: a log, or the events of a growing one.
    pub async fn open(&self, path: &[&str], query: Query<'_>, last_event_id: Option<&str>) -> Result<Response, Failed> {
        let request = || {
            let request = self.request(Method::GET, path, query)?.header(ACCEPT, "text/event-stream, text/plain;q=0.9");
            Ok(if let Some(id) = last_event_id { request.header("last-event-id", id) } else { request })
        };
        self.ask(request).await
    }

    /// What a connection that broke in the middle is called.
    pub fn broken(&self, error: &reqwest::Error) -> Failed {
        unreachable(&self.server, error)
    }

    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> Result<RequestBuilder, Failed> {
        let request = self.http.request(method, address(&self.server, path, query)?);
        let Some(token) = &self.token else { return Ok(request) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret))
            .map_err(|_| Failed::usage(format!("The token of {} holds characters that no token has.", token.origin)))?;
        value.set_sensitive(true);
        Ok(request.header(http::header::AUTHORIZATION, value))
    }

    async fn ask(&self, request: impl Fn() -> Result<RequestBuilder, Failed>) -> Result<Response, Failed> {
        let answer = match request()?.send().await {
            // The connection was there and broke: perhaps an old one that the server had closed.
            Err(error) if !error.is_connect() && !error.is_timeout() => request()?.send().await,
            answer => answer,
        };
        let response = answer.map_err(|error| unreachable(&self.server, &error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> Failed {
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.unwrap_or_default();
        refused(&Refusal {
            server: &self.server,
            status,
            body: &body,
            location: location.as_deref(),
            token_origin: self.token.as_ref().map(|token| token.origin.as_str()),
        })
    }

    /// The body; null when there is none, as after 202 and 204.
    async fn object(&self, response: Response) -> Result<Value, Failed> {
        let is_json = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let body = response.bytes().await.map_err(|error| unreachable(&self.server, &error))?;
        match serde_json::from_slice(&body) {
            _ if body.is_empty() => Ok(Value::Null),
            Ok(value) if is_json => Ok(value),
            Ok(_) | Err(_) => Err(not_ours(&self.server)),
        }
    }
}

/// Reads the address of a server as users write it.
pub fn parse_server(text: &str) -> Result<Url, Failed> {
    let bad = |why: &str| {
        Failed::usage(format!(
            "\"{text}\" is no address of a server: {why}. Write --server or SLIPWAY_SERVER_URL as http://127.0.0.1:8080."
        ))
    };
    let url = Url::parse(text.trim()).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text holds a password and is not repeated.
        return Err(Failed::usage(
            "The server's address must hold no user or password; use `slipway login` or SLIPWAY_TOKEN.",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must end with its path"));
    }
    Ok(url)
}

fn address(server: &Url, path: &[&str], query: Query<'_>) -> Result<Url, Failed> {
    let mut url = server.clone();
    url.path_segments_mut().map_err(|()| not_ours(server))?.pop_if_empty().extend(["api", "v1"]).extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn is_loopback(server: &Url) -> bool {
    match server.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_put_together_safely() {
        let cases = [
            ("http://s:1", "http://s:1/api/v1/builds/a%2Fb%3Fc?state=a%26b"),
            ("https://s/ci/", "https://s/ci/api/v1/builds/a%2Fb%3Fc?state=a%26b"),
            ("https://s/ci", "https://s/ci/api/v1/builds/a%2Fb%3Fc?state=a%26b"),
        ];
        for (server, expected) in cases {
            let server = parse_server(server).expect("valid");
            let url = address(&server, &["builds", "a/b?c"], &[("state", "a&b".to_owned())]).expect("valid");
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn wrong_addresses_say_how_to_write_them() {
        for bad in ["127.0.0.1:8080", "ftp://s", "", "http://s/?a=b", "localhost"] {
            match parse_server(bad) {
                Err(Failed::Said { exit, message }) => {
                    assert_eq!(exit.code(), 2, "{bad}");
                    assert!(message.contains("SLIPWAY_SERVER_URL") && message.contains("http://"), "{message}");
                }
                other => panic!("{bad}: {other:?}"),
            }
        }
        match parse_server("http://user:hunter2@s/") {
            Err(Failed::Said { message, .. }) => assert!(!message.contains("hunter2"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_are_exposed_only_by_plain_http_to_elsewhere() {
        let token = || Some(Token { secret: "t".to_owned(), origin: "a test".to_owned() });
        let exposes = |server: &str, token| {
            Api::new(parse_server(server).expect("valid"), token, &Trust::default()).map(|api| api.exposes_token())
        };
        for (server, expected) in
            [("http://127.0.0.1:1", false), ("http://[::1]", false), ("https://s", false), ("http://10.0.0.1", true)]
        {
            assert_eq!(exposes(server, token()).ok(), Some(expected), "{server}");
        }
        assert_eq!(exposes("http://10.0.0.1", None).ok(), Some(false));
    }
}
