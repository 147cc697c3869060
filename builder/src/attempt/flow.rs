//! What an image attempt does, in order: fetch the source, read the pipeline file from it, pack the
//! context, let the engine build, push and move tags. Ends early at every await once the reins are pulled.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slipway_domain::agent::{Credentials, Login, StepReport};
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, Phase, StepState};
use slipway_domain::dockerfile::{self, secret_mounts};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_domain::git_ref::GitRef;
use slipway_domain::image::BuiltImage;
use slipway_domain::outputs::Variant;
use slipway_domain::pipeline::Pipeline;
use slipway_domain::remarks::Warning;
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_runtime::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::bases::Bases;
use super::cold::Ran;
use super::follow::narrow;
use super::noted::Noted;
use super::outputs::Outputs;
use super::{Attempt, limits, loose_keys, no_room, policy, sharing, strangers};
use crate::agent::Agent;
use crate::attempt_log::AttemptLog;
use crate::client::{AttemptApi, CallError};
use crate::halt::{Halt, Reins};
use crate::home::make_private_dir;
use crate::report::Progress;
use crate::work::cgroup::Confined;
use crate::work::context::{ContextRequest, ContextTar, make_context};
use crate::work::engine::{BuildRequest, labels, local_image};
use crate::work::mirror::Owner;
use crate::work::source::{Checkout, Rules, SourceRequest, fetch};

/// A fetch that moves nothing for this long has failed.
pub(super) const FETCH_SILENCE: Duration = Duration::from_secs(60);
/// A commit may be so many times larger than a context, which may be a part of it.
const FETCH_PER_CONTEXT: u64 = 2;
/// Pieces of output that may wait between the engine and the log.
pub(super) const QUEUE: usize = 64;

/// One run of the work.
pub struct Flow {
    pub(super) agent: Arc<Agent>,
    pub(super) api: AttemptApi,
    pub(super) attempt: AttemptRef,
    pub(super) spec: JobSpec,
    pub(super) reins: Reins,
    pub(super) log: Arc<AttemptLog>,
    pub(super) outputs: Arc<Outputs>,
    pub(super) noted: Arc<Noted>,
    pub(super) bases: Bases,
    pub(super) ran: Ran,
    pub(super) progress: Arc<Progress>,
    workspace: PathBuf,
    began: Instant,
    limit: watch::Sender<Duration>,
}

/// A step of ours.
pub(super) struct OwnStep {
    pub(super) number: u32,
    report: StepReport,
}

impl Flow {
    pub(super) fn new(attempt: &Attempt, workspace: PathBuf, limit: watch::Sender<Duration>) -> Self {
        Self {
            agent: Arc::clone(&attempt.agent),
            api: attempt.api.clone(),
            attempt: attempt.claimed.attempt,
            spec: attempt.claimed.spec.clone(),
            reins: attempt.reins.clone(),
            log: Arc::clone(&attempt.log),
            outputs: Arc::clone(&attempt.outputs),
            noted: Arc::clone(&attempt.noted),
            bases: Bases::default(),
            ran: Ran::default(),
            progress: Arc::clone(&attempt.progress),
            workspace,
            began: attempt.began,
            limit,
        }
    }

    /// The whole work.
    pub async fn run(self) -> Result<(), Failure> {
        self.log.hide([self.api.token().to_owned()])?;
        let what = self.spec.git_ref.as_ref().map_or_else(String::new, |git_ref| format!(" ({})", git_ref.short()));
        let (project, commit) = (&self.spec.project_name, &self.spec.commit);
        self.log.meta(0, &format!("Building {project} at {commit}{what}"))?;
        self.log.meta(0, &format!("It may use {}.", self.spec.limits))?;
        if self.spec.is_trusted() {
            self.log.meta(0, &self.agent.cache.words(self.spec.project))?;
        }
        make_private_dir(&self.workspace).map_err(no_room)?;
        let checkout = self.fetch().await?;
        let options = self.options(&checkout)?;
        self.fetch_referred(&checkout, &options).await?;
        let variants = self.spec.outputs(&options);
        let variants = variants.map_err(|bad| Failure::new(FailureClass::PipelineInvalid, format!("{bad}.")))?;
        let context = self.pack(&checkout, &options).await?;
        let cold = self.is_cold(&options);
        let mut worth_keeping = None;
        for (place, Variant { target, .. }) in variants.iter().enumerate() {
            let options = BuildOptions { target: target.clone(), ..options.clone() };
            let built = self.build(context.clone(), &options, place).await?;
            worth_keeping = worth_keeping.or_else(|| Some(built).filter(|built| self.is_worth_keeping(built)));
        }
        match &self.spec.image {
            Some(_) => {
                if self.push(&variants).await? {
                    self.keep_cache(worth_keeping, cold).await;
                }
                Ok(())
            }
            None if self.spec.change.is_some() => self.log.meta(0, "It is a pull request, so nothing is pushed."),
            None => self.log.meta(0, "No image is configured for this project, so nothing is pushed."),
        }
    }

    async fn fetch(&self) -> Result<Checkout, Failure> {
        self.progress.phase(Phase::Fetching);
        let step = self.begin("slipway:fetch", "[slipway] fetch source");
        let result = self.fetch_in(step.number).await;
        self.end(step, result)
    }

    async fn fetch_in(&self, step: u32) -> Result<Checkout, Failure> {
        let credentials = self.credentials(Phase::Fetching, &[], false).await?;
        let request = SourceRequest { login: credentials.source.as_ref(), ..self.source_request() };
        let stop = self.reins.halted().child_token();
        let (said, heard) = mpsc::channel::<Bytes>(QUEUE);
        let fetching = async {
            let fetched = fetch(&self.agent.egress, request, &said, &stop).await;
            drop(said);
            fetched
        };
        beside(fetching, self.log.pour(step, heard), &stop).await
    }

    /// What is fetched, without a credential.
    pub(super) fn source_request(&self) -> SourceRequest<'_> {
        let owner = Owner { tenant: self.spec.tenant, trusted: self.spec.is_trusted() };
        SourceRequest {
            clone_url: &self.spec.clone_url,
            commit: &self.spec.commit,
            git_ref: self.spec.git_ref.as_ref(),
            rules_from: self.rules_from(),
            login: None,
            dir: &self.workspace,
            timeout: self.left(),
            silence: FETCH_SILENCE,
            max_bytes: self.spec.context_max_bytes.saturating_mul(FETCH_PER_CONTEXT),
            mirrors: Some((&self.agent.mirrors, owner)),
        }
    }

    /// What strangers propose is built as the branch says that it goes to, or else as the project does.
    fn rules_from(&self) -> Option<&GitRef> {
        self.spec.change.as_ref().filter(|change| !change.trusted).and_then(|change| change.target.as_ref())
    }

    /// `POST …/builds` wins over slipway.yml, which wins over the project.
    fn options(&self, checkout: &Checkout) -> Result<BuildOptions, Failure> {
        let own_rules = self.spec.is_trusted() || checkout.rules != Rules::Own;
        let pipeline = if own_rules { checkout.pipeline()?.unwrap_or_default() } else { Pipeline::default() };
        let options = self.spec.asked.clone().or(pipeline.build).or(self.spec.project_options.clone());
        policy::check_args(&self.agent.config.syntax_allow, &options)?;
        let options = sharing::confined(&self.spec, options);
        if let Some(secs) = options.timeout_secs {
            // The file may shorten the time that was granted with the claim, not lengthen it.
            self.limit.send_if_modified(|limit| {
                let shorter = Duration::from_secs(secs) < *limit;
                *limit = (*limit).min(Duration::from_secs(secs));
                shorter
            });
        }
        Ok(options)
    }

    async fn pack(&self, checkout: &Checkout, options: &BuildOptions) -> Result<ContextTar, Failure> {
        let step = self.begin("slipway:context", "[slipway] pack build context");
        let request = ContextRequest {
            checkout: checkout.root.clone(),
            context: options.context.clone(),
            dockerfile: options.dockerfile.clone(),
            tar: self.workspace.join("context.tar"),
            max_bytes: self.spec.context_max_bytes,
            max_entries: self.spec.context_max_entries,
            mtime: checkout.committed_at,
        };
        let packed = tokio::select! {
            packed = make_context(&self.agent.life, request) => packed,
            () = self.reins.halted().cancelled() => Err(stopped().into()),
        };
        let contents = packed.as_ref().map_or_else(|refused| &refused.contents, |context| &context.contents);
        for line in contents.lines().filter(|_| contents.entries > 0) {
            self.log.meta(step.number, &line)?;
        }
        let packed = packed.map_err(|refused| refused.failure);
        let packed = packed.and_then(|context| match strangers::refusal(&self.spec, &context.dockerfile_text) {
            Some(why) => Err(Failure::new(FailureClass::FrontendForbidden, why)),
            None => match policy::check_dockerfile(&self.agent.config.syntax_allow, &context.dockerfile_text) {
                Ok(()) => Ok(context),
                Err(refused) => Err(policy::in_file(refused, context.dockerfile_in_repository())),
            },
        });
        if let Ok(context) = &packed {
            for text in loose_keys::warnings(options, &dockerfile::scan(&context.dockerfile_text)) {
                let step = Some(i64::from(step.number));
                self.warn(Warning { text, step, dockerfile: None, line: None }, None)?;
            }
        }
        self.end(step, packed)
    }

    /// Builds one variant, and gives back what the engine was asked.
    async fn build(&self, context: ContextTar, options: &BuildOptions, place: usize) -> Result<BuildRequest, Failure> {
        self.outputs.begin(place);
        self.progress.phase(Phase::Building);
        let mounted = Vec::from_iter(secret_mounts(&dockerfile::scan(&context.dockerfile_text)));
        let cold = self.is_cold(options);
        let credentials = self.credentials(Phase::Building, &mounted, cold).await?;
        self.tell_cold(&credentials.cache_from)?;
        self.tell_missing(&mounted, &credentials)?;
        let (confined, definition) =
            tokio::try_join!(self.confine(), self.definition(&context, options, &credentials.registries))?;
        let whose = (self.agent.identity.builder, self.attempt);
        let written = (context.dockerfile_text.as_str(), options.target.as_deref());
        let dockerfile = context.dockerfile_in_repository();
        let labels = labels(whose, &self.spec, written, definition.base.as_ref());
        let request = BuildRequest {
            image: local_image(self.attempt, place),
            context,
            definition: definition.text,
            options: options.clone(),
            labels,
            logins: credentials.registries,
            egress: self.agent.egress.clone(),
            secrets: credentials.secrets,
            cache_from: credentials.cache_from,
            inline_cache: self.serves_later(),
            apart: sharing::apart(&self.spec),
            marker: confined.as_ref().map(|confined| confined.marker().to_owned()),
            scratch: self.workspace.clone(),
        };
        let stop = self.reins.halted().child_token();
        let (said, heard) = mpsc::channel(QUEUE);
        let building = async {
            let built = self.agent.engine.build(request.clone(), &said, &stop).await;
            drop(said);
            built
        };
        let built = tokio::select! {
            built = beside(building, self.follow(heard, (place, &dockerfile)), &stop) => built,
            never = held(confined.as_ref()) => match never {},
        };
        if fills_cache(&built) {
            self.agent.cache.built(self.spec.project, self.spec.is_trusted()).await;
        }
        let image = match (built, &confined) {
            (Err(failure), Some(confined)) => {
                return Err(limits::judged(failure, confined.hits().await, &self.spec.limits));
            }
            (built, _) => built?,
        };
        debug!(image, "image built");
        self.look_into(&image, options.target.clone(), place).await?;
        Ok(request)
    }

    /// Puts the plan's limits in force, where this host lets us.
    pub(super) async fn confine(&self) -> Result<Option<Confined>, Failure> {
        let data_root = self.agent.readiness.borrow().data_root.clone();
        let confined = match data_root {
            Some(root) => self.agent.cgroups.confine(self.attempt, self.spec.limits, &root).await,
            None => Err("nothing is known of the engine yet".to_owned()),
        };
        match confined {
            Ok(confined) => Ok(Some(confined)),
            Err(reason) => {
                warn!(reason, "cores, memory and processes of this attempt are not limited");
                self.log.meta(0, "This builder cannot hold cores, memory and processes to that.")?;
                Ok(None)
            }
        }
    }

    /// What was built, for those who read it later, and whether it is too large.
    async fn look_into(&self, image: &str, target: Option<String>, place: usize) -> Result<(), Failure> {
        let built = tokio::select! {
            built = self.agent.engine.layers(image, |text| self.log.masked(text)) => built?,
            () = self.reins.halted().cancelled() => return Err(stopped()),
        };
        let size = built.size_bytes();
        self.outputs.built(place, BuiltImage { target, ..built });
        limits::check_size(u64::try_from(size).unwrap_or_default(), &self.spec.limits)
    }

    /// What a phase needs; masked in the log from here on.
    pub(super) async fn credentials(
        &self,
        phase: Phase,
        secrets: &[String],
        cache: bool,
    ) -> Result<Credentials, Failure> {
        let credentials = self.heard("credentials", || self.api.credentials(phase, secrets, cache)).await?;
        self.hide(&credentials)?;
        Ok(credentials)
    }

    /// Nothing of it stands in the log from here on.
    pub(super) fn hide(&self, credentials: &Credentials) -> Result<(), Failure> {
        let logins = credentials.source.iter().chain(credentials.registries.iter().map(|registry| &registry.login));
        let values = credentials.secrets.iter().map(|secret| secret.value.clone());
        self.log.hide(logins.flat_map(secret_forms).chain(values))
    }

    /// A step whose secret is missing runs without it, and fails in a way that tells nobody why.
    fn tell_missing(&self, mounted: &[String], credentials: &Credentials) -> Result<(), Failure> {
        for name in mounted.iter().filter(|name| !credentials.secrets.iter().any(|secret| secret.name == **name)) {
            let why = if self.spec.is_trusted() {
                "neither the project nor its tenant has one of this name for this branch, tag or pull request"
            } else {
                "what strangers wrote gets none"
            };
            self.log.meta(0, &format!("The secret {name} is not there: {why}."))?;
        }
        Ok(())
    }

    /// Calls until the control plane answers. An attempt that is cut off waits here, at most until its time
    /// is over.
    pub(super) async fn heard<T, F>(&self, what: &'static str, call: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let answer = tokio::select! {
            answer = self.answered(what, call) => answer,
            () = self.reins.halted().cancelled() => return Err(stopped()),
        };
        answer.map_err(|error| {
            if error.is_stale() {
                debug!(what, %error, "attempt over or being cancelled");
                // A conflict may be a cancel that has not reached us yet, which wants its last word;
                // if the attempt is over instead, that word is refused and changes nothing.
                self.reins.pull(if error.is_conflict() { Halt::Cancelled } else { Halt::Stopped });
                return stopped();
            }
            warn!(what, %error, "call refused");
            let message = format!("The control plane refused a request of the builder ({what}).");
            Failure::new(FailureClass::Internal, message)
        })
    }

    /// Calls until there is an answer; the error is a refusal. Never ends while the control plane is out.
    pub(super) async fn answered<T, F>(&self, what: &'static str, mut call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut backoff = Backoff::for_calls();
        loop {
            match call().await {
                Err(CallError::Unavailable(reason)) => {
                    debug!(what, reason, "call without an answer");
                    self.agent.clock.sleep(backoff.pause()).await;
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.progress.phase(phase);
    }

    /// A step of ours begins.
    pub(super) fn begin(&self, digest: &str, name: &str) -> OwnStep {
        let report = StepReport {
            digest: digest.to_owned(),
            number: 0,
            name: name.to_owned(),
            state: StepState::Running,
            cached: false,
            started_at: Some(self.agent.clock.now()),
            finished_at: None,
            exit_code: None,
            moved_bytes: None,
            total_bytes: None,
            inputs: Vec::new(),
            paused_ms: None,
        };
        OwnStep { number: narrow(self.progress.step(report.clone())), report }
    }

    /// It ended like this; a failure that names no step gets this one.
    pub(super) fn end<T>(&self, step: OwnStep, result: Result<T, Failure>) -> Result<T, Failure> {
        let state = match &result {
            Ok(_) => StepState::Succeeded,
            Err(failure) if failure.class == FailureClass::Cancelled => StepState::Cancelled,
            Err(_) => StepState::Failed,
        };
        let name = step.report.name.clone();
        self.progress.step(StepReport { state, finished_at: Some(self.agent.clock.now()), ..step.report });
        result.map_err(|failure| Failure { step: failure.step.or(Some(name)), ..failure })
    }

    pub(super) fn left(&self) -> Duration {
        self.limit.borrow().saturating_sub(self.agent.clock.monotonic().duration_since(self.began))
    }
}

/// Holds the limits in force until it is dropped.
pub(super) async fn held(confined: Option<&Confined>) -> Infallible {
    match confined {
        Some(confined) => confined.hold().await,
        None => std::future::pending().await,
    }
}

/// Whether the engine went through the build: what was made before a step failed is in its cache, too.
fn fills_cache(built: &Result<String, Failure>) -> bool {
    built.as_ref().map_or_else(|failure| failure.class.outcome() == AttemptOutcome::Failed, |_| true)
}

/// Runs work beside the reader of what it says. A reader that fails (full disk) stops the work, and its
/// reason is the one that counts.
pub(super) async fn beside<T>(
    work: impl Future<Output = Result<T, Failure>>,
    reader: impl Future<Output = Result<(), Failure>>,
    stop: &CancellationToken,
) -> Result<T, Failure> {
    let reading = async {
        let read = reader.await;
        if read.is_err() {
            stop.cancel();
        }
        read
    };
    let (done, read) = tokio::join!(work, reading);
    read?;
    done
}

pub(super) fn stopped() -> Failure {
    Failure::new(FailureClass::Cancelled, "It was stopped.")
}

fn secret_forms(login: &Login) -> [String; 2] {
    // The pair as well: its base64 is what stands in headers.
    [login.password.clone(), format!("{}:{}", login.user, login.password)]
}
