//! Deliveries as forges send them: realistic bodies, real headers, real signatures.

pub mod bitbucket;
pub mod bitbucket_dc;
pub mod coding;
pub mod gitea;
pub mod gitee;
pub mod github;
pub mod gitlab;
mod mac;

use serde_json::Value;
use slipway_runtime::ids::random_bytes;

use crate::env::repo::{Move, Repo};
use crate::world::Forge;

/// The object id by which forges say "none".
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// The id of a stranger's fork; every repository has another.
const FORK_ID: u64 = 99;

/// Its path.
const FORK_PATH: &str = "stranger/fork";

/// One request to a hook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The exact bytes that are signed.
    pub body: Vec<u8>,
}

impl Delivery {
    /// The same delivery with one header replaced or added.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(old, _)| !old.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What happened to a pull or merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is new.
    Opened,
    /// It has other commits.
    Updated,
    /// It was given up.
    Closed,
    /// Its target has it.
    Merged,
}

/// News of a pull or merge request to `main`.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    pub number: u64,
    pub news: News,
    /// Its newest commit.
    pub head: &'a str,
    /// The branch that it comes from.
    pub source: &'a str,
    /// That branch is in a stranger's repository.
    pub fork: bool,
    pub draft: bool,
    pub title: &'a str,
    /// Who opened it, and caused this news.
    pub author: &'a str,
}

impl<'a> Change<'a> {
    /// One of the repository's own branch `feature`.
    pub fn new(number: u64, news: News, head: &'a str) -> Self {
        let (source, title, author) = ("feature", "A feature", "ada");
        Self { number, news, head, source, fork: false, draft: false, title, author }
    }

    /// The same out of a stranger's fork.
    pub fn of_fork(self) -> Self {
        Self { fork: true, author: "stranger", ..self }
    }

    fn is_open(&self) -> bool {
        matches!(self.news, News::Opened | News::Updated)
    }
}

/// The delivery of a ref's move, signed with the hook's secret.
pub fn push(forge: Forge, repo: &Repo, moved: &Move, secret: &str) -> Delivery {
    match forge {
        Forge::Github => github::push(repo, moved, secret),
        Forge::Gitlab => gitlab::push(repo, moved, secret),
        Forge::Bitbucket => bitbucket::push(repo, moved, secret),
        Forge::BitbucketDc => bitbucket_dc::push(repo, moved, secret),
        Forge::Gitea => gitea::push(repo, moved, secret),
        Forge::Gitee => gitee::push(repo, moved, secret),
        Forge::Coding => coding::push(repo, moved, secret),
    }
}

/// The delivery of news of a change.
pub fn change(forge: Forge, repo: &Repo, change: &Change<'_>, secret: &str) -> Delivery {
    match forge {
        Forge::Github => github::change(repo, change, secret),
        Forge::Gitlab => gitlab::change(repo, change, secret),
        Forge::Bitbucket => bitbucket::change(repo, change, secret),
        Forge::BitbucketDc => bitbucket_dc::change(repo, change, secret),
        Forge::Gitea => gitea::change(repo, change, secret),
        Forge::Gitee => gitee::change(repo, change, secret),
        Forge::Coding => coding::change(repo, change, secret),
    }
}

/// What the forge sends to see whether the hook answers. GitLab, Bitbucket Cloud and Gitea have nothing of their own
/// for it: their test is a delivery of a push.
pub fn ping(forge: Forge, repo: &Repo, secret: &str) -> Option<Delivery> {
    match forge {
        Forge::Github => Some(github::ping(repo, secret)),
        Forge::BitbucketDc => Some(bitbucket_dc::ping(secret)),
        Forge::Gitee => Some(gitee::ping(repo, secret)),
        Forge::Coding => Some(coding::ping(repo, secret)),
        Forge::Gitlab | Forge::Bitbucket | Forge::Gitea => None,
    }
}

/// An event that no build comes of, as people subscribe their hooks to by mistake.
pub fn unwanted(forge: Forge, repo: &Repo, secret: &str) -> Delivery {
    let (event, body) = match forge {
        Forge::Github => ("star", github::unwanted(repo)),
        Forge::Gitlab => ("Note Hook", gitlab::unwanted(repo)),
        Forge::Bitbucket => ("repo:fork", bitbucket::unwanted(repo)),
        Forge::BitbucketDc => ("repo:forked", bitbucket_dc::unwanted(repo)),
        Forge::Gitea => ("fork", gitea::unwanted(repo)),
        Forge::Gitee => ("Note Hook", gitee::unwanted(repo)),
        Forge::Coding => ("GIT_MR_NOTE", coding::unwanted(repo)),
    };
    sign(forge, event, body.to_string().into_bytes(), secret)
}

/// Any body as an event of this name, signed.
pub fn sign(forge: Forge, event: &str, body: Vec<u8>, secret: &str) -> Delivery {
    match forge {
        Forge::Github => github::sign(event, body, secret),
        Forge::Gitlab => gitlab::sign(event, body, secret),
        Forge::Bitbucket => bitbucket::sign(event, body, secret),
        Forge::BitbucketDc => bitbucket_dc::sign(event, body, secret),
        Forge::Gitea => gitea::sign(event, body, secret),
        Forge::Gitee => gitee::sign(event, body, secret),
        Forge::Coding => coding::sign(event, body, secret),
    }
}

/// The same event with another body under an id of its own, signed anew.
pub fn with_body(forge: Forge, delivery: &Delivery, body: Vec<u8>, secret: &str) -> Delivery {
    sign(forge, delivery.header(event_header(forge)).unwrap_or_default(), body, secret)
}

/// The same event with a body that was changed in places.
pub fn altered(forge: Forge, delivery: &Delivery, secret: &str, alter: impl FnOnce(&mut Value)) -> Delivery {
    let mut body = serde_json::from_slice(&delivery.body).unwrap_or_default();
    alter(&mut body);
    with_body(forge, delivery, body.to_string().into_bytes(), secret)
}

/// The header that names the event.
pub fn event_header(forge: Forge) -> &'static str {
    match forge {
        Forge::Github => "x-github-event",
        Forge::Gitlab => "x-gitlab-event",
        Forge::Bitbucket | Forge::BitbucketDc => "x-event-key",
        Forge::Gitea => "x-gitea-event",
        Forge::Gitee => "x-gitee-event",
        Forge::Coding => "x-coding-service-hook-event",
    }
}

/// A random id in the form of a UUID, as forges number their deliveries.
pub fn delivery_id() -> String {
    uuid::Uuid::from_bytes(random_bytes::<16>()).to_string()
}

/// Owner and name of a path; all but the last part is the owner.
fn two_parts(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Names and values as a delivery keeps them.
fn delivery<const N: usize>(headers: [(&str, String); N], body: Vec<u8>) -> Delivery {
    Delivery { headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(), body }
}
