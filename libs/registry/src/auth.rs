//! How a registry wants to be asked: Basic, or a token from the service that it names. That service is
//! chosen by a stranger, so it passes the guard like every other host.

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use slipway_domain::agent::Login;
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_runtime::egress::{BodyError, Egress, read_at_most};
use url::Url;

use crate::realm::is_of;
use crate::{class_of, redirected, refused, shown, unreachable};

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
    registry: &Url,
    challenge: Challenge,
    login: Option<&Login>,
) -> Result<Access, Failure> {
    let host = registry.authority();
    match (challenge, login) {
        (Challenge::Basic, Some(login)) => Ok(Access::Basic(login.clone())),
        (Challenge::Basic, None) => Err(auth(format!("the registry {host} needs a login"))),
        (Challenge::Unknown, _) => Err(auth(format!("the registry {host} wants a login of a kind we do not know"))),
        (Challenge::Bearer { realm, service, scope }, login) => {
            if registry.scheme() == "https" && login.is_some() && realm.to_ascii_lowercase().starts_with("http:") {
                return Err(not_there(host, "an address of plain http"));
            }
            let scopes = vec![scope];
            let request = TokenRequest { host, realm: &realm, service: service.as_deref(), scopes: &scopes };
            fetch_token(egress, request, login).await.map(|token| Access::Bearer(token.token))
        }
    }
}

/// What a registry asks for by its `WWW-Authenticate`.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The registry, `host[:port]`.
    pub host: &'a str,
    /// The address of the token service that it names.
    pub realm: &'a str,
    /// Itself, as that service knows it.
    pub service: Option<&'a str>,
    /// What the token is for, as `repository:a/b:pull`.
    pub scopes: &'a [String],
}

/// A token for a registry. It cannot be printed.
pub struct Token {
    /// The token.
    pub token: String,
    /// Seconds that it is good for, if the service says so.
    pub expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<i64>,
}

/// Gets a token as the distribution specification's token authentication wants it, a GET with the login by Basic. The
/// service is named by a stranger: it passes the guard, no redirect is followed, and the login goes only to a service of
/// the registry's own domain.
pub async fn fetch_token(egress: &Egress, request: TokenRequest<'_>, login: Option<&Login>) -> Result<Token, Failure> {
    let host = request.host;
    let url = token_url(request, login)?;
    let realm = url.host_str().unwrap_or_default();
    if login.is_some() && !is_of(host, &url) {
        return Err(not_there(host, realm));
    }
    let client = egress.open(&url).await.map_err(|error| refused(&format!("{host} (its token service)"), &error))?;
    let mut asking = client.get(url.clone());
    if let Some(login) = login {
        asking = asking.basic_auth(&login.user, Some(&login.password));
    }
    let response = asking.send().await.map_err(|error| unreachable(realm, &error))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(redirected(
            format!("the token service {realm} of the registry {host} gives no token itself"),
            &response,
        ));
    }
    if !status.is_success() {
        let class = match status {
            // Token services say 403 or 400 to a wrong password, too.
            StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => FailureClass::RegistryAuth,
            status => class_of(status),
        };
        return Err(Failure::new(class, format!("the token service {realm} of the registry {host} answered {status}")));
    }
    let no_token = |why: String| {
        let message = format!("the token service {realm} of the registry {host} gave no token{why}");
        Failure::new(FailureClass::RegistryInvalid, message)
    };
    let bytes = match read_at_most(response, MAX_TOKEN_BYTES).await {
        Ok(bytes) => bytes,
        Err(error @ BodyError::TooLong(_)) => return Err(no_token(format!(": {error}"))),
        Err(BodyError::Broken(error)) => return Err(unreachable(realm, &error)),
    };
    // The text of the error could hold a part of the token.
    let parsed: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
    let answer = parsed.ok_or_else(|| no_token(", but something that is no JSON of one".to_owned()))?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
    // Line breaks would end the header that it goes into.
    let is_token = |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let token = token.filter(is_token).ok_or_else(|| no_token(String::new()))?;
    Ok(Token { token, expires_in: answer.expires_in })
}

fn token_url(request: TokenRequest<'_>, login: Option<&Login>) -> Result<Url, Failure> {
    let unusable = |_| {
        let message = format!("the registry {} names no usable token service", request.host);
        Failure::new(FailureClass::RegistryInvalid, message)
    };
    let mut url = Url::parse(request.realm).map_err(unusable)?;
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = request.service {
            query.append_pair("service", service);
        }
        for scope in request.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(login) = login {
            query.append_pair("account", &login.user);
        }
    }
    Ok(url)
}

/// The refusal to take a login elsewhere.
fn not_there(host: &str, realm: &str) -> Failure {
    let message = format!(
        "the registry {host} wants its login to go to the token service {}, which is not of its domain, so it gets no password",
        shown(realm)
    );
    let hint = format!(
        "Is {host} the registry that you mean? If it is, ask its operator for a token service in its own domain, by https."
    );
    let detail = Box::new(Detail { hint: Some(hint), ..Detail::default() });
    Failure { detail, ..Failure::new(FailureClass::RegistryForbidden, message) }
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
