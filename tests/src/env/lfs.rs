//! Files that lie in LFS, as a forge serves them beside its repositories: the batch API's downloads, and the contents.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where contents are, on any host.
const CONTENTS: &str = "/lfs-contents/";
/// Longest question, bytes.
const QUESTION: usize = 1 << 20;

/// All contents of a server, by their ids.
#[derive(Debug, Default)]
pub(super) struct Contents(Mutex<BTreeMap<String, Vec<u8>>>);

impl Contents {
    /// Keeps a content; the pointer that a commit has in its place.
    pub(super) fn keep(&self, content: &[u8]) -> String {
        let oid = hex::encode(Sha256::digest(content));
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", content.len());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(oid, content.to_vec());
        pointer
    }

    fn has(&self, oid: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(oid).cloned()
    }

    /// True for what it answers, and not git.
    pub(super) fn is_asked(&self, path: &str) -> bool {
        path.ends_with("/info/lfs/objects/batch") || path.starts_with(CONTENTS)
    }

    pub(super) async fn answer(&self, base_url: &str, request: Request) -> Result<Response> {
        if let Some(oid) = request.uri().path().strip_prefix(CONTENTS) {
            return Ok(self
                .has(oid)
                .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |bytes| bytes.into_response()));
        }
        let question: Value = serde_json::from_slice(&to_bytes(request.into_body(), QUESTION).await?)?;
        let objects = question["objects"].as_array().context("objects")?.iter().map(|object| {
            let mut object = object.clone();
            match object["oid"].as_str().filter(|oid| self.has(oid).is_some()) {
                Some(oid) => {
                    let href = format!("{base_url}{CONTENTS}{oid}");
                    object["actions"] = json!({ "download": { "href": href } });
                }
                None => object["error"] = json!({ "code": 404, "message": "no such object" }),
            }
            object
        });
        let answer = json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() });
        Ok(([(header::CONTENT_TYPE, "application/vnd.git-lfs+json")], answer.to_string()).into_response())
    }
}
