//! Who pushes: commits to a few repositories, delivered as forges do it (again and again until somebody answers,
//! sometimes twice), and people who cancel. Everything that was asked and answered is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use super::random::Random;
use super::site::Site;
use crate::api::{Api, Project};
use crate::env::base_image::BASE_IMAGE;
use crate::env::repo::Repo;
use crate::hooks::{Delivery, github};

/// Repositories, each with its project.
const PROJECTS: usize = 4;
/// Between two pushes.
const PAUSE_MS: std::ops::Range<u64> = 150..700;
/// Between two tries of a delivery.
const RETRY: Duration = Duration::from_millis(500);
/// How long an unanswered delivery is tried again.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a hundred.
const DOUBLED: u64 = 10;
const CANCELLED: u64 = 7;
const FAILING: u64 = 10;
const SLOW: u64 = 25;

/// What a build's script leads to when nothing disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Succeeds,
    Fails,
}

/// One push and everything that was heard of it.
#[derive(Debug, Clone)]
pub struct Push {
    /// Position of its project.
    pub project: usize,
    /// Place within its project.
    pub number: usize,
    pub commit: String,
    pub script: Script,
    /// Lines that its step writes.
    pub lines: usize,
    /// The delivery, once somebody said that it is stored.
    pub delivery: Option<String>,
    /// What a cancel was answered, if there was one.
    pub cancel: Option<u16>,
}

/// Everything that was asked.
#[derive(Debug)]
pub struct Pushes {
    pub projects: Vec<Project>,
    pub pushes: Vec<Push>,
}

/// Pushes until it is stopped.
pub struct Client {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Pushes>>,
}

impl Client {
    /// Makes the projects and begins.
    pub async fn start(site: &Site, random: Random) -> Result<Self> {
        let api = site.api();
        let mut places = Vec::new();
        for number in 0..PROJECTS {
            let repo = site.git.repo(&format!("chaos/{}-{number}", site.name))?;
            let body = json!({
                "name": repo.full_path(),
                "forge": { "kind": "github" },
                "repo": { "full_path": repo.full_path(), "clone_url": repo.clone_url() },
                "image": { "repository": site.image(number) },
                // A step from the cache says nothing, and an attempt after a lost one would find it there.
                "build": { "no_cache": true },
            });
            let project = api.create_project(&body).await?;
            places.push((repo, project));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(push_all(api, places, random, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    /// Nothing more is pushed.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits until every delivery is answered.
    pub async fn end(self) -> Result<Pushes> {
        self.task.await?
    }
}

async fn push_all(api: Api, places: Vec<(Repo, Project)>, mut random: Random, stop: Arc<AtomicBool>) -> Result<Pushes> {
    let (mut under_way, mut numbers) = (JoinSet::new(), [0; PROJECTS]);
    while !stop.load(Ordering::Acquire) {
        let project = usize::try_from(random.within(0..PROJECTS as u64))?;
        let (repo, made) = &places[project];
        numbers[project] += 1;
        let number = numbers[project];
        let script = if random.percent(FAILING) { Script::Fails } else { Script::Succeeds };
        let lines = usize::try_from(random.within(10..1500))?;
        let slow_secs = if random.percent(SLOW) { random.within(2..6) } else { 0 };
        let dockerfile = dockerfile(project, number, script, (lines, slow_secs));
        let moved = repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        let commit = moved.after.clone().context("a commit has an id")?;
        let push = Push { project, number, commit, script, lines, delivery: None, cancel: None };
        let delivery = github::push(repo, &moved, &made.hook.secret);
        let (doubled, cancelled) = (random.percent(DOUBLED), random.percent(CANCELLED));
        let after = Duration::from_millis(random.within(0..6000));
        let (api, url) = (api.clone(), made.hook.url.clone());
        under_way.spawn(async move {
            let mut push = push;
            push.delivery = deliver(&api, &url, &delivery).await;
            if doubled {
                let again = deliver(&api, &url, &delivery).await;
                assert_eq!(again, push.delivery, "one delivery id is one delivery");
            }
            if cancelled && let Some(id) = &push.delivery {
                tokio::time::sleep(after).await;
                push.cancel = cancel(&api, id).await;
            }
            push
        });
        tokio::time::sleep(Duration::from_millis(random.within(PAUSE_MS))).await;
    }
    let mut pushes = Vec::new();
    while let Some(push) = under_way.join_next().await {
        pushes.push(push?);
    }
    pushes.sort_by_key(|push| (push.project, push.number));
    Ok(Pushes { projects: places.into_iter().map(|(_, project)| project).collect(), pushes })
}

/// A forge that waits for an answer and tries again under the same id; the delivery's id.
pub async fn deliver(api: &Api, url: &str, delivery: &Delivery) -> Option<String> {
    let end = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < end {
        match api.deliver(url, delivery).await {
            Ok((StatusCode::ACCEPTED | StatusCode::OK, answer)) => {
                return answer["delivery"].as_str().map(str::to_owned);
            }
            Ok(_) | Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
    None
}

/// What a cancel of the delivery's build was answered; `None` when nobody answered.
async fn cancel(api: &Api, delivery: &str) -> Option<u16> {
    let build = api.delivery(delivery).await.ok()?.builds.first().cloned()?;
    api.cancel(&build).await.ok().map(|(status, _)| status.as_u16())
}

/// For a scripted engine by its comments, for a real one by its step, which writes lines and waits some seconds.
pub fn dockerfile(project: usize, number: usize, script: Script, (lines, slow_secs): (usize, u64)) -> String {
    let (comment, ends) = match script {
        Script::Succeeds => ("", "true"),
        Script::Fails => ("# script: fail exit 7\n", "exit 7"),
    };
    format!(
        "FROM {BASE_IMAGE}\n# script: log {lines}\n# script: sleep {slow_secs}s\n{comment}\
         RUN echo change {number} of {project} && seq 1 {lines} && sleep {slow_secs} && {ends}\n"
    )
}
