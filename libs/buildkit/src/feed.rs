//! A build's progress on its way to whoever reads it. The engine is always drained at once, because an engine
//! whose progress is not read collects it and sends it in one message of any size; what the reader has no time for
//! waits in a [`Backlog`], which takes memory of a fixed size and then the disk. So a slow reader holds up neither
//! the build nor the connection, and no line is lost.

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::TrySendError;

use crate::error::SolveError;
use crate::spill::Backlog;
use crate::watch::Watch;

/// A reader gets logs in messages of about this size, so that its channel is small.
const PIECE_BYTES: usize = 64 << 10;
/// The progress of one build.
pub struct Feed {
    /// Where it comes from.
    pub watch: Watch,
    /// Where the reader is.
    pub reader: mpsc::Sender<StatusResponse>,
    /// What waits for it.
    pub backlog: Backlog,
}

impl Feed {
    /// Runs until the engine has said everything and the reader has got it.
    pub async fn run(self) -> Result<(), SolveError> {
        let Self { watch, reader, backlog } = self;
        let (said, mut heard) = mpsc::channel(1);
        let mut line = Line { reader, backlog };
        let watching = watch.run(said);
        let pumping = async move { line.pump(&mut heard).await };
        tokio::try_join!(watching, pumping).map(|_| ())
    }
}

/// Between engine and reader.
struct Line {
    reader: mpsc::Sender<StatusResponse>,
    backlog: Backlog,
}

impl Line {
    async fn pump(&mut self, heard: &mut mpsc::Receiver<StatusResponse>) -> Result<(), SolveError> {
        let mut open = true;
        while open || !self.backlog.is_empty() {
            tokio::select! {
                message = heard.recv(), if open => match message {
                    Some(message) => self.take(message).await?,
                    None => open = false,
                },
                permit = self.reader.clone().reserve_owned(), if !self.backlog.is_empty() => {
                    self.hand_over(permit.ok()).await?;
                }
            }
        }
        Ok(())
    }

    /// Gives the reader what waits, as far as it has room. Nobody listening is no reason to stop: the caller
    /// decides when to stop.
    async fn hand_over(&mut self, mut permit: Option<OwnedPermit<StatusResponse>>) -> Result<(), SolveError> {
        while let Some(message) = self.backlog.pop().await.map_err(unwritable())? {
            if let Some(permit) = permit {
                permit.send(message);
            }
            permit = match self.reader.clone().try_reserve_owned() {
                Ok(permit) => Some(permit),
                Err(TrySendError::Closed(_)) => None,
                Err(TrySendError::Full(_)) => break,
            };
        }
        Ok(())
    }

    async fn take(&mut self, message: StatusResponse) -> Result<(), SolveError> {
        for piece in pieces(message) {
            // The usual case: the reader is as fast as the engine.
            let piece = match self.backlog.is_empty().then(|| self.reader.try_reserve()) {
                Some(Ok(permit)) => {
                    permit.send(piece);
                    continue;
                }
                Some(Err(_)) | None => piece,
            };
            self.backlog.push(piece).await.map_err(unwritable())?;
        }
        Ok(())
    }
}

fn unwritable() -> impl FnOnce(std::io::Error) -> SolveError {
    SolveError::here("keeping the build's progress")
}

/// The same in order and in parts: everything that is no log first, as it was.
fn pieces(message: StatusResponse) -> Vec<StatusResponse> {
    let StatusResponse { vertexes, statuses, logs, warnings } = message;
    let mut pieces = Vec::new();
    if !(vertexes.is_empty() && statuses.is_empty() && warnings.is_empty()) {
        pieces.push(StatusResponse { vertexes, statuses, warnings, logs: Vec::new() });
    }
    let mut size = PIECE_BYTES;
    for log in logs {
        if size >= PIECE_BYTES {
            pieces.push(StatusResponse::default());
            size = 0;
        }
        size += log.msg.len() + log.vertex.len();
        if let Some(piece) = pieces.last_mut() {
            piece.logs.push(log);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::{Vertex, VertexLog};

    use super::*;

    #[test]
    fn pieces_are_small_and_keep_the_order() {
        let log = |number: usize| VertexLog { vertex: "v".to_owned(), msg: vec![b'0'; number], ..VertexLog::default() };
        let logs: Vec<_> = [10, 40_000, 40_000, 1, 200_000, 5].map(log).to_vec();
        let whole = StatusResponse { vertexes: vec![Vertex::default()], logs: logs.clone(), ..Default::default() };
        let parts = pieces(whole);
        assert_eq!((parts[0].vertexes.len(), parts[0].logs.len()), (1, 0));
        assert_eq!(parts.iter().flat_map(|part| part.logs.clone()).collect::<Vec<_>>(), logs);
        assert_eq!(parts.iter().map(|part| part.logs.len()).collect::<Vec<_>>(), [0, 3, 2, 1]);
        assert_eq!(pieces(StatusResponse::default()), []);
    }
}
