//! Filters of a list: what a plain form puts into the address, and the choices that it shows.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use slipway_domain::build::BuildState;
use url::form_urlencoded;

use crate::pages::view::build_badge;
use crate::texts::Texts;

/// One choice of a field.
pub struct Choice {
    /// What the address says.
    pub value: &'static str,
    /// What people read.
    pub word: String,
    /// It is chosen.
    pub here: bool,
}

/// The choices of a closed set, in its order.
pub fn choices<T: Copy + PartialEq>(
    all: &[T],
    chosen: Option<T>,
    show: impl Fn(T) -> (&'static str, String),
) -> Vec<Choice> {
    let choice = |it: &T| {
        let (value, word) = show(*it);
        Choice { value, word, here: chosen == Some(*it) }
    };
    all.iter().map(choice).collect()
}

/// The states of builds.
pub fn build_states(chosen: Option<BuildState>, texts: Texts) -> Vec<Choice> {
    choices(BuildState::ALL, chosen, |state| (state.as_str(), texts.t(build_badge(state).key).to_string()))
}

/// For `deserialize_with`: a form sends its empty fields, too.
pub fn unless_empty<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.filter(|text| !text.is_empty()).map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// A path with those of these fields that are set.
pub fn href(path: &str, fields: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_what_is_set_and_nothing_breaks_out_of_it() {
        assert_eq!(href("/", &[("q", None), ("build", None)]), "/");
        assert_eq!(
            href("/", &[("q", Some("a&b=c #\"")), ("build", Some("failed"))]),
            "/?q=a%26b%3Dc+%23%22&build=failed"
        );
    }
}
