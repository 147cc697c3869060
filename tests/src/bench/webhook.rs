//! Accepting a delivery durably (8 KB body, HMAC, dedupe, row committed) against a handler of the same
//! framework that reads the body and checks the HMAC.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode};
use reqwest::Method;
use sha2::Sha256;

use crate::bench::{Row, cpu_secs, stats};
use crate::hooks::{Delivery, github};
use crate::world::{Database, Forge, World};

const ROUNDS: usize = 6;
const PER_ROUND: usize = 1500;
const AT_ONCE: usize = 32;
const BODY_BYTES: usize = 8 * 1024;
const SECRET: &str = "bench-secret";

/// What is asked for on a database.
struct Target {
    figure: &'static str,
    words: &'static str,
    ratio: f64,
    cpu_us: f64,
    /// At half of the rate, where that is asked for.
    p99: Option<Duration>,
}

/// Measures, on SQLite in one `serve`.
pub async fn run(world: &World) -> Result<Row> {
    let words = "at least 0.1x, under 300 us CPU";
    measure(world, &Target { figure: "webhook accepted durably", words, ratio: 0.1, cpu_us: 300.0, p99: None }).await
}

/// Measures, on PostgreSQL, whose flushes many deliveries share. `None` where there is none and the run allows it.
pub async fn on_postgres() -> Result<Option<Row>> {
    let Some(world) = World::start(Database::Postgres).await? else { return Ok(None) };
    let target = Target {
        figure: "webhook accepted durably, PostgreSQL",
        words: "at least 0.15x, under 250 us CPU, p99 under 50 ms at half of that rate",
        ratio: 0.15,
        cpu_us: 250.0,
        p99: Some(Duration::from_millis(50)),
    };
    measure(&world, &target).await.map(Some)
}

async fn measure(world: &World, target: &Target) -> Result<Row> {
    let api = world.api();
    let repo = world.git.repo("bench/webhook")?;
    let project = world.project(Forge::Github, &repo).await?;
    // Paused, so that only what the accept itself needs, and a recorded reason, is made.
    let path = format!("/api/v1/projects/{}/pause", project.id);
    ensure!(api.call(Method::POST, &path, None).await?.0.is_success(), "the project can be paused");
    let pushed = repo.commit("Bench", &[("a", "b\n")])?;
    let (address, server) = baseline().await?;
    let client = reqwest::Client::builder().pool_max_idle_per_host(AT_ONCE).build()?;
    let body = |n: usize| padded(&github::push(&repo, &pushed, &project.hook.secret), n);

    let (mut our_rates, mut their_rates, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = 0.0;
    for round in 0..ROUNDS {
        let ours: Vec<_> =
            (0..PER_ROUND).map(|n| github::sign("push", body(round * PER_ROUND + n), &project.hook.secret)).collect();
        let theirs: Vec<_> =
            (0..PER_ROUND).map(|n| github::sign("push", body(round * PER_ROUND + n), SECRET)).collect();
        let mut us = async || -> Result<()> {
            let before = cpu_secs(world.slipway.id())?;
            let (rate, mut times) = send(&client, &project.hook.url, ours.clone(), StatusCode::ACCEPTED).await?;
            cpu += cpu_secs(world.slipway.id())? - before;
            our_rates.push(rate);
            latencies.append(&mut times);
            Ok(())
        };
        if round % 2 == 0 {
            us().await?;
            their_rates.push(send(&client, &address, theirs, StatusCode::ACCEPTED).await?.0);
        } else {
            their_rates.push(send(&client, &address, theirs, StatusCode::ACCEPTED).await?.0);
            us().await?;
        }
    }
    server.abort();
    let half = stats::median(&our_rates) / 2.0;
    let at_half = match target.p99 {
        Some(_) => {
            let more: Vec<_> = (0..PER_ROUND)
                .map(|n| github::sign("push", body(ROUNDS * PER_ROUND + n), &project.hook.secret))
                .collect();
            Some(stats::percentile(&paced(&client, &project.hook.url, more, half).await?, 0.99))
        }
        None => None,
    };
    let ratios: Vec<f64> = our_rates.iter().zip(&their_rates).map(|(ours, theirs)| ours / theirs).collect();
    let cpu_us = cpu / (ROUNDS * PER_ROUND) as f64 * 1e6;
    let is_quick = at_half.zip(target.p99).is_none_or(|(took, allowed)| took < allowed.as_secs_f64());
    let at_half = at_half.map_or_else(String::new, |p99| format!("; p99 {:.1} ms at {half:.0}/s", p99 * 1e3));
    Ok(Row {
        figure: target.figure,
        baseline: format!("{:.0}/s (body + HMAC only)", stats::median(&their_rates)),
        ours: format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms{at_half}",
            stats::median(&our_rates),
            stats::median(&latencies) * 1e3,
            stats::percentile(&latencies, 0.99) * 1e3
        ),
        ratio: stats::shown(&ratios),
        cpu: format!("{cpu_us:.0} us, the work on its row included"),
        target: target.words,
        reached: stats::median(&ratios) >= target.ratio && cpu_us < target.cpu_us && is_quick,
    })
}

/// The payload, filled up to 8 KB with something that differs.
fn padded(delivery: &Delivery, n: usize) -> Vec<u8> {
    let mut body = delivery.body.clone();
    body.pop();
    let filler = format!(",\"bench\":\"{n:0>width$}\"}}", width = BODY_BYTES.saturating_sub(body.len() + 12));
    body.extend_from_slice(filler.as_bytes());
    body
}

async fn send(
    client: &reqwest::Client,
    url: &str,
    deliveries: Vec<Delivery>,
    wanted: StatusCode,
) -> Result<(f64, Vec<f64>)> {
    let count = deliveries.len();
    let mut waiting = deliveries.into_iter();
    let mut running = FuturesUnordered::new();
    let began = Instant::now();
    running.extend(waiting.by_ref().take(AT_ONCE).map(|delivery| send_one(client, url, delivery, wanted)));
    let mut times = Vec::with_capacity(count);
    while let Some(time) = running.next().await {
        times.push(time?);
        if let Some(next) = waiting.next() {
            running.push(send_one(client, url, next, wanted));
        }
    }
    Ok((count as f64 / began.elapsed().as_secs_f64(), times))
}

/// Sends so many a second, whether or not those before were answered; gives how long each took.
async fn paced(client: &reqwest::Client, url: &str, deliveries: Vec<Delivery>, per_second: f64) -> Result<Vec<f64>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut running = FuturesUnordered::new();
    let mut times = Vec::with_capacity(deliveries.len());
    let mut waiting = deliveries.into_iter();
    loop {
        tokio::select! {
            _ = ticks.tick(), if waiting.len() > 0 => {
                running.extend(waiting.next().map(|delivery| send_one(client, url, delivery, StatusCode::ACCEPTED)));
            }
            Some(time) = running.next() => times.push(time?),
            else => return Ok(times),
        }
    }
}

async fn send_one(client: &reqwest::Client, url: &str, delivery: Delivery, wanted: StatusCode) -> Result<f64> {
    let began = Instant::now();
    let mut request = client.post(url).timeout(Duration::from_secs(30)).body(delivery.body);
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.context("sending a delivery")?;
    let status = answer.status();
    answer.bytes().await?;
    ensure!(status == wanted, "the delivery was answered {status}");
    Ok(began.elapsed().as_secs_f64())
}

async fn baseline() -> Result<(String, tokio::task::JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/hooks/x", listener.local_addr()?);
    let router = Router::new().route("/hooks/{hook}", post(check));
    let server = tokio::spawn(async move {
        // It ends with the bench.
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, server))
}

async fn check(headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    mac.update(&body);
    let shown = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signature = hex::decode(shown.trim_start_matches("sha256=")).unwrap_or_default();
    if mac.verify_slice(&signature).is_ok() { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED }
}
