//! `GET /api/v1/jobs/{id}/log/stream`: the log as server-sent events. An event's id is
//! `<epoch>:<offset of the next byte>`, so that a browser which reconnects misses nothing and gets nothing
//! twice.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http::header::{self, HeaderName};
use serde::Deserialize;
use slipway_domain::ids::JobId;
use slipway_runtime::clock::Clock;
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::StoreError;

use crate::access;
use crate::follow::{Follower, Start, Step};
use crate::logs::Logs;
use crate::pace::Pace;
use crate::problem::{ReadError, store_problem};
use crate::reader;
use crate::render::{Renderer, attempt_event, end_event, page_event};
use crate::routes::flag;

/// Silence is broken this often, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What of the log is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct StreamQuery {
    #[serde(default, deserialize_with = "flag")]
    ansi: bool,
    epoch: Option<i64>,
    /// How far the log goes, with new lines only where they are few: for a viewer that reads the lines that it shows.
    #[serde(default, deserialize_with = "flag")]
    bell: bool,
    /// An event's id, for a page that already shows everything before; the header wins.
    after: Option<String>,
}

pub(super) async fn stream(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let caller = access::caller(&logs, &headers).await?;
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let resumed = last_id.or(query.after).and_then(|id| parse_id(&id)).filter(|(epoch, _)| {
        // A pinned epoch wins over the id of another.
        query.epoch.is_none_or(|pinned| pinned == *epoch)
    });
    let wanted = query.epoch.or(resumed.map(|(epoch, _)| epoch)).filter(|epoch| *epoch > 0);
    let view = match logs.db().log_view(caller.scope(), job, wanted).await {
        // An id of an attempt that is not there: begin anew.
        Err(StoreError::NotFound("attempt")) if query.epoch.is_none() => {
            logs.db().log_view(caller.scope(), job, None).await
        }
        other => other,
    }
    .map_err(store_problem)?;
    let epoch = view.log.as_ref().map_or(0, |log| log.epoch);
    let at = resumed.filter(|(resumed, _)| *resumed == epoch).map_or(0, |(_, at)| at);
    // Who only wants to know how far it goes need not hear of every step on the way.
    let end = view.log.as_ref().filter(|_| query.bell && at == 0).map(|log| reader::readable_end(&logs, log));
    let at = end.unwrap_or(at);
    let start = Start { job, epoch, at, pinned: query.epoch.is_some() };
    let follower = Follower::new(&logs, caller, &view, start).await;
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, Body::from_stream(events(follower, logs.clock().clone(), logs.crowd().join(), (query.ansi, query.bell))))
        .into_response())
}

/// `<epoch>:<offset>`.
fn parse_id(id: &str) -> Option<(i64, i64)> {
    let (epoch, at) = id.trim().split_once(':')?;
    let (epoch, at) = (epoch.parse().ok()?, at.parse().ok()?);
    (epoch >= 0 && at >= 0).then_some((epoch, at))
}

fn events(
    mut follower: Follower,
    clock: Clock,
    mut pace: Pace,
    (ansi, bell): (bool, bool),
) -> impl Stream<Item = Result<Bytes, ReadError>> {
    async_stream::try_stream! {
        let mut renderer = Renderer::new(follower.epoch(), ansi);
        // The head of the answer goes out at once, also when there is nothing to say yet.
        yield Bytes::from_static(b"retry: 2000\n\n");
        loop {
            let step = match follower.ready() {
                Some(step) => step,
                None => {
                    let pause = pace.pause(clock.monotonic());
                    if !pause.is_zero() {
                        clock.sleep(pause).await;
                    }
                    // It goes on behind the words: a read that takes long is not begun anew.
                    let mut next = pin!(follower.next());
                    loop {
                        match tokio::time::timeout(KEEP_ALIVE, next.as_mut()).await {
                            Ok(step) => break step?,
                            Err(_) => yield Bytes::from_static(b": still here\n\n"),
                        }
                    }
                }
            };
            pace.sent(clock.monotonic());
            match step {
                Step::Piece { piece, from } if bell => yield page_event(follower.epoch(), &piece, from),
                Step::Piece { piece, from } => {
                    for event in renderer.piece(&piece, from) {
                        yield event;
                    }
                }
                Step::Attempt(epoch) => {
                    if let Some(rest) = renderer.finish() {
                        yield rest;
                    }
                    renderer = Renderer::new(epoch, ansi);
                    yield attempt_event(epoch);
                }
                Step::End(state) => {
                    if let Some(rest) = renderer.finish() {
                        yield rest;
                    }
                    yield end_event(follower.epoch(), follower.at(), state);
                    break;
                }
                Step::Stopped => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_id;

    #[test]
    fn ids_are_read_and_nonsense_begins_anew() {
        let cases = [
            ("1:0", Some((1, 0))),
            (" 3:1048576 ", Some((3, 1_048_576))),
            ("0:0", Some((0, 0))),
            ("1", None),
            ("1:-1", None),
            ("-1:1", None),
            ("a:b", None),
            ("", None),
        ];
        for (id, expected) in cases {
            assert_eq!(parse_id(id), expected, "{id:?}");
        }
    }
}
