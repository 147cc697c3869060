//! `GET /api/v1/jobs/{id}/log/search`: the lines of a whole log that have what is looked for.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use slipway_domain::ids::JobId;
use slipway_logfmt::chunk::{Chunk, Stream};
use slipway_runtime::problem::{ApiError, PathOf, QueryOf};
use slipway_store::logs::LogRow;
use tokio::sync::mpsc;

use crate::access;
use crate::follow::state_word;
use crate::logs::Logs;
use crate::problem::{ReadError, store_problem};
use crate::reader;
use crate::routes::flag;
use crate::search::{CONTEXT_MAX, Found, Query, Search};

/// Hits of an answer unless asked otherwise.
const LIMIT: usize = 50;
/// Most hits of an answer.
const LIMIT_MAX: usize = 500;
/// Segments that are read before they are looked through.
const AHEAD: usize = 2;
/// How long one waits for a place among the searches that run.
const PLACE: Duration = Duration::from_secs(5);
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
    /// Hits after this line.
    after: Option<i64>,
    limit: Option<usize>,
    context: Option<usize>,
    epoch: Option<i64>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct SearchAnswer {
    epoch: i64,
    /// `live`, `complete`, `cut`, `damaged` or `none`.
    state: &'static str,
    /// Bytes that were looked through; a log that lives goes on there.
    end: i64,
    #[serde(flatten)]
    found: Found,
    /// `after` of the next page; nothing where this is the last one.
    next: Option<i64>,
}

pub(super) async fn search(
    State(logs): State<Logs>,
    PathOf(job): PathOf<JobId>,
    QueryOf(query): QueryOf<SearchQuery>,
    headers: HeaderMap,
) -> Result<Json<SearchAnswer>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(ApiError::BadRequest(format!("\"limit\" is at most {LIMIT_MAX}.")));
    }
    let context = query.context.unwrap_or(0);
    if context > CONTEXT_MAX {
        return Err(ApiError::BadRequest(format!("\"context\" is at most {CONTEXT_MAX} lines.")));
    }
    let epoch = query.epoch;
    let search = Search::new(Query {
        text: query.q,
        regex: query.regex,
        case: query.case,
        word: query.word,
        step: query.step,
        stream: query.stream,
        after: query.after.unwrap_or(0),
        // One more tells whether there is another page.
        limit: limit + 1,
        context,
    })
    .map_err(ApiError::BadRequest)?;
    let scope = access::scope(&logs, &headers).await?;
    let view = logs.db().log_view(&scope, job, epoch).await.map_err(store_problem)?;
    let Some(log) = view.log else {
        let (found, next) = (Found::default(), None);
        return Ok(Json(SearchAnswer { epoch: 0, state: "none", end: 0, found, next }));
    };
    let busy = || ApiError::Busy("Several logs are searched just now; try again in a moment.".to_owned(), AGAIN_SECS);
    let place = tokio::time::timeout(PLACE, logs.searches().acquire()).await;
    let _place = place.map_err(|_| busy())?.map_err(ApiError::internal)?;
    let end = reader::readable_end(&logs, &log);
    let mut found = look(&logs, &log, end, search).await?;
    let more = found.hits.len() > limit;
    found.hits.truncate(limit);
    let next = found.hits.last().filter(|_| more).map(|hit| hit.line);
    Ok(Json(SearchAnswer { epoch: log.epoch, state: state_word(&log), end, found, next }))
}

/// Reads and looks at the same time. Whoever gives up waiting ends both.
async fn look(logs: &Logs, log: &LogRow, end: i64, search: Search) -> Result<Found, ApiError> {
    let (give, mut take) = mpsc::channel::<Chunk>(AHEAD);
    let looking = logs.life().blocking("search a log", move || search.run(std::iter::from_fn(|| take.blocking_recv())));
    let reading = async move {
        let mut at = 0;
        while at < end {
            let Some(piece) = reader::piece_at(logs, log.attempt(), at).await? else { break };
            let Some(chunk) = piece.chunk.slice(at, end) else { break };
            at = chunk.end();
            if give.send(chunk).await.is_err() {
                break;
            }
        }
        Ok::<(), ReadError>(())
    };
    let (read, found) = tokio::join!(reading, looking);
    read?;
    found.map_err(ApiError::internal)?.map_err(ApiError::internal)
}
