//! Addresses that a tenant chose, checked before they are stored. Builders check again when they connect:
//! names may point elsewhere by then.

use std::time::Duration;

use slipway_runtime::egress::EgressError;
use slipway_runtime::problem::ApiError;
use url::Url;

use crate::state::ApiState;

/// A name that does not resolve in this time is left to the builder's own check.
const PATIENCE: Duration = Duration::from_secs(3);

/// A URL that may be contacted; errors name the field.
pub async fn check_url(state: &ApiState, field: &str, text: &str) -> Result<String, ApiError> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ApiError::Invalid(format!("{field}: a URL has no spaces or control characters.")));
    }
    let url = Url::parse(text).map_err(|error| {
        ApiError::Invalid(format!("{field}: {error}. Write a full URL such as https://git.example.org/team/app.git."))
    })?;
    allowed(state, field, &url).await?;
    Ok(text.to_owned())
}

/// A registry as it stands in image names: `host[:port]`.
pub async fn check_registry_host(state: &ApiState, field: &str, host: &str) -> Result<(), ApiError> {
    let bad = || {
        ApiError::Invalid(format!(
            "{field}: write the registry's host with its port, such as registry.example.com or localhost:5000."
        ))
    };
    let looks_right = (host.contains(['.', ':']) || host == "localhost")
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    if !looks_right {
        return Err(bad());
    }
    // Whether it speaks https is the builder's matter; here only the address counts.
    let url = Url::parse(&format!("https://{host}/")).map_err(|_| bad())?;
    allowed(state, field, &url).await
}

/// An image's repository, `host[:port]/path` without a tag, by the distribution specification.
pub async fn check_repository(state: &ApiState, field: &str, repository: &str) -> Result<(), ApiError> {
    let Some((host, path)) = repository.split_once('/') else {
        return Err(ApiError::Invalid(format!("{field}: write host/path, such as registry.example.com/team/app.")));
    };
    let name_ok = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if repository.len() > 255 || !path.split('/').all(name_ok) {
        return Err(ApiError::Invalid(format!(
            "{field}: the path of \"{}\" may have lower-case letters, digits and . _ - between slashes, and no tag.",
            repository.chars().take(255).collect::<String>()
        )));
    }
    check_registry_host(state, field, host).await
}

async fn allowed(state: &ApiState, field: &str, url: &Url) -> Result<(), ApiError> {
    match tokio::time::timeout(PATIENCE, state.egress.check(url)).await {
        Ok(Err(error)) if error.is_refusal() => Err(refused(field, &error)),
        // It may resolve by the time somebody builds.
        Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
    }
}

fn refused(field: &str, error: &EgressError) -> ApiError {
    let next = match error {
        EgressError::Forbidden { .. } | EgressError::PlainHttp { .. } => {
            " An operator can allow it with SLIPWAY_FETCH_ALLOW."
        }
        EgressError::Scheme { .. }
        | EgressError::NoHost
        | EgressError::UserInfo { .. }
        | EgressError::Resolve { .. }
        | EgressError::Client { .. } => "",
    };
    ApiError::Invalid(format!("{field}: {error}.{next}"))
}
