//! Texts that look like keys of well-known services. Build arguments are no place for them: they end up in the image's
//! history, and everybody who sees the project reads them. Only forms that nothing else has are known, so that whatever
//! is found is one.

/// A form of a key.
struct Form {
    what: &'static str,
    prefix: &'static str,
    /// At least so many characters of the alphabet follow.
    body: usize,
    is_body: fn(char) -> bool,
}

const FORMS: &[Form] = &[
    Form { what: "a GitHub token", prefix: "ghp_", body: 36, is_body: is_word },
    Form { what: "a GitHub token", prefix: "gho_", body: 36, is_body: is_word },
    Form { what: "a GitHub token", prefix: "ghs_", body: 36, is_body: is_word },
    Form { what: "a GitHub token", prefix: "ghu_", body: 36, is_body: is_word },
    Form { what: "a GitHub token", prefix: "github_pat_", body: 40, is_body: is_word },
    Form { what: "a GitLab token", prefix: "glpat-", body: 20, is_body: is_word },
    Form { what: "an npm token", prefix: "npm_", body: 36, is_body: is_word },
    Form { what: "a PyPI token", prefix: "pypi-AgEI", body: 40, is_body: is_word },
    Form { what: "an AWS access key", prefix: "AKIA", body: 16, is_body: is_capital },
    Form { what: "an AWS access key", prefix: "ASIA", body: 16, is_body: is_capital },
    Form { what: "a Google API key", prefix: "AIza", body: 35, is_body: is_word },
    Form { what: "a Slack token", prefix: "xoxb-", body: 20, is_body: is_word },
    Form { what: "a Slack token", prefix: "xoxp-", body: 20, is_body: is_word },
    Form { what: "a Stripe key", prefix: "sk_live_", body: 20, is_body: is_word },
    Form { what: "a Docker Hub token", prefix: "dckr_pat_", body: 20, is_body: is_word },
    Form { what: "a token of this service", prefix: "slw_", body: 20, is_body: is_word },
];

/// What kind of key is found in a text, if one is.
pub fn find(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let stands_at = |form: &Form, at: usize| {
        let begins = text.get(..at).is_some_and(|before| !before.ends_with(is_word));
        let body = text.get(at + form.prefix.len()..).unwrap_or_default();
        begins && body.chars().take_while(|c| (form.is_body)(*c)).count() >= form.body
    };
    let found = FORMS.iter().find(|form| text.match_indices(form.prefix).any(|(at, _)| stands_at(form, at)));
    found.map(|form| form.what)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_capital(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_they_stand_and_nothing_else() {
        let long = "a1B2".repeat(12);
        for (text, found) in [
            (format!("ghp_{long}"), Some("a GitHub token")),
            (format!("https://x:glpat-{long}@host/"), Some("a GitLab token")),
            (format!("//registry/:_authToken=npm_{long}"), Some("an npm token")),
            ("AKIA0123456789ABCDEF".to_owned(), Some("an AWS access key")),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA".to_owned(), Some("a private key")),
            (format!("é ghp_{long}"), Some("a GitHub token")),
            ("ghp_short".to_owned(), None),
            (format!("xghp_{long}"), None),
            ("AKIA0123456789abcdef".to_owned(), None),
            ("npm_config_registry".to_owned(), None),
            ("-----BEGIN CERTIFICATE-----".to_owned(), None),
            ("1.2.3".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(find(&text), found, "{text}");
        }
    }
}
