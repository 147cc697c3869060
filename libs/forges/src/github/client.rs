//! octocrab on our own transport: no default layers, so no retries (a repeated POST would make a second
//! status) and no redirects to elsewhere.

use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use url::Url;

use crate::transport::{Answer, Call, ForgeError, Transport, refusal};

const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));

/// An octocrab client; must be made inside the runtime.
pub(super) fn client(transport: &Transport) -> Octocrab {
    let transport = transport.clone();
    let service = tower::service_fn(move |request: Request<OctoBody>| {
        let transport = transport.clone();
        async move { serve(&transport, request).await }
    });
    let built = OctocrabBuilder::new_empty().with_service(service).with_auth(AuthState::None).build();
    match built {
        Ok(crab) => crab,
        Err(never) => match never {},
    }
}

/// Owner and name, checked, because octocrab puts them into the path as they are.
pub(super) fn owner_and_name(repo: &str) -> Result<(&str, &str), ForgeError> {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match repo.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok((owner, name)),
        _ => Err(ForgeError::Invalid("the repository's path is not owner/name as on GitHub".to_owned())),
    }
}

/// Sorts octocrab's errors. `Ok(())` when GitHub did what we asked and only its answer was not understood.
pub(super) fn sort(e: octocrab::Error, transport: &Transport) -> Result<(), ForgeError> {
    match e {
        octocrab::Error::GitHub { source, .. } => {
            let headers = source.headers.unwrap_or_default();
            Err(refusal(source.status_code, &headers, &source.message, transport.clock.now()))
        }
        octocrab::Error::Json { .. } | octocrab::Error::Serde { .. } => Ok(()),
        octocrab::Error::Service { source, .. } => Err(match source.downcast::<ForgeError>() {
            Ok(ours) => *ours,
            Err(_) => ForgeError::Transient("the request was not sent".to_owned()),
        }),
        _ => Err(ForgeError::Transient("the request could not be made or its answer not be read".to_owned())),
    }
}

async fn serve(transport: &Transport, request: Request<OctoBody>) -> Result<Response<Full<bytes::Bytes>>, ForgeError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let url =
        Url::parse(&format!("{}/{}", transport.base.as_str().trim_end_matches('/'), path.trim_start_matches('/')))
            .map_err(|_| ForgeError::Invalid("the request has no valid address".to_owned()))?;
    let body = body.collect().await.map_err(|_| ForgeError::Invalid("the request has no body".to_owned()))?;
    let mut headers = parts.headers;
    let (name, value) = API_VERSION;
    headers.insert(name, value);
    let call = Call { method: parts.method, url, headers, body: body.to_bytes() };
    let Answer { status, headers, body } = transport.send(call).await?;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
