//! Where a submodule lies, by what `.gitmodules` says: an address of its own, or one beside its parent's. Whoever may
//! push to the repository wrote that, so it is held to what a project's clone URL is held to, and to the protocol that
//! the project itself is fetched with. The guard judges the host afterwards.

use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_git::parse_clone_url;
use url::Url;

const HTTPS: &str = "Name it in .gitmodules by https, or beside its parent, such as ../other.git.";

/// The address of a submodule of a repository that lies at `parent`.
pub(super) fn resolve(project: &Url, parent: &Url, text: &str) -> Result<Url, Failure> {
    if text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_control()) {
        return Err(refused("is no address of a repository", HTTPS));
    }
    let url = match text.starts_with("./") || text.starts_with("../") {
        true => beside(parent, text)?,
        false => parse_clone_url(text).map_err(|_| refused("is no address of a repository", HTTPS))?,
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("has a ? or a #, which no repository's address has", HTTPS));
    }
    match url.scheme() {
        "https" | "http" => Ok(url),
        "ssh" => over_ssh(project, &url),
        scheme => {
            let scheme: String = scheme.chars().take(20).collect();
            Err(refused(&format!("uses {scheme}, and only https is allowed"), HTTPS))
        }
    }
}

/// Whether what opens the project may be shown there.
pub(super) fn is_same_origin(project: &Url, url: &Url) -> bool {
    match (project.scheme(), url.scheme()) {
        ("ssh", "ssh") => ssh_origin(project) == ssh_origin(url),
        _ => project.origin().is_tuple() && project.origin() == url.origin(),
    }
}

/// The address for people: without what could be a credential.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// As git does it: each `../` takes a part away from the parent's address, which counts as a folder.
fn beside(parent: &Url, text: &str) -> Result<Url, Failure> {
    let outside = || refused("leads out of its host", HTTPS);
    let mut path: Vec<&str> = parent.path().trim_matches('/').split('/').collect();
    let mut rest = text;
    loop {
        if let Some(further) = rest.strip_prefix("./") {
            rest = further;
        } else if let Some(further) = rest.strip_prefix("../") {
            path.pop().filter(|part| !part.is_empty()).ok_or_else(outside)?;
            rest = further;
        } else {
            break;
        }
    }
    let rest = rest.trim_end_matches('/');
    // More of them within would be taken away unseen.
    if rest.split(['/', '\\']).any(|part| matches!(part, "" | "." | "..")) {
        return Err(refused("is no address beside its parent's", HTTPS));
    }
    path.push(rest);
    let mut url = parent.clone();
    url.set_path(&path.join("/"));
    // A question mark is a part of the path here, which it is nowhere else.
    if rest.contains(['?', '#']) { Err(refused("is no address beside its parent's", HTTPS)) } else { Ok(url) }
}

/// The key of a project that is fetched over ssh opens what lies beside it. Where a project is fetched over https, who
/// wrote `git@` of its own host means the repository and not the way there.
fn over_ssh(project: &Url, url: &Url) -> Result<Url, Failure> {
    let same_host = project.host_str().zip(url.host_str()).is_some_and(|(own, other)| own.eq_ignore_ascii_case(other));
    if project.scheme() == "ssh" && is_same_origin(project, url) && url.password().is_none() {
        return Ok(url.clone());
    }
    if project.scheme() != "ssh" && same_host && url.username() == "git" && url.password().is_none() {
        let mut own = project.clone();
        own.set_path(url.path());
        own.set_query(None);
        own.set_fragment(None);
        return Ok(own);
    }
    Err(refused("is addressed over ssh, for which there is no key there", HTTPS))
}

fn ssh_origin(url: &Url) -> (&str, String, u16) {
    (url.username(), url.host_str().unwrap_or_default().to_ascii_lowercase(), url.port().unwrap_or(22))
}

fn refused(what: &str, hint: &str) -> Failure {
    let detail = Box::new(Detail { hint: Some(hint.to_owned()), ..Detail::default() });
    Failure { detail, ..Failure::new(FailureClass::SourceForbidden, what) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    fn resolved(project: &str, text: &str) -> Option<String> {
        resolve(&url(project), &url(project), text).ok().map(|url| url.to_string())
    }

    const PROJECT: &str = "https://git.example/team/app.git";

    #[test]
    fn addresses_beside_the_parent_are_as_git_has_them() {
        for (parent, text, wanted) in [
            (PROJECT, "../other.git", Some("https://git.example/team/other.git")),
            (PROJECT, "../other/", Some("https://git.example/team/other")),
            (PROJECT, "./other.git", Some("https://git.example/team/app.git/other.git")),
            (PROJECT, "../../else/other", Some("https://git.example/else/other")),
            (PROJECT, ".././../other", Some("https://git.example/other")),
            ("https://git.example/team/app.git/", "../other.git", Some("https://git.example/team/other.git")),
            ("https://git.example:8443/a/b", "../c", Some("https://git.example:8443/a/c")),
            ("ssh://git@git.example:2222/a/b", "../c", Some("ssh://git@git.example:2222/a/c")),
            (PROJECT, "../../../other", None),
            (PROJECT, "../../../../evil.example/x", None),
            (PROJECT, "../a/../../x", None),
            (PROJECT, "../a/%2e%2e/x", Some("https://git.example/team/x")),
            (PROJECT, "../..\\..\\x", None),
            (PROJECT, "../", None),
            (PROJECT, "../x?token=1", None),
            (PROJECT, "../x#y", None),
        ] {
            assert_eq!(resolved(parent, text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn only_what_a_project_could_be_fetched_from_is_an_address() {
        for (text, wanted) in [
            ("https://other.example/x.git", Some("https://other.example/x.git")),
            ("http://git.example/x.git", Some("http://git.example/x.git")),
            ("git@git.example:team/x.git", Some("https://git.example/team/x.git")),
            ("ssh://git@GIT.example:7999/team/x.git", Some("https://git.example/team/x.git")),
            ("git@other.example:team/x.git", None),
            ("ssh://me@git.example/x.git", None),
            ("ssh://git:pw@git.example/x.git", None),
            ("ssh://-oProxyCommand=touch/x", None),
            ("git://git.example/x", None),
            ("file:///srv/x", None),
            ("/srv/x", None),
            ("x", None),
            ("ext::sh -c touch% /tmp/x", None),
            ("ext::https://git.example/x", None),
            ("--upload-pack=touch /tmp/x", None),
            ("-u./x", None),
            ("", None),
            ("https://git.example/x\r", None),
            ("https://git.example/\nx", None),
            ("https://git.example/x?private_token=1", None),
            ("javascript:x", None),
        ] {
            assert_eq!(resolved(PROJECT, text).as_deref(), wanted, "{text:?}");
        }
        let over_ssh = "ssh://git@git.example:2222/team/app.git";
        for (text, wanted) in [
            ("ssh://git@git.example:2222/b", Some("ssh://git@git.example:2222/b")),
            ("git@git.example:b", None),
            ("ssh://git@other.example:2222/b", None),
            ("https://git.example/b", Some("https://git.example/b")),
        ] {
            assert_eq!(resolved(over_ssh, text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_credential_goes_to_its_own_origin_alone() {
        for (project, other, same) in [
            (PROJECT, "https://git.example/x", true),
            (PROJECT, "https://GIT.example:443/x", true),
            (PROJECT, "http://git.example/x", false),
            (PROJECT, "https://git.example:8443/x", false),
            (PROJECT, "https://git.example.evil.example/x", false),
            (PROJECT, "https://sub.git.example/x", false),
            ("ssh://git@h/x", "ssh://git@h:22/y", true),
            ("ssh://git@h/x", "ssh://other@h/y", false),
            ("ssh://git@h/x", "https://h/y", false),
            ("https://h/x", "ssh://git@h/y", false),
        ] {
            assert_eq!(is_same_origin(&url(project), &url(other)), same, "{project} {other}");
        }
    }

    #[test]
    fn no_credential_is_shown() {
        assert_eq!(shown(&url("https://me:canary@h/x?token=canary#canary")), "https://h/x");
        assert_eq!(shown(&url("ssh://git@h:2222/x")), "ssh://h:2222/x");
    }

    proptest! {
        /// Whatever is written there: it stays at the parent's origin, or is an address of its own.
        #[test]
        fn what_lies_beside_stays_at_its_origin(text in r"(\./|\.\./){1,5}[a-z./\\%2e@:?#-]{0,20}") {
            let parent = url("https://git.example:8443/a/b/c");
            if let Ok(found) = resolve(&parent, &parent, &text) {
                prop_assert!(is_same_origin(&parent, &found), "{text} {found}");
                prop_assert!(found.username().is_empty() && found.password().is_none());
            }
        }
    }
}
