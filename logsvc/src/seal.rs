//! Closes logs for good: whole when the stored bytes have the announced hash, cut when their rest never
//! came, damaged when they are not what was announced. Any number of services may run this pass.

use chrono::{DateTime, TimeDelta};
use slipway_blobs::BlobError;
use slipway_domain::agent::LogEnd;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::timing;
use slipway_live::Topic;
use slipway_logfmt::chunk::Chunk;
use slipway_logfmt::digest::StreamDigest;
use slipway_store::StoreError;
use slipway_store::logs::{LogRow, LogState};
use tracing::{error, info, warn};

use crate::logs::Logs;
use crate::problem::ReadError;
use crate::reader;
use crate::storage::{READS, WRITES};

/// Logs that one pass looks at.
const BATCH: i64 = 64;

/// The loop.
pub(crate) async fn run(logs: Logs) -> anyhow::Result<()> {
    while !logs.life().is_stopping() {
        if let Err(error) = seal_once(&logs).await {
            warn!(error = format!("{error:#}"), "logs not sealed; it is tried again");
            // What the database does not answer is as little a builder's silence.
            logs.outage().told(false, logs.clock().now());
        }
        tokio::select! {
            () = logs.seal_wake().wait(timing::POLL) => {}
            () = logs.life().stopping() => {}
        }
    }
    Ok(())
}

/// Seals what can be sealed.
pub(crate) async fn seal_once(logs: &Logs) -> Result<(), StoreError> {
    let cut_after = TimeDelta::from_std(timing::LOG_SEAL_CUT).unwrap_or(TimeDelta::MAX);
    if logs.outage().is_to_be_looked_at(logs.clock().now()) {
        look(logs).await;
    }
    let now = logs.db().now(logs.clock()).await?;
    // An outage is no silence of builders: what they and other services hold has time to come after it.
    let may_cut = logs.outage().is_over_for(cut_after, logs.clock().now());
    let cut_before = if may_cut { now - cut_after } else { DateTime::UNIX_EPOCH };
    let mut due = logs.db().unsealed_logs(now, cut_before, BATCH).await?;
    if !due.iter().all(is_complete) && !look(logs).await {
        due.retain(is_complete);
    }
    for log in due {
        if let Err(error) = seal(logs, &log).await {
            warn!(attempt = %log.attempt(), error = format!("{error:#}"), "log not sealed; it is tried again");
            // A batch of logs that cannot be sealed must not keep the others from it.
            logs.db().postpone_seal(log.attempt(), now).await?;
        }
    }
    Ok(())
}

/// Asks storage for nothing, unless it is known to be out. A service to which nobody writes would not know it otherwise.
async fn look(logs: &Logs) -> bool {
    let answers = !logs.storage().is_out(WRITES) && logs.blobs().check().await.is_ok();
    logs.outage().told(answers, logs.clock().now());
    answers
}

/// Whether all that was announced is stored.
fn is_complete(log: &LogRow) -> bool {
    log.end_offset.is_some_and(|end| log.durable >= end)
}

async fn seal(logs: &Logs, log: &LogRow) -> Result<(), ReadError> {
    let attempt = log.attempt();
    let state = match (log.end_offset, &log.sha256) {
        (Some(end), Some(sha256)) if log.durable >= end => {
            let permit = logs.storage().ask(READS)?;
            let digest = stored_digest(logs, attempt, log.durable).await;
            match &digest {
                Ok(_) => permit.answered(),
                Err(ReadError::Blob(BlobError::Storage(_)) | ReadError::Timeout) => permit.failed(),
                Err(_) => drop(permit),
            }
            let digest = digest?;
            let end = LogEnd { end, sha256: sha256.clone() };
            if digest.is_some_and(|digest| is_whole(&digest, &end)) { LogState::Sealed } else { LogState::Damaged }
        }
        // What is here waits for storage, and so may what is elsewhere.
        _ if waits(logs, attempt) || logs.storage().is_out(WRITES) => return Err(ReadError::Waits),
        _ => LogState::Cut,
    };
    let now = logs.db().now(logs.clock()).await?;
    if !logs.db().seal_log(log, state, now).await? {
        return Ok(());
    }
    match state {
        LogState::Damaged => error!(%attempt, durable = log.durable, "stored log is not what was announced"),
        LogState::Cut => warn!(%attempt, durable = log.durable, "log sealed without its end"),
        LogState::Open | LogState::Sealed => info!(%attempt, durable = log.durable, "log sealed"),
    }
    sealed(logs, attempt, log.durable);
    Ok(())
}

/// Whether something of a log is here that is not stored yet.
fn waits(logs: &Logs, attempt: AttemptRef) -> bool {
    logs.open_log(attempt).is_some_and(|log| {
        let ack = logs.with_tail(&log, |tail| tail.ack());
        ack.received > ack.durable
    })
}

/// Whether what was stored is what was announced.
pub(crate) fn is_whole(digest: &StreamDigest, end: &LogEnd) -> bool {
    digest.len() == end.end && digest.hex() == end.sha256.to_ascii_lowercase()
}

/// Nothing more comes: the log is forgotten here, and viewers look at its row.
pub(crate) fn sealed(logs: &Logs, attempt: AttemptRef, durable: i64) {
    logs.forget(attempt);
    logs.live().publish(Topic::Log(attempt), Chunk::empty(durable).encode());
}

/// The hash of the stored stream, read back from object storage; `None` if a part of it is missing or does
/// not read. Storage that does not answer is an error, and tried again.
async fn stored_digest(logs: &Logs, attempt: AttemptRef, durable: i64) -> Result<Option<StreamDigest>, ReadError> {
    let mut digest = StreamDigest::default();
    while digest.len() < durable {
        match reader::stored_at(logs, attempt, digest.len()).await {
            Ok(Some(chunk)) => digest.update(&chunk.bytes),
            Ok(None) | Err(ReadError::Damaged { .. } | ReadError::Blob(BlobError::NotFound(_))) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(digest))
}
