//! Check runs against a GitHub that keeps them, and refuses what GitHub refuses.

use std::time::Duration;

use serde_json::{Value, json};
use slipway_runtime::clock::Clock;
use slipway_runtime::egress::Egress;

use super::*;
use crate::api::Connect;
use crate::github::fake::{Asked, Fake, Inside, Reply, State};
use crate::testing::{OLD_SHA, SHA};

const TOKEN: &str = "ghs_token";

/// What the next request meets, and whether it is done all the same.
enum Trouble {
    Refused(Reply),
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done, and something on the way says otherwise.
    Broken,
}

#[derive(Default)]
struct GitHub {
    runs: Vec<Run>,
    requests: Vec<String>,
    /// Before so many requests there is no trouble.
    calm: usize,
    trouble: Option<Trouble>,
}

struct Run {
    id: u64,
    sha: String,
    fields: Value,
    notes: Vec<Value>,
    /// Each status that it was in, with its conclusion.
    past: Vec<String>,
}

impl Run {
    fn json(&self) -> Value {
        let mut fields = self.fields.clone();
        fields["id"] = json!(self.id);
        fields["head_sha"] = json!(self.sha);
        fields["output"]["annotations_count"] = json!(self.notes.len());
        fields
    }

    fn learn(&mut self, body: &Value) {
        let mut body = body.clone();
        if let Some(notes) = body["output"].as_object_mut().expect("always sent").remove("annotations") {
            self.notes.extend(notes.as_array().expect("a list").clone());
        }
        let conclusion = body["conclusion"].as_str().unwrap_or("-");
        self.past.push(format!("{} {conclusion}", body["status"].as_str().expect("text")));
        for (name, value) in body.as_object().expect("fields") {
            self.fields[name] = value.clone();
        }
    }
}

impl State for GitHub {
    fn reply(&mut self, asked: &Asked) -> Option<Reply> {
        self.requests.push(asked.line.clone());
        let trouble = if self.requests.len() > self.calm { self.trouble.take() } else { None };
        match trouble {
            Some(Trouble::Refused(reply)) => Some(reply),
            Some(Trouble::Lost) => self.act(asked).map(Reply::lost),
            Some(Trouble::Broken) => self.act(asked).map(|_| Reply::refused(502, "<html>")),
            None => self.act(asked),
        }
    }
}

impl GitHub {
    fn act(&mut self, asked: &Asked) -> Option<Reply> {
        if asked.bearer() != TOKEN {
            return Some(Reply::refused(401, "Bad credentials"));
        }
        let (method, path) = asked.line.split_once(' ')?;
        let path = path.strip_prefix("/repos/acme/widget/")?;
        if let ("GET", Some(sha)) =
            (method, path.strip_prefix("commits/").and_then(|path| path.strip_suffix("/check-runs")))
        {
            return Some(self.list(sha, asked));
        }
        if matches!(method, "POST" | "PATCH")
            && let Err(words) = valid(&asked.body, method == "POST")
        {
            return Some(Reply::refused(422, &words));
        }
        let id = path.strip_prefix("check-runs")?.strip_prefix('/');
        match (method, id) {
            ("POST", None) => Some(self.make(&asked.body)),
            ("GET", Some(id)) => Some(match self.find(id) {
                Some(run) => Reply::new(200, run.json()),
                None => Reply::refused(404, "Not Found"),
            }),
            ("PATCH", Some(id)) => Some(match self.find(id) {
                Some(run) => {
                    run.learn(&asked.body);
                    Reply::new(200, run.json())
                }
                None => Reply::refused(404, "Not Found"),
            }),
            _ => None,
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id.to_string() == id)
    }

    fn list(&self, sha: &str, asked: &Asked) -> Reply {
        let name = asked.query.get("check_name");
        let mut found: Vec<&Run> = self
            .runs
            .iter()
            .filter(|run| run.sha == sha && run.fields["name"].as_str() == name.map(String::as_str))
            .collect();
        if asked.query.get("filter").is_none_or(|filter| filter != "all") {
            found = found.split_off(found.len().saturating_sub(1));
        }
        let runs: Vec<Value> = found.into_iter().map(Run::json).collect();
        Reply::new(200, json!({"total_count": runs.len(), "check_runs": runs}))
    }

    fn make(&mut self, body: &Value) -> Reply {
        let id = 100 + self.runs.len() as u64;
        let mut fields = body.clone();
        let sha = fields.as_object_mut().expect("fields").remove("head_sha").expect("checked");
        let mut run =
            Run { id, sha: sha.as_str().expect("text").to_owned(), fields: json!({}), notes: vec![], past: vec![] };
        run.learn(&fields);
        self.runs.push(run);
        Reply::new(201, self.runs[self.runs.len() - 1].json())
    }
}

/// As GitHub looks at a body.
fn valid(body: &Value, new: bool) -> Result<(), String> {
    let known = [
        "head_sha",
        "name",
        "external_id",
        "details_url",
        "status",
        "conclusion",
        "started_at",
        "completed_at",
        "output",
    ];
    let fields = body.as_object().ok_or("no fields")?;
    if let Some(other) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(format!("unknown: {other}"));
    }
    if fields.contains_key("head_sha") != new {
        return Err("head_sha".to_owned());
    }
    let done = body["status"] == "completed";
    if fields.contains_key("conclusion") != done || (fields.contains_key("completed_at") && !done) {
        return Err("conclusion".to_owned());
    }
    for time in ["started_at", "completed_at"] {
        if fields.get(time).is_some_and(|time| DateTime::parse_from_rfc3339(time.as_str().unwrap_or_default()).is_err())
        {
            return Err(time.to_owned());
        }
    }
    let output = &body["output"];
    let length = |field: &str| output[field].as_str().map_or(usize::MAX, |text| text.chars().count());
    if length("title") > 255 || length("summary") > 65_535 {
        return Err("output".to_owned());
    }
    let notes: &[Value] = output["annotations"].as_array().map_or(&[], Vec::as_slice);
    if notes.len() > 50 {
        return Err("annotations".to_owned());
    }
    for note in notes {
        let line = |field: &str| note[field].as_u64().unwrap_or_default();
        let texts = ["path", "message"].iter().all(|field| note[field].as_str().is_some_and(|text| !text.is_empty()));
        let level = ["notice", "warning", "failure"].contains(&note["annotation_level"].as_str().unwrap_or_default());
        if !texts || !level || line("start_line") == 0 || line("end_line") < line("start_line") {
            return Err(format!("annotation {note}"));
        }
    }
    Ok(())
}

fn connect(fake: &Fake<GitHub>) -> Connect {
    Connect {
        kind: ForgeKind::Github,
        base_url: Some(fake.url.clone()),
        token: TOKEN.to_owned(),
        egress: Egress::new("127.0.0.0/8".parse().expect("a good list")),
        clock: Clock::system(),
        timeout: Duration::from_secs(20),
    }
}

async fn meet() -> (Fake<GitHub>, ForgeApi, Inside<GitHub>) {
    let fake = Fake::new(GitHub::default()).await;
    let api = ForgeApi::new(connect(&fake)).expect("an address");
    let inside = fake.inside();
    (fake, api, inside)
}

fn time(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + secs, 0).expect("a time")
}

fn run(state: BuildState) -> CheckRun {
    CheckRun {
        repo: "acme/widget".to_owned(),
        commit: SHA.to_owned(),
        name: "ci/slipway/widget & co".to_owned(),
        state,
        external_id: "build-1".to_owned(),
        details_url: Some("https://ci.example/builds/1".to_owned()),
        title: "RUN make failed".to_owned(),
        summary: "**no**".to_owned(),
        annotations: Vec::new(),
        started_at: Some(time(0)),
        completed_at: state.is_terminal().then(|| time(60)),
    }
}

fn notes(count: u32) -> Vec<Annotation> {
    let note = |line| Annotation {
        path: "Dockerfile".to_owned(),
        start_line: line,
        end_line: line,
        level: AnnotationLevel::Failure,
        message: format!("note {line}"),
        title: None,
    };
    (1..=count).map(note).collect()
}

/// The lines of the notes that GitHub has.
fn lines(run: &Run) -> Vec<u64> {
    run.notes.iter().map(|note| note["start_line"].as_u64().expect("a line")).collect()
}

#[tokio::test]
async fn one_build_is_one_check_run_from_queued_to_its_end() {
    let (fake, api, inside) = meet().await;
    let ended = CheckRun { annotations: notes(1), ..run(BuildState::Failed) };
    let work = async {
        let queued = CheckRun { started_at: None, details_url: None, ..run(BuildState::Pending) };
        let id = api.set_check_run(&queued, None).await.expect("made");
        assert_eq!(api.set_check_run(&run(BuildState::Running), Some(id)).await, Ok(id));
        assert_eq!(api.set_check_run(&ended, Some(id)).await, Ok(id));
        id
    };
    let id = fake.during(work).await;
    inside.with(|github| {
        let [run] = github.runs.as_slice() else { panic!("{} check runs", github.runs.len()) };
        assert_eq!(run.id, id);
        assert_eq!(run.past, ["queued -", "in_progress -", "completed failure"]);
        let fields = json!({
            "name": "ci/slipway/widget & co", "external_id": "build-1", "details_url": "https://ci.example/builds/1",
            "status": "completed", "conclusion": "failure", "started_at": "2025-06-15T15:06:40Z",
            "completed_at": "2025-06-15T15:07:40Z", "output": {"title": "RUN make failed", "summary": "**no**"},
        });
        assert_eq!(run.fields, fields);
        let note = json!({"path": "Dockerfile", "start_line": 1, "end_line": 1, "annotation_level": "failure",
                          "message": "note 1"});
        assert_eq!(run.notes, [note]);
        let asked = [
            &format!("GET /repos/acme/widget/commits/{SHA}/check-runs"),
            "POST /repos/acme/widget/check-runs",
            "PATCH /repos/acme/widget/check-runs/100",
            "GET /repos/acme/widget/check-runs/100",
            "PATCH /repos/acme/widget/check-runs/100",
        ];
        assert_eq!(github.requests, asked);
    });
}

#[test]
fn every_state_has_its_words() {
    let table = [
        (BuildState::Pending, "queued", None),
        (BuildState::Running, "in_progress", None),
        (BuildState::Succeeded, "completed", Some("success")),
        (BuildState::Failed, "completed", Some("failure")),
        (BuildState::Errored, "completed", Some("failure")),
        (BuildState::Cancelled, "completed", Some("cancelled")),
        (BuildState::Superseded, "completed", Some("cancelled")),
        (BuildState::Skipped, "completed", Some("skipped")),
    ];
    for &state in BuildState::ALL {
        let row = table.iter().find(|row| row.0 == state).expect("in the table");
        let (status, conclusion) = words(state);
        assert_eq!((json!(status), json!(conclusion)), (json!(row.1), json!(row.2)), "{state}");
        assert_eq!(conclusion.is_some(), state.is_terminal(), "{state}");
    }
}

/// Whoever made it, and however we did not hear of it: the next call finds it.
#[tokio::test]
async fn a_lost_answer_makes_no_second_check_run() {
    for trouble in [Trouble::Lost, Trouble::Broken] {
        let fake = Fake::new(GitHub { calm: 1, trouble: Some(trouble), ..GitHub::default() }).await;
        let short = Duration::from_millis(300);
        let impatient = ForgeApi::new(Connect { timeout: short, ..connect(&fake) }).expect("an address");
        let (api, inside) = (ForgeApi::new(connect(&fake)).expect("an address"), fake.inside());
        let work = async {
            let lost = impatient.set_check_run(&run(BuildState::Pending), None).await;
            assert!(matches!(lost, Err(ForgeError::Transient(_))), "{lost:?}");
            assert_eq!(inside.with(|github| github.runs.len()), 1, "it was done");
            // A newer build of the same commit reports meanwhile, under the same name.
            let newer = CheckRun { external_id: "build-2".to_owned(), ..run(BuildState::Running) };
            assert_eq!(api.set_check_run(&newer, None).await, Ok(101));
            let elsewhere = CheckRun { commit: OLD_SHA.to_owned(), ..run(BuildState::Pending) };
            assert_eq!(api.set_check_run(&elsewhere, None).await, Ok(102));
            assert_eq!(api.set_check_run(&run(BuildState::Running), None).await, Ok(100));
        };
        fake.during(work).await;
        inside.with(|github| {
            assert_eq!(github.runs.len(), 3);
            assert_eq!(github.runs[0].past, ["queued -", "in_progress -"]);
            assert_eq!(github.runs[1].past, ["in_progress -"], "another build's is left alone");
        });
    }
}

#[tokio::test]
async fn annotations_go_in_fifties_and_end_at_two_hundred() {
    for (count, expected, writes) in [(0, 0, 1), (50, 50, 1), (51, 51, 2), (120, 120, 3), (333, 200, 4)] {
        let (fake, api, inside) = meet().await;
        let ended = CheckRun { annotations: notes(count), ..run(BuildState::Failed) };
        fake.during(async { api.set_check_run(&ended, None).await.expect("made") }).await;
        inside.with(|github| {
            assert_eq!(lines(&github.runs[0]), (1..=expected).collect::<Vec<_>>(), "{count}");
            assert_eq!(github.requests.len(), 1 + writes, "{count}");
            assert!(github.runs[0].past.iter().all(|past| past == "completed failure"));
        });
    }
}

/// Wherever the sending of 120 annotations breaks off, repeating it completes them and doubles none.
#[tokio::test]
async fn annotations_are_not_doubled_by_repeating() {
    for calm in 1..=3 {
        for knows in [false, true] {
            let fake = Fake::new(GitHub { calm, trouble: Some(Trouble::Broken), ..GitHub::default() }).await;
            let (api, inside) = (ForgeApi::new(connect(&fake)).expect("an address"), fake.inside());
            let ended = CheckRun { annotations: notes(120), ..run(BuildState::Failed) };
            let known = knows.then_some(100);
            let work = async {
                let broken = api.set_check_run(&ended, None).await;
                assert!(matches!(broken, Err(ForgeError::Transient(_))), "{broken:?}");
                assert_eq!(api.set_check_run(&ended, known).await, Ok(100), "{calm}");
                assert_eq!(api.set_check_run(&ended, known).await, Ok(100), "{calm}");
            };
            fake.during(work).await;
            inside.with(|github| {
                assert_eq!(github.runs.len(), 1);
                assert_eq!(lines(&github.runs[0]), (1..=120).collect::<Vec<_>>(), "{calm} {knows}");
            });
        }
    }
}

#[tokio::test]
async fn whatever_is_in_it_github_takes_it() {
    let (fake, api, inside) = meet().await;
    let note = |path: &str, start_line, end_line, message: String| Annotation {
        path: path.to_owned(),
        start_line,
        end_line,
        level: AnnotationLevel::Warning,
        message,
        title: Some("t".repeat(1000)),
    };
    let odd = CheckRun {
        title: "ü".repeat(1000),
        summary: "ü".repeat(50_000),
        annotations: vec![
            note("a", 0, 0, "zero".to_owned()),
            note("b", 7, 3, "backwards".to_owned()),
            note("", 1, 1, "nowhere".to_owned()),
            note("c", 1, 1, String::new()),
            note("d", 1, 1, "é".repeat(100_000)),
        ],
        completed_at: Some(time(1)),
        ..run(BuildState::Running)
    };
    let work = async {
        let id = api.set_check_run(&odd, None).await.expect("taken");
        assert_eq!(api.set_check_run(&odd, Some(id)).await, Ok(id));
    };
    fake.during(work).await;
    inside.with(|github| {
        let run = &github.runs[0];
        let summary = run.fields["output"]["summary"].as_str().expect("text");
        assert_eq!(summary.len(), 65_534, "at a character's end");
        let places: Vec<_> =
            run.notes.iter().map(|note| (&note["path"], &note["start_line"], &note["end_line"])).collect();
        let expected =
            [(json!("a"), json!(1), json!(1)), (json!("b"), json!(7), json!(7)), (json!("d"), json!(1), json!(1))];
        assert_eq!(places, expected.iter().map(|(path, start, end)| (path, start, end)).collect::<Vec<_>>());
        assert_eq!(run.notes[2]["message"].as_str().map(str::len), Some(65_534));
    });
}

#[tokio::test]
async fn refusals_are_sorted_and_nothing_is_sent_twice() {
    let wait = |secs| ForgeError::RetryAfter(Duration::from_secs(secs));
    let table = [
        (Reply::refused(403, "slow down").with("retry-after", 17), wait(17)),
        (Reply::refused(429, "slow down"), wait(60)),
        (Reply::refused(403, "Resource not accessible by integration"), ForgeError::Unauthorized(403)),
        (Reply::refused(404, "Not Found"), ForgeError::NotFound("Not Found".to_owned())),
        (Reply::refused(422, "No"), ForgeError::Rejected { status: 422, message: "No".to_owned() }),
        (Reply::refused(503, "sorry"), ForgeError::Transient("status 503".to_owned())),
    ];
    for (reply, expected) in table {
        for known in [None, Some(100)] {
            let reply = Reply::clone(&reply);
            let calm = usize::from(known.is_none());
            let fake = Fake::new(GitHub { calm, trouble: Some(Trouble::Refused(reply)), ..GitHub::default() }).await;
            let (api, inside) = (ForgeApi::new(connect(&fake)).expect("an address"), fake.inside());
            let set = fake.during(async { api.set_check_run(&run(BuildState::Running), known).await }).await;
            assert_eq!(set, Err(expected.clone()));
            assert_eq!(inside.with(|github| github.requests.len()), calm + 1);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_a_check_run_is_not_sent() {
    let (fake, api, inside) = meet().await;
    let good = || run(BuildState::Running);
    let other = ForgeApi::new(Connect { kind: ForgeKind::Gitea, ..connect(&fake) }).expect("an address");
    let table = [
        (&api, CheckRun { commit: "abc".to_owned(), ..good() }),
        (&api, CheckRun { repo: "acme/../x".to_owned(), ..good() }),
        (&api, CheckRun { external_id: String::new(), ..good() }),
        (&api, CheckRun { name: String::new(), ..good() }),
        (&other, good()),
    ];
    let work = async {
        for (api, run) in table {
            let set = api.set_check_run(&run, None).await;
            assert!(matches!(set, Err(ForgeError::Invalid(_))), "{run:?}: {set:?}");
        }
    };
    fake.during(work).await;
    assert!(inside.with(|github| github.requests.is_empty()));
}
