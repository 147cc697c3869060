//! `moby.filesync.v1.FileSync`: the Dockerfile alone, where another text is built than the one in the context. The
//! packets are those of tonistiigi/fsutil (`send.go`): first every entry by its place in the list, then the bytes of
//! those that are asked for.

use std::collections::VecDeque;
use std::pin::Pin;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSync;
use bytes::Bytes;
use futures_util::{Stream, stream};
use slipway_runtime::ids::random_bytes;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// The name of the folder that the Dockerfile lies in, as the frontend's `dockerfilekey` gives it.
pub const FOLDER: &str = "dockerfile";
/// Where the name of the folder stands that an engine asks for.
const DIR_NAME: &str = "dir-name";
/// One message; engines take 4 MiB.
const PIECE_BYTES: usize = 256 * 1024;
/// Kinds and rights as Go has them (`fs.FileMode`).
const FOLDER_MODE: u32 = 1 << 31 | 0o755;
const FILE_MODE: u32 = 0o644;

/// One Dockerfile, or none.
pub struct Definition(Option<(String, Bytes)>);

impl Definition {
    /// Serves this text under this path of [`FOLDER`].
    pub fn new(definition: Option<(String, Bytes)>) -> Self {
        Self(definition)
    }
}

#[async_trait]
impl FileSync for Definition {
    type DiffCopyStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;
    type TarStreamStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::DiffCopyStream>, Status> {
        let folder = request.metadata().get(DIR_NAME).and_then(|name| name.to_str().ok());
        let Some((path, text)) = self.0.as_ref().filter(|_| folder == Some(FOLDER)) else {
            return Err(Status::not_found("this session has no such folder"));
        };
        let sending = Sending::of(path, text.clone(), request.into_inner());
        Ok(Response::new(Box::pin(stream::try_unfold(sending, Sending::next))))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("folders are sent by DiffCopy"))
    }
}

struct Sending<S> {
    asked: S,
    queue: VecDeque<Packet>,
    file: u32,
    text: Bytes,
    over: bool,
}

impl Sending<Streaming<Packet>> {
    async fn next(mut self) -> Result<Option<(Packet, Self)>, Status> {
        loop {
            if let Some(packet) = self.queue.pop_front() {
                return Ok(Some((packet, self)));
            }
            if self.over {
                return Ok(None);
            }
            let Some(asked) = self.asked.message().await? else { return Ok(None) };
            self.answer(&asked)?;
        }
    }
}

impl<S> Sending<S> {
    fn of(path: &str, text: Bytes, asked: S) -> Self {
        let mut queue: VecDeque<Packet> = path
            .match_indices('/')
            .map(|(end, _)| entry(Stat { path: path[..end].to_owned(), mode: FOLDER_MODE, ..Stat::default() }))
            .collect();
        let file = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        queue.push_back(entry(Stat {
            path: path.to_owned(),
            mode: FILE_MODE,
            size: i64::try_from(text.len()).unwrap_or(i64::MAX),
            mod_time: odd_time(),
            ..Stat::default()
        }));
        // One without an entry ends the list.
        queue.push_back(Packet::default());
        Self { asked, queue, file, text, over: false }
    }

    fn answer(&mut self, asked: &Packet) -> Result<(), Status> {
        let packet = |r#type: PacketType, data: &[u8]| Packet {
            r#type: r#type.into(),
            id: asked.id,
            data: data.to_vec(),
            ..Packet::default()
        };
        match asked.r#type() {
            PacketType::PacketReq if asked.id == self.file => {
                let pieces = self.text.chunks(PIECE_BYTES).map(|piece| packet(PacketType::PacketData, piece));
                self.queue.extend(pieces);
                // An empty one ends the file.
                self.queue.push_back(packet(PacketType::PacketData, &[]));
                Ok(())
            }
            PacketType::PacketFin => {
                self.queue.push_back(packet(PacketType::PacketFin, &[]));
                self.over = true;
                Ok(())
            }
            PacketType::PacketErr => Err(Status::aborted("the engine did not take the Dockerfile")),
            PacketType::PacketReq | PacketType::PacketStat | PacketType::PacketData => {
                Err(Status::invalid_argument("nothing like that was offered"))
            }
        }
    }
}

fn entry(stat: Stat) -> Packet {
    Packet { r#type: PacketType::PacketStat.into(), stat: Some(stat), ..Packet::default() }
}

/// An engine keeps the folder for later sessions, and asks anew for a file only where its size or its time differ: the
/// Dockerfile of another build may have both the same, so the time is a number that no other has.
fn odd_time() -> i64 {
    i64::from_le_bytes(random_bytes::<8>()) & (i64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(path: &str, text: &[u8]) -> Sending<()> {
        Sending::of(path, Bytes::copy_from_slice(text), ())
    }

    fn asked(r#type: PacketType, id: u32) -> Packet {
        Packet { r#type: r#type.into(), id, ..Packet::default() }
    }

    #[test]
    fn folders_come_before_the_file_and_an_empty_entry_last() {
        let sent = sending("a/b/Dockerfile", b"FROM x");
        let paths: Vec<_> =
            sent.queue.iter().map(|packet| packet.stat.as_ref().map(|stat| stat.path.as_str())).collect();
        assert_eq!(paths, [Some("a"), Some("a/b"), Some("a/b/Dockerfile"), None]);
        assert_eq!((sent.file, sent.queue[2].stat.as_ref().map(|stat| stat.size)), (2, Some(6)));
        let times = || sending("Dockerfile", b"").queue[0].stat.as_ref().map(|stat| stat.mod_time);
        assert_ne!(times(), times(), "another build's file is never taken for this one");
    }

    #[test]
    fn the_file_is_sent_in_pieces_and_nothing_else() {
        let text = vec![b'x'; PIECE_BYTES + 1];
        let mut sent = sending("Dockerfile", &text);
        sent.queue.clear();
        sent.answer(&asked(PacketType::PacketReq, 0)).expect("sent");
        let sizes: Vec<_> = sent.queue.drain(..).map(|packet| packet.data.len()).collect();
        assert_eq!(sizes, [PIECE_BYTES, 1, 0]);
        for wrong in
            [asked(PacketType::PacketReq, 1), asked(PacketType::PacketData, 0), asked(PacketType::PacketErr, 0)]
        {
            assert!(sent.answer(&wrong).is_err() && !sent.over, "{wrong:?}");
        }
        sent.answer(&asked(PacketType::PacketFin, 0)).expect("sent");
        assert!(sent.over && sent.queue.len() == 1);
    }
}
