//! What the engine says: BuildKit's progress while it builds, one JSON message per line elsewhere.

use std::time::SystemTime;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus};
use bytes::Bytes;
use serde_json::{Value, json};

use super::image::digest;

/// A vertex of one build.
#[derive(Debug)]
pub struct Progress(Vertex);

impl Progress {
    /// One that has not begun; `place` tells apart what has the same name.
    pub fn new(place: usize, name: &str) -> Self {
        let digest = digest(format!("{place} {name}").as_bytes());
        Self(Vertex { digest, name: name.to_owned(), ..Vertex::default() })
    }

    /// It begins now.
    pub fn begin(&mut self) -> StatusResponse {
        self.0.started = Some(now());
        self.told()
    }

    /// It ends now; without an error when that is empty.
    pub fn end(&mut self, error: &str) -> StatusResponse {
        self.0.completed = Some(now());
        self.0.error = error.to_owned();
        self.told()
    }

    /// It writes this.
    pub fn log(&self, msg: Vec<u8>) -> StatusResponse {
        let log = VertexLog { vertex: self.0.digest.clone(), timestamp: Some(now()), stream: 1, msg };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    /// It has moved so many bytes of a layer.
    pub fn moved(&self, current: i64, total: i64) -> StatusResponse {
        let status = VertexStatus {
            id: digest(self.0.name.as_bytes()),
            vertex: self.0.digest.clone(),
            name: "downloading".to_owned(),
            current,
            total,
            timestamp: Some(now()),
            ..VertexStatus::default()
        };
        StatusResponse { statuses: vec![status], ..StatusResponse::default() }
    }

    fn told(&self) -> StatusResponse {
        plan([self])
    }
}

/// All of these, as they stand.
pub fn plan<'a>(all: impl IntoIterator<Item = &'a Progress>) -> StatusResponse {
    let vertexes = all.into_iter().map(|progress| progress.0.clone()).collect();
    StatusResponse { vertexes, ..StatusResponse::default() }
}

/// One line of an answer that is a stream of JSON.
pub fn json_line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\r\n"))
}

/// The error that ends such an answer.
pub fn error_line(message: &str) -> Bytes {
    json_line(&json!({ "errorDetail": { "message": message }, "error": message }))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or_default(),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
