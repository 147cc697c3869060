//! `GET /api/v1/jobs/{id}/log.log` and `…/log.zst`: the whole log to keep, as it is stored, the second one packed by zstd.

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use slipway_domain::ids::JobId;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};

use super::text::{bytes, text_headers};
use crate::access;
use crate::follow::state_word;
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader;

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
        head.remove(header::ACCEPT_RANGES);
        head
    };
    let Some(log) = &view.log else { return Ok((headed(text_headers("none", 0, 0)), Body::empty()).into_response()) };
    let end = reader::readable_end(&logs, log);
    let head = headed(text_headers(state_word(log), log.epoch, end));
    let body = match form {
        Form::Plain => Body::from_stream(bytes(logs, log.attempt(), 0, end)),
        Form::Zstd => Body::from_stream(zstd_frames(logs.clone(), bytes(logs, log.attempt(), 0, end))),
    };
    Ok((head, body).into_response())
}

/// A frame for each piece: one behind the other they are one file.
fn zstd_frames(
    logs: Logs,
    pieces: impl Stream<Item = Result<Bytes, ReadError>>,
) -> impl Stream<Item = anyhow::Result<Bytes>> {
    pieces.map_err(anyhow::Error::from).and_then(move |piece| {
        let logs = logs.clone();
        async move {
            let packed = logs.life().blocking("pack a log", move || zstd::bulk::compress(&piece, LEVEL));
            Ok(Bytes::from(packed.await.context("packing broke off")?.context("a piece does not pack")?))
        }
    })
}
