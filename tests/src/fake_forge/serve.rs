//! One request: who asks, what for, and the answer in the forge's own words.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::question::{Asked, Found, Reply};
use super::request::Request;
use super::status::Status;
use super::{Answer, Shared, TOKEN};
use super::{bitbucket, bitbucket_dc, coding, gitea, gitee, github, gitlab};
use crate::world::Forge;

pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let thawed = shared.let_go.notified();
    if shared.seen().frozen {
        thawed.await;
    }
    let line = format!("{method} {uri}");
    if !shared.is_authorised(&headers) {
        shared.seen().wrong.push(format!("{line} without our token"));
        return refuse(StatusCode::UNAUTHORIZED);
    }
    if shared.seen().revoked {
        return refuse(StatusCode::UNAUTHORIZED);
    }
    let request = Request::new(method, &uri, &headers, &body);
    let asked = shared.asked(&request);
    match asked {
        None => {
            shared.seen().wrong.push(format!("{line} {}", request.fields));
            refuse(StatusCode::NOT_FOUND)
        }
        Some(Asked::Status(status)) => shared.told(&status).await,
        Some(question) => {
            shared.seen().asked.push(line);
            let shared = Arc::clone(&shared);
            // git runs meanwhile.
            let found = tokio::task::spawn_blocking(move || shared.shown(&shared.find(&question))).await;
            found.map_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR), Reply::into_response)
        }
    }
}

impl Shared {
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|sent| sent.as_bytes() == value.as_bytes());
        match self.kind {
            Forge::Github | Forge::Bitbucket | Forge::BitbucketDc => is("authorization", &format!("Bearer {TOKEN}")),
            Forge::Gitlab => is("private-token", TOKEN) || is("authorization", &format!("Bearer {TOKEN}")),
            Forge::Gitea | Forge::Gitee | Forge::Coding => is("authorization", &format!("token {TOKEN}")),
        }
    }

    /// What a request means here; `None` when the forge knows no such request, or it is of another repository.
    fn asked(&self, request: &Request) -> Option<Asked> {
        let repo = self.seen().repo.clone();
        match self.kind {
            Forge::Github => github::asked(request, &repo),
            Forge::Gitlab => gitlab::asked(request, &repo),
            Forge::Bitbucket => bitbucket::asked(request, &repo),
            Forge::BitbucketDc => bitbucket_dc::asked(request, &repo),
            Forge::Gitea => gitea::asked(request, &repo),
            Forge::Gitee => gitee::asked(request, &repo),
            Forge::Coding => coding::asked(request, &repo),
        }
    }

    /// What was found, in the forge's words.
    fn shown(&self, found: &Found) -> Reply {
        match self.kind {
            Forge::Github => github::shown(found),
            Forge::Gitlab => gitlab::shown(found),
            Forge::Bitbucket => bitbucket::shown(found),
            Forge::BitbucketDc => bitbucket_dc::shown(found),
            Forge::Gitea => gitea::shown(found),
            Forge::Gitee => gitee::shown(found),
            Forge::Coding => coding::shown(found),
        }
    }

    async fn told(&self, status: &Status) -> Response {
        let answer = self.seen().take(self.kind, status);
        match answer {
            Answer::Take => {}
            Answer::Lose => return refuse(StatusCode::BAD_GATEWAY),
            Answer::Repeated => return gitlab::repeated(&status.state).into_response(),
            Answer::Hang => self.let_go.notified().await,
            Answer::Refuse(code) => return refuse(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)),
            Answer::RetryAfter(secs) => {
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS);
                response.headers_mut().insert(header::RETRY_AFTER, secs.into());
                return response;
            }
        }
        self.took(status).into_response()
    }

    /// What the forge answers when it took a status.
    fn took(&self, status: &Status) -> Reply {
        match self.kind {
            Forge::Github => github::took(status),
            Forge::Gitlab => gitlab::took(status),
            Forge::BitbucketDc => Reply::Text(String::new()),
            Forge::Coding => coding::took(),
            Forge::Bitbucket | Forge::Gitea | Forge::Gitee => Reply::Json(201, json!({ "id": 1 })),
        }
    }
}

impl Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Json(status, body) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, axum::Json::<Value>(body)).into_response()
            }
            Self::Text(text) => text.into_response(),
        }
    }
}

fn refuse(status: StatusCode) -> Response {
    let body = axum::Json(json!({ "message": format!("{} by the tests' forge", status.as_u16()) }));
    (status, body).into_response()
}
