//! Badges of projects where much is built.

use axum::body::Body;
use http::{Request, header};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::{BuildId, ProjectId};
use slipway_runtime::ids::new_id;
use slipway_store::builds::{NewBuild, NewJob, RefOrder};

use super::App;

impl App {
    /// A build of a ref, made like another one of the project.
    async fn build_of(&self, like: BuildId, git_ref: &str) -> BuildId {
        let db = &self.state.db;
        let job = db.jobs_of_build(like).await.expect("jobs").remove(0);
        let spec = db.job_spec(job.id).await.expect("a spec");
        let id: BuildId = new_id();
        let new = NewBuild {
            id,
            tenant: spec.tenant,
            project: spec.project,
            trigger: spec.trigger,
            git_ref: Some(GitRef::parse(git_ref).expect("a ref")),
            commit: spec.commit.clone(),
            before: None,
            dedupe_key: id.to_string(),
            order: RefOrder::None,
            rerun_of: None,
            change_number: None,
            told_at: None,
            title: None,
            actor: None,
            now: self.state.clock.now(),
            jobs: vec![NewJob { id: new_id(), kind: job.kind, pool: job.pool, timeout_secs: 60, blocked: false, spec }],
            delivery: None,
        };
        db.create_build(&new).await.expect("a build");
        id
    }

    async fn badge(&self, project: ProjectId, branch: &str) -> String {
        let json = self.get_public(&format!("/badge/{project}.json{branch}")).await;
        assert_eq!(json.header(header::CONTENT_TYPE), "application/json");
        let word = json.json()["message"].as_str().expect("a word").to_owned();
        let svg = self.get_public(&format!("/badge/{project}.svg{branch}")).await;
        assert!(svg.text.contains(&format!("aria-label=\"build: {word}\"")), "{}", svg.text);
        word
    }
}

#[tokio::test]
async fn a_branch_keeps_its_badge_in_a_busy_project() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "public").await, app.crew("alpha").await);
    let first: BuildId = app.build(&project).await["id"].as_str().expect("an id").parse().expect("an id");
    let project: ProjectId = project["id"].as_str().expect("an id").parse().expect("an id");
    assert_eq!(app.badge(project, "").await, "unknown");
    let main = app.build_of(first, "refs/heads/main").await;
    let attempt = app.start(&crew, main).await;
    app.finish(attempt, None, Vec::new()).await;
    // More than any page of builds has, and none of them is over.
    for _ in 0..60 {
        app.build_of(first, "refs/heads/busy").await;
    }
    assert_eq!(app.badge(project, "?branch=main").await, "passing");
    assert_eq!(app.badge(project, "").await, "passing", "what runs says nothing yet");
    assert_eq!(app.badge(project, "?branch=busy").await, "unknown");
    // A tag that ends in the branch's whole name is another ref.
    let tag = app.build_of(first, "refs/tags/refs/heads/busy").await;
    let attempt = app.start(&crew, tag).await;
    app.finish(attempt, None, Vec::new()).await;
    assert_eq!(app.badge(project, "?branch=busy").await, "unknown");
    for other in ["main2", "heads/main", "refs/heads/main", "%25", ""] {
        assert_eq!(app.badge(project, &format!("?branch={other}")).await, "unknown", "{other}");
    }
}

#[tokio::test]
async fn the_page_of_a_project_names_both_badges() {
    let app = App::new().await;
    let project = app.project("app", "public").await;
    let id = project["id"].as_str().expect("an id");
    for (language, words) in [("en", "Badge for Shields"), ("zh-CN", "用于 Shields 的徽章")] {
        let page =
            Request::get(format!("/projects/{id}")).header(header::ACCEPT_LANGUAGE, language).body(Body::empty());
        let page = app.send(page.expect("a request")).await.text;
        for part in [words, &format!("badge/{id}.json"), &format!("badge/{id}.svg")] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }
}
