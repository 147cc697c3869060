//! What the engine says: BuildKit's progress while it builds, one JSON message per line elsewhere.

use std::time::SystemTime;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use bollard_buildkit_proto::pb::{Position, Range};
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

    /// Names it among the inputs of others.
    pub fn digest(&self) -> String {
        self.0.digest.clone()
    }

    /// It takes the results of these.
    pub fn takes(&mut self, inputs: impl IntoIterator<Item = String>) {
        self.0.inputs = inputs.into_iter().collect();
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
        self.written(1, msg)
    }

    /// It writes this to its error output.
    pub fn error_log(&self, msg: Vec<u8>) -> StatusResponse {
        self.written(2, msg)
    }

    fn written(&self, stream: i64, msg: Vec<u8>) -> StatusResponse {
        let log = VertexLog { vertex: self.0.digest.clone(), timestamp: Some(now()), stream, msg };
        StatusResponse { logs: vec![log], ..StatusResponse::default() }
    }

    /// It finds something that may be wrong on a line of the Dockerfile.
    pub fn warning(&self, line: i32, text: &str) -> StatusResponse {
        let place = Some(Position { line, character: 0 });
        let warning = VertexWarning {
            vertex: self.0.digest.clone(),
            level: 1,
            short: text.as_bytes().to_vec(),
            url: "https://docs.docker.com/go/dockerfile/rule/".to_owned(),
            ranges: vec![Range { start: place, end: place }],
            ..VertexWarning::default()
        };
        StatusResponse { warnings: vec![warning], ..StatusResponse::default() }
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
