//! The OpenAPI document and its page. Routes that other rooms serve are described here too, so that users
//! find one whole document.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{StatusCode, header};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::Config;

/// An error, as RFC 9457 `application/problem+json`.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only its schema is used; the real one is runtime's, which knows no OpenAPI")]
pub struct ProblemDoc {
    /// `about:blank`: the status says what kind it is.
    #[schema(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    status: u16,
    /// What happened, where, and what to do next.
    detail: String,
    /// Id under which the service's log tells more; only for errors of the service.
    error_id: Option<String>,
}

/// How to build. What is not set falls back: `POST …/builds`, then `slipway.yml`, then the project.
#[derive(ToSchema)]
#[schema(as = BuildOptions)]
#[expect(dead_code, reason = "only its schema is used; the real one is domain's, which knows no OpenAPI")]
pub struct BuildOptionsDoc {
    /// Path of the Dockerfile inside the context; `Dockerfile` unless set.
    dockerfile: Option<String>,
    /// Folder of the repository that is sent to the engine; the root unless set.
    context: Option<String>,
    /// Stage to build; the last one unless set.
    target: Option<String>,
    /// Build arguments. They end up in the image's history: never a secret.
    args: Option<BTreeMap<String, String>>,
    /// Image tags, instead of the project's.
    tags: Option<Vec<String>>,
    /// Which of the project's images are made; all of them unless set. At most 10.
    images: Option<Vec<ImageOptionsDoc>>,
    /// Ignore the layer cache.
    no_cache: Option<bool>,
    /// Ask registries for newer base images, instead of taking what the builder has.
    pull: Option<bool>,
    /// Fetch the repository's submodules, too: over https, with the project's credential only from its own origin.
    submodules: Option<bool>,
    /// Fetch the content of files that lie in LFS, instead of building their pointers.
    lfs: Option<bool>,
    /// Network of RUN steps: `default` or `none`.
    network: Option<String>,
    /// Seconds that the job may run.
    timeout_secs: Option<u64>,
}

/// One of the project's images, as a build makes it.
#[derive(ToSchema)]
#[schema(as = ImageOptions)]
#[expect(dead_code, reason = "only its schema is used; the real one is domain's, which knows no OpenAPI")]
pub struct ImageOptionsDoc {
    /// One of the project's repositories.
    repository: String,
    /// The stage that is built; as the project has it unless set.
    target: Option<String>,
    /// Its tags; `build.tags`, or else as the project has them, unless set.
    tags: Option<Vec<String>>,
}

/// What of a project is built. A twin of the domain's type, which knows nothing of OpenAPI.
#[derive(ToSchema)]
#[schema(as = Rules)]
#[expect(dead_code, reason = "only its schema is used; the real one is domain's, which knows no OpenAPI")]
pub struct RulesDoc {
    /// Branches whose pushes are built, as patterns; all unless set. `*` stays within a `/`, `**` does not, and `!` in
    /// front takes away.
    branches: Option<Vec<String>>,
    /// The same for tags.
    tags: Option<Vec<String>>,
    /// Whether pull and merge requests are built; they are unless set.
    changes: Option<bool>,
    /// What becomes of those that strangers wrote: `approve` (unless set; whoever may push needs none), `build` or
    /// `ignore`.
    strangers: Option<String>,
    /// Files, as patterns: a push of a branch and a pull request are built if they change one of them. All unless set.
    /// Tags and new branches are built whatever they change, and so is what nobody can say the files of.
    paths: Option<Vec<String>>,
    /// Whether drafts are built; they are unless set.
    drafts: Option<bool>,
    /// Which older builds of the same branch, tag or pull request a newer one stops: `never` (unless set), `waiting`
    /// (those that no builder has begun) or `running` (those, too, unless they are publishing).
    supersede: Option<String>,
    /// Whether a commit that a branch's push builds is left out of the pull request from that branch; it is built
    /// there, too, unless set.
    once_per_commit: Option<bool>,
}

/// What a delivery means, as `slipway hook inspect` prints it. A twin of the type of the forges' library.
#[derive(ToSchema)]
#[schema(as = Inspection)]
#[expect(dead_code, reason = "only its schema is used; the real one is the forges' library's, which knows no OpenAPI")]
pub struct InspectionDoc {
    /// True: what is not verified is not stored.
    verified: bool,
    /// How it proved where it comes from.
    auth: String,
    /// `ping`, `events`, `lifecycle` or `ignored`; null when it cannot be read.
    outcome: Option<String>,
    /// Why it is ignored or cannot be read, or what the lifecycle event says.
    reason: Option<String>,
    /// What happened, by `type`: `ref`, `change`, `release` or `rerun`.
    events: Vec<serde_json::Value>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Slipway",
        description = "Turns a Git push into a pushed container image. Errors are application/problem+json; lists \
            are {\"items\", \"next_cursor\"}; every POST takes an Idempotency-Key.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(receive_hook, job_log, job_log_file, job_log_packed, job_log_stream, job_log_outline, job_log_lines, job_log_search),
    components(schemas(ProblemDoc, BuildOptionsDoc, ImageOptionsDoc, RulesDoc, InspectionDoc)),
    tags(
        (name = "projects"), (name = "builds"), (name = "jobs"), (name = "logs"), (name = "deliveries"),
        (name = "builders"), (name = "connections"), (name = "registries"), (name = "secrets"), (name = "tenants"),
        (name = "tokens"), (name = "operations"),
    ),
)]
struct Frame;

/// The document before any route is added to it.
pub fn frame() -> Document {
    let mut document = Frame::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], _>("bearer", [])]);
    document
}

/// `/api/openapi.json` and `/api/docs/`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: &Document) -> serde_json::Result<Router<S>> {
    let text: Arc<str> = document.to_json()?.into();
    let config = Arc::new(Config::from("/api/openapi.json").validator_url("none").use_base_layout());
    let page = Router::new()
        .route("/api/docs", get(|| async { Redirect::permanent("/api/docs/") }))
        .route("/api/docs/", get(|State(config): State<_>| file(config, "index.html".to_owned())))
        .route("/api/docs/{*path}", get(|State(config): State<_>, Path(path): Path<String>| file(config, path)))
        .with_state(config);
    let json = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) });
    Ok(Router::new().route("/api/openapi.json", json).merge(page))
}

async fn file(config: Arc<Config<'static>>, path: String) -> Response {
    match utoipa_swagger_ui::serve(&path, config) {
        Ok(Some(file)) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            slipway_runtime::problem::ApiError::Internal(anyhow::anyhow!("api docs: {error}")).into_response()
        }
    }
}

/// Where a forge sends its webhooks. Signed as the forge signs them.
#[utoipa::path(post, path = "/hooks/{hook}", tag = "deliveries", security(()),
    params(("hook" = uuid::Uuid, Path, description = "Opaque id from the project's hook URL")),
    request_body(content = String, content_type = "application/json", description = "The forge's payload, up to 25 MB"),
    responses(
    (status = 202, description = "Stored; `{\"delivery\"}` names it"),
    (status = 200, description = "A duplicate, a ping or an unknown event"),
    (status = 400, description = "Authentic but malformed", body = ProblemDoc),
    (status = 401, description = "The signature is wrong", body = ProblemDoc),
    (status = 404, description = "Unknown hook", body = ProblemDoc),
    (status = 413, description = "Larger than 25 MB", body = ProblemDoc),
))]
#[expect(dead_code, reason = "describes a route that the intake serves")]
fn receive_hook() {}

/// The log as text.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("ansi" = Option<u8>, Query, description = "1 keeps terminal colours"),
    ("from" = Option<u64>, Query, description = "First line, from 1"),
    ("to" = Option<u64>, Query, description = "Last line, inclusive"),
    ("tail" = Option<u64>, Query, description = "Only the last lines"),
    ("step" = Option<u32>, Query, description = "Only what this step wrote; lines are counted among its own"),
    ("since" = Option<String>, Query, description = "Only what was written at this time or later, RFC 3339"),
    ("until" = Option<String>, Query, description = "Only what was written before this time, RFC 3339"),
    ("follow" = Option<u8>, Query, description = "1 stays until the log ends; an answer that breaks off has not come to it"),
    ("epoch" = Option<i64>, Query, description = "Attempt; the newest unless set"),
    ("Range" = Option<String>, Header, description = "Bytes of the stored stream, answered with 206"),
), responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log() {}

/// The whole log as a file, as it is stored.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log.log", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("epoch" = Option<i64>, Query, description = "Attempt; the newest unless set"),
), responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_file() {}

/// The same packed by zstd.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log.zst", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("epoch" = Option<i64>, Query, description = "Attempt; the newest unless set"),
), responses((status = 200, content_type = "application/zstd"), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_packed() {}

/// The log as server-sent events: `id: <epoch>:<byte offset>`; `event: attempt` on a switch, `event: end` closes.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log/stream", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("ansi" = Option<u8>, Query, description = "1 keeps terminal colours"),
    ("bell" = Option<u8>, Query, description = "1 tells how far the log goes, with its lines only where few are new"),
    ("Last-Event-ID" = Option<String>, Header, description = "Resumes after this event"),
), responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_stream() {}

/// How many lines the log has, and which step wrote how many of them.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log/outline", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("epoch" = Option<i64>, Query, description = "Attempt; the newest unless set"),
    ("groups" = Option<u8>, Query, description = "1 tells the groups of each step's lines as well"),
), responses((status = 200, description = "Lines and steps"), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_outline() {}

/// Lines of the log by number. `holes` names what of them storage lost. Where reading them takes too much there are fewer
/// than were asked for, but one at least; the others are had by asking again behind the last one.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log/lines", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("from" = Option<u64>, Query, description = "First line, from 1; of the step, where one is given"),
    ("count" = Option<u64>, Query, description = "How many, 500 unless set, at most 5000"),
    ("step" = Option<u32>, Query, description = "Only lines of this step"),
    ("ansi" = Option<u8>, Query, description = "1 keeps terminal colours"),
    ("runs" = Option<u8>, Query, description = "1 gives `runs` of text in one style as a terminal shows them, and `width` in columns, instead of `text`"),
    ("epoch" = Option<i64>, Query, description = "Attempt; the newest unless set"),
), responses((status = 200, description = "Lines"), (status = 404, body = ProblemDoc)))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_lines() {}

/// Lines of the whole log that have a text: how many, and some of them in order, each in parts of which `hit` tells those
/// that were looked for. `next` is the `after` of the next page. One answer takes half a minute at most: where `partial` is
/// true, not all was looked at, `total` is the least, and the search goes on with `next` as `after`. Where `next` is null
/// then, no line ended in that time.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log/search", tag = "logs", params(
    ("id" = uuid::Uuid, Path),
    ("q" = String, Query, description = "What to look for, without terminal colours; at most 1000 bytes"),
    ("regex" = Option<u8>, Query, description = "1 takes it as an expression, in the syntax of Rust's regex"),
    ("case" = Option<u8>, Query, description = "1 heeds capitals"),
    ("word" = Option<u8>, Query, description = "1 finds whole words only"),
    ("step" = Option<u32>, Query, description = "Only lines of this step"),
    ("stream" = Option<String>, Query, description = "Only lines of `stdout`, `stderr` or `meta`"),
    ("after" = Option<u64>, Query, description = "Only lines behind this one: what is before is neither read nor counted"),
    ("limit" = Option<u64>, Query, description = "Most hits, 50 unless set, at most 500; 0 only counts"),
    ("context" = Option<u64>, Query, description = "Lines beside each hit, at most 10"),
    ("format" = Option<String>, Query, description = "`json` unless set, or `text`: `line:text` of each hit, as grep writes it"),
    ("first" = Option<u8>, Query, description = "1 answers as soon as `limit` hits are found; `partial` says that the rest was not looked at"),
    ("epoch" = Option<i64>, Query, description = "Of this attempt; the last one unless set"),
), responses(
    (status = 200, description = "What was found"),
    (status = 400, description = "Nothing that can be looked for", body = ProblemDoc),
    (status = 404, body = ProblemDoc),
    (status = 503, description = "Too many searches at once", body = ProblemDoc),
))]
#[expect(dead_code, reason = "describes a route that logsvc serves")]
fn job_log_search() {}
