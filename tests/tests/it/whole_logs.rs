//! Logs stay whole whatever dies on their way. Each of these tests breaks something while a log is written and asks the
//! same in the end: the stored bytes are the written bytes, by the SHA-256 that the builder took over what it spooled; the
//! spans are those that were sent; and whoever watched all the time, through the proxy or at either log service, was told
//! every byte once, in order, without a gap and without a double.
//!
//! | what breaks | here | elsewhere |
//! |---|---|---|
//! | both log services, then one of two, by `kill -9` | `log_services_are_killed` | `acknowledged_bytes_never_vanish`, `a_killed_service_goes_on_at_what_is_durable` (`logsvc`); between any two effects: `grown_up::crashes` |
//! | the builder, by `kill -9` | `a_builder_is_killed` | `a_restarted_builder_sends_the_rest_and_clears_the_old_workspace` (`builder`), `stories::crashes` |
//! | Redis, killed and back without anything that it knew | `redis_is_killed_and_forgets` | `libs/live` |
//! | object storage, away for longer than anybody waits for it | `object_storage_refuses`, `object_storage_is_silent_for_minutes` (`make long`) | `logsvc/src/tests/storage.rs`, faults one by one: `libs/blobs` |
//! | chunks doubled, reordered, missing, cut off, with a wrong checksum | `wire::chunks_come_in_any_way` | `what_was_sent_again_is_known_and_a_gap_is_refused`, `what_is_no_chunk_is_refused` (`logsvc`) |
//! | an attempt that was lost and still writes | `wire::a_lost_attempt_writes_on` | `only_the_attempts_own_token_writes` (`logsvc`) |
//! | PostgreSQL, killed and started again | `postgresql_is_killed` | `chaos` |
//! | everything, by chance, for minutes | | `chaos` (`make chaos`) |
//!
//! What a lost attempt had spooled comes to its log when its builder is back, however late: viewers are with the next
//! attempt by then, so that of a lost attempt they have been told a beginning.

mod site;
mod viewer;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_tests::env::cluster::{Backends, Role};
use slipway_tests::env::postgres::{Postgres, fresh_database};
use slipway_tests::env::redis::Redis;
use slipway_tests::env::services::{S3_CONTROL, is_required, shared};
use slipway_tests::s3_server::Fault;
use slipway_tests::wait::eventually;

use self::site::{LINE_BYTES, LINES, Site};

/// A part of the log.
const QUARTER: usize = LINES * LINE_BYTES / 4;
/// How long object storage may take to be left alone.
const NOTICED: Duration = Duration::from_secs(60);
/// How long it is silent in `make long`: several times as long as any call waits.
const SILENT: Duration = Duration::from_secs(150);
/// How long a build may take while storage is away.
const BUILD: Duration = Duration::from_secs(60);

#[tokio::test]
async fn log_services_are_killed() -> Result<()> {
    let Some(mut site) = Site::start().await? else { return Ok(()) };
    site.join().await?;
    let mut watched = site.watched().await?;
    let services = site.cluster.of(Role::Logsvc);
    watched.viewers[0].saw(1, QUARTER).await?;
    for at in &services {
        site.cluster.members[*at].kill9();
    }
    for at in &services {
        site.cluster.start_again(*at)?;
        site.cluster.members[*at].ready().await?;
    }
    // One after the other: one of them has the log.
    for (at, part) in services.iter().zip([2, 3]) {
        watched.viewers[0].saw(1, part * QUARTER).await?;
        site.cluster.members[*at].kill9();
        watched.viewers[0].saw(1, part * QUARTER + QUARTER / 2).await?;
        site.cluster.start_again(*at)?;
        site.cluster.members[*at].ready().await?;
    }
    let resumed = site.check(watched, 1).await?;
    ensure!(resumed > 4, "nobody was disturbed");
    Ok(())
}

#[tokio::test]
async fn a_builder_is_killed() -> Result<()> {
    let Some(mut site) = Site::start().await? else { return Ok(()) };
    site.join().await?;
    let mut watched = site.watched().await?;
    watched.viewers[0].saw(1, QUARTER).await?;
    site.restart_builder().await?;
    watched.viewers[0].saw(2, QUARTER).await?;
    site.check(watched, 2).await?;
    Ok(())
}

#[tokio::test]
async fn redis_is_killed_and_forgets() -> Result<()> {
    let Some(backends) = Backends::fresh().await? else { return Ok(()) };
    let mut redis = Redis::start().await?;
    let Some(mut site) = Site::start_on(Backends { live_url: redis.url(), ..backends }).await? else { return Ok(()) };
    site.join().await?;
    let mut watched = site.watched().await?;
    watched.viewers[0].saw(1, QUARTER).await?;
    redis.kill();
    // Also those at the service that does not have the log: it looks into storage by itself.
    for viewer in &mut watched.viewers {
        viewer.saw(1, 2 * QUARTER).await?;
    }
    redis.restart().await?;
    watched.viewers[0].saw(1, 3 * QUARTER).await?;
    redis.ask("FLUSHALL").await?;
    site.check(watched, 1).await?;
    Ok(())
}

#[tokio::test]
async fn postgresql_is_killed() -> Result<()> {
    if let Some(missing) = Postgres::missing() {
        ensure!(!is_required(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return Ok(());
    }
    let Some(backends) = Backends::fresh().await? else { return Ok(()) };
    let mut postgres = Postgres::start().await?;
    let database_url = fresh_database(postgres.url()).await?;
    let Some(mut site) = Site::start_on(Backends { database_url, ..backends }).await? else { return Ok(()) };
    site.join().await?;
    let mut watched = site.watched().await?;
    for part in [1, 3] {
        watched.viewers[0].saw(1, part * QUARTER).await?;
        postgres.kill();
        postgres.restart().await?;
    }
    site.check(watched, 1).await?;
    Ok(())
}

#[tokio::test]
async fn object_storage_refuses() -> Result<()> {
    storage_is_away(Fault::Unavailable, Duration::ZERO).await
}

#[tokio::test]
#[ignore = "takes minutes; `make long` runs it"]
async fn object_storage_is_silent_for_minutes() -> Result<()> {
    storage_is_away(Fault::Silent, SILENT).await
}

/// Object storage is away from the first part of a log on until its build has long ended.
async fn storage_is_away(fault: Fault, at_least: Duration) -> Result<()> {
    let Some(mut site) = Site::start().await? else { return Ok(()) };
    let Some(control) = shared(S3_CONTROL)? else { return Ok(()) };
    let bucket = bucket(&site.backends)?;
    let client = reqwest::Client::new();
    site.join().await?;
    let mut watched = site.watched().await?;
    watched.viewers[0].saw(1, QUARTER).await?;
    client.put(format!("{control}/faults/{bucket}/{}", fault.word())).send().await?.error_for_status()?;
    let healed = tokio::time::Instant::now() + at_least;
    // Everybody goes on watching, and the build ends all the same.
    watched.viewers[0].saw(1, 4 * QUARTER).await?;
    let build = site.cluster.api().finished_build(&watched.build.id, BUILD).await?;
    ensure!(build.state == "succeeded", "{build:?}");
    let services = site.cluster.of(Role::Logsvc);
    eventually("storage to be left alone", NOTICED.max(at_least), || async {
        for at in &services {
            if site.cluster.members[*at].readiness().await?.1.lines().any(|line| line.starts_with("upstream blobs ")) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await?;
    // It is not the outage that is waited for: it has this length.
    tokio::time::sleep_until(healed).await;
    client.delete(format!("{control}/faults/{bucket}")).send().await?.error_for_status()?;
    site.check(watched, 1).await?;
    Ok(())
}

/// The bucket of these backends.
fn bucket(backends: &Backends) -> Result<String> {
    let url = url::Url::parse(&backends.blob_url)?;
    url.host_str().map(str::to_owned).context("a bucket")
}
