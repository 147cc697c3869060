//! The languages of the pages, and which of them somebody reads.

use http::{HeaderMap, HeaderValue, header};
use slipway_runtime::web_session::cookie;

/// Keeps what a reader chose; it says nothing else about them.
pub const COOKIE: &str = "slipway-language";
/// Of a longer `Accept-Language` only so many ranges are looked at.
const MAX_RANGES: usize = 20;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English, also for whoever names no language that is here.
    English,
    /// Simplified Chinese, for whoever reads any Chinese.
    Chinese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The tag of BCP 47; the catalogue's folder has this name.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// What its readers call it.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The tag as a header's value.
    pub const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.tag())
    }

    /// The language with this tag.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// What the request asks for: the reader's choice, else what the browser prefers.
    pub fn of(headers: &HeaderMap) -> Self {
        let chosen = cookie(headers, COOKIE).and_then(Self::from_tag);
        chosen.or_else(|| preferred(headers)).unwrap_or(Self::English)
    }
}

/// RFC 9110, section 12.5.4: the range with the highest weight that is a language of ours; of equal ones the first.
fn preferred(headers: &HeaderMap) -> Option<Language> {
    let accepted = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best: Option<(Language, f32)> = None;
    for range in accepted.split(',').take(MAX_RANGES) {
        let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
        let weight = match parameters.trim().strip_prefix("q=") {
            Some(weight) => weight.trim().parse().unwrap_or(0.0),
            None => 1.0,
        };
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let language = match primary.as_str() {
            "en" | "*" => Language::English,
            "zh" => Language::Chinese,
            _ => continue,
        };
        if weight > best.map_or(0.0, |(_, weight)| weight) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cookie: &str, accepted: &str) -> Language {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::COOKIE, cookie), (header::ACCEPT_LANGUAGE, accepted)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).expect("a value"));
            }
        }
        Language::of(&headers)
    }

    #[test]
    fn the_browser_says_which_language() {
        for (accepted, wanted) in [
            ("", Language::English),
            ("en-US,en;q=0.9", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("zh-Hant-TW", Language::Chinese),
            ("ZH", Language::Chinese),
            ("en;q=0.3, zh;q=0.7", Language::Chinese),
            ("zh;q=0.7, en", Language::English),
            ("de-DE, fr", Language::English),
            ("de-DE, zh;q=0.1", Language::Chinese),
            ("zh;q=0, *;q=0.1", Language::English),
            ("zh;q=x", Language::English),
            (";;,,q=", Language::English),
        ] {
            assert_eq!(asked("", accepted), wanted, "{accepted}");
        }
    }

    #[test]
    fn a_choice_goes_before_it() {
        assert_eq!(asked("a=b; slipway-language=zh-CN", "en"), Language::Chinese);
        assert_eq!(asked("slipway-language=en", "zh"), Language::English);
        assert_eq!(asked("slipway-language=tlh", "zh"), Language::Chinese);
    }
}
