//! Dark, light, or as the reader's system is: the choice of a theme. The stylesheet has both.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use slipway_runtime::problem::ApiError;
use slipway_runtime::web_session::cookie;

use crate::pages::choice::{Choice, keep};
use crate::state::ApiState;

/// Keeps what a reader chose.
const COOKIE: &str = "slipway-theme";

/// How the pages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the reader's system does; for whoever chose nothing.
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Its name in forms and in the cookie.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The key of what readers call it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::System => "frame-theme-system",
            Self::Light => "frame-theme-light",
            Self::Dark => "frame-theme-dark",
        }
    }

    /// Its name, if it is not the system's.
    pub fn forced(self) -> Option<&'static str> {
        match self {
            Self::System => None,
            Self::Light | Self::Dark => Some(self.name()),
        }
    }

    /// The reader's choice.
    pub fn of(headers: &HeaderMap) -> Self {
        cookie(headers, COOKIE).and_then(Self::from_name).unwrap_or(Self::System)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }
}

#[derive(Deserialize)]
pub struct ThemeForm {
    theme: String,
    /// Where to go on, if that is not the page that the form was on.
    #[serde(default)]
    next: String,
}

/// `POST /theme`.
pub async fn submit(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Form(form): Form<ThemeForm>,
) -> Result<Response, ApiError> {
    let Some(theme) = Theme::from_name(&form.theme) else {
        let known = Theme::ALL.map(Theme::name).join(", ");
        return Err(ApiError::Invalid(format!("There is no such theme; there are {known}.")));
    };
    keep(&state, &headers, Choice { cookie: COOKIE, value: theme.name(), next: &form.next })
}
