//! Ten thousand deliveries of fifty hooks while the process is killed again and again: what was answered is kept, each
//! ends in its build or its reason, and none is built twice.

mod inbox;
mod stock;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use slipway_runtime::ids::random_bytes;
use slipway_tests::api::Api;
use slipway_tests::chaos::random::Random;
use slipway_tests::env::slipway::Slipway;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};

use stock::{Fate, Sent, stock};

const HOOKS: usize = 50;
const PER_HOOK: usize = 200;
/// Requests under way.
const AT_ONCE: usize = 32;
const KILLS: usize = 3;
/// Of a hundred deliveries: sent a second time at the same moment.
const DOUBLED: u64 = 5;
/// How long everything may be under way.
const SENDS: Duration = Duration::from_secs(240);
/// How long what a killed process had in its hands may take: a lease, and the rest of the inbox.
const WORKS: Duration = Duration::from_secs(240);
/// Between two tries of what was not answered.
const RETRY: Duration = Duration::from_millis(100);

async fn all(database: Database) -> Result<()> {
    // No builder: builds are made and wait.
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "0".to_owned()), ("SLIPWAY_LOG".to_owned(), "warn".to_owned())];
    let Some(mut world) = World::start_with(database, slots).await? else { return Ok(()) };
    let seed = u64::from_le_bytes(random_bytes());
    let mut random = Random::new(seed);
    let sent = stock(&world, HOOKS, PER_HOOK, &mut random).await?;
    let doubled: Vec<bool> = sent.iter().map(|_| random.percent(DOUBLED)).collect();
    let mut kills: Vec<usize> = Vec::new();
    let part = sent.len() / (KILLS + 1);
    for kill in 0..KILLS {
        kills.push(part * kill + part / 2 + usize::try_from(random.within(0..part as u64))?);
    }
    let (answered, api) = (AtomicUsize::new(0), world.api());
    let begun = Instant::now();
    let sending = tokio::time::timeout(SENDS, send_all(&api, &sent, &doubled, &answered));
    let (told, killed) = tokio::join!(sending, kill_all(&mut world.slipway, &kills, &answered));
    let story = format!("seed {seed}, killed after {kills:?} of {} answers", sent.len());
    told.context("the deliveries took too long").and_then(|told| told).with_context(|| story.clone())?;
    killed.with_context(|| story.clone())?;
    let sent_in = begun.elapsed();
    inbox::all_worked(&world, WORKS).await.with_context(|| story.clone())?;
    eprintln!("{story}: sent in {sent_in:?}, worked after {:?}", begun.elapsed());
    inbox::check(&world, &sent).await.with_context(|| story)
}

#[tokio::test(flavor = "multi_thread")]
async fn survive_kills_on_sqlite() -> Result<()> {
    all(Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn survive_kills_on_postgres() -> Result<()> {
    all(Database::Postgres).await
}

/// Kills the process whenever so many answers have come, and starts it again.
async fn kill_all(slipway: &mut Slipway, kills: &[usize], answered: &AtomicUsize) -> Result<()> {
    for kill in kills {
        eventually("answers", SENDS, || async { Ok((answered.load(Ordering::Relaxed) >= *kill).then_some(())) })
            .await?;
        slipway.kill9();
        slipway.restart().await?;
    }
    Ok(())
}

async fn send_all(api: &Api, sent: &[Sent], doubled: &[bool], answered: &AtomicUsize) -> Result<()> {
    let sending = sent.iter().zip(doubled).map(|(sent, doubled)| async move {
        if *doubled {
            let (one, two) = tokio::join!(until_answered(api, sent), until_answered(api, sent));
            one.and(two)?;
        } else {
            until_answered(api, sent).await?;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        Ok::<_, anyhow::Error>(())
    });
    let mut sending = futures_util::stream::iter(sending).buffer_unordered(AT_ONCE);
    while let Some(told) = sending.next().await {
        told?;
    }
    Ok(())
}

/// Sends a delivery again and again, as people do who look at their forge's list, until somebody answers.
async fn until_answered(api: &Api, sent: &Sent) -> Result<()> {
    loop {
        let Ok((status, answer)) = api.deliver(&sent.url, &sent.delivery).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let is_due = match sent.fate {
            Fate::Unreadable => status == StatusCode::BAD_REQUEST,
            Fate::Built { .. } | Fate::Ignored => status == StatusCode::ACCEPTED || status == StatusCode::OK,
        };
        ensure!(is_due, "{status}: {answer} to {sent:?}");
        return Ok(());
    }
}
