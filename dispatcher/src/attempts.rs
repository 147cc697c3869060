//! What a builder says about an attempt it holds: reports, leave, the last word.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use slipway_domain::agent::{Finish, KeptCache, Leave, LeaveRequest, LeaveReturn, Report, ReportAck};
use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::git_ref::is_image_tag;
use slipway_domain::image::is_digest;
use slipway_domain::spec::{CACHE_SUFFIX, JobSpec};
use slipway_live::{Topic, WakeKind};
use slipway_runtime::problem::{ApiError, JsonBody};
use slipway_store::attempt_ends::Ended;
use tracing::{info, warn};

use crate::Dispatcher;
use crate::auth::{Caller, store_error};
use crate::tally;

/// `POST …/report`
pub async fn report(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(report): JsonBody<Report>,
) -> Result<Json<ReportAck>, ApiError> {
    let ack = dispatcher.deps.db.report(caller.attempt, &report).await.map_err(store_error)?;
    tell_pages(&dispatcher, caller).await;
    Ok(Json(ack))
}

/// `POST …/leave`
pub async fn leave(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(request): JsonBody<LeaveRequest>,
) -> Result<Json<Leave>, ApiError> {
    let deps = &dispatcher.deps;
    let spec = deps.db.job_spec(caller.attempt.job).await.map_err(store_error)?;
    if !may_move(&spec, &request) {
        warn!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, registry = request.registry,
            repository = request.repository, tag = request.tag, "leave asked for a tag that is not the job's");
        let LeaveRequest { registry, repository, tag, .. } = request;
        return Err(ApiError::Forbidden(format!("The tag {registry}/{repository}:{tag} is not one of this job's.")));
    }
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    let leave = deps.db.request_leave(caller.attempt, &request, now).await.map_err(store_error)?;
    info!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, tag = request.tag, ?leave, "leave asked");
    Ok(Json(leave))
}

/// `POST …/leave/return`
pub async fn leave_return(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(back): JsonBody<LeaveReturn>,
) -> Result<StatusCode, ApiError> {
    let deps = &dispatcher.deps;
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    deps.db.return_leave(caller.attempt, &back, now).await.map_err(store_error)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/cache`
pub async fn cache(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(kept): JsonBody<KeptCache>,
) -> Result<StatusCode, ApiError> {
    let deps = &dispatcher.deps;
    let spec = deps.db.job_spec(caller.attempt.job).await.map_err(store_error)?;
    let place = spec.cache_place(caller.attempt.epoch).filter(|place| *place == kept.reference);
    let Some((reference, repository)) = place.zip(spec.cache_repository.as_ref()) else {
        return Err(ApiError::Forbidden("ref: this attempt keeps nothing there.".to_owned()));
    };
    if !is_digest(&kept.digest) {
        return Err(ApiError::Invalid("digest: write sha256: and 64 hexadecimal digits.".to_owned()));
    }
    let now = deps.db.now(&deps.clock).await.map_err(store_error)?;
    deps.db.keep_registry_cache(caller.attempt, repository, &kept.digest, now).await.map_err(store_error)?;
    info!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, reference, digest = kept.digest, "cache kept");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/finish`
pub async fn finish(
    State(dispatcher): State<Dispatcher>,
    caller: Caller,
    JsonBody(finish): JsonBody<Finish>,
) -> Result<StatusCode, ApiError> {
    if finish.outcome == AttemptOutcome::Lost {
        return Err(ApiError::Invalid("outcome: only the dispatcher finds an attempt lost".to_owned()));
    }
    let deps = &dispatcher.deps;
    let outcome = finish.outcome;
    match dispatcher.finishes.ask((caller.attempt, finish)).await?.map_err(store_error)? {
        Ended::Now(state) => {
            tally::attempts_ended(outcome, 1);
            info!(job.id = %caller.attempt.job, epoch = caller.attempt.epoch, outcome = %outcome,
                state = %state, "attempt finished");
            dispatcher.jobs_changed();
            deps.live.publish(Topic::Wake(WakeKind::Statuses), Default::default());
            tell_pages(&dispatcher, caller).await;
            Ok(StatusCode::NO_CONTENT)
        }
        Ended::Before => Ok(StatusCode::NO_CONTENT),
        Ended::Stale => Err(ApiError::Conflict("This attempt ended in another way before.".to_owned())),
    }
}

/// Whether a tag is the job's to move: of one of its project's repositories, and one of the tags that the build was
/// asked for. Where none were, `slipway.yml` may name any, which only the builder has read; but never what looks like
/// the carrier of a build.
fn may_move(spec: &JobSpec, request: &LeaveRequest) -> bool {
    let LeaveRequest { registry, repository, tag, digest: _ } = request;
    is_image_tag(tag) && !is_carrier_tag(tag) && spec.may_show(&format!("{registry}/{repository}"), tag)
}

/// `b<build>.<epoch>`, and those of further images and of caches.
fn is_carrier_tag(tag: &str) -> bool {
    let parts = tag.strip_suffix(CACHE_SUFFIX).unwrap_or(tag).strip_prefix('b').and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(build, epoch)| {
        build.len() == 32
            && build.bytes().all(|byte| byte.is_ascii_hexdigit())
            && epoch.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// Pages are only hinted at; what they show they read again.
async fn tell_pages(dispatcher: &Dispatcher, caller: Caller) {
    if let Ok(job) = dispatcher.deps.db.job(caller.attempt.job).await {
        dispatcher.deps.live.publish(Topic::Build(job.build_id), Default::default());
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::build::Trigger;
    use slipway_domain::spec::{BuildOptions, ImageTarget};
    use slipway_runtime::clock::Clock;
    use slipway_runtime::ids::new_id;

    use super::*;

    fn spec(image: Option<&str>, asked: Option<&[&str]>) -> JobSpec {
        let tags = asked.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
        JobSpec {
            build: new_id(),
            project: new_id(),
            project_name: "app".to_owned(),
            tenant: new_id(),
            trigger: Trigger::Manual,
            forge: None,
            clone_url: "https://github.com/team/app.git".to_owned(),
            git_ref: None,
            commit: "a".repeat(40),
            change: None,
            asked: BuildOptions { tags, ..BuildOptions::default() },
            project_options: BuildOptions::default(),
            image: image.map(target),
            more_images: image.map(|_| target("r:5000/team/second")).into_iter().collect(),
            cache_repository: None,
            created_at: Clock::system().now(),
            context_max_bytes: 1,
            context_max_entries: 1,
            limits: slipway_domain::plan::Limits::default(),
        }
    }

    fn target(repository: &str) -> ImageTarget {
        ImageTarget { repository: repository.to_owned(), tags: Vec::new(), target: None }
    }

    #[test]
    fn leave_is_for_the_jobs_own_tags_only() {
        let may = |spec: &JobSpec, registry: &str, repository: &str, tag: &str| {
            let [registry, repository, tag] = [registry, repository, tag].map(str::to_owned);
            may_move(spec, &LeaveRequest { registry, repository, tag, digest: "sha256:a".to_owned() })
        };
        let (open, asked) = (spec(Some("r:5000/team/app"), None), spec(Some("r:5000/team/app"), Some(&["v1"])));
        assert!(may(&open, "r:5000", "team/app", "from-slipway-yml") && may(&asked, "r:5000", "team/app", "v1"));
        assert!(!may(&asked, "r:5000", "team/app", "v2"), "it was asked for other tags");
        let filled = spec(Some("r:5000/team/app"), Some(&["v-{{sha7}}"]));
        assert!(may(&filled, "r:5000", "team/app", "v-aaaaaaa") && !may(&filled, "r:5000", "team/app", "v-{{sha7}}"));
        assert!(!may(&open, "r", "team/app", "v1") && !may(&open, "r:5000", "team/other", "v1"));
        assert!(!may(&open, "r:5000", "team/app", "no tag") && !may(&open, "r:5000", "team/app", "../x"));
        assert!(!may(&spec(None, None), "r:5000", "team/app", "v1"), "it pushes nothing");
        assert!(may(&open, "r:5000", "team/second", "v1") && may(&asked, "r:5000", "team/second", "v1"));
        let (carrier, close) = (open.carrier_tag(7, 0), format!("b{}.x", "0".repeat(32)));
        let second = open.carrier_tag(7, 1);
        assert!(!may(&open, "r:5000", "team/app", &carrier) && !may(&open, "r:5000", "team/app", &second));
        assert!(may(&open, "r:5000", "team/app", &close));
        let keeping = JobSpec { cache_repository: Some("r:5000/team/app".to_owned()), ..open };
        let cache = keeping.cache_place(7).expect("a place");
        let (_, tag) = cache.rsplit_once(':').expect("a tag");
        assert!(!may(&keeping, "r:5000", "team/app", tag), "{cache}");
    }
}
