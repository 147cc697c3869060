//! Which Redis, and under which names: the parts of the URL. A password in it is never told.

use redis::{Client, IntoConnectionInfo as _};
use url::Url;

use crate::BadUrl;

/// What the names of channels begin with unless the URL says otherwise.
const PREFIX: &str = "slipway:";
/// Longest prefix.
const PREFIX_MAX: usize = 64;

/// A Redis and an installation's place in it.
pub(super) struct Target {
    /// Makes connections.
    pub(super) client: Client,
    /// What the names of channels begin with.
    pub(super) prefix: String,
    /// `host:port`, for people.
    pub(super) place: String,
    /// Whether it is spoken to over TLS.
    pub(super) tls: bool,
    password: Option<String>,
}

impl Target {
    /// `redis://` or `rediss://`, `[user][:password]@host[:port][/number][?prefix=…]`.
    pub(super) fn parse(text: &str) -> Result<Self, BadUrl> {
        // The parser's errors do not quote the text.
        let mut url = Url::parse(text).map_err(|error| BadUrl::new(&format!("it does not read as a URL ({error})")))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BadUrl::new("it names no host"));
        }
        if url.fragment().is_some() {
            return Err(BadUrl::new("nothing may follow a '#'; write that sign as %23 within a password"));
        }
        let prefix = prefix(&url)?;
        let tls = url.scheme() == "rediss";
        url.set_query(None);
        let info = url.into_connection_info().map_err(|error| BadUrl::new(&error.to_string()))?;
        let place = info.addr().to_string();
        let password = info.redis_settings().password().map(str::to_owned);
        let client = Client::open(info).map_err(|error| BadUrl::new(&error.to_string()))?;
        Ok(Self { client, prefix, place, tls, password })
    }

    /// The text without the password: Redis repeats the arguments of commands that it does not know.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.password {
            Some(password) if !password.is_empty() => text.replace(password.as_str(), "***"),
            Some(_) | None => text.to_owned(),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("place", &self.place).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn prefix(url: &Url) -> Result<String, BadUrl> {
    let mut prefix = PREFIX.to_owned();
    for (key, value) in url.query_pairs() {
        if key != "prefix" {
            return Err(BadUrl::new(&format!("\"?{key}=\" is not known; only ?prefix= may stand there")));
        }
        prefix = value.into_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.chars().all(fits) {
        return Err(BadUrl::new("?prefix= takes 1 to 64 letters, digits and _ . : -"));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_redis_and_a_prefix() {
        let cases = [
            ("redis://host", "host:6379", "slipway:"),
            ("redis://host:7000/3", "host:7000", "slipway:"),
            ("redis://:secret@10.0.0.1?prefix=stage:", "10.0.0.1:6379", "stage:"),
            ("rediss://user:secret@host:6380/0?prefix=a", "host:6380", "a"),
        ];
        for (url, place, prefix) in cases {
            let target = Target::parse(url).expect(url);
            assert_eq!((target.place.as_str(), target.prefix.as_str()), (place, prefix), "{url}");
        }
        let target = Target::parse("redis://user:p%40ss@host").expect("valid");
        assert_eq!(target.client.get_connection_info().redis_settings().password(), Some("p@ss"));
    }

    #[test]
    fn bad_urls_are_refused_without_their_password() {
        let long = format!("redis://:hunter2@host?prefix={}", "x".repeat(65));
        let cases = [
            ("redis://", "no host"),
            ("redis://:hunter2@", "URL"),
            ("redis://:hunter2@host:99999", "URL"),
            ("redis://:hunter2@host/zero", "database number"),
            ("redis://:hunter2@host?prefix=", "1 to 64"),
            ("redis://:hunter2@host?prefix=a%20b", "1 to 64"),
            (long.as_str(), "1 to 64"),
            ("redis://:hunter2@host?protocol=3", "?protocol="),
            ("rediss://:hunter2@host#insecure", "'#'"),
        ];
        for (url, expected) in cases {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_told() {
        let target = Target::parse("redis://:hunter2@host").expect("valid");
        let told = target.redact("ERR unknown command 'AUTH', with args beginning with: 'hunter2'");
        assert_eq!(told, "ERR unknown command 'AUTH', with args beginning with: '***'");
        assert!(!format!("{target:?}").contains("hunter2"));
    }
}
