//! Calls against a fake forge at the network edge that keeps what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use slipway_domain::build::BuildState;
use slipway_runtime::egress::FetchAllow;
use tokio::net::{TcpListener, TcpSocket};

use super::fake::{TOKEN, repo_of};
use super::*;
use crate::status::CommitStatus;
use crate::testing::{OLD_SHA, SHA};

/// What the fake was asked.
#[derive(Debug)]
struct Asked {
    line: String,
    headers: HeaderMap,
    body: String,
}

type Answer = (u16, Vec<(&'static str, String)>, String);

fn answer(status: u16, body: impl ToString) -> Answer {
    (status, vec![("content-type", "application/json".to_owned())], body.to_string())
}

fn with_header(status: u16, name: &'static str, value: &str, body: impl ToString) -> Answer {
    (status, vec![(name, value.to_owned())], body.to_string())
}

/// A fake forge that gives these answers in turn, then 599.
struct Fake {
    listener: TcpListener,
    url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("bound"))).expect("a URL");
        Self { listener, url, asked: Arc::default() }
    }

    /// Serves while `work` runs.
    async fn during<T>(self, answers: Vec<Answer>, work: impl Future<Output = T>) -> (T, Vec<Asked>) {
        let (asked, answers) = (self.asked.clone(), Arc::new(Mutex::new(VecDeque::from(answers))));
        let router = Router::new().fallback(move |request: Request| serve(asked.clone(), answers.clone(), request));
        let done = tokio::select! {
            stopped = axum::serve(self.listener, router) => panic!("the fake stopped: {stopped:?}"),
            done = work => done,
        };
        let asked = std::mem::take(&mut *self.asked.lock().expect("no panic before"));
        (done, asked)
    }
}

async fn serve(asked: Arc<Mutex<Vec<Asked>>>, answers: Arc<Mutex<VecDeque<Answer>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a small body");
    asked.lock().expect("no panic before").push(Asked {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    });
    let next = answers.lock().expect("no panic before").pop_front();
    let (status, headers, body) = next.unwrap_or_else(|| answer(599, ""));
    let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("a header value"));
    }
    response
}

pub(super) fn connect(kind: ForgeKind, base_url: &Url) -> Connect {
    Connect {
        kind,
        base_url: Some(base_url.clone()),
        token: TOKEN.to_owned(),
        egress: Egress::new("127.0.0.0/8".parse().expect("a good list")),
        clock: Clock::system(),
        timeout: Duration::from_secs(20),
    }
}

fn api(kind: ForgeKind, base_url: &Url) -> ForgeApi {
    ForgeApi::new(connect(kind, base_url)).expect("supported")
}

fn status(kind: ForgeKind) -> CommitStatus {
    CommitStatus {
        repo: repo_of(kind).to_owned(),
        commit: SHA.to_owned(),
        state: BuildState::Failed,
        context: "ci/slipway/widget".to_owned(),
        description: "RUN make failed".to_owned(),
        target_url: Some("https://ci.example/builds/1?a=b&c".to_owned()),
        ref_name: Some("feature/x".to_owned()),
        pipeline_id: None,
    }
}

/// Sets one status at a fake that gives these answers.
async fn set(kind: ForgeKind, answers: Vec<Answer>) -> (Result<StatusSent, ForgeError>, Vec<Asked>) {
    let fake = Fake::new().await;
    let api = api(kind, &fake.url);
    fake.during(answers, async move { api.set_status(&status(kind)).await }).await
}

#[tokio::test]
async fn github_status_in_full() {
    let (sent, asked) = set(ForgeKind::Github, vec![answer(201, json!({"id": 1, "state": "failure"}))]).await;
    assert_eq!(sent, Ok(StatusSent { pipeline_id: None }), "whatever else is in the answer");
    let [asked] = asked.as_slice() else { panic!("one request: {asked:?}") };
    assert_eq!(asked.line, format!("POST /api/v3/repos/acme/widget/statuses/{SHA}"));
    assert_eq!(asked.headers["authorization"], format!("Bearer {TOKEN}"));
    assert!(asked.headers["user-agent"].to_str().expect("text").starts_with("slipway/"));
    assert_eq!(asked.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&asked.body).expect("JSON");
    let expected = json!({
        "state": "failure", "context": "ci/slipway/widget", "description": "RUN make failed",
        "target_url": "https://ci.example/builds/1?a=b&c"
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn gitlab_status_in_full() {
    let fake = Fake::new().await;
    let base = fake.url.join("gitlab/").expect("a URL");
    let api = api(ForgeKind::Gitlab, &base);
    let second = CommitStatus { pipeline_id: Some(77), state: BuildState::Superseded, ..status(ForgeKind::Gitlab) };
    let answers = vec![answer(201, json!({"id": 1, "pipeline_id": 77})), answer(201, "not JSON")];
    let work = async {
        let first = api.set_status(&status(ForgeKind::Gitlab)).await;
        (first, api.set_status(&second).await)
    };
    let (sent, asked) = fake.during(answers, work).await;
    assert_eq!(sent, (Ok(StatusSent { pipeline_id: Some(77) }), Ok(StatusSent { pipeline_id: None })));
    let [first, second] = asked.as_slice() else { panic!("two requests, no check of /user: {asked:?}") };
    let form = |body: &str| -> BTreeMap<String, String> {
        url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
    };
    for asked in [first, second] {
        assert_eq!(asked.line, format!("POST /gitlab/api/v4/projects/acme%2Fsub%2Fwidget/statuses/{SHA}"));
        assert_eq!(asked.headers["private-token"], TOKEN);
        assert!(!asked.headers.contains_key("authorization"));
    }
    let mut expected: BTreeMap<String, String> = [
        ("state", "failed"),
        ("name", "ci/slipway/widget"),
        ("description", "RUN make failed"),
        ("target_url", "https://ci.example/builds/1?a=b&c"),
        ("ref", "feature/x"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(form(&first.body), expected);
    expected.insert("state".to_owned(), "canceled".to_owned());
    expected.insert("pipeline_id".to_owned(), "77".to_owned());
    assert_eq!(form(&second.body), expected);
}

#[tokio::test]
async fn every_refusal_is_sorted_and_nothing_is_sent_twice() {
    let wait = |secs| ForgeError::RetryAfter(Duration::from_secs(secs));
    let said = json!({"message": "No"});
    let rejected = |status| ForgeError::Rejected { status, message: "No".to_owned() };
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    let table: Vec<(Answer, ForgeError)> = vec![
        (answer(401, &said), ForgeError::Unauthorized(401)),
        (answer(403, &said), ForgeError::Unauthorized(403)),
        (answer(403, json!({"message": "You have exceeded a secondary rate limit"})), wait(60)),
        (with_header(403, "retry-after", "17", ""), wait(17)),
        (with_header(403, "x-ratelimit-remaining", "0", ""), wait(60)),
        (answer(404, &said), ForgeError::NotFound("No".to_owned())),
        (answer(410, &said), ForgeError::NotFound("No".to_owned())),
        (answer(400, &said), rejected(400)),
        (answer(422, &said), rejected(422)),
        (with_header(429, "retry-after", "30", ""), wait(30)),
        (with_header(429, "retry-after", past, ""), wait(0)),
        (with_header(429, "retry-after", "99999999", ""), wait(6 * 3600)),
        (with_header(429, "x-ratelimit-reset", "1445412480", ""), wait(0)),
        (answer(429, ""), wait(60)),
        (answer(500, &said), ForgeError::Transient("status 500".to_owned())),
        (answer(502, "<html>"), ForgeError::Transient("status 502".to_owned())),
        (with_header(503, "retry-after", "5", ""), wait(5)),
        (answer(503, ""), ForgeError::Transient("status 503".to_owned())),
    ];
    for &kind in ForgeKind::ALL {
        for (answer, expected) in &table {
            let (sent, asked) = set(kind, vec![answer.clone()]).await;
            assert_eq!(sent.as_ref(), Err(expected), "{kind}: {answer:?}");
            assert_eq!(asked.len(), 1, "{kind}: {answer:?}");
            assert!(!format!("{sent:?}").contains(TOKEN));
        }
    }
}

#[tokio::test]
async fn a_state_that_gitlab_has_already_counts_as_sent() {
    for message in [
        json!(
            "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"
        ),
        json!({"state": ["Cannot transition status via :run from :running"]}),
    ] {
        let (sent, _) = set(ForgeKind::Gitlab, vec![answer(400, json!({"message": message}))]).await;
        assert_eq!(sent, Ok(StatusSent { pipeline_id: None }));
        let (sent, _) = set(ForgeKind::Github, vec![answer(400, json!({"message": message}))]).await;
        assert!(sent.is_err(), "only GitLab says so");
    }
    let (sent, _) = set(ForgeKind::Gitlab, vec![answer(409, json!({"message": "Cannot transition status"}))]).await;
    assert!(sent.is_err(), "only 400 means it");
}

#[tokio::test]
async fn redirects_are_followed_inside_the_origin_only() {
    let simple = [ForgeKind::Bitbucket, ForgeKind::BitbucketDc, ForgeKind::Gitea];
    for kind in [ForgeKind::Github, ForgeKind::Gitlab].into_iter().chain(simple) {
        let there = with_header(307, "location", "/moved/here", "");
        let (sent, asked) = set(kind, vec![there, answer(201, json!({}))]).await;
        assert!(sent.is_ok(), "{kind}: {sent:?}");
        assert_eq!(asked[1].line, "POST /moved/here", "{kind}");
        assert_eq!(asked[1].body, asked[0].body, "{kind}");

        let elsewhere = Fake::new().await;
        let away = with_header(307, "location", elsewhere.url.as_str(), "");
        let (sent, away_asked) = elsewhere.during(vec![], set(kind, vec![away])).await;
        let message = "it redirects to another origin".to_owned();
        assert_eq!(sent.0, Err(ForgeError::Rejected { status: 307, message }), "{kind}");
        assert!(away_asked.is_empty(), "{kind}: the token went to another host");

        let circle = with_header(302, "location", "/again", "");
        let (sent, asked) = set(kind, vec![circle; 9]).await;
        assert!(matches!(sent, Err(ForgeError::Transient(_))), "{kind}: {sent:?}");
        assert_eq!(asked.len(), 3, "{kind}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_not_contacted() {
    let fake = Fake::new().await;
    let closed = Egress::new(FetchAllow::default());
    let api = ForgeApi::new(Connect { egress: closed, ..connect(ForgeKind::Gitlab, &fake.url) }).expect("supported");
    let (sent, asked) = fake.during(vec![], async { api.set_status(&status(ForgeKind::Gitlab)).await }).await;
    assert!(matches!(sent, Err(ForgeError::Invalid(_))), "{sent:?}");
    assert!(asked.is_empty());
}

#[tokio::test]
async fn a_forge_that_does_not_answer_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}", silent.local_addr().expect("bound"))).expect("a URL");
    for &kind in ForgeKind::ALL {
        let connect = Connect { timeout: Duration::from_millis(50), ..connect(kind, &url) };
        let sent = ForgeApi::new(connect).expect("supported").set_status(&status(kind)).await;
        assert_eq!(sent, Err(ForgeError::Transient("no answer within 50 ms".to_owned())), "{kind}");
    }
    // A bound port that does not listen stays ours and refuses.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let url = Url::parse(&format!("http://{}", closed.local_addr().expect("bound"))).expect("a URL");
    let sent = api(ForgeKind::Github, &url).set_status(&status(ForgeKind::Github)).await;
    assert_eq!(sent, Err(ForgeError::Transient("it cannot be reached".to_owned())));
}

#[tokio::test]
async fn a_file_is_waited_for_until_the_limit_and_not_longer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}", silent.local_addr().expect("bound"))).expect("a URL");
    for &kind in ForgeKind::ALL {
        let limit = Duration::from_millis(50);
        let file = FileAt { repo: repo_of(kind), commit: SHA, path: "Dockerfile" };
        let read = contents::read_file(kind, &api(kind, &url).transport, &file, limit).await;
        assert_eq!(read, Err(ForgeError::Transient("no file within 50 ms".to_owned())), "{kind}");
    }
    assert_eq!(contents::LIMIT, Duration::from_secs(3));
}

/// Reads one file at a fake that gives these answers.
async fn read(kind: ForgeKind, path: &str, answers: Vec<Answer>) -> (Result<Option<String>, ForgeError>, Vec<Asked>) {
    let fake = Fake::new().await;
    let api = api(kind, &fake.url);
    let repo = repo_of(kind);
    fake.during(answers, async move { api.read_file(&FileAt { repo, commit: SHA, path }).await }).await
}

#[tokio::test]
async fn github_files() {
    let raw = with_header(200, "content-type", "application/vnd.github.v3.raw; charset=utf-8", "FROM scratch\n");
    let (found, asked) = read(ForgeKind::Github, "a dir/Dockerfile", vec![raw]).await;
    assert_eq!(found, Ok(Some("FROM scratch\n".to_owned())));
    assert_eq!(asked[0].line, format!("GET /api/v3/repos/acme/widget/contents/a%20dir/Dockerfile?ref={SHA}"));
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(asked[0].headers["accept"], "application/vnd.github.v3.raw");

    let object = answer(200, json!({"type": "file", "encoding": "base64", "content": "RlJPTSBz\nY3JhdGNo\n"}));
    assert_eq!(read(ForgeKind::Github, "x", vec![object]).await.0, Ok(Some("FROM scratch".to_owned())));
    assert_eq!(read(ForgeKind::Github, "x", vec![answer(200, json!([{"type": "file"}]))]).await.0, Ok(None));

    let not_found = || answer(404, json!({"message": "Not Found"}));
    let (found, asked) = read(ForgeKind::Github, "slipway.yml", vec![not_found(), answer(200, json!({}))]).await;
    assert_eq!(found, Ok(None));
    assert_eq!(asked[1].line, format!("GET /api/v3/repos/acme/widget/git/commits/{SHA}"));
    let (found, _) = read(ForgeKind::Github, "slipway.yml", vec![not_found(), not_found()]).await;
    assert!(matches!(found, Err(ForgeError::NotFound(_))), "what we may not see is not missing: {found:?}");
}

#[tokio::test]
async fn gitlab_files() {
    let raw = with_header(200, "content-type", "text/plain", "FROM scratch\n");
    let (found, asked) = read(ForgeKind::Gitlab, "a dir/Dockerfile", vec![raw]).await;
    assert_eq!(found, Ok(Some("FROM scratch\n".to_owned())));
    let path = "/api/v4/projects/acme%2Fsub%2Fwidget/repository/files/a%20dir%2FDockerfile/raw";
    assert_eq!(asked[0].line, format!("GET {path}?ref={SHA}"));
    assert_eq!(asked[0].headers["private-token"], TOKEN);

    let missing = |message: &str| vec![answer(404, json!({"message": message}))];
    assert_eq!(read(ForgeKind::Gitlab, "slipway.yml", missing("404 File Not Found")).await.0, Ok(None));
    for message in ["404 Project Not Found", "404 Commit Not Found"] {
        let (found, _) = read(ForgeKind::Gitlab, "slipway.yml", missing(message)).await;
        assert!(matches!(found, Err(ForgeError::NotFound(_))), "{message}: {found:?}");
    }
}

/// Asks for the commit of a ref at a fake that gives this answer.
async fn head(kind: ForgeKind, git_ref: &str, told: Answer) -> (Result<Option<String>, ForgeError>, String) {
    let fake = Fake::new().await;
    let api = api(kind, &fake.url);
    let git_ref = GitRef::parse(git_ref).expect("a ref");
    let (found, asked) = fake.during(vec![told], async move { api.head_of("acme/widget", &git_ref).await }).await;
    (found, asked.first().map(|asked| asked.line.clone()).unwrap_or_default())
}

#[tokio::test]
async fn refs_point_to_commits() {
    let (found, line) = head(ForgeKind::Github, "refs/heads/a/b#c", answer(200, json!({"sha": SHA}))).await;
    assert_eq!(
        (found, line.as_str()),
        (Ok(Some(SHA.to_owned())), "GET /api/v3/repos/acme/widget/commits/heads/a/b%23c")
    );
    let (found, line) = head(ForgeKind::Gitlab, "refs/heads/a/b", answer(200, json!({"commit": {"id": SHA}}))).await;
    let wanted = "GET /api/v4/projects/acme%2Fwidget/repository/branches/a%2Fb";
    assert_eq!((found, line.as_str()), (Ok(Some(SHA.to_owned())), wanted));
    let (found, line) = head(ForgeKind::Gitlab, "refs/tags/v1", answer(200, json!({"commit": {"id": SHA}}))).await;
    assert_eq!(
        (found, line.as_str()),
        (Ok(Some(SHA.to_owned())), "GET /api/v4/projects/acme%2Fwidget/repository/tags/v1")
    );
    for kind in [ForgeKind::Github, ForgeKind::Gitlab] {
        assert_eq!(head(kind, "refs/heads/none", answer(404, json!({"message": "404"}))).await.0, Ok(None));
        let short = json!({"sha": "abc", "commit": {"id": "abc"}});
        assert!(matches!(head(kind, "refs/heads/odd", answer(200, short)).await.0, Err(ForgeError::Invalid(_))));
        assert_eq!(head(kind, "refs/heads/x", answer(401, json!({}))).await.0, Err(ForgeError::Unauthorized(401)));
    }
}

#[tokio::test]
async fn a_short_id_becomes_no_other_commit() {
    for hash in [OLD_SHA, &SHA[..12], "no id"] {
        let fake = Fake::new().await;
        let api = api(ForgeKind::Bitbucket, &fake.url);
        let told = vec![answer(200, json!({"hash": hash}))];
        let (found, _) = fake.during(told, async move { api.full_commit("acme/widget", &SHA[..12]).await }).await;
        assert!(matches!(found, Err(ForgeError::Invalid(_))), "{hash}: {found:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown() {
    for &kind in ForgeKind::ALL {
        let huge = with_header(200, "content-type", "text/plain", "x".repeat(5 << 20));
        assert!(matches!(read(kind, "x", vec![huge]).await.0, Err(ForgeError::Invalid(_))), "{kind}");
        for status in [401, 403, 429, 500] {
            assert!(read(kind, "x", vec![answer(status, "")]).await.0.is_err(), "{kind} {status}");
        }
        for path in ["", "/etc/passwd", "../x", "a//b", "a/./b"] {
            let (found, asked) = read(kind, path, vec![]).await;
            assert!(matches!(found, Err(ForgeError::Invalid(_))) && asked.is_empty(), "{kind} {path}");
        }
    }
}

#[tokio::test]
async fn what_would_break_the_address_is_not_sent() {
    let fake = Fake::new().await;
    let api = api(ForgeKind::Github, &fake.url);
    let work = async {
        for repo in ["acme", "acme/", "../x", "a/..", "a/b/c", "a/b?x", "a/b#", "a b/c", "/a"] {
            let sent = api.set_status(&CommitStatus { repo: repo.to_owned(), ..status(ForgeKind::Github) }).await;
            assert!(matches!(sent, Err(ForgeError::Invalid(_))), "{repo}: {sent:?}");
        }
        let commit = "HEAD".to_owned();
        let sent = api.set_status(&CommitStatus { commit, ..status(ForgeKind::Github) }).await;
        assert!(matches!(sent, Err(ForgeError::Invalid(_))), "{sent:?}");
    };
    assert!(fake.during(vec![], work).await.1.is_empty());
}

#[tokio::test]
async fn long_texts_are_cut_to_what_the_forge_takes() {
    let long = CommitStatus {
        description: "ü".repeat(400),
        target_url: Some(format!("https://ci.example/{}", "x".repeat(400))),
        ref_name: Some("r".repeat(400)),
        ..status(ForgeKind::Gitlab)
    };
    let fake = Fake::new().await;
    let lab = api(ForgeKind::Gitlab, &fake.url);
    let (sent, asked) = fake.during(vec![answer(201, "{}")], async { lab.set_status(&long).await }).await;
    assert!(sent.is_ok(), "{sent:?}");
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(asked[0].body.as_bytes()).into_owned().collect();
    assert!(form["description"].ends_with("ü…") && form["description"].len() <= 255);
    assert!(!form.contains_key("target_url") && !form.contains_key("ref"));

    let fake = Fake::new().await;
    let hub = api(ForgeKind::Github, &fake.url);
    let long = CommitStatus { repo: "acme/widget".to_owned(), ..long };
    let (sent, asked) = fake.during(vec![answer(201, "{}")], async { hub.set_status(&long).await }).await;
    assert!(sent.is_ok(), "{sent:?}");
    let body: Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(body["description"].as_str().map(|text| text.chars().count()), Some(140));
}

#[test]
fn states_have_each_forges_words() {
    let github = |state| serde_json::to_value(crate::github::status::word(state)).expect("a word");
    let gitlab = |state| format!("{:?}", crate::gitlab::status::word(state)).to_lowercase();
    let table = [
        (BuildState::Pending, "pending", "pending"),
        (BuildState::Running, "pending", "running"),
        (BuildState::Succeeded, "success", "success"),
        (BuildState::Failed, "failure", "failed"),
        (BuildState::Errored, "error", "failed"),
        (BuildState::Cancelled, "error", "canceled"),
        (BuildState::Superseded, "error", "canceled"),
        (BuildState::Skipped, "success", "skipped"),
    ];
    assert_eq!(table.len(), BuildState::ALL.len());
    for (state, on_github, on_gitlab) in table {
        assert_eq!((github(state), gitlab(state)), (json!(on_github), on_gitlab.to_owned()), "{state}");
    }
}

#[test]
fn bases_and_credentials() {
    let base = |kind, base_url: Option<&str>| {
        let base_url = base_url.map(|text| Url::parse(text).expect("a URL"));
        api_base(kind, base_url.as_ref()).map(String::from)
    };
    for (kind, base_url, expected) in [
        (ForgeKind::Github, None, "https://api.github.com/"),
        (ForgeKind::Github, Some("https://github.com"), "https://api.github.com/"),
        (ForgeKind::Github, Some("https://api.github.com/"), "https://api.github.com/"),
        (ForgeKind::Github, Some("https://acme.ghe.com"), "https://api.acme.ghe.com/"),
        (ForgeKind::Github, Some("https://api.acme.ghe.com"), "https://api.acme.ghe.com/"),
        (ForgeKind::Github, Some("https://git.corp"), "https://git.corp/api/v3/"),
        (ForgeKind::Github, Some("https://git.corp/api/v3"), "https://git.corp/api/v3/"),
        (ForgeKind::Gitlab, None, "https://gitlab.com/api/v4/"),
        (ForgeKind::Gitlab, Some("https://git.corp:8443/gitlab/"), "https://git.corp:8443/gitlab/api/v4/"),
        (ForgeKind::Gitlab, Some("https://git.corp/api/v4/"), "https://git.corp/api/v4/"),
        (ForgeKind::Bitbucket, None, "https://api.bitbucket.org/2.0/"),
        (ForgeKind::Bitbucket, Some("https://bitbucket.org/"), "https://api.bitbucket.org/2.0/"),
        (ForgeKind::Bitbucket, Some("https://api.bitbucket.org/2.0"), "https://api.bitbucket.org/2.0/"),
        (ForgeKind::BitbucketDc, Some("https://git.corp/bitbucket/"), "https://git.corp/bitbucket/rest/"),
        (ForgeKind::BitbucketDc, Some("https://git.corp/rest/api/1.0"), "https://git.corp/rest/"),
        (ForgeKind::Gitea, Some("https://git.corp/gitea"), "https://git.corp/gitea/api/v1/"),
        (ForgeKind::Gitea, Some("https://git.corp/api/v1/"), "https://git.corp/api/v1/"),
        (ForgeKind::Gitee, None, "https://gitee.com/api/v5/"),
        (ForgeKind::Gitee, Some("https://gitee.com"), "https://gitee.com/api/v5/"),
        (ForgeKind::Coding, None, "https://e.coding.net/"),
        (ForgeKind::Coding, Some("https://coding.corp/open-api"), "https://coding.corp/"),
    ] {
        assert_eq!(base(kind, base_url).as_deref(), Ok(expected), "{base_url:?}");
    }
    for bad in ["ftp://git.corp", "https://git.corp/?x=1", "https://git.corp/#x"] {
        assert!(base(ForgeKind::Gitlab, Some(bad)).is_err(), "{bad}");
    }
    for kind in [ForgeKind::BitbucketDc, ForgeKind::Gitea] {
        assert!(matches!(base(kind, None), Err(ForgeError::Invalid(_))), "{kind} has no public instance");
    }
    let url = Url::parse("https://git.corp").expect("a URL");
    let odd = Connect { token: "two\nlines".to_owned(), ..connect(ForgeKind::Github, &url) };
    assert!(matches!(ForgeApi::new(odd).err(), Some(ForgeError::Invalid(_))));
}
