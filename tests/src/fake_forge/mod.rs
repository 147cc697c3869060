//! A forge at the network edge: what our service asks and tells each of the seven. It checks what it is sent, answers
//! out of a real repository as a test wants, and remembers the order.

mod bitbucket;
mod bitbucket_dc;
mod coding;
mod gitea;
mod gitee;
mod github;
mod gitlab;
mod question;
mod request;
mod serve;
mod source;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::env::repo::Repo;
use crate::wait::eventually;
use crate::world::Forge;

/// What the forge's own tokens look like.
pub const TOKEN: &str = "forge-token-of-the-tests";

/// What it does with the next status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Takes it, but the answer is lost.
    Lose,
    /// Refuses it, because it is what stands there already; only GitLab does.
    Repeated,
    /// Refuses it with this status.
    Refuse(u16),
    /// Refuses it with 429 and these seconds of `Retry-After`.
    RetryAfter(u64),
    /// Says nothing until the test lets go.
    Hang,
}

/// One status as it came in.
#[derive(Debug, Clone)]
pub struct Told {
    /// The commit.
    pub commit: String,
    /// The forge's word for the state.
    pub state: String,
    /// Whose word it is.
    pub context: String,
    /// The page that it leads to.
    pub url: String,
    /// All fields that were sent.
    pub fields: Value,
    /// What it was answered with.
    pub answer: Answer,
    /// When it came.
    pub at: Instant,
}

/// A running fake; ended on drop.
#[derive(Debug)]
pub struct FakeForge {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    kind: Forge,
    state: Mutex<Seen>,
    let_go: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// The full path of the only repository that there is.
    repo: String,
    /// Where it is on this host, if anywhere: else there is every commit and no file.
    bare: Option<PathBuf>,
    answers: VecDeque<Answer>,
    always: Option<Answer>,
    /// Nothing at all is answered.
    frozen: bool,
    /// No token is good.
    revoked: bool,
    /// Lists of files are cut short.
    cuts: bool,
    told: Vec<Told>,
    /// What stands beside a commit, by commit and context: a number of its own, and the state.
    shown: BTreeMap<(String, String), (usize, String)>,
    /// Who may push.
    writers: BTreeSet<String>,
    /// Everybody who was asked for; GitLab gives them numbers.
    people: Vec<String>,
    /// Questions that were answered, as method and path.
    asked: Vec<String>,
    /// What was wrong with a request, in words.
    wrong: Vec<String>,
}

impl FakeForge {
    /// Starts one that knows this repository.
    pub async fn start(kind: Forge, repo: &str) -> Result<Self> {
        let state = Mutex::new(Seen { repo: repo.to_owned(), ..Seen::default() });
        let shared = Arc::new(Shared { kind, state, let_go: Notify::new() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening as a forge")?;
        let address = listener.local_addr()?.to_string();
        let app = Router::new().fallback(serve::serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the fake forge ended: {error}");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// What a connection says as its `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it shows the commits, files and refs of this repository.
    pub fn holds(&self, repo: &Repo) {
        let mut seen = self.shared.seen();
        (seen.repo, seen.bare) = (repo.full_path().to_owned(), Some(repo.bare().to_owned()));
    }

    /// The repository is called this now, and lies there.
    pub fn rename(&self, full_path: &str, bare: PathBuf) {
        let mut seen = self.shared.seen();
        (seen.repo, seen.bare) = (full_path.to_owned(), Some(bare));
    }

    /// Gives a person the right to push.
    pub fn add_writer(&self, login: &str) {
        self.shared.seen().writers.insert(login.to_owned());
    }

    /// Every list of files is cut short.
    pub fn cut_lists(&self) {
        self.shared.seen().cuts = true;
    }

    /// The token is not good any more.
    pub fn revoke_token(&self) {
        self.shared.seen().revoked = true;
    }

    /// Answers the next statuses like this, one each, and takes those after them.
    pub fn answer_next(&self, answers: &[Answer]) {
        self.shared.seen().answers.extend(answers);
    }

    /// Answers every status like this, until something else is said.
    pub fn answer_always(&self, answer: Answer) {
        self.shared.seen().always = Some(answer);
    }

    /// Answers nothing at all, statuses or not, until the test lets go.
    pub fn freeze(&self) {
        self.shared.seen().frozen = true;
    }

    /// Takes the statuses that hang, and all after them.
    pub fn let_go(&self) {
        {
            let mut seen = self.shared.seen();
            (seen.always, seen.frozen) = (None, false);
        }
        self.shared.let_go.notify_waiters();
    }

    /// Every status that came in, in order.
    pub fn told(&self) -> Vec<Told> {
        self.shared.seen().told.clone()
    }

    /// The states that were taken, in order.
    pub fn taken(&self) -> Vec<String> {
        let taken = |told: &Told| matches!(told.answer, Answer::Take | Answer::Lose | Answer::Hang);
        self.told().into_iter().filter(taken).map(|told| told.state).collect()
    }

    /// The questions that it answered, as method and path.
    pub fn asked(&self) -> Vec<String> {
        self.shared.seen().asked.clone()
    }

    /// What was wrong with requests, in words; empty when all were as the forge wants them.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.seen().wrong.clone()
    }

    /// Waits until `wanted` holds for what came in.
    pub async fn told_when(&self, deadline: Duration, wanted: impl Fn(&[Told]) -> bool) -> Result<Vec<Told>> {
        let waited = eventually("a commit status", deadline, || async {
            let told = self.told();
            Ok(wanted(&told).then_some(told))
        });
        waited.await.with_context(|| format!("the forge was told {:?}, wrongly {:?}", self.told(), self.wrong()))
    }
}

impl Drop for FakeForge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
