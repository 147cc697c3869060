//! The git command line, hardened: one allowed protocol, pinned addresses, no configuration of the host, no hooks, no
//! redirects, a credential that only git can read and only for the origin it belongs to. The builder fetches source with
//! it, the api looks at refs and at what changed.

mod classify;
mod progress;
mod remote;
mod run;

pub use classify::failure;
pub use remote::{Remote, RemoteRef, changed_files, ls_remote};
pub use run::{Access, Answer, Git, Pipes};

use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::egress::{CheckedHost, Egress};
use url::Url;

/// Reads a clone URL (https, ssh, `user@host:path`; http if the guard allows it), and asks the guard whether its host may
/// be contacted.
pub async fn check(egress: &Egress, clone_url: &str) -> Result<CheckedHost, Failure> {
    let url = parse_clone_url(clone_url)?;
    egress.check(&url).await.map_err(|error| {
        let refused = error.is_refusal();
        let class = if refused { FailureClass::SourceForbidden } else { FailureClass::SourceUnreachable };
        Failure::new(class, format!("the repository cannot be fetched: {error}"))
    })
}

/// Reads a clone URL, the short form of ssh included. The text never stands in the error: it may hold a
/// password.
pub fn parse_clone_url(text: &str) -> Result<Url, Failure> {
    let bad = || {
        let message = "the clone URL is none that can be fetched; write https://host/path or ssh://user@host/path";
        Failure::new(FailureClass::SourceForbidden, message)
    };
    if let Ok(url) = Url::parse(text)
        && url.has_host()
    {
        return Ok(url);
    }
    let (host, path) = text.split_once(':').filter(|(host, _)| host.contains('@')).ok_or_else(bad)?;
    if host.contains('/') || path.starts_with("//") {
        return Err(bad());
    }
    Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/'))).map_err(|_| bad())
}

/// A fault of ours.
pub fn internal(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Internal, format!("{what}: {error}"))
}

/// A fault of this host's files: a full disk has a class of its own.
pub fn io_failure(what: &str, error: &std::io::Error) -> Failure {
    let class = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FailureClass::DiskFull,
        _ => FailureClass::Internal,
    };
    Failure::new(class, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_of_ssh_is_understood() {
        let url = |text: &str| parse_clone_url(text).map(|url| url.to_string()).ok();
        assert_eq!(url("git@host.example:a/b.git").as_deref(), Some("ssh://git@host.example/a/b.git"));
        assert_eq!(url("ssh://git@host.example:2222/a").as_deref(), Some("ssh://git@host.example:2222/a"));
        assert_eq!(url("host.example:a/b"), None);
        assert_eq!(url("a/b@c:d"), None);
        assert_eq!(url("/srv/git"), None);
    }
}
