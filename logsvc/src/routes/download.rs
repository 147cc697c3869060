//! `GET /api/v1/jobs/{id}/log.log` and `…/log.zst`: the whole log to keep, as it is stored, the second one packed by zstd.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};

use super::text::{bytes, may_be_ranged, ranged, tag, text_headers};
use crate::access;
use crate::follow::state_word;
use crate::logs::Logs;
use crate::problem::store_problem;
use crate::reader;
use crate::reader::packed::{self, Run};

/// zstd's own default.
const LEVEL: i32 = 3;

/// Which attempt's.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadQuery {
    epoch: Option<i64>,
}

/// What it is packed into.
#[derive(Debug, Clone, Copy)]
enum Form {
    Plain,
    Zstd,
}

pub(super) async fn plain(
    logs: State<Logs>,
    job: PathOf<JobId>,
    query: QueryOf<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    download(logs.0, job.0, query.0, &headers, Form::Plain).await
}

pub(super) async fn packed(
    logs: State<Logs>,
    job: PathOf<JobId>,
    query: QueryOf<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    download(logs.0, job.0, query.0, &headers, Form::Zstd).await
}

async fn download(
    logs: Logs,
    job: JobId,
    query: DownloadQuery,
    headers: &HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let scope = access::scope(&logs, headers).await?;
    let view = logs.db().log_view(&scope, job, query.epoch).await.map_err(store_problem)?;
    let (ending, kind) = match form {
        Form::Plain => ("log", "text/plain; charset=utf-8"),
        Form::Zstd => ("log.zst", "application/zstd"),
    };
    let file = HeaderValue::from_str(&format!("attachment; filename=\"{job}.{ending}\""));
    let file = file.map_err(ApiError::internal)?;
    let headed = |mut head: HeaderMap| {
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        head.insert(header::CONTENT_DISPOSITION, file);
        head
    };
    let Some(log) = &view.log else { return Ok((headed(text_headers("none", 0, 0)), Body::empty()).into_response()) };
    let end = reader::readable_end(&logs, log);
    let mut head = headed(text_headers(state_word(log), log.epoch, end));
    if let Form::Zstd = form {
        // How long it becomes is known when all is packed.
        head.remove(header::ACCEPT_RANGES);
        return Ok((head, Body::from_stream(zstd_frames(logs, log.attempt(), end))).into_response());
    }
    let tag = tag(log);
    head.extend(tag.clone().map(|tag| (header::ETAG, tag)));
    if may_be_ranged(headers, tag.as_ref())
        && let Some(part) = ranged(&logs, log, headers, end)
    {
        return Ok((head, part).into_response());
    }
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(end));
    Ok((head, Body::from_stream(bytes(logs, log.attempt(), 0, end))).into_response())
}

/// One frame behind the other, which together are one file: as they are stored, and packed here where they are not.
fn zstd_frames(logs: Logs, attempt: AttemptRef, end: i64) -> impl Stream<Item = anyhow::Result<Bytes>> {
    async_stream::try_stream! {
        let mut at = 0;
        for await run in packed::runs_of(logs.clone(), attempt, end) {
            match run? {
                Run::Packed(run, frames) if run.start == at && run.end <= end => {
                    at = run.end;
                    yield frames;
                }
                Run::Packed(run, frames) => {
                    let wanted = at..run.end.min(end);
                    at = at.max(wanted.end);
                    if !wanted.is_empty() {
                        yield pack(&logs, move || part(&frames, &run, &wanted)).await?;
                    }
                }
                Run::Plain(piece) => {
                    let Some(chunk) = piece.chunk.slice(at, end) else { continue };
                    at = chunk.end();
                    yield pack(&logs, move || Ok(chunk.bytes)).await?;
                }
            }
        }
    }
}

/// Bytes as one frame. Few are packed at a time, and the others wait for their turn.
async fn pack(logs: &Logs, bytes: impl FnOnce() -> anyhow::Result<Bytes> + Send + 'static) -> anyhow::Result<Bytes> {
    let place = Arc::clone(logs.packings()).acquire_owned().await?;
    let packing = logs.life().blocking("pack a log", move || {
        let _place = place;
        zstd::bulk::compress(&bytes()?, LEVEL).context("a piece does not pack")
    });
    Ok(packing.await.context("packing broke off")??.into())
}

/// Some bytes of a packed run.
fn part(frames: &[u8], run: &Range<i64>, wanted: &Range<i64>) -> anyhow::Result<Bytes> {
    let place = |offset: i64| usize::try_from(offset - run.start).context("no place in the run");
    let bytes = Bytes::from(zstd::bulk::decompress(frames, place(run.end)?).context("a stored run does not unpack")?);
    let wanted = place(wanted.start)?..place(wanted.end)?;
    anyhow::ensure!(wanted.end <= bytes.len(), "a stored run is too short");
    Ok(bytes.slice(wanted))
}
