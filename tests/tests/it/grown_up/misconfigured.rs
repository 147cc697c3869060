//! A role with a wrong setting, or with a backend that is away, wrong or too old: it says so in words that name the
//! setting and no password, tries again with growing pauses, and goes on by itself once the thing is there. It never
//! ends for that; what can never become right ends it at once.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_runtime::ids::random_bytes;
use slipway_tests::env::cluster::{Backends, Member, Role};
use slipway_tests::env::host::free_port;
use slipway_tests::env::postgres::fresh_database;
use slipway_tests::env::process;
use slipway_tests::env::rabbitmq;
use slipway_tests::env::redis::Redis;
use slipway_tests::env::room::Room;
use slipway_tests::env::services::{AMQP_CONTROL, POSTGRES, S3_CONTROL, shared};
use slipway_tests::env::slipway::binary;
use slipway_tests::fault_proxy::{FaultProxy, Mode};
use slipway_tests::wait::eventually;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use url::Url;

use super::{BUILD, Site};

/// How long it may take until something is noticed, told, and tried again: the longest pause is 10 s.
const NOTICED: Duration = Duration::from_secs(60);
/// What must not be shown anywhere.
const PASSWORD: &str = "hush-hush-4711";
/// Tries that must have been told before a wrong thing is put right.
const TRIES: usize = 4;

/// Dependencies and the settings that name them.
const BUS: (&str, &str) = ("bus", "SLIPWAY_BUS_URL");
const LIVE: (&str, &str) = ("live", "SLIPWAY_LIVE_URL");
const BLOBS: (&str, &str) = ("blobs", "SLIPWAY_BLOB_URL");

/// One role in a room of its own.
struct Alone {
    member: Member,
    // Goes after its member.
    _room: Room,
}

impl Alone {
    /// Starts it with the settings of these backends, one of them changed.
    fn start(role: Role, backends: &Backends, changed: (&str, &str)) -> Result<Self> {
        let room = Room::new()?;
        let key = STANDARD.encode(random_bytes::<32>());
        let own =
            [("SLIPWAY_SECRET_KEY", key.as_str()), changed].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = backends.settings().into_iter().chain(own).collect();
        let member = Member::start(room.path(), (role, free_port()?), settings)?;
        Ok(Self { member, _room: room })
    }

    /// Waits until `/readyz?verbose` has a line that begins and goes on like this, with this status.
    async fn tells(&mut self, status: u16, begins: &str, words: &[&str]) -> Result<()> {
        let mut last = String::new();
        let end = std::time::Instant::now() + NOTICED;
        while std::time::Instant::now() < end {
            if let Some(ended) = self.member.exited()? {
                anyhow::bail!("it ended with {ended}: {}", self.member.log());
            }
            if let Ok((told, text)) = self.member.readiness().await {
                let is_it = |line: &str| line.starts_with(begins) && words.iter().all(|word| line.contains(word));
                if told == status && text.lines().any(is_it) {
                    ensure!(!text.contains(PASSWORD), "a password is shown: {text}");
                    return Ok(());
                }
                last = format!("{told}\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("it does not tell {begins:?} {words:?}, but {last}");
    }

    /// Waits until its log has all words in one line, and no password.
    async fn logs(&self, words: &[&str]) -> Result<()> {
        let said = eventually("words in the log", NOTICED, || async {
            Ok(self.member.log().lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
        });
        said.await.with_context(|| format!("{words:?} are not in:\n{}", self.member.log()))?;
        ensure!(!self.member.log().contains(PASSWORD), "a password is in the log");
        Ok(())
    }

    /// Waits for some tries, and looks at the pauses between them.
    async fn tries_again_later_and_later(&self) -> Result<()> {
        let pauses = || -> Vec<u64> {
            let log = self.member.log();
            let all = log.split("retry_ms=").skip(1);
            all.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
        };
        let what = format!("{TRIES} tries");
        let tried = eventually(&what, NOTICED, || async { Ok((pauses().len() >= TRIES).then(pauses)) });
        let tried = tried.await.with_context(|| self.member.log())?;
        // Each is up to a half shorter than its step, and steps double.
        ensure!(tried[0] <= 250 && tried[TRIES - 1] >= 500, "{tried:?}");
        Ok(())
    }
}

/// A statement of a test.
async fn run(url: &str, sql: String) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(AssertSqlSafe(sql.clone())).await.with_context(|| sql)?;
    connection.close().await?;
    Ok(())
}

/// The same address with other parts.
fn changed(url: &str, change: impl FnOnce(&mut Url) -> Result<(), ()>) -> Result<String> {
    let mut url = Url::parse(url)?;
    change(&mut url).map_err(|()| anyhow::anyhow!("an address that can be changed"))?;
    Ok(url.into())
}

/// The same address by way of a proxy that lets nobody through yet.
async fn closed(url: &str) -> Result<(FaultProxy, String)> {
    let port = Url::parse(url)?.port().context("a port")?;
    let proxy = FaultProxy::start(&format!("127.0.0.1:{port}")).await?;
    proxy.set(Mode::Refuse);
    let by_proxy = changed(url, |url| url.set_port(Some(proxy.address().port())))?;
    Ok((proxy, by_proxy))
}

fn unique(word: &str) -> String {
    format!("{word}_{}", hex::encode(random_bytes::<6>()))
}

/// Never ready before the database is, and ready by itself then.
async fn waits_for_database<const N: usize>(
    backends: &Backends,
    url: &str,
    words: [&str; N],
    heal: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let mut role = Alone::start(Role::Scheduler, backends, ("SLIPWAY_DATABASE_URL", url))?;
    role.tells(503, "database failed: SLIPWAY_DATABASE_URL: ", &words).await?;
    role.tells(503, "start failed", &[]).await?;
    role.logs(&[&["WARN", "SLIPWAY_DATABASE_URL"], &words[..]].concat()).await?;
    role.tries_again_later_and_later().await?;
    heal().await?;
    role.tells(200, "database ok", &[]).await
}

#[tokio::test]
async fn a_database_that_is_not_right_yet_is_named_and_waited_for() -> Result<()> {
    let (Some(postgres), Some(backends)) = (shared(POSTGRES)?, Backends::fresh().await?) else { return Ok(()) };
    let backends = &backends;
    let (user, missing) = (unique("late"), unique("missing"));
    run(&postgres, format!("create role {user} login password 'another'")).await?;
    let owned = fresh_database(&postgres).await?;
    let wrong = changed(&owned, |url| url.set_username(&user).and_then(|()| url.set_password(Some(PASSWORD))))?;
    let nowhere = changed(&postgres, |url| {
        url.set_path(&missing);
        Ok(())
    })?;
    let (proxy, unreachable) = closed(&fresh_database(&postgres).await?).await?;
    let port = format!("127.0.0.1:{} cannot be reached", proxy.address().port());
    tokio::try_join!(
        waits_for_database(backends, &wrong, ["refuses us: password authentication failed", &user], async || {
            run(&owned, format!("alter role {user} password '{PASSWORD}'; grant all on schema public to {user}")).await
        }),
        waits_for_database(backends, &nowhere, ["refuses us", &missing, "does not exist"], async || {
            run(&postgres, format!("create database {missing}")).await
        }),
        waits_for_database(backends, &unreachable, [&port], async || {
            proxy.set(Mode::Pass);
            Ok(())
        }),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_too_old_or_too_new_is_named_and_waited_for() -> Result<()> {
    let (Some(postgres), Some(backends)) = (shared(POSTGRES)?, Backends::fresh().await?) else { return Ok(()) };
    // No old server is at hand: this database answers the question for the release as one of them would.
    let old = fresh_database(&postgres).await?;
    let name = old.rsplit('/').next().context("a name")?;
    run(&old, "create schema old".to_owned()).await?;
    let answer = "create function old.current_setting(text) returns text language sql as $$ select '120022' $$";
    run(&old, answer.to_owned()).await?;
    run(&old, format!("alter database {name} set search_path = public, old, pg_catalog")).await?;
    let (is_old, needs) = (["is release 12", "13 or newer is needed"], async || {
        run(&old, "drop function old.current_setting(text)".to_owned()).await
    });
    waits_for_database(&backends, &old, is_old, needs).await?;

    // Now it has our schema; newer releases add to it, and then one takes something away.
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
        values (8000, 'expand more', true, '', 0), (9000, 'contract less', true, '', 0)";
    run(&old, newer.to_owned()).await?;
    let words = ["of a newer release (migration 9000)", "start the newer release, or restore the backup"];
    waits_for_database(&backends, &old, words, async || {
        run(&old, "delete from _sqlx_migrations where version = 9000".to_owned()).await
    })
    .await
}

#[tokio::test]
async fn an_older_schema_is_brought_up_by_one_of_those_that_start() -> Result<()> {
    let (Some(postgres), Some(backends)) = (shared(POSTGRES)?, Backends::fresh().await?) else { return Ok(()) };
    let url = fresh_database(&postgres).await?;
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    let all = migrator.migrations.len();
    ensure!(all > 1, "there is an older schema");
    migrator.migrations = migrator.migrations.iter().take(all - 1).cloned().collect();
    let mut connection = PgConnection::connect(&url).await?;
    migrator.run(&mut connection).await?;
    let setting = ("SLIPWAY_DATABASE_URL", url.as_str());
    let mut roles = [Role::Scheduler, Role::Logsvc, Role::Scheduler]
        .map(|role| Alone::start(role, &backends, setting))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for role in &mut roles {
        role.tells(200, "database ok", &[]).await?;
    }
    let applied: i64 =
        sqlx::query_scalar("select count(*) from _sqlx_migrations where success").fetch_one(&mut connection).await?;
    ensure!(usize::try_from(applied)? == all, "{applied} of {all} migrations");
    Ok(())
}

/// Ready without it, but saying so, and well by itself once it is there.
async fn does_without<const N: usize>(
    (role, backends): (Role, &Backends),
    ((name, setting), url): ((&str, &str), &str),
    words: [&str; N],
    heal: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let mut role = Alone::start(role, backends, (setting, url))?;
    role.tells(200, &format!("{name} degraded: {setting}: "), &words).await?;
    role.logs(&[&["WARN", "a dependency is out", setting], &words[..]].concat()).await?;
    heal().await?;
    role.tells(200, &format!("{name} ok"), &[]).await?;
    role.logs(&["a dependency is back", name]).await
}

#[tokio::test]
async fn a_broker_that_is_not_right_yet_is_named_and_done_without() -> Result<()> {
    let (Some(control), Some(backends)) = (shared(AMQP_CONTROL)?, Backends::fresh().await?) else { return Ok(()) };
    let control = rabbitmq::Control::from_text(&control)?;
    let (role, bus) = ((Role::Dispatcher, &backends), backends.bus_url.as_str());
    let vhost = bus.rsplit('/').next().context("a vhost")?;
    let (user, missing) = (unique("late"), unique("missing"));
    let wrong = changed(bus, |url| url.set_username(&user).and_then(|()| url.set_password(Some(PASSWORD))))?;
    let nowhere = changed(bus, |url| {
        url.set_path(&missing);
        Ok(())
    })?;
    let (proxy, unreachable) = closed(bus).await?;
    let all = ["", "", ""].map(|_| ".*");
    let refused = format!("refused the credentials of user {user}");
    let no_vhost = format!("has no vhost {missing}");
    tokio::try_join!(
        does_without(role, (BUS, &wrong), [&refused], async || {
            control.evaluate(&format!(
                "rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"{PASSWORD}\">>, <<\"tests\">>)"
            ))?;
            control.permit(&user, vhost, all)
        }),
        does_without(role, (BUS, &nowhere), [&no_vhost], async || {
            control.evaluate(&format!("rabbit_vhost:add(<<\"{missing}\">>, <<\"tests\">>)"))?;
            control.permit(Url::parse(bus)?.username(), &missing, all)
        }),
        does_without(role, (BUS, &unreachable), ["cannot reach RabbitMQ at 127.0.0.1:"], async || {
            proxy.set(Mode::Pass);
            Ok(())
        }),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_not_right_yet_is_named_and_done_without() -> Result<()> {
    let Some(backends) = Backends::fresh().await? else { return Ok(()) };
    let redis = Redis::start().await?;
    let wrong = changed(&redis.url(), |url| url.set_username("late").and_then(|()| url.set_password(Some(PASSWORD))))?;
    let (proxy, unreachable) = closed(&redis.url()).await?;
    tokio::try_join!(
        does_without((Role::Api, &backends), (LIVE, &wrong), ["refused the user or the password"], async || {
            let said = redis.ask(&format!("ACL SETUSER late on >{PASSWORD} ~* &* +@all")).await?;
            ensure!(said.contains("+OK\r\n+OK"), "{said}");
            Ok(())
        }),
        does_without((Role::Logsvc, &backends), (LIVE, &unreachable), ["nothing listens at 127.0.0.1:"], async || {
            proxy.set(Mode::Pass);
            Ok(())
        }),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_is_not_right_yet_is_named_and_done_without() -> Result<()> {
    let (Some(control), Some(backends)) = (shared(S3_CONTROL)?, Backends::fresh().await?) else { return Ok(()) };
    let endpoint = control.strip_suffix("/-").context("the address of the S3 server")?;
    let role = (Role::Logsvc, &backends);
    let bucket = unique("missing").replace('_', "-");
    let missing = format!("s3://{bucket}/logs?endpoint={endpoint}");
    let (proxy, by_proxy) = closed(endpoint).await?;
    let unreachable = backends.blob_url.replace(endpoint, by_proxy.trim_end_matches('/'));
    let stranger = async {
        let mut role = Alone::start(Role::Logsvc, &backends, ("AWS_SECRET_ACCESS_KEY", PASSWORD))?;
        let words = ["refuses the credentials", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"];
        role.tells(200, "blobs degraded: SLIPWAY_BLOB_URL: ", &words).await?;
        role.logs(&[&["WARN", "a dependency is out"], &words[..]].concat()).await
    };
    tokio::try_join!(
        does_without(role, (BLOBS, &missing), [&bucket, "does not exist; make it"], async || {
            let made = reqwest::Client::new().put(format!("{control}/buckets/{bucket}")).send().await?;
            ensure!(made.status().is_success(), "{}", made.status());
            Ok(())
        }),
        does_without(role, (BLOBS, &unreachable), ["cannot be reached", "check the endpoint"], async || {
            proxy.set(Mode::Pass);
            Ok(())
        }),
        stranger,
    )?;
    Ok(())
}

#[test]
fn what_only_one_process_can_use_is_refused_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shared = [
        ("SLIPWAY_DATABASE_URL", "postgres://u@127.0.0.1:1/d"),
        ("SLIPWAY_BUS_URL", "amqp://u@127.0.0.1:1/v"),
        ("SLIPWAY_LIVE_URL", "redis://127.0.0.1:1"),
        ("SLIPWAY_SECRET_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ];
    let file = format!("sqlite://{}", folder.path().join("slipway.db").display());
    let cases: &[(&[&str], (&str, &str), &str)] = &[
        (&["api", "scheduler", "dispatcher", "logsvc"], ("SLIPWAY_DATABASE_URL", &file), "postgres://"),
        (&["api", "scheduler", "dispatcher", "logsvc"], ("SLIPWAY_LIVE_URL", "memory:"), "redis://"),
        (&["dispatcher"], ("SLIPWAY_BUS_URL", "memory:"), "amqp://"),
        (&["api", "dispatcher"], ("SLIPWAY_SECRET_KEY", ""), "base64 of 32 bytes"),
    ];
    for (roles, (name, value), words) in cases {
        for role in *roles {
            let mut command = process::guarded(&binary()?);
            command.arg(role).env("HOME", folder.path()).current_dir(folder.path()).envs(shared).env(name, value);
            let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(2), "{role} with {name}={value} ended with {}: {told}", output.status);
            ensure!(told.contains(name) && told.contains(words), "{role} with {name}={value}: {told}");
        }
    }
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "something was made");
    Ok(())
}

#[tokio::test]
async fn of_two_schedulers_one_leads_and_the_other_when_it_dies() -> Result<()> {
    let Some(backends) = Backends::fresh().await? else { return Ok(()) };
    let nothing = ("SLIPWAY_REGION", "local");
    let mut schedulers =
        [Alone::start(Role::Scheduler, &backends, nothing)?, Alone::start(Role::Scheduler, &backends, nothing)?];
    for scheduler in &mut schedulers {
        scheduler.tells(200, "database ok", &[]).await?;
    }
    let leads = |scheduler: &Alone| scheduler.member.log().contains("leading=true");
    let first = eventually("a leader", NOTICED, || async { Ok(schedulers.iter().position(leads)) }).await?;
    let mut connection = PgConnection::connect(&backends.database_url).await?;
    let term = "select term from leaders where name = 'scheduler' and expires_at > now()";
    let before: i64 = sqlx::query_scalar(term).fetch_one(&mut connection).await?;
    schedulers[first].member.kill9();
    let other = 1 - first;
    ensure!(!leads(&schedulers[other]), "both led");
    schedulers[other].logs(&["leadership changed", "leading=true"]).await?;
    let after: i64 = sqlx::query_scalar(term).fetch_one(&mut connection).await?;
    ensure!((before, after) == (1, 2), "terms {before} and {after}");
    schedulers[other].tells(200, "database ok", &[]).await?;
    // Back again, it only stands by.
    schedulers[first].member.start_again(&[])?;
    schedulers[first].tells(200, "database ok", &[]).await
}

#[tokio::test]
async fn a_builder_whose_broker_refuses_it_says_so_and_builds_by_its_session() -> Result<()> {
    let Some(site) = Site::start().await? else { return Ok(()) };
    let (repo, project) = site.project().await?;
    let wrong = changed(&site.backends.bus_url, |url| url.set_password(Some(PASSWORD)))?;
    let setting = vec![("SLIPWAY_BUS_URL".to_owned(), wrong)];
    let builder = site.builder_with("refused", false, setting).await?;
    let build = site.push(&repo, &project, 1).await?;
    site.succeeded(&build, 1).await?;
    let said = eventually("the builder's words", BUILD, || async {
        Ok(Some(builder.log_tail()).filter(|said| said.contains("refused the credentials of user")))
    });
    ensure!(!said.await?.contains(PASSWORD), "a password is in the log");
    Ok(())
}
