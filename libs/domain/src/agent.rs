//! What builders and the control plane say to each other under `/agent/v1`, so that release N-1 and N can talk: unknown
//! fields are passed over everywhere, and unknown words where the reader can do without. All other words are closed:
//! a release reads a new one before any release says it.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::attempt::{AttemptOutcome, AttemptRef, Phase, StepState};
use crate::builder::{CachedProject, Load};
use crate::failure::Failure;
use crate::ids::{BuilderId, ClaimId, DispatchId, JobId, SessionId};
use crate::image::BuiltImage;
use crate::placement::Pool;
use crate::remarks::Remarks;
use crate::spec::JobSpec;

/// Raised when a message changes in a way that an older side cannot ignore.
pub const PROTOCOL_VERSION: u32 = 1;
/// So many inputs of a step are told and kept.
pub const MAX_INPUTS: usize = 64;

/// `POST /agent/v1/sessions`, with the join token as bearer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSession {
    /// The speaker's `PROTOCOL_VERSION`.
    pub version: u32,
    /// Made once by the builder and kept in its data folder.
    pub builder: BuilderId,
    /// A secret of the builder, so that nobody else with the same join token can take its place.
    pub builder_key: String,
    /// For people.
    pub name: String,
    /// Operating system and architecture of its engine, `linux-amd64`.
    pub platform: String,
    /// How many jobs it runs at once.
    pub slots: i64,
    /// Release of the builder.
    pub release: String,
    /// Whether its engine is shared between tenants.
    pub shared_engine: bool,
    /// Attempts it still works on.
    pub held: Vec<AttemptRef>,
    /// Claims that it still waits for; an attempt that one of them opened is its own, too.
    #[serde(default)]
    pub claiming: Vec<ClaimId>,
}

/// The answer to [`OpenSession`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// Bearer for the channel and for claims.
    pub token: String,
    /// The pool whose offers it gets.
    pub pool: Pool,
    /// Held attempts that are no longer its own and must be stopped.
    pub stop: Vec<AttemptRef>,
}

/// Builder to dispatcher over the channel `GET /agent/v1/sessions/{id}/channel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToDispatcher {
    /// Sent every [`crate::timing::HEARTBEAT`], and at once when a slot becomes free.
    Heartbeat {
        /// Rises with every heartbeat of the session.
        seq: u64,
        /// Jobs it would take now: free slots, or 0 under pressure.
        free: i64,
        /// True once it drains.
        draining: bool,
        /// How busy its host is.
        load: Load,
        /// Attempts it works on.
        held: Vec<AttemptRef>,
        /// It takes offers from its pool's queue by itself, as long as that works.
        #[serde(default)]
        from_queue: bool,
        /// All that its engine's cache knows, newest first, at most [`crate::builder::CACHED_PROJECTS_MAX`]. Said at the
        /// start of a session and after a change, until a heartbeat with it is answered; `None` is no news.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache: Option<Vec<CachedProject>>,
    },
    /// Its claim of an offer was decided, perhaps by another dispatcher. Said twice it changes nothing.
    Answered {
        /// The offer.
        offer: Offer,
        /// Why the claim did not win; `None` when it did.
        refusal: Option<ClaimRefusal>,
    },
    /// It does not claim this offer, which may go to somebody else at once. Until its next heartbeat it has no
    /// room. Said twice, or of a void dispatch, it changes nothing.
    Declined {
        /// The offer.
        offer: Offer,
        /// Why, for the log.
        reason: Decline,
    },
    /// It holds nothing and leaves; its session may be closed without waiting.
    Goodbye,
}

/// Why a builder does not claim an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decline {
    /// All its slots are taken.
    Full,
    /// It has a free slot and takes nothing at the moment; its heartbeats say why.
    Gated,
    /// It drains.
    Draining,
    /// A word of a newer release.
    #[serde(other)]
    Other,
}

/// Dispatcher to builder over the channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToBuilder {
    /// The heartbeat's renewal is committed.
    HeartbeatAck {
        /// The heartbeat that is answered.
        seq: u64,
        /// Attempts it listed that are not its own any more.
        stop: Vec<AttemptRef>,
        /// Attempts whose jobs are being cancelled, repeated until they end.
        cancel: Vec<AttemptRef>,
    },
    /// A job it may claim.
    Offer(Offer),
    /// Stop this attempt; the job was cancelled.
    Cancel {
        /// The attempt.
        attempt: AttemptRef,
    },
    /// Take nothing new, finish what runs, then leave.
    Drain,
    /// No operator wants it to drain (any more). One that drains by its own wish goes on with that.
    Resume,
    /// A newer session of the same builder exists, or this one is lost: open a new one.
    Closed {
        /// Why, for the log.
        reason: String,
    },
}

/// A hint that a job may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// Void once the job is dispatched again.
    pub dispatch: DispatchId,
}

/// `POST /agent/v1/claims`, with the session token.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The session that claims.
    pub session: SessionId,
    /// The job of the offer.
    pub job: JobId,
    /// The dispatch of the offer.
    pub dispatch: DispatchId,
    /// Made by the builder; the same one gets the same answer.
    pub claim: ClaimId,
}

/// A claim that won.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claimed {
    /// The attempt.
    pub attempt: AttemptRef,
    /// Bearer for everything under `/agent/v1/attempts/{job}/{epoch}`.
    pub token: String,
    /// What to do.
    pub spec: JobSpec,
    /// Seconds that the attempt may take.
    pub timeout_secs: u64,
}

/// Why a claim did not win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimRefusal {
    /// Somebody else has it, it was cancelled, or the offer is too old.
    Gone,
    /// The session is closed or not of this pool.
    Session,
    /// This builder lost the job a moment ago; others go first.
    Avoided,
    /// Its shared engine serves another tenant.
    Tenant,
    /// A word of a newer release.
    #[serde(other)]
    Other,
}

/// One step of an attempt; a report repeats what changed, keyed by `digest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Names the step within the attempt; BuildKit's vertex digest, or a word of ours.
    pub digest: String,
    /// Order of first appearance, from 1.
    pub number: i64,
    /// What it does, `[build 2/3] RUN make`.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// Whether it came from the cache.
    pub cached: bool,
    /// When it first began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The command's exit code, if it has one.
    pub exit_code: Option<i64>,
    /// Bytes of layers and files that it has moved so far, where it moves some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_bytes: Option<i64>,
    /// Bytes that it will have moved, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<i64>,
    /// Numbers of the steps whose results it takes, the first [`MAX_INPUTS`]; none where that is not known.
    #[serde(default, deserialize_with = "first_inputs", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<i64>,
    /// Milliseconds between its first begin and its last end in which it did not run, where it ran more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_ms: Option<i64>,
}

/// `POST …/report`: how it goes. Repeating or reordering reports changes nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// What the attempt is doing; a phase of a newer release is passed over.
    #[serde(default, deserialize_with = "if_known")]
    pub phase: Option<Phase>,
    /// Steps that changed; those in a state of a newer release are passed over.
    #[serde(default, deserialize_with = "known_ones")]
    pub steps: Vec<StepReport>,
}

fn first_inputs<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<i64>, D::Error> {
    let mut inputs = Vec::<i64>::deserialize(source)?;
    inputs.truncate(MAX_INPUTS);
    Ok(inputs)
}

fn if_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(source: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(source)?).ok())
}

fn known_ones<'de, D: Deserializer<'de>, T: DeserializeOwned>(source: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Value>::deserialize(source)?;
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

/// The answer to a report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReportAck {
    /// The job is being cancelled.
    pub cancel: bool,
}

/// `GET …/credentials?phase=`: what a phase needs, never kept on disk.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// For the repository.
    pub source: Option<Login>,
    /// For registries, by host.
    pub registries: Vec<RegistryLogin>,
    /// Those that were asked for and that the build gets.
    #[serde(default)]
    pub secrets: Vec<BuildSecret>,
    /// Images of earlier builds by digest, `host/path@sha256:…`, where they were asked for: their layers may serve again.
    #[serde(default)]
    pub cache_from: Vec<String>,
    /// For a push: where to keep what the stages made, `host/path:tag`, if that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_to: Option<String>,
}

/// `POST …/cache`: what the stages made is kept at a registry. Repeating it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCache {
    /// The image that it was kept under, as it was asked for.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The digest of its manifest, as the engine pushed it.
    pub digest: String,
}

/// A secret for the mounts of a build.
#[derive(Clone, Serialize, Deserialize)]
pub struct BuildSecret {
    /// Its name, which mounts give as their `id`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A user name with its password or token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password or token.
    pub password: String,
}

/// A login for one registry.
#[derive(Clone, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// Host with port as in the image's name.
    pub host: String,
    /// The login.
    pub login: Login,
}

/// `POST …/leave`: may this tag move to this digest?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveRequest {
    /// Registry host with port.
    pub registry: String,
    /// Path of the repository there.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The manifest it shall show.
    pub digest: String,
}

/// The answer to a leave request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Leave {
    /// Move it now, within this time, then return the leave.
    Granted {
        /// Milliseconds that the PUT may take.
        within_ms: u64,
        /// Which leave it is. Whoever moves the tag says by which one: a late copy of the request may be given another.
        /// Older dispatchers tell none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<i64>,
    },
    /// The tag already shows a newer build of the same ref; leave it.
    NotMoved {
        /// In words.
        reason: String,
    },
    /// Another attempt holds it; ask again.
    Wait {
        /// Milliseconds to wait.
        retry_ms: u64,
    },
    /// The job is being cancelled; nothing may become visible.
    Cancelled,
}

/// `POST …/leave/return`: the tag was moved, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReturn {
    /// What leave was given for.
    pub leave: LeaveRequest,
    /// Whether the registry confirmed the PUT.
    pub moved: bool,
    /// The leave under which it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
}

/// One image that an attempt pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedImage {
    /// `host/path:tag`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Manifest digest as the registry says it.
    pub digest: String,
    /// Compressed size of config and layers.
    pub size_bytes: i64,
    /// False when the tag already showed a newer build.
    pub moved: bool,
    /// The leave under which the tag was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
}

/// `POST …/finish`: the last word. Repeating it gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// How it ended; `lost` is never said by the builder itself.
    pub outcome: AttemptOutcome,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// What was pushed.
    pub images: Vec<PushedImage>,
    /// What was built, with its layers; pushed or not.
    #[serde(default)]
    pub built: Vec<BuiltImage>,
    /// What people should know beside that.
    #[serde(default)]
    pub remarks: Remarks,
    /// Length of the masked log stream, bytes.
    pub log_end: i64,
    /// SHA-256 of it, lower-case hexadecimal.
    pub log_sha256: String,
}

/// The answer to a log chunk, `POST …/log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAck {
    /// The next byte that logsvc expects.
    pub received: i64,
    /// Bytes below this are in object storage and may leave the spool.
    pub durable: i64,
}

/// `POST …/log/end`: the stream is complete at this length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Length of the masked stream, bytes.
    pub end: i64,
    /// SHA-256 of it, lower-case hexadecimal.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_builder_may_decline_for_reasons_of_its_own() {
        for (word, wanted) in [("gated", Decline::Gated), ("tired", Decline::Other)] {
            assert_eq!(serde_json::from_str::<Decline>(&format!("\"{word}\"")).ok(), Some(wanted));
        }
    }
}
