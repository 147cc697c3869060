//! A log for who wants it packed: what is stored as frames of zstd is not unpacked on the way.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use slipway_blobs::{BlobError, Mark};
use slipway_domain::attempt::AttemptRef;
use slipway_logfmt::segment::Segment;
use slipway_store::logs::LogSegment;

use super::{archived, piece_of, segment_object, walk};
use crate::logs::Logs;
use crate::problem::ReadError;
use crate::tail::Piece;

/// A run of a log.
pub(crate) enum Run {
    /// Frames that hold these bytes of it and nothing else.
    Packed(Range<i64>, Bytes),
    /// What is not stored yet, is lost, or was stored by an older release.
    Plain(Arc<Piece>),
}

impl From<Arc<Piece>> for Run {
    fn from(piece: Arc<Piece>) -> Self {
        Self::Plain(piece)
    }
}

/// The runs that hold a log up to `end`, in order. A run may begin before the last one ended.
pub(crate) fn runs_of(logs: Logs, attempt: AttemptRef, end: i64) -> impl Stream<Item = Result<Run, ReadError>> {
    walk(logs, attempt, (0, end), move |logs, row| async move { run_of(&logs, attempt, &row).await })
}

async fn run_of(logs: &Logs, attempt: AttemptRef, row: &LogSegment) -> Result<Run, ReadError> {
    let stored =
        if row.archived { archived(logs, attempt, row).await } else { segment_object(logs, attempt, row).await };
    match stored {
        Ok(stored) => {
            let Mark(mark) = Mark::of(&row.token_hash);
            let packed = Segment::packed(&stored).filter(|_| Segment::mark(&stored) == Some(mark));
            if let Some((run, frames)) = packed
                && run == (row.start_offset..row.end_offset)
            {
                return Ok(Run::Packed(run, frames));
            }
        }
        Err(ReadError::Blob(BlobError::NotFound(_))) => {}
        Err(error) => return Err(error),
    }
    // Wherever else it may lie, or what is shown in its place.
    piece_of(logs, attempt, row).await.map(Run::Plain)
}
