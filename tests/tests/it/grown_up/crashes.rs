//! Every role and builder dies between every two of its effects, while another of its kind goes on and builds are
//! pushed all the time. Each process dies by itself, at each of its points once, and is started again; afterwards the
//! rows, the logs, the registry and the forge must be as if nobody had died.
//!
//! All of it happens to one cluster, side by side: a lane per process, each point with a project of its own. What tells
//! the lanes apart is who may pay: an attempt is lost only with the builder that had it, and the death of a role costs
//! nobody an attempt.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use slipway_tests::api::{Api, Project};
use slipway_tests::chaos::checker;
use slipway_tests::chaos::client::{Push, Pushes, Script, deliver, dockerfile};
use slipway_tests::chaos::site::{Engines, Host, Site};
use slipway_tests::env::cluster::Member;
use slipway_tests::env::repo::Repo;
use slipway_tests::fake_forge::{Answer, FakeForge, TOKEN};
use slipway_tests::hooks::github;
use slipway_tests::wait::eventually;
use slipway_tests::world::Forge;
use sqlx::{PgPool, Row as _};

/// Where an `api` dies. First what leaves a lease behind, which the other one waits for.
const API: &[&str] = &[
    "build.before_commit",
    "build.after_commit",
    "status.sent",
    "status.wanted",
    "delivery.before_commit",
    "delivery.after_commit",
];
/// Where the leading `scheduler` dies.
const SCHEDULER: &[&str] = &["admission.before_commit", "admission.after_commit"];
/// Where a `dispatcher` dies.
const DISPATCHER: &[&str] = &[
    "dispatch.before_commit",
    "dispatch.before_publish",
    "offer.before_confirm",
    "offer.confirmed",
    "claim.before_ack",
    "claim.before_commit",
    "claim.after_commit",
    "leave.before_commit",
    "leave.after_commit",
    "leave.returned",
    "finish.before_commit",
    "finish.after_commit",
];
/// Those of them at which it serves the sessions of builders that it keeps itself.
const WITH_SESSIONS: &[&str] = &[
    "dispatch.before_commit",
    "dispatch.before_publish",
    "offer.before_confirm",
    "offer.confirmed",
    "claim.before_ack",
];
/// Where a `logsvc` dies.
const LOGSVC: &[&str] = &["log.segment_stored", "log.segment_booked", "log.sealed"];
/// Where a builder dies that takes its offers from the broker. First what leaves a tag's lease behind.
const FROM_BROKER: &[&str] = &[
    "builder.leave.granted",
    "builder.tag.moved",
    "builder.claimed",
    "builder.acked",
    "builder.carrier.pushed",
    "builder.leave.returned",
    "builder.finish",
    "builder.finished",
];
/// Where a builder dies that gets its offers over its session.
const FROM_SESSION: &[&str] = &["builder.tag.moved", "builder.claimed", "builder.finish"];

/// How long builds may be pushed until a process has died at its point: a lead and leases may have to end before.
const DIES: Duration = Duration::from_secs(90);
/// Between two pushes of a lane: so many times the number of its pushes, up to eight.
const PAUSE: Duration = Duration::from_millis(500);
/// Sessions that went elsewhere are brought back after this time.
const SESSIONS_STAY: Duration = Duration::from_secs(10);
/// How long a forge may wait for its last status.
const TOLD: Duration = Duration::from_secs(60);
/// Jobs at once on a builder that dies: some of them wait for the leases of tags that its death left behind.
const SLOTS: u32 = 16;
/// Lines of a build's step.
const LINES: usize = 40;
/// The points of each process that dies.
const LANES: [&[&str]; 6] = [API, SCHEDULER, DISPATCHER, LOGSVC, FROM_BROKER, FROM_SESSION];

/// A repository with its project and, where that is asked, a forge that is told how builds stand.
struct Place {
    number: usize,
    repo: Repo,
    project: Project,
    forge: Option<FakeForge>,
}

impl Place {
    async fn new(site: &Site, number: usize, is_told: bool) -> Result<Self> {
        let path = format!("crash/{}-{number}", site.name);
        let repo = site.git.repo(&path)?;
        let mut body = json!({
            "name": path,
            "forge": { "kind": "github" },
            "repo": { "full_path": path, "clone_url": repo.clone_url() },
            "image": { "repository": site.image(number) },
            "build": { "no_cache": true },
        });
        let mut forge = None;
        if is_told {
            let fake = FakeForge::start(Forge::Github, &path).await?;
            let connection = json!({ "kind": "github", "base_url": fake.base_url(), "token": TOKEN });
            let made: Value = site.api().expect(Method::POST, "/api/v1/connections", Some(&connection)).await?;
            body["connection"] = made["id"].clone();
            body["forge"] = Value::Null;
            forge = Some(fake);
        }
        let project = site.api().create_project(&body).await?;
        Ok(Self { number, repo, project, forge })
    }

    /// Commits, and tells of it until somebody says that it is stored.
    async fn push(&self, api: &Api, number: usize, slow_secs: u64) -> Result<Push> {
        let script = Script::Succeeds;
        let dockerfile = dockerfile(self.number, number, script, (LINES, slow_secs));
        let moved = self.repo.commit(&format!("Change {number}"), &[("Dockerfile", &dockerfile)])?;
        let commit = moved.after.clone().context("a commit has an id")?;
        let delivery = github::push(&self.repo, &moved, &self.project.hook.secret);
        let delivery = deliver(api, &self.project.hook.url, &delivery).await;
        ensure!(delivery.is_some(), "nobody answered for push {number} of {}", self.project.name);
        Ok(Push { project: self.number, number, commit, script, lines: LINES, delivery, cancel: None })
    }

    /// Whether the forge was told of each of these commits, to the end and in order.
    async fn was_told(&self, pushes: &[Push]) -> Result<()> {
        let Some(forge) = &self.forge else { return Ok(()) };
        for push in pushes.iter().filter(|push| push.project == self.number) {
            let told = forge.told_when(TOLD, |told| {
                told.iter().rfind(|told| told.commit == push.commit).is_some_and(|told| told.state == "success")
            });
            let told = told.await.with_context(|| format!("statuses of {}", push.commit))?;
            let own = told.iter().filter(|told| told.commit == push.commit && told.answer == Answer::Take);
            let states: Vec<_> = own.map(|told| told.state.as_str()).collect();
            ensure!(states.is_sorted(), "an older status after a newer one: {states:?}");
        }
        ensure!(forge.wrong().is_empty(), "{:?}", forge.wrong());
        Ok(())
    }
}

/// Who dies.
enum Victim<'a> {
    Role(&'a mut Member),
    Builder(&'a mut Host),
}

impl Victim<'_> {
    /// Starts it so that it dies at this point; with none, for good.
    async fn start(&mut self, point: Option<&str>) -> Result<()> {
        let armed: Vec<_> =
            point.map(|point| ("SLIPWAY_TEST_CRASH_AT".to_owned(), point.to_owned())).into_iter().collect();
        match self {
            Self::Role(member) => {
                member.start_again(&armed)?;
                // Builds of other lanes may have brought it there already.
                let ready = member.ready().await;
                if point.is_some() && member.exited()?.is_some() { Ok(()) } else { ready }
            }
            // It joins when it can.
            Self::Builder(host) => {
                host.start_again_with(&[armed, vec![("SLIPWAY_SLOTS".to_owned(), SLOTS.to_string())]].concat())
            }
        }
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Role(member) => member.exited(),
            Self::Builder(host) => host.exited(),
        }
    }
}

/// What the other one of a victim's kind has to do before that dies.
enum Other<'a> {
    /// To go on.
    Nothing,
    /// To end for a moment, so that builders come to the victim.
    Sessions(&'a mut Member),
    /// To leave the lead to the victim.
    Lead(&'a mut Member),
}

/// One process that dies again and again, with the places where its builds come from, one for each point.
struct Lane<'a> {
    victim: Victim<'a>,
    other: Other<'a>,
    points: &'static [&'static str],
    places: &'a [Place],
    api: Api,
    db: PgPool,
    slow_secs: u64,
    began: Instant,
}

impl Lane<'_> {
    async fn run(mut self) -> Result<Vec<Push>> {
        let pushes = self.all_die().await?;
        self.victim.start(None).await?;
        Ok(pushes)
    }

    /// Leaves the victim dead.
    async fn all_die(&mut self) -> Result<Vec<Push>> {
        let mut pushes = Vec::new();
        for (point, place) in self.points.iter().zip(self.places) {
            let died = self.dies(point, place).await;
            let died = died.with_context(|| format!("dying at {point}"))?;
            // Shown with a failed test.
            eprintln!("{:6.1} s  {point}, {} builds", self.began.elapsed().as_secs_f64(), died.len());
            pushes.extend(died);
        }
        Ok(pushes)
    }

    async fn dies(&mut self, point: &str, place: &Place) -> Result<Vec<Push>> {
        self.take_lead(point).await?;
        let began = Instant::now();
        let (mut pushes, mut fetched) = (Vec::new(), None::<Instant>);
        loop {
            if WITH_SESSIONS.contains(&point) && fetched.is_none_or(|at| at.elapsed() > SESSIONS_STAY) {
                fetched = Some(Instant::now());
                self.fetch_sessions()?;
            }
            pushes.push(place.push(&self.api, pushes.len() + 1, self.slow_secs).await?);
            let pause = PAUSE * u32::try_from(pushes.len().min(8))?;
            let victim = &mut self.victim;
            let ended = eventually("its end", pause, || {
                let exited = victim.exited();
                async move { exited }
            });
            if let Ok(status) = ended.await {
                ensure!(status.signal() == Some(Signal::ABORT.as_raw()), "it ended with {status}");
                self.end_lease().await?;
                return Ok(pushes);
            }
            ensure!(began.elapsed() < DIES, "it was never there in {} builds", pushes.len());
        }
    }

    /// Starts the victim, and sees to it that it leads.
    async fn take_lead(&mut self, point: &str) -> Result<()> {
        let (Victim::Role(victim), Other::Lead(other)) = (&mut self.victim, &mut self.other) else {
            return self.victim.start(Some(point)).await;
        };
        for member in [victim, other] {
            if member.exited()?.is_none() {
                member.signal(Signal::TERM)?;
                member.ended().await?;
            }
        }
        self.victim.start(Some(point)).await?;
        // The first that starts leads.
        if let Other::Lead(other) = &mut self.other { other.start_again(&[]) } else { Ok(()) }
    }

    /// The lead that a death leaves behind ends by itself, later; all others would wait for it here.
    async fn end_lease(&self) -> Result<()> {
        if let Other::Lead(_) = &self.other {
            let end = "update leaders set expires_at = now() where name = 'scheduler'";
            sqlx::query(end).execute(&self.db).await?;
        }
        Ok(())
    }

    /// Lets the builders come to the victim, by a death of the other dispatcher.
    fn fetch_sessions(&mut self) -> Result<()> {
        match &mut self.other {
            Other::Sessions(other) => other.start_again(&[]),
            Other::Nothing | Other::Lead(_) => Ok(()),
        }
    }
}

#[test]
fn nobody_has_a_crash_point_at_which_nobody_dies() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut there = BTreeSet::new();
    for room in ["api", "app", "builder", "dispatcher", "libs", "logsvc", "scheduler"] {
        points_under(&root.join(room), &mut there)?;
    }
    let dying: BTreeSet<String> = LANES.into_iter().flatten().map(|point| (*point).to_owned()).collect();
    ensure!(there.len() > 3, "the walk over the sources found too little: {there:?}");
    assert_eq!(there, dying, "left: in the sources, right: in this test");
    Ok(())
}

/// The names of the crash points in the sources.
fn points_under(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            points_under(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let calls = text.split("crash::point(").skip(1);
            let named = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            names.extend(named.map(str::to_owned));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_between_two_effects_leaves_one_set_of_them() -> Result<()> {
    let Some(mut site) = Site::start(Engines::AllScripted).await? else { return Ok(()) };
    let mut places: Vec<Vec<Place>> = Vec::new();
    let mut number = 0;
    for points in LANES {
        let mut of_lane = Vec::new();
        for point in points {
            of_lane.push(Place::new(&site, number, point.starts_with("status.")).await?);
            number += 1;
        }
        places.push(of_lane);
    }
    let pushes = everybody_dies(&mut site, &places).await?;
    for member in &mut site.cluster.members {
        member.ready().await?;
    }
    let asked = Pushes { projects: Vec::new(), pushes };
    let seen = checker::check(&site, &asked).await?;
    for place in places.iter().flatten() {
        place.was_told(&asked.pushes).await?;
    }
    let lost = only_builders_lost(&site, asked.pushes.len()).await?;
    println!("{} deaths: {seen}; {lost}", LANES.iter().map(|points| points.len()).sum::<usize>());
    // Nobody waits for a clean end.
    site.cluster.members.iter_mut().for_each(Member::kill9);
    site.builders.iter_mut().for_each(Host::kill9);
    Ok(())
}

async fn everybody_dies(site: &mut Site, places: &[Vec<Place>]) -> Result<Vec<Push>> {
    let (api, began) = (site.api(), Instant::now());
    let [broker_fed, _, session_fed] = site.builders.as_mut_slice() else { anyhow::bail!("three builders") };
    let [api_1, _, scheduler_1, scheduler_2, dispatcher_1, dispatcher_2, logsvc_1, _] =
        site.cluster.members.as_mut_slice()
    else {
        anyhow::bail!("two of each role")
    };
    let db = PgPool::connect(&site.database_url).await?;
    let lane = |number: usize, victim| Lane {
        victim,
        other: Other::Nothing,
        points: LANES[number],
        places: &places[number],
        api: api.clone(),
        db: db.clone(),
        slow_secs: 0,
        began,
    };
    let scheduler = Lane { other: Other::Lead(scheduler_2), ..lane(1, Victim::Role(scheduler_1)) };
    let pushes = tokio::try_join!(
        lane(0, Victim::Role(api_1)).run(),
        Lane { other: Other::Sessions(dispatcher_2), ..lane(2, Victim::Role(dispatcher_1)) }.run(),
        // Long enough for a segment before the log's end.
        Lane { slow_secs: 4, ..lane(3, Victim::Role(logsvc_1)) }.run(),
        // Builders early: the leases of tags that they leave behind end while the rest goes on.
        lane(4, Victim::Builder(broker_fed)).run(),
        async {
            let pushes = lane(5, Victim::Builder(session_fed)).run().await?;
            Ok([pushes, scheduler.run().await?].concat())
        },
    )?;
    let (one, two, three, four, five) = pushes;
    Ok([one, two, three, four, five].concat())
}

/// All builds succeeded, and attempts that did not were lost by the builders that died; how many, in words.
async fn only_builders_lost(site: &Site, pushes: usize) -> Result<String> {
    const ENDS: &str = "select coalesce(a.outcome, 'open') as outcome, b.name, count(*) as times, \
        string_agg(a.job_id::text, ' ') as jobs from attempts a join builders b on b.id = a.builder_id \
        group by 1, 2 order by 1, 2";
    let db = PgPool::connect(&site.database_url).await?;
    let built: i64 = sqlx::query_scalar("select count(*) from builds where state = 'succeeded'").fetch_one(&db).await?;
    ensure!(usize::try_from(built)? == pushes, "{built} of {pushes} builds succeeded");
    let mut told = Vec::new();
    for row in sqlx::query(ENDS).fetch_all(&db).await? {
        let (outcome, name): (String, String) = (row.try_get("outcome")?, row.try_get("name")?);
        let times: i64 = row.try_get("times")?;
        let may = match outcome.as_str() {
            "succeeded" => true,
            "lost" => name == site.builders[0].name() || name == site.builders[2].name(),
            _ => false,
        };
        ensure!(may, "{times} attempts ended {outcome} on {name}: {}", row.try_get::<String, _>("jobs")?);
        told.push((outcome, name, times));
    }
    // Each death but the one after the last word costs at least one.
    for (host, points) in [(&site.builders[0], FROM_BROKER), (&site.builders[2], FROM_SESSION)] {
        let deaths = points.iter().filter(|point| **point != "builder.finished").count();
        let lost: i64 =
            told.iter().filter(|(outcome, name, _)| outcome == "lost" && name == host.name()).map(|told| told.2).sum();
        ensure!(usize::try_from(lost)? >= deaths, "{} died {deaths} times and lost {lost} attempts", host.name());
    }
    Ok(format!("{told:?}"))
}
