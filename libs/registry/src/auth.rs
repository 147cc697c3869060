//! How a registry wants to be asked: Basic, or a token from the service that it names. That service is
//! chosen by a stranger, so it passes the guard like every other host.

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::egress::{Egress, read_at_most};
use url::Url;

use crate::{class_of, refused, unreachable};

/// Longest answer of a token service.
const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// What is sent along with a request.
#[derive(Default)]
pub(super) enum Access {
    #[default]
    Nothing,
    Basic(Login),
    Bearer(String),
}

impl Access {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nothing => request,
            Self::Basic(login) => request.basic_auth(&login.user, Some(&login.password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: String },
    Unknown,
}

impl Challenge {
    /// Reads the `WWW-Authenticate` headers. Pushing needs more than the scope that reading was asked for,
    /// so both are always wanted.
    pub(super) fn of(response: &Response, path: &str) -> Self {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
        Self::parse(&texts, path)
    }

    fn parse(texts: &[&str], path: &str) -> Self {
        let with = |scheme: &str| {
            texts.iter().find_map(|text| {
                let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
                word.eq_ignore_ascii_case(scheme).then_some(rest)
            })
        };
        if let Some(rest) = with("Bearer") {
            let params = parameters(rest);
            let get = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            return match get("realm") {
                Some(realm) => {
                    Self::Bearer { realm, service: get("service"), scope: format!("repository:{path}:pull,push") }
                }
                None => Self::Unknown,
            };
        }
        if with("Basic").is_some() { Self::Basic } else { Self::Unknown }
    }
}

/// `a="b, \"c\"",d=e` as pairs, the names in lower case.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let name: String = std::iter::from_fn(|| chars.next_if(|c| *c != '=')).collect();
        if chars.next().is_none() {
            return pairs;
        }
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next().filter(|c| *c != '"') {
                value.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
            }
            while chars.next_if(|c| *c != ',').is_some() {}
        } else {
            value.extend(std::iter::from_fn(|| chars.next_if(|c| *c != ',')));
        }
        chars.next();
        pairs.push((name.trim_matches([' ', ',']).to_lowercase(), value.trim().to_owned()));
    }
}

/// Gets what the registry asked for.
pub(super) async fn answer(
    egress: &Egress,
    host: &str,
    challenge: Challenge,
    login: Option<&Login>,
) -> Result<Access, Failure> {
    match (challenge, login) {
        (Challenge::Basic, Some(login)) => Ok(Access::Basic(login.clone())),
        (Challenge::Basic, None) => Err(auth(format!("the registry {host} needs a login"))),
        (Challenge::Unknown, _) => Err(auth(format!("the registry {host} wants a login of a kind we do not know"))),
        (Challenge::Bearer { realm, service, scope }, login) => {
            let mut url =
                Url::parse(&realm).map_err(|_| auth(format!("the registry {host} names no usable token service")))?;
            {
                let mut query = url.query_pairs_mut();
                if let Some(service) = &service {
                    query.append_pair("service", service);
                }
                query.append_pair("scope", &scope);
                if let Some(login) = login {
                    query.append_pair("account", &login.user);
                }
            }
            fetch_token(egress, host, &url, login).await.map(Access::Bearer)
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

async fn fetch_token(egress: &Egress, host: &str, url: &Url, login: Option<&Login>) -> Result<String, Failure> {
    let realm = url.host_str().unwrap_or_default();
    let client = egress.open(url).await.map_err(|error| refused(&format!("{host} (its token service)"), &error))?;
    let mut request = client.get(url.clone());
    if let Some(login) = login {
        request = request.basic_auth(&login.user, Some(&login.password));
    }
    let response = request.send().await.map_err(|error| unreachable(realm, &error))?;
    let status = response.status();
    if !status.is_success() {
        let class = match status {
            // Token services say 403 or 400 to a wrong password, too.
            StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => FailureClass::RegistryAuth,
            status => class_of(status),
        };
        return Err(Failure::new(class, format!("the token service {realm} of the registry {host} answered {status}")));
    }
    let bytes = read_at_most(response, MAX_TOKEN_BYTES).await;
    let bytes = bytes.map_err(|error| auth(format!("the token service {realm} of {host} cannot be read: {error}")))?;
    // The text of the error could hold a part of the token.
    let parsed: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
    parsed
        .and_then(|answer| answer.token.or(answer.access_token))
        .filter(|token| !token.is_empty())
        .ok_or_else(|| auth(format!("the token service {realm} of the registry {host} gave no token")))
}

fn auth(message: String) -> Failure {
    Failure::new(FailureClass::RegistryAuth, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: "repository:a/b:pull,push".to_owned(),
        };
        for (texts, wanted) in [
            (vec!["Basic realm=\"Registry Realm\""], Challenge::Basic),
            (vec!["basic"], Challenge::Basic),
            (
                vec!["Bearer realm=\"https://auth.example/token\",service=\"reg, one\",scope=\"repository:a/b:pull\""],
                bearer("https://auth.example/token", Some("reg, one")),
            ),
            (vec!["bearer service=x, Realm=https://a/t"], bearer("https://a/t", Some("x"))),
            (vec!["Basic realm=x", "Bearer realm=\"https://a\\\"/t\""], bearer("https://a\"/t", None)),
            (vec!["Bearer"], Challenge::Unknown),
            (vec!["Negotiate"], Challenge::Unknown),
            (vec![], Challenge::Unknown),
            (vec!["Bearer realm=\"open"], bearer("open", None)),
        ] {
            assert_eq!(Challenge::parse(&texts, "a/b"), wanted, "{texts:?}");
        }
    }
}
