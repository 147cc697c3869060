//! What went wrong between us and the server, in one sentence that says what to do next.

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::client::exit::{Exit, Failed};

/// How to name another server.
const OTHER_SERVER: &str = "name another server with --server or SLIPWAY_SERVER_URL";

/// What of a problem+json document is of use; see RFC 9457.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemText {
    title: String,
    detail: String,
    error_id: Option<String>,
}

/// An answer that is no success.
pub struct Refusal<'a> {
    /// Who answered.
    pub server: &'a Url,
    /// The status.
    pub status: StatusCode,
    /// Its body.
    pub body: &'a [u8],
    /// Where a redirect points to.
    pub location: Option<&'a str>,
    /// Where the token came from; `None` without one.
    pub token_origin: Option<&'a str>,
}

/// The refusal as the end of the command.
pub fn refused(refusal: &Refusal<'_>) -> Failed {
    let Refusal { server, status, body, location, token_origin } = *refusal;
    let exit = exit_of(status);
    if let Some(location) = location.filter(|_| status.is_redirection()) {
        let message = format!(
            "{server} sends us on to {location}; if that is your server, set it with --server or SLIPWAY_SERVER_URL."
        );
        return Failed::Said { exit, message };
    }
    let problem = serde_json::from_slice::<ProblemText>(body).unwrap_or_default();
    let said = if problem.detail.is_empty() { problem.title } else { problem.detail };
    let said = said.trim();
    if said.is_empty() {
        let message =
            format!("{server} answers {status} without a reason; if this is no Slipway server, {OTHER_SERVER}.");
        return Failed::Said { exit, message };
    }
    let said = if said.ends_with(['.', '!', '?']) { said.to_owned() } else { format!("{said}.") };
    Failed::Said { exit, message: format!("{said}{}", next(status, problem.error_id.as_deref(), token_origin)) }
}

/// What the status alone tells the user to do, beside the server's own words.
fn next(status: StatusCode, error_id: Option<&str>, token_origin: Option<&str>) -> String {
    match (status, token_origin, error_id) {
        (StatusCode::UNAUTHORIZED, None, _) => {
            " You sent no token: run `slipway login`, or set SLIPWAY_TOKEN or SLIPWAY_TOKEN_FILE.".to_owned()
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(origin), _) => {
            format!(" The token came from {origin}.")
        }
        (_, _, Some(id)) => format!(" (error_id {id})"),
        _ => String::new(),
    }
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NotAuthorised,
        StatusCode::NOT_FOUND | StatusCode::GONE => Exit::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Exit::ServerError,
        _ if status.is_server_error() => Exit::ServerError,
        _ => Exit::Usage,
    }
}

/// The server could not be asked, or broke off.
pub fn unreachable(server: &Url, error: &reqwest::Error) -> Failed {
    let reason = deepest(error);
    if error.is_connect() {
        return Failed::server(format!(
            "No Slipway server answers at {server} ({reason}). Start one with `slipway serve`, or {OTHER_SERVER}."
        ));
    }
    if error.is_timeout() {
        return Failed::server(format!("{server} did not answer in time. Try again, or {OTHER_SERVER}."));
    }
    Failed::server(format!("The connection to {server} broke ({reason}). Try again."))
}

/// The answer is a success, but not one of ours.
pub fn not_ours(server: &Url) -> Failed {
    Failed::server(format!("{server} answers, but not as a Slipway server does; {OTHER_SERVER}."))
}

/// The cause at the bottom, which says the most.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_sentences_and_exit_codes() {
        let problem = |detail: &str| format!(r#"{{"type":"about:blank","title":"T","status":0,"detail":"{detail}"}}"#);
        let cases = [
            (
                401,
                problem("This needs a token."),
                None,
                3,
                "This needs a token. You sent no token: run `slipway login`, or set SLIPWAY_TOKEN or SLIPWAY_TOKEN_FILE.",
            ),
            (
                401,
                problem("Revoked."),
                Some("the variable SLIPWAY_TOKEN"),
                3,
                "Revoked. The token came from the variable SLIPWAY_TOKEN.",
            ),
            (
                403,
                problem("Only an operator"),
                Some("the file f"),
                3,
                "Only an operator. The token came from the file f.",
            ),
            (404, problem("There is no such build."), Some("x"), 4, "There is no such build."),
            (410, problem("Gone."), Some("x"), 4, "Gone."),
            (409, problem("Already publishing."), Some("x"), 2, "Already publishing."),
            (422, problem("name must have 1 to 100 characters"), Some("x"), 2, "name must have 1 to 100 characters."),
            (503, problem("Busy."), Some("x"), 5, "Busy."),
            (429, problem("Later."), Some("x"), 5, "Later."),
            (
                500,
                r#"{"title":"T","detail":"Broke.","error_id":"e1"}"#.to_owned(),
                Some("x"),
                5,
                "Broke. (error_id e1)",
            ),
            (
                502,
                "<html>".to_owned(),
                None,
                5,
                "http://s/ answers 502 Bad Gateway without a reason; if this is no Slipway server, name another server with --server or SLIPWAY_SERVER_URL.",
            ),
        ];
        let server = Url::parse("http://s/").expect("valid");
        for (status, body, token_origin, code, sentence) in cases {
            let status = StatusCode::from_u16(status).expect("valid");
            match refused(&Refusal { server: &server, status, body: body.as_bytes(), location: None, token_origin }) {
                Failed::Said { exit, message } => assert_eq!((exit.code(), message.as_str()), (code, sentence)),
                Failed::NobodyListens => panic!("it says something"),
            }
        }
    }

    #[test]
    fn a_redirect_says_where_to() {
        let server = Url::parse("http://s/").expect("valid");
        let (status, location) = (StatusCode::MOVED_PERMANENTLY, Some("https://s/"));
        match refused(&Refusal { server: &server, status, body: b"", location, token_origin: None }) {
            Failed::Said { exit, message } => {
                assert_eq!(exit, Exit::Usage);
                assert!(message.contains("https://s/") && message.contains("--server"), "{message}");
            }
            Failed::NobodyListens => panic!("it says something"),
        }
    }
}
