//! How each forge wants to see a connection's token: in a header of the API, and as a login of git. Where a forge
//! names an account beside the token, the connection's token is written `user:token`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use slipway_domain::agent::Login;
use slipway_domain::event::ForgeKind;

use crate::transport::ForgeError;

/// Beginning of an Atlassian API token, which belongs to an account; tokens of repositories and workspaces
/// (`ATCTT…`) and those of OAuth begin otherwise.
const ATLASSIAN_API_TOKEN: &str = "ATATT";

/// The header that carries the token. GitHub, Bitbucket: `Bearer`; GitLab: `Private-Token`; Gitea, Gitee and
/// CODING (a person's token): `token`. With an account: `Basic`, as Bitbucket Cloud wants it for API tokens,
/// Data Center for passwords and CODING for a project's token.
pub(super) fn authorization(kind: ForgeKind, token: &str) -> Result<(HeaderName, HeaderValue), ForgeError> {
    let (name, value) = match (kind, with_user(kind, token)) {
        (ForgeKind::Gitlab, _) => (HeaderName::from_static("private-token"), token.to_owned()),
        (ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Coding, Some((user, token))) => {
            (header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))))
        }
        (ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc, _) => {
            (header::AUTHORIZATION, format!("Bearer {token}"))
        }
        (ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding, user) => {
            (header::AUTHORIZATION, format!("token {}", user.map_or(token, |(_, token)| token)))
        }
    };
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| ForgeError::Invalid("the connection's token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// How git logs in with a token of this forge.
///
/// Bitbucket Cloud takes an API token only under a name of its own, whoever's it is
/// (<https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/>). Gitea does not look at the name
/// beside a token (`services/auth/basic.go`). Not verified: that Data Center takes a token without its account
/// (it documents only `Bearer` for those of projects and repositories), and that Gitee takes `oauth2`, which is
/// common practice. CODING's tokens have a name of their own: without it there is no login.
pub fn clone_credential(kind: ForgeKind, token: &str) -> Result<Login, ForgeError> {
    let with_user = with_user(kind, token);
    let password = with_user.map_or(token, |(_, token)| token);
    let user = match (kind, with_user) {
        (ForgeKind::Github, _) => "x-access-token",
        (ForgeKind::Gitlab, _) => "oauth2",
        (ForgeKind::Bitbucket, _) if password.starts_with(ATLASSIAN_API_TOKEN) => "x-bitbucket-api-token-auth",
        (ForgeKind::Bitbucket, None) => "x-token-auth",
        (_, Some((user, _))) => user,
        (ForgeKind::BitbucketDc, None) => "x-token-auth",
        (ForgeKind::Gitea | ForgeKind::Gitee, None) => "oauth2",
        (ForgeKind::Coding, None) => {
            let missing = "git on CODING wants a name beside the token: give a project token as name:token";
            return Err(ForgeError::Invalid(missing.to_owned()));
        }
    };
    Ok(Login { user: user.to_owned(), password: password.to_owned() })
}

/// `user:token`, where a forge's tokens can have an account. None of these forges' tokens has a colon in itself.
fn with_user(kind: ForgeKind, token: &str) -> Option<(&str, &str)> {
    match kind {
        ForgeKind::Github | ForgeKind::Gitlab => None,
        ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee | ForgeKind::Coding => {
            token.split_once(':')
        }
    }
}
