//! The submodules of a checkout, where the project wants them: each is fetched at exactly the commit that its parent
//! names, as the project itself is, and put into its place. Git's own command for it is not used: it runs what a
//! repository's configuration says, and knows no guard.
//!
//! Where they lie is written by whoever may push, so [`address`] and the guard judge each address, and the project's
//! credential goes to the project's own origin alone.

mod address;
mod place;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use slipway_domain::failure::{Detail, Failure, FailureClass};
use slipway_domain::size::bytes as in_words;
use slipway_runtime::egress::Egress;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::declared::{Declared, FILE_NAME};
use super::{Checkout, SourceRequest, fetch};
use crate::work::io_failure;

/// Most submodules of a build, those of submodules included.
const MAX_COUNT: usize = 100;
/// Submodules of submodules are followed so far down.
const MAX_DEPTH: usize = 5;
/// Links without an address are told so often for each repository.
const MAX_TOLD: usize = 10;

/// One repository's files in a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its folder.
    pub root: PathBuf,
    /// The same, from the top of the checkout; empty for the project's own.
    pub path: String,
    /// Where it was fetched from.
    pub clone_url: String,
}

/// A checkout and all that was fetched into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The project's own repository first.
    pub parts: Vec<Part>,
    /// Bytes that servers sent for them, as git counts them.
    pub received_bytes: u64,
}

impl Whole {
    /// A checkout as it is, its submodules empty.
    pub fn without_submodules(checkout: &Checkout, clone_url: &str) -> Self {
        let part = Part { root: checkout.root.clone(), path: String::new(), clone_url: clone_url.to_owned() };
        Self { parts: vec![part], received_bytes: checkout.received_bytes }
    }
}

/// True if an address has the origin of the project's, so that the project's credential may be shown there.
pub fn is_projects_origin(project: &str, other: &Url) -> bool {
    slipway_git::parse_clone_url(project).is_ok_and(|project| address::is_same_origin(&project, other))
}

/// Fetches the submodules of a checkout, and theirs. The request is the project's own: its login goes only to the
/// origin of its clone URL, its limits count for all together, and its `dir` holds what is not in place yet.
pub async fn fetch_submodules(
    egress: &Egress,
    request: SourceRequest<'_>,
    checkout: &Checkout,
    (log, cancel): (&mpsc::Sender<Bytes>, &CancellationToken),
) -> Result<Whole, Failure> {
    let project = slipway_git::parse_clone_url(request.clone_url)?;
    let whole = Whole::without_submodules(checkout, request.clone_url);
    let walk = Walk { egress, request, project, log, cancel, whole, count: 0 };
    tokio::time::timeout(request.timeout, walk.run(checkout)).await.unwrap_or_else(|_| {
        let message = format!("fetching the submodules took longer than {} s", request.timeout.as_secs());
        Err(Failure::new(FailureClass::SourceUnreachable, message))
    })
}

struct Walk<'a> {
    egress: &'a Egress,
    request: SourceRequest<'a>,
    project: Url,
    log: &'a mpsc::Sender<Bytes>,
    cancel: &'a CancellationToken,
    whole: Whole,
    count: usize,
}

/// A repository whose submodules are not looked at yet.
struct Open {
    root: PathBuf,
    path: String,
    url: Url,
    declared: Option<Declared>,
    depth: usize,
}

/// A submodule that may be fetched.
struct Wanted {
    /// From its parent.
    place: String,
    /// From the top of the checkout.
    path: String,
    url: Url,
    commit: String,
}

impl Walk<'_> {
    async fn run(mut self, checkout: &Checkout) -> Result<Whole, Failure> {
        let (root, declared) = (checkout.root.clone(), checkout.declared.clone());
        if declared.is_none() {
            self.tell(&format!("Submodules are wanted, and the commit has no {FILE_NAME}: there are none.")).await;
        }
        let mut open = vec![Open { root, path: String::new(), url: self.project.clone(), declared, depth: 0 }];
        while let Some(parent) = open.pop() {
            for wanted in self.wanted(&parent).await? {
                let (root, declared) = self.fetch(&parent.root, &wanted).await.map_err(|it| self.of(&wanted, it))?;
                let clone_url = wanted.url.to_string();
                self.whole.parts.push(Part { root: root.clone(), path: wanted.path.clone(), clone_url });
                let (path, url, depth) = (wanted.path, wanted.url, parent.depth + 1);
                open.push(Open { root, path, url, declared, depth });
            }
        }
        Ok(self.whole)
    }

    /// What a repository's links stand for. All of them are judged before any is fetched.
    async fn wanted(&mut self, parent: &Open) -> Result<Vec<Wanted>, Failure> {
        let Some(declared) = &parent.declared else { return Ok(Vec::new()) };
        let addresses = declared.addresses.as_ref().map_err(|why| {
            let file = joined(&parent.path, FILE_NAME);
            Failure::new(FailureClass::BuildRejected, format!("{file} cannot be read: {why}"))
        })?;
        addresses.keys().try_for_each(|path| place::check(path))?;
        let (mut wanted, mut without) = (Vec::new(), Vec::new());
        for link in &declared.links {
            let path = joined(&parent.path, &link.path);
            let Some(text) = addresses.get(&link.path).and_then(Option::as_deref) else {
                without.push(path);
                continue;
            };
            let url = address::resolve(&self.project, &parent.url, text).map_err(|it| refused(&path, text, it))?;
            wanted.push(Wanted { place: link.path.clone(), path, url, commit: link.commit.clone() });
        }
        for path in without.iter().take(MAX_TOLD) {
            let path = printable(path);
            self.tell(&format!("Submodule {path}: {FILE_NAME} has no address for it, so it stays empty.")).await;
        }
        self.count += wanted.len();
        if self.count > MAX_COUNT {
            return Err(too_many(format!("the repository has more than {MAX_COUNT} submodules")));
        }
        if parent.depth == MAX_DEPTH && !wanted.is_empty() {
            let path = printable(&parent.path);
            return Err(too_many(format!("submodules are nested deeper than {MAX_DEPTH}: {path} has some, too")));
        }
        Ok(wanted)
    }

    /// Fetches one and puts it in place. Returns its folder, and what it says of its own.
    async fn fetch(&mut self, parent: &Path, wanted: &Wanted) -> Result<(PathBuf, Option<Declared>), Failure> {
        self.tell(&format!("Submodule {}: {} at {}", wanted.path, address::shown(&wanted.url), wanted.commit)).await;
        let failed = |error: std::io::Error| io_failure("the folder of a submodule", &error);
        let dir = tempfile::Builder::new().prefix("submodule-").tempdir_in(self.request.dir).map_err(failed)?;
        let request = SourceRequest {
            clone_url: wanted.url.as_str(),
            commit: &wanted.commit,
            git_ref: None,
            rules_from: None,
            login: self.request.login.filter(|_| address::is_same_origin(&self.project, &wanted.url)),
            dir: dir.path(),
            max_bytes: self.request.max_bytes.saturating_sub(self.whole.received_bytes),
            ..self.request
        };
        let fetched = fetch(self.egress, request, self.log, self.cancel).await?;
        self.whole.received_bytes = self.whole.received_bytes.saturating_add(fetched.received_bytes);
        // Of a repository that is not kept, git's own folder lies among the files.
        let gits_own = fetched.root.join(".git");
        if gits_own.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&gits_own).map_err(failed)?;
        }
        place::put(parent, &wanted.place, &fetched.root)?;
        Ok((parent.join(&wanted.place), fetched.declared))
    }

    /// Says which submodule it is about.
    fn of(&self, wanted: &Wanted, failure: Failure) -> Failure {
        let (path, url, commit) = (printable(&wanted.path), address::shown(&wanted.url), &wanted.commit);
        let (reason, hint) = match failure.class {
            FailureClass::Cancelled => return failure,
            FailureClass::SourceTooLarge => {
                let most = in_words(self.request.max_bytes);
                let reason = format!("with it the source is larger than the {most} that a build may fetch");
                (reason, None)
            }
            FailureClass::CommitMissing => {
                let hint = "Push the submodule's commit to its repository, or let the project name one that is there.";
                (failure.message, Some(hint.to_owned()))
            }
            FailureClass::SourceMissing | FailureClass::SourceAuth => {
                (failure.message, Some(self.advice(&wanted.url).to_owned()))
            }
            _ => (failure.message, None),
        };
        let message = format!("submodule {path} ({url} at {commit}): {reason}");
        let hint = hint.or(failure.detail.hint.clone());
        Failure { message, detail: Box::new(Detail { hint, ..*failure.detail }), ..failure }
    }

    fn advice(&self, url: &Url) -> &'static str {
        if !address::is_same_origin(&self.project, url) {
            "Check the address in .gitmodules. The connection's token is never shown to another host than the project's \
             own, so a submodule elsewhere has to be public."
        } else if self.request.login.is_none() {
            "Check the address in .gitmodules. A private submodule needs a connection with a token and `submodules` switched \
             on for the project itself, not in slipway.yml alone; the builds of strangers' pull requests use no token for it."
        } else {
            "Check the address in .gitmodules, and that the connection's token may read that repository, too."
        }
    }

    async fn tell(&self, line: &str) {
        // Nobody listening is no reason to stop: the attempt decides when to stop.
        let _ = self.log.send(Bytes::from(format!("{line}\n"))).await;
    }
}

/// A path of a submodule from the top.
fn joined(parent: &str, path: &str) -> String {
    if parent.is_empty() { path.to_owned() } else { format!("{parent}/{path}") }
}

/// What a repository names, in a line for people.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

/// The refusal of an address. It is shown without what could be a credential, or not at all.
fn refused(path: &str, text: &str, failure: Failure) -> Failure {
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => address::shown(&url),
        Ok(_) | Err(_) => {
            let bare = text.rsplit('@').next().and_then(|text| text.split(['?', '#']).next());
            format!("{:?}", printable(bare.unwrap_or_default()))
        }
    };
    let message = format!("the submodule {} is not fetched: {url} {}", printable(path), failure.message);
    Failure { message, ..failure }
}

fn too_many(message: String) -> Failure {
    let hint =
        format!("A build fetches at most {MAX_COUNT} submodules, {MAX_DEPTH} deep; fewer, or none with them off.");
    let detail = Box::new(Detail { hint: Some(hint), ..Detail::default() });
    Failure { detail, ..Failure::new(FailureClass::SourceTooLarge, message) }
}
