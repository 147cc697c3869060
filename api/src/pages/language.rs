//! `POST /language`: the choice of a language.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use slipway_runtime::problem::ApiError;

use crate::pages::choice::{Choice, keep};
use crate::state::ApiState;
use crate::texts::language::{COOKIE, Language};

#[derive(Deserialize)]
pub struct LanguageForm {
    language: String,
    /// Where to go on, if that is not the page that the form was on.
    #[serde(default)]
    next: String,
}

/// `POST /language`.
pub async fn submit(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Form(form): Form<LanguageForm>,
) -> Result<Response, ApiError> {
    let Some(language) = Language::from_tag(&form.language) else {
        let known = Language::ALL.map(Language::tag).join(", ");
        return Err(ApiError::Invalid(format!("There are no pages in this language; there are {known}.")));
    };
    keep(&state, &headers, Choice { cookie: COOKIE, value: language.tag(), next: &form.next })
}
