//! An S3 server on a folder: s3s-fs, made as strict as the real one where we lean on it (creating an object
//! that exists fails whoever races, a bucket must exist), and with switches for what goes wrong in the field.
//!
//! `PUT /-/buckets/{bucket}` makes a bucket. `PUT /-/faults/{bucket}/{fault}` makes its requests go wrong
//! until `DELETE /-/faults/{bucket}`; the bucket `-` stands for all of them.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use http::{Method, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;

/// Stands for every bucket where a fault is switched.
pub const ALL: &str = "-";

/// Objects that are created at the same time wait for each other by this many locks.
const LOCKS: usize = 64;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done: 503.
    Unavailable,
    /// It is done, and the answer is 500.
    Lost,
    /// Nothing is done: 409, as S3 says of a write that ran into another.
    Conflict,
    /// Nothing is done or said.
    Silent,
}

impl Fault {
    /// The word in the switch's path.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
            Self::Conflict => "conflict",
            Self::Silent => "silent",
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Unavailable, Self::Lost, Self::Conflict, Self::Silent];
        all.into_iter().find(|fault| fault.word() == word).ok_or_else(|| format!("\"{word}\" is no fault"))
    }
}

/// Who may read and write.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    root: PathBuf,
    s3: S3Service,
    faults: Mutex<HashMap<String, Fault>>,
    creating: [tokio::sync::Mutex<()>; LOCKS],
    hasher: RandomState,
}

/// The server on `root`, which must exist.
pub fn router(root: &FilePath, credentials: &Credentials) -> Result<Router> {
    let files = FileSystem::new(root).map_err(|error| anyhow::anyhow!("{error:?}")).context("opening the folder")?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(credentials.access_key.clone(), credentials.secret_key.clone()));
    let inner = Inner {
        root: root.to_owned(),
        s3: builder.build(),
        faults: Mutex::default(),
        creating: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        hasher: RandomState::new(),
    };
    Ok(Router::new()
        .route("/-/buckets/{bucket}", put(make_bucket))
        .route("/-/faults/{bucket}", axum::routing::delete(heal))
        .route("/-/faults/{bucket}/{fault}", put(harm))
        .fallback(serve)
        .with_state(Server(Arc::new(inner))))
}

async fn make_bucket(State(Server(server)): State<Server>, Path(bucket): Path<String>) -> StatusCode {
    match fs::create_dir_all(server.root.join(bucket)) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn harm(State(Server(server)): State<Server>, Path((bucket, word)): Path<(String, String)>) -> Response {
    match word.parse() {
        Ok(fault) => {
            server.faults.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket, fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}

async fn heal(State(Server(server)): State<Server>, Path(bucket): Path<String>) -> StatusCode {
    server.faults.lock().unwrap_or_else(PoisonError::into_inner).remove(&bucket);
    StatusCode::NO_CONTENT
}

async fn serve(State(Server(server)): State<Server>, request: Request) -> Response {
    let bucket = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    match server.fault(&bucket) {
        None => server.answer(&bucket, request).await,
        Some(Fault::Unavailable) => error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Fault::Conflict) => error(StatusCode::CONFLICT, "ConditionalRequestConflict"),
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Lost) => {
            drop(server.answer(&bucket, request).await);
            error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
    }
}

impl Inner {
    fn fault(&self, bucket: &str) -> Option<Fault> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get(bucket).or_else(|| faults.get(ALL)).copied()
    }

    async fn answer(&self, bucket: &str, request: Request) -> Response {
        // The folder behind would be made silently.
        if !bucket.is_empty() && !self.root.join(bucket).is_dir() {
            return error(StatusCode::NOT_FOUND, "NoSuchBucket");
        }
        // s3s-fs looks, writes, and only then puts in place: two creators would both be told that they did.
        let creates = request.method() == Method::PUT && request.headers().contains_key(IF_NONE_MATCH);
        let lock = self.hasher.hash_one(request.uri().path()) as usize % LOCKS;
        let _alone = if creates { Some(self.creating[lock].lock().await) } else { None };
        match self.s3.call(request.map(s3s::Body::http_body_unsync)).await {
            Ok(response) => response.map(Body::new),
            Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
    (status, [(CONTENT_TYPE, "application/xml")], body).into_response()
}
