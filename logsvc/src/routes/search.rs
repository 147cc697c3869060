//! `GET /api/v1/jobs/{id}/log/search`: the lines of a whole log that have what is looked for.

use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::TryStreamExt as _;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_logfmt::chunk::{Chunk, Stream};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::Scope;
use slipway_store::logs::LogRow;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::follow::state_word;
use crate::hole::Hole;
use crate::index::index;
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader;
use crate::routes::flag;
use crate::routes::text::text_headers;
use crate::search::{Found, Query, Search, SearchError, Start};

/// Hits of an answer unless asked otherwise.
const LIMIT: usize = 50;
/// Segments that are read before they are looked through.
const AHEAD: usize = 2;
/// How long one waits for a place among the searches that run.
const PLACE: Duration = Duration::from_secs(5);
/// Longest time for one search; who wants more goes on behind it.
const LONGEST: Duration = Duration::from_secs(30);
/// Who finds none shall come again after so many seconds.
const AGAIN_SECS: u32 = 2;

/// What to look for.
#[derive(Debug, Deserialize)]
pub(super) struct SearchQuery {
    q: String,
    #[serde(default, deserialize_with = "flag")]
    regex: bool,
    #[serde(default, deserialize_with = "flag")]
    case: bool,
    #[serde(default, deserialize_with = "flag")]
    word: bool,
    step: Option<u32>,
    stream: Option<Stream>,
    /// Only lines behind this one.
    after: Option<i64>,
    limit: Option<usize>,
    context: Option<usize>,
    #[serde(default, deserialize_with = "flag")]
    first: bool,
    epoch: Option<i64>,
    #[serde(default)]
    format: Format,
}

/// How the answer is written.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    /// As grep writes it, for people without scripts and for pipes.
    Text,
}

/// What was found.
#[derive(Debug, Serialize)]
struct SearchAnswer {
    epoch: i64,
    /// `live`, `complete`, `cut`, `damaged` or `none`.
    state: &'static str,
    /// The byte after the last one that was read; a log that lives goes on there.
    end: i64,
    /// Lines up to this one were passed by.
    #[serde(skip)]
    after: i64,
    #[serde(flatten)]
    found: Found,
    /// What of the log cannot be had any more; nothing is found there.
    holes: Vec<Hole>,
    /// `after` of the next page; nothing where this is the last one.
    next: Option<i64>,
}

pub(super) async fn search(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<SearchQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (epoch, format, after) = (query.epoch, query.format, query.after.unwrap_or(0).max(0));
    let query = Query {
        text: query.q,
        regex: query.regex,
        case: query.case,
        word: query.word,
        step: query.step,
        stream: query.stream,
        after,
        limit: query.limit.unwrap_or(LIMIT),
        context: query.context.unwrap_or(0),
        first: query.first,
    };
    query.check().map_err(ApiError::BadRequest)?;
    let scope = access::scope(&logs, &headers).await?;
    let view = logs.db().log_view(&scope, job, epoch).await.map_err(store_problem)?;
    let Some(log) = view.log else {
        let (found, holes, next) = (Found::default(), Vec::new(), None);
        return Ok(SearchAnswer { epoch: 0, state: "none", end: 0, after, found, holes, next }.written(format));
    };
    // Nobody without an account keeps those with one from searching.
    let places = logs.searches(scope == Scope::Public);
    let busy = || ApiError::Busy("Several logs are searched just now; try again in a moment.".to_owned(), AGAIN_SECS);
    let place = tokio::time::timeout(PLACE, places.acquire_owned()).await;
    let place = place.map_err(|_| busy())?.map_err(ApiError::internal)?;
    let end = reader::readable_end(&logs, &log);
    let (found, end, holes) = look(&logs, &log, end, (query, place)).await?;
    let next = found.next(after);
    Ok(SearchAnswer { epoch: log.epoch, state: state_word(&log), end, after, found, holes, next }.written(format))
}

impl SearchAnswer {
    fn written(self, format: Format) -> Response {
        match format {
            Format::Json => Json(self).into_response(),
            Format::Text => (text_headers(self.state, self.epoch, self.end), self.text()).into_response(),
        }
    }

    fn text(&self) -> String {
        let (lines, have) = if self.found.total == 1 { ("line", "has") } else { ("lines", "have") };
        let behind = if self.after > 0 { format!(" behind line {}", self.after) } else { String::new() };
        let more = if self.found.partial { ", and perhaps more" } else { "" };
        let mut text = format!("{} {lines}{behind} {have} it{more}.\n", self.found.total);
        for hole in &self.holes {
            text.push_str(&format!(
                "Bytes {} to {} of the log are lost; nothing is found there.\n",
                hole.from, hole.to
            ));
        }
        text.push('\n');
        for hit in &self.found.hits {
            let first = hit.line - hit.before.len() as i64;
            let before = (first..).zip(&hit.before).map(|(line, text)| format!("{line}-{text}\n"));
            let after = (hit.line + 1..).zip(&hit.after).map(|(line, text)| format!("{line}-{text}\n"));
            let own: String = hit.parts.iter().map(|part| part.text.as_str()).collect();
            text.extend(before.chain([format!("{}:{own}\n", hit.line)]).chain(after));
        }
        if let Some(next) = self.next {
            let why = if self.found.more { "There are more behind" } else { "Nothing was looked at behind" };
            text.push_str(&format!("\n{why} line {next}: ask again with after={next}.\n"));
        }
        text
    }
}

/// Reads and looks at the same time, and says how far. Whoever gives up waiting ends both, and the place is free when they
/// have ended.
async fn look(
    logs: &Logs,
    log: &LogRow,
    end: i64,
    (query, place): (Query, OwnedSemaphorePermit),
) -> Result<(Found, i64, Vec<Hole>), ApiError> {
    let (give, mut take) = mpsc::channel::<Chunk>(AHEAD);
    let (stop, clock) = (CancellationToken::new(), logs.clock().clone());
    let (_gone, until) = (stop.clone().drop_guard(), clock.monotonic() + LONGEST);
    let context = i64::try_from(query.context).unwrap_or(0);
    let (from, start) = start(logs, log, end, query.after + 1 - context).await?;
    let looking = logs.life().blocking("search a log", move || {
        let _place = place;
        let go_on = || !stop.is_cancelled() && clock.monotonic() < until;
        Search::new(query)?.run(std::iter::from_fn(|| take.blocking_recv()), start, go_on)
    });
    let reading = async move {
        let (mut at, mut holes) = (from, Vec::new());
        let mut pieces = pin!(reader::pieces_of(logs.clone(), log.attempt(), from, end));
        loop {
            let left = until.saturating_duration_since(logs.clock().monotonic());
            let Ok(piece) = tokio::time::timeout(left, pieces.try_next()).await else { break };
            let Some(piece) = piece? else { break };
            let Some(chunk) = piece.chunk.slice(at, end) else { break };
            at = chunk.end();
            holes.extend(piece.hole);
            if give.send(chunk).await.is_err() {
                break;
            }
        }
        Ok::<_, ReadError>((at, holes))
    };
    let (read, found) = tokio::join!(reading, looking);
    let (at, holes) = read?;
    let found = found.map_err(ApiError::internal)?.map_err(|error| match error {
        SearchError::Refused(words) => ApiError::BadRequest(words),
        SearchError::Failed(error) => ApiError::internal(error),
    })?;
    Ok((found, at, holes))
}

/// Where reading begins for who wants lines from this one on.
async fn start(logs: &Logs, log: &LogRow, end: i64, line: i64) -> Result<(i64, Start), ReadError> {
    if line <= 1 {
        return Ok((0, Start::default()));
    }
    let index = index(logs, log, end).await?;
    let Some(run) = index.run_of_line(line) else { return Ok((0, Start::default())) };
    Ok((run.start, Start { breaks: run.breaks, continues: run.continues, of_steps: index.lines_before(run) }))
}
