//! How each forge wants to see a connection's token: in a header of the API, and as a login of git. Where a forge
//! names an account beside the token, the connection's token is written `user:token`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use slipway_domain::agent::Login;
use slipway_domain::event::ForgeKind;
use url::Url;

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

/// What a repository is fetched with by a connection's token: nothing unless the clone URL is at the connection's own
/// origin. A forge that we cannot log in to gets nothing either, and says so itself when the repository is private.
pub fn login_for(clone_url: &str, (kind, base_url): (ForgeKind, Option<&str>), token: &str) -> Option<Login> {
    if same_origin(clone_url, kind, base_url) { clone_credential(kind, token).ok() } else { None }
}

/// A token goes only to the host that the connection is for, and never in the clear to another port.
fn same_origin(clone_url: &str, kind: ForgeKind, base_url: Option<&str>) -> bool {
    let default = match kind {
        ForgeKind::Github => "https://github.com",
        ForgeKind::Gitlab => "https://gitlab.com",
        ForgeKind::Bitbucket => "https://bitbucket.org",
        ForgeKind::Gitee => "https://gitee.com",
        ForgeKind::Coding => "https://e.coding.net",
        ForgeKind::BitbucketDc | ForgeKind::Gitea => "",
    };
    let (Ok(clone), Ok(base)) = (Url::parse(clone_url), Url::parse(base_url.unwrap_or(default))) else {
        return false;
    };
    clone.scheme() == base.scheme()
        && clone.host_str().is_some()
        && clone.host_str() == base.host_str()
        && clone.port_or_known_default() == base.port_or_known_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_only_to_its_own_origin() {
        let github = |url: &str| same_origin(url, ForgeKind::Github, None);
        assert!(github("https://github.com/a/b.git"));
        assert!(!github("http://github.com/a/b.git"));
        assert!(!github("https://github.com.evil.example/a/b.git"));
        assert!(!github("https://github.com:8443/a/b.git"));
        let own = Some("https://git.example.com:8443/prefix");
        assert!(same_origin("https://git.example.com:8443/x/y.git", ForgeKind::Gitlab, own));
        assert!(!same_origin("https://git.example.com/x/y.git", ForgeKind::Gitlab, own));
        assert!(!same_origin("https://gitea.example.com/x", ForgeKind::Gitea, None));
    }

    #[test]
    fn each_forges_token_stays_at_its_forge() {
        let own = "https://git.example.com/base";
        for (kind, public) in [
            (ForgeKind::Github, Some("https://github.com/a/b.git")),
            (ForgeKind::Gitlab, Some("https://gitlab.com/a/b.git")),
            (ForgeKind::Bitbucket, Some("https://bitbucket.org/a/b.git")),
            (ForgeKind::BitbucketDc, None),
            (ForgeKind::Gitea, None),
            (ForgeKind::Gitee, Some("https://gitee.com/a/b.git")),
            (ForgeKind::Coding, Some("https://e.coding.net/t/p/r.git")),
        ] {
            assert!(public.is_none_or(|url| same_origin(url, kind, None)), "{kind}");
            assert!(same_origin("https://git.example.com/x/y.git", kind, Some(own)), "{kind}");
            let elsewhere =
                ["https://evil.example/a/b.git", "http://git.example.com/a/b.git", "ssh://git.example.com/a"];
            for url in elsewhere.into_iter().chain(public) {
                assert!(!same_origin(url, kind, Some(own)), "{kind} {url}");
            }
            assert!(elsewhere.into_iter().all(|url| !same_origin(url, kind, None)), "{kind}");
        }
    }

    #[test]
    fn a_login_is_for_the_connections_own_origin() {
        let login = |url: &str| login_for(url, (ForgeKind::Github, None), "t").map(|login| login.password);
        assert_eq!(login("https://github.com/a/b.git").as_deref(), Some("t"));
        assert_eq!(login("https://evil.example/a/b.git"), None);
        assert!(login_for("https://e.coding.net/t/p/r.git", (ForgeKind::Coding, None), "token").is_none());
    }

    #[test]
    fn a_token_that_is_no_login_is_given_to_nobody() {
        assert!(clone_credential(ForgeKind::Coding, "token").is_err());
        let login = clone_credential(ForgeKind::Coding, "ptx1:pw").ok().map(|login| (login.user, login.password));
        assert_eq!(login, Some(("ptx1".to_owned(), "pw".to_owned())));
    }
}
