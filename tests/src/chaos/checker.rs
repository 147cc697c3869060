//! What must hold once everything is healed and has come to rest, whatever was broken before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{PgPool, Row as _};

use super::client::{Push, Pushes, Script};
use super::site::Site;
use crate::api::Build;
use crate::env::registry::RegistryClient;
use crate::scripted_engine::log_lines;
use crate::wait::eventually;

/// How long everything may take to come to rest: lost sessions, retries with their pauses, queues.
const REST: Duration = Duration::from_secs(180);
/// How long tags and logs may take after that.
const CONVERGED: Duration = Duration::from_secs(90);
/// Violations that are told in full.
const TOLD: usize = 8;

/// Checks everything; what was seen in one line, or all that is violated.
pub async fn check(site: &Site, asked: &Pushes) -> Result<String> {
    let db = PgPool::connect(&site.database_url).await?;
    let mut violations = Violations::default();
    at_rest(&db).await?;
    rows(&db, &mut violations).await?;
    let mut seen = Seen::default();
    let mut newest: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    for push in &asked.pushes {
        let Some(build) = build_of(site, &db, push, &mut violations).await? else { continue };
        seen.count(&build);
        outcome(push, &build, &mut violations);
        if build.state == "succeeded" {
            let digest = build.jobs[0].images.first().map(|image| image.digest.clone()).unwrap_or_default();
            newest.insert(push.project, (push.number, digest.clone()));
            image_is(site, push, &digest, &mut violations).await?;
            log_is_whole(site, push, &build, &mut violations).await?;
        }
    }
    engines(site, &mut violations).await?;
    branch_tags(site, &newest, &mut violations).await?;
    violations.end(&db).await?;
    Ok(format!("{} pushes, {seen}", asked.pushes.len()))
}

/// What was violated, and for which build.
#[derive(Debug, Default)]
struct Violations(Vec<(String, Option<String>)>);

impl Violations {
    fn add(&mut self, what: String, build: Option<&str>) {
        self.0.push((what, build.map(str::to_owned)));
    }

    async fn end(self, db: &PgPool) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut text = format!("{} violations\n", self.0.len());
        for (what, build) in self.0.iter().take(TOLD) {
            let _ = writeln!(text, "* {what}");
            if let Some(build) = build {
                text.push_str(&history(db, build).await?);
            }
        }
        anyhow::bail!(text)
    }
}

/// How builds ended.
#[derive(Debug, Default)]
struct Seen {
    states: BTreeMap<String, usize>,
    attempts: usize,
    lost: usize,
}

impl Seen {
    fn count(&mut self, build: &Build) {
        *self.states.entry(build.state.clone()).or_default() += 1;
        for attempt in build.jobs.iter().flat_map(|job| &job.attempts) {
            self.attempts += 1;
            self.lost += usize::from(attempt.outcome.as_deref() == Some("lost"));
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "builds {:?}, {} attempts, {} of them lost", self.states, self.attempts, self.lost)
    }
}

/// Waits until nothing is under way.
async fn at_rest(db: &PgPool) -> Result<()> {
    const LIVE: &str = "select (select count(*) from jobs where deadline_at is not null) \
        + (select count(*) from deliveries where state = 'received') \
        + (select count(*) from attempts where state = 'open')";
    let rested = eventually("everything to end", REST, || async {
        let live: i64 = sqlx::query_scalar(LIVE).fetch_one(db).await?;
        Ok((live == 0).then_some(()))
    });
    if let Err(error) = rested.await {
        let mut text = String::new();
        let stuck = "select build_id::text from jobs where deadline_at is not null order by id limit 5";
        for build in sqlx::query_scalar::<_, String>(stuck).fetch_all(db).await? {
            text.push_str(&history(db, &build).await?);
        }
        return Err(error.context(format!("something never ended\n{text}")));
    }
    Ok(())
}

/// Whether the rows agree with each other.
async fn rows(db: &PgPool, violations: &mut Violations) -> Result<()> {
    let checks = [
        ("a tenant's running row is not 0", "select count(*) from tenant_running where running <> 0"),
        (
            "epochs have gaps",
            "select count(*) from jobs j where epoch <> (select count(*) from attempts a where a.job_id = j.id)",
        ),
        (
            "a succeeded job without exactly one succeeded attempt",
            "select count(*) from jobs j where state = 'succeeded' and 1 <> \
             (select count(*) from attempts a where a.job_id = j.id and outcome = 'succeeded')",
        ),
        (
            "a job that did not succeed with a succeeded attempt",
            "select count(*) from jobs j where state <> 'succeeded' and exists \
             (select 1 from attempts a where a.job_id = j.id and outcome = 'succeeded')",
        ),
        (
            "an attempt after the one that decided",
            "select count(*) from attempts a join jobs j on j.id = a.job_id where a.epoch < j.epoch \
             and a.outcome in ('succeeded', 'failed', 'timed_out', 'cancelled')",
        ),
        ("too many attempts of one job", "select count(*) from jobs where infra_retries > 3"),
        (
            "a delivery that neither made a build nor says why",
            "select count(*) from deliveries d where \
             (state = 'done' and not exists (select 1 from delivery_builds b where b.delivery_id = d.id)) \
             or (state <> 'done' and reason is null)",
        ),
        ("a delivery that failed", "select count(*) from deliveries where state = 'failed'"),
        (
            "two open sessions of one builder",
            "select count(*) from (select builder_id from sessions \
             where state = 'open' group by builder_id having count(*) > 1) doubled",
        ),
    ];
    for (what, sql) in checks {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(db).await.with_context(|| what.to_owned())?;
        if count > 0 {
            violations.add(format!("{what}: {count} times"), None);
        }
    }
    Ok(())
}

/// The one build of a push. A push that nobody ever confirmed may have none, and never two.
async fn build_of(site: &Site, db: &PgPool, push: &Push, violations: &mut Violations) -> Result<Option<Build>> {
    let found = "select id::text from builds where commit_id = $1 order by id";
    let ids: Vec<String> = sqlx::query_scalar(found).bind(&push.commit).fetch_all(db).await?;
    match (ids.as_slice(), &push.delivery) {
        ([], None) => Ok(None),
        ([], Some(delivery)) => {
            violations.add(
                format!("push {}/{} was accepted as {delivery} and made no build", push.project, push.number),
                None,
            );
            Ok(None)
        }
        ([one], _) => Ok(Some(site.api().build(one).await?)),
        ([first, ..], _) => {
            violations.add(format!("push {}/{} made {} builds", push.project, push.number, ids.len()), Some(first));
            Ok(None)
        }
    }
}

/// Whether it ended as its script says, as people asked, or as our own faults allow.
fn outcome(push: &Push, build: &Build, violations: &mut Violations) {
    let scripted = match push.script {
        Script::Succeeds => "succeeded",
        Script::Fails => "failed",
    };
    let job = &build.jobs[0];
    let faults = job.attempts.iter().filter(|at| matches!(at.outcome.as_deref(), Some("lost" | "infra"))).count();
    let cancelled = push.cancel.is_some_and(|status| (200..300).contains(&status));
    let right = match build.state.as_str() {
        // A cancel whose answer was lost may have been heard.
        "cancelled" => cancelled || push.cancel.is_none(),
        "errored" => faults > 3 && !cancelled,
        state => state == scripted && !cancelled,
    };
    if !right {
        let what = format!(
            "push {}/{} should have {scripted} and is {} (cancel answered {:?}, {faults} faults of ours)",
            push.project, push.number, build.state, push.cancel
        );
        violations.add(what, Some(&build.id));
    }
}

async fn image_is(site: &Site, push: &Push, digest: &str, violations: &mut Violations) -> Result<()> {
    let registry = RegistryClient::new(&site.registry.address(), None);
    let there = registry.digest(&site.image_path(push.project), &push.commit).await?;
    if there.as_deref() != Some(digest) {
        let what = format!("push {}/{}: tag {} shows {there:?}, not {digest}", push.project, push.number, push.commit);
        violations.add(what, None);
    }
    Ok(())
}

/// Every line of the step, once and in order.
async fn log_is_whole(site: &Site, push: &Push, build: &Build, violations: &mut Violations) -> Result<()> {
    let api = site.api();
    let job = &build.jobs[0].id;
    let scripted = log_lines(push.lines);
    let whole = eventually("a whole log", CONVERGED, || async {
        let Ok(log) = api.log(job).await else { return Ok(None) };
        let numbers = log.lines().filter_map(|line| line.trim().parse::<usize>().ok());
        Ok((log.contains(&scripted) || numbers.eq(1..=push.lines)).then_some(()))
    });
    if whole.await.is_err() {
        let log = api.log(job).await.unwrap_or_default();
        let what = format!(
            "push {}/{}: the log has not its {} lines; it has {} and ends {:?}",
            push.project,
            push.number,
            push.lines,
            log.lines().count(),
            log.lines().last()
        );
        violations.add(what, Some(&build.id));
    }
    Ok(())
}

/// No attempt was begun or pushed twice.
async fn engines(site: &Site, violations: &mut Violations) -> Result<()> {
    for host in &site.builders {
        let Some(told) = host.told().await? else { continue };
        let doubled = told.begun.iter().chain(&told.pushes).filter(|(_, times)| **times > 1);
        for (what, times) in doubled {
            violations.add(format!("an engine was asked {times} times for {what}"), None);
        }
    }
    Ok(())
}

/// A branch's tag shows the newest build of it that succeeded.
async fn branch_tags(
    site: &Site,
    newest: &BTreeMap<usize, (usize, String)>,
    violations: &mut Violations,
) -> Result<()> {
    let registry = RegistryClient::new(&site.registry.address(), None);
    for (project, (number, digest)) in newest {
        let path = site.image_path(*project);
        let converged = eventually("the branch's tag", CONVERGED, || async {
            Ok((registry.digest(&path, "main").await?.as_deref() == Some(digest.as_str())).then_some(()))
        });
        if converged.await.is_err() {
            let there = registry.digest(&path, "main").await?;
            violations.add(format!("project {project}: main shows {there:?}, not {digest} of push {number}"), None);
        }
    }
    Ok(())
}

/// Everything that the rows tell of a build.
async fn history(db: &PgPool, build: &str) -> Result<String> {
    const TELL: &str = "select line from (\
        select 0 as place, created_at as at, 'build ' || id || ' ' || state || ' ref_order ' || coalesce(ref_order::text, '-') as line from builds where id = $1::uuid \
        union all select 1, queued_at, '  job ' || id || ' ' || state || ' epoch ' || epoch || ' infra_retries ' || infra_retries \
            || ' dispatch ' || coalesce(dispatch_id::text, '-') || ' avoid ' || coalesce(avoid_builder::text, '-') \
            || ' queued ' || queued_at || ' deadline ' || coalesce(deadline_at::text, '-') || ' finished ' || coalesce(finished_at::text, '-') \
            from jobs where build_id = $1::uuid \
        union all select 2, a.started_at, '    attempt ' || a.epoch || ' ' || a.state || ' ' || coalesce(a.outcome, '-') || ' ' || a.phase \
            || ' on ' || b.name || ' session ' || a.session_id || ' (' || s.state || ' ' || coalesce(s.close_reason, '') || ') from ' || a.started_at \
            || ' to ' || coalesce(a.finished_at::text, '-') || ' ' || coalesce(a.failure::text, '') \
            from attempts a join jobs j on j.id = a.job_id join builders b on b.id = a.builder_id join sessions s on s.id = a.session_id where j.build_id = $1::uuid \
        union all select 3, l.created_at, '    log ' || l.epoch || ' ' || l.state || ' durable ' || l.durable || ' end ' || coalesce(l.end_offset::text, '-') \
            from attempt_logs l join jobs j on j.id = l.job_id where j.build_id = $1::uuid) told order by place, at";
    let rows = sqlx::query(TELL).bind(build).fetch_all(db).await?;
    ensure!(!rows.is_empty(), "build {build} has no rows");
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "    {}", row.try_get::<String, _>("line")?);
    }
    Ok(text)
}
