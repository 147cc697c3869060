//! What is sent: thousands of deliveries of three forges to many hooks, and what must become of each.

use anyhow::{Context, Result};
use serde_json::json;
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::Project;
use slipway_tests::chaos::random::Random;
use slipway_tests::env::repo::{Move, Repo};
use slipway_tests::hooks::{self, Change, Delivery, News};
use slipway_tests::world::{Forge, World};
use uuid::Uuid;

use super::super::builds::new_project;

/// The forges, in turns.
const KINDS: [Forge; 3] = [Forge::Github, Forge::Gitlab, Forge::Gitea];

/// Branches of each repository, each with moves of its own.
const BRANCHES: usize = 4;

/// Of a hundred deliveries.
const CHANGES: u64 = 5;
const SKIPPED: u64 = 5;
const UNWANTED: u64 = 4;
const BROKEN: u64 = 1;

/// What must become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// One build of this.
    Built { git_ref: String, before: Option<String>, commit: String },
    /// None, for a reason.
    Ignored,
    /// Answered with 400, for it is authentic and cannot be read.
    Unreadable,
}

/// One delivery.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Where to.
    pub url: String,
    /// The hook's id.
    pub hook: Uuid,
    /// The delivery's id.
    pub key: String,
    pub delivery: Delivery,
    pub fate: Fate,
    /// The branch whose move it tells, and the number of that move.
    pub place: Option<(String, usize)>,
}

/// A repository on one of the forges, and where its branches are.
struct Source {
    kind: Forge,
    repo: Repo,
    project: Project,
    heads: Vec<(Option<String>, usize)>,
    changes: u64,
}

/// Makes projects with a hook each, and for each its share of the deliveries; those of a hook are in the order in
/// which its forge would send them, and hooks take turns.
pub async fn stock(world: &World, hooks: usize, per_hook: usize, random: &mut Random) -> Result<Vec<Sent>> {
    let mut sources = Vec::with_capacity(hooks);
    for number in 0..hooks {
        let kind = KINDS[number % KINDS.len()];
        let forge = json!({ "forge": { "kind": kind.kind() } });
        let (repo, project) = new_project(world, &format!("hook-{number}"), forge).await?;
        sources.push(Source { kind, repo, project, heads: vec![(None, 0); BRANCHES], changes: 0 });
    }
    let mut all = Vec::with_capacity(hooks * per_hook);
    for _ in 0..per_hook {
        for source in &mut sources {
            all.push(source.next(random)?);
        }
    }
    Ok(all)
}

impl Source {
    fn next(&mut self, random: &mut Random) -> Result<Sent> {
        let chance = random.within(0..100);
        if chance < CHANGES {
            return self.change();
        }
        if chance < CHANGES + UNWANTED {
            return self.sent(hooks::unwanted(self.kind, &self.repo, &self.project.hook.secret), Fate::Ignored, None);
        }
        if chance >= 100 - BROKEN {
            let whole = hooks::unwanted(self.kind, &self.repo, &self.project.hook.secret);
            let half = whole.body[..whole.body.len() / 2].to_vec();
            let broken = hooks::with_body(self.kind, &whole, half, &self.project.hook.secret);
            return self.sent(broken, Fate::Unreadable, None);
        }
        let skipped = chance < CHANGES + UNWANTED + SKIPPED;
        let (moved, place) = self.moved(random, skipped);
        let delivery = hooks::push(self.kind, &self.repo, &moved, &self.project.hook.secret);
        let commit = moved.commit.clone().context("a commit")?;
        let place = (moved.git_ref.clone(), place);
        let fate =
            if skipped { Fate::Ignored } else { Fate::Built { git_ref: moved.git_ref, before: moved.before, commit } };
        self.sent(delivery, fate, Some(place))
    }

    /// The next move of one of its branches.
    fn moved(&mut self, random: &mut Random, skipped: bool) -> (Move, usize) {
        let branch = usize::try_from(random.within(0..BRANCHES as u64)).unwrap_or(0);
        let commit = hex::encode(random_bytes::<20>());
        let (head, place) = &mut self.heads[branch];
        let before = head.replace(commit.clone());
        *place += 1;
        let message = if skipped { "Fix a word [skip ci]" } else { "Change the image" };
        let moved = Move {
            git_ref: format!("refs/heads/branch-{branch}"),
            before,
            after: Some(commit.clone()),
            commit: Some(commit),
            forced: false,
            message: message.to_owned(),
        };
        (moved, *place - 1)
    }

    fn change(&mut self) -> Result<Sent> {
        self.changes += 1;
        let head = hex::encode(random_bytes::<20>());
        let change = Change::new(self.changes, News::Opened, &head);
        let delivery = hooks::change(self.kind, &self.repo, &change, &self.project.hook.secret);
        let git_ref = self.kind.change_ref(self.changes).context("a ref of the change")?;
        self.sent(delivery, Fate::Built { git_ref, before: None, commit: head }, None)
    }

    fn sent(&self, delivery: Delivery, fate: Fate, place: Option<(String, usize)>) -> Result<Sent> {
        let url = self.project.hook.url.clone();
        let hook = url.rsplit('/').next().context("the hook's id")?.parse()?;
        let id = match self.kind {
            Forge::Gitlab => "idempotency-key",
            Forge::Gitea => "x-gitea-delivery",
            _ => "x-github-delivery",
        };
        let key = delivery.header(id).context("the delivery's id")?.to_owned();
        Ok(Sent { url, hook, key, delivery, fate, place })
    }
}
