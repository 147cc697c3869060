//! Which pool a job belongs to: a pure function, so that two services always agree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Region x class x platform, with one queue of offers. Written `region/class/platform`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pool {
    /// Where the builders stand.
    pub region: String,
    /// The kind of builder that a plan buys.
    pub class: String,
    /// Operating system and architecture, `linux-amd64`.
    pub platform: String,
}

/// Why a text is no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a pool: write region/class/platform, each of lower-case letters, digits and -")]
pub struct BadPool(String);

/// What decides the pool of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementInput<'a> {
    /// The region that the pipeline file or the project asks for.
    pub wanted_region: Option<&'a str>,
    /// The installation's own region.
    pub default_region: &'a str,
    /// The class that the tenant's plan buys.
    pub class: &'a str,
    /// The platform asked for, `linux/amd64` or `linux-amd64`.
    pub wanted_platform: Option<&'a str>,
    /// The installation's usual platform.
    pub default_platform: &'a str,
}

/// The pool for a job. Errors when a wish is not a valid name.
pub fn place(input: &PlacementInput<'_>) -> Result<Pool, BadPool> {
    let region = input.wanted_region.unwrap_or(input.default_region);
    let platform = input.wanted_platform.unwrap_or(input.default_platform).replace('/', "-");
    format!("{region}/{}/{platform}", input.class).parse()
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.region, self.class, self.platform)
    }
}

impl FromStr for Pool {
    type Err = BadPool;

    fn from_str(text: &str) -> Result<Self, BadPool> {
        let mut parts = text.split('/');
        let (Some(region), Some(class), Some(platform), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadPool(text.to_owned()));
        };
        let name_ok = |part: &str| {
            !part.is_empty()
                && part.len() <= 40
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if ![region, class, platform].into_iter().all(name_ok) {
            return Err(BadPool(text.to_owned()));
        }
        Ok(Self { region: region.to_owned(), class: class.to_owned(), platform: platform.to_owned() })
    }
}

impl TryFrom<String> for Pool {
    type Error = BadPool;

    fn try_from(text: String) -> Result<Self, BadPool> {
        text.parse()
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> Self {
        pool.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<'a>() -> PlacementInput<'a> {
        PlacementInput {
            wanted_region: None,
            default_region: "local",
            class: "standard",
            wanted_platform: None,
            default_platform: "linux/amd64",
        }
    }

    #[test]
    fn wishes_win_over_defaults() {
        let plain = place(&input()).expect("valid");
        assert_eq!(plain.to_string(), "local/standard/linux-amd64");
        let wished = PlacementInput { wanted_region: Some("cn"), wanted_platform: Some("linux/arm64"), ..input() };
        assert_eq!(place(&wished).expect("valid").to_string(), "cn/standard/linux-arm64");
    }

    #[test]
    fn bad_names_are_refused() {
        for text in ["", "a/b", "a/b/c/d", "A/b/c", "a b/c/d", "a//c"] {
            assert!(text.parse::<Pool>().is_err(), "{text}");
        }
        assert!(place(&PlacementInput { wanted_region: Some("../x"), ..input() }).is_err());
    }
}
