//! Where objects lie, and what is wrong there, in words for operators: which store, what it said, what to
//! look at. A store's own text is not passed on whole, since it may repeat what was signed.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use object_store::client::{HttpError, HttpErrorKind};

use crate::BlobError;

/// Longest quotation of an error that we have no words for.
const QUOTED: usize = 200;

/// Whose interface a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Amazon's, and those of many others.
    S3,
    /// Google's.
    Google,
    /// Microsoft's.
    Azure,
}

/// One store.
#[derive(Debug)]
pub(crate) enum Place {
    /// On this host.
    Folder(PathBuf),
    /// Elsewhere.
    Bucket {
        /// Whose interface.
        kind: Kind,
        /// The bucket's or container's name.
        name: String,
        /// Where it is, if that was set.
        endpoint: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "folder {}", folder.display()),
            Self::Bucket { kind, name, endpoint } => {
                let word = if *kind == Kind::Azure { "container" } else { "bucket" };
                write!(f, "{word} \"{name}\"")?;
                endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
        }
    }
}

impl Place {
    /// An error in words.
    pub(crate) fn explain(&self, error: &object_store::Error) -> BlobError {
        match (self, error) {
            (Self::Folder(folder), object_store::Error::NotFound { .. }) if !folder.is_dir() => {
                BlobError::Storage(format!("{self} is gone; mount or restore it, or correct SLIPWAY_BLOB_URL"))
            }
            (Self::Folder(_), object_store::Error::NotFound { path, .. }) => BlobError::NotFound(path.clone()),
            (Self::Folder(_), error) => BlobError::Storage(format!("{self} failed: {}", root(error))),
            (Self::Bucket { kind, .. }, error) => self.explain_remote(*kind, error),
        }
    }

    fn explain_remote(&self, kind: Kind, error: &object_store::Error) -> BlobError {
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        let text = error.to_string();
        let words = match (code(&text), error) {
            (Some("NoSuchBucket" | "ContainerNotFound"), _) => {
                "does not exist; make it, or correct SLIPWAY_BLOB_URL".to_owned()
            }
            (_, NotFound { path, .. }) => return BlobError::NotFound(path.clone()),
            (Some(code @ ("AccessDenied" | "AuthorizationPermissionMismatch" | "AuthorizationFailure")), _) => {
                format!("denies access ({code}); let {} read, write, list and delete in it", kind.credentials())
            }
            (Some(code @ ("PermanentRedirect" | "AuthorizationHeaderMalformed")), _) => {
                format!("is in another region ({code}); set ?region= in SLIPWAY_BLOB_URL")
            }
            (Some("RequestTimeTooSkewed"), _) => "finds this host's clock wrong; set it right".to_owned(),
            (Some("ConditionalRequestConflict"), _) => "is just being written by another process".to_owned(),
            (code, PermissionDenied { .. } | Unauthenticated { .. }) => {
                let code = code.unwrap_or("no reason given");
                format!("refuses the credentials ({code}); check {}", kind.credentials())
            }
            (Some(code), _) => format!("answers {}{code}", status(&text).map(|s| format!("{s} ")).unwrap_or_default()),
            (None, error) => unanswered(kind, &text, error),
        };
        BlobError::Storage(format!("{self} {words}"))
    }
}

impl Kind {
    fn credentials(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the host's role",
            Self::Google => "GOOGLE_APPLICATION_CREDENTIALS, or the host's service account",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_KEY, or the host's identity",
        }
    }
}

/// True when a put ran into another that is not finished; the library takes it for an object that exists.
pub(crate) fn is_conflict(error: &object_store::Error) -> bool {
    code(&error.to_string()) == Some("ConditionalRequestConflict")
}

fn unanswered(kind: Kind, text: &str, error: &object_store::Error) -> String {
    if let Some(status) = status(text) {
        return format!("answers {status}");
    }
    // Where hosts of a cloud ask for the credentials of their role.
    if text.contains("169.254.") || text.contains("metadata.google.internal") {
        return format!("cannot be asked without credentials; set {}", kind.credentials());
    }
    match chain(error).find_map(|cause| cause.downcast_ref::<HttpError>()).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => {
            format!("cannot be reached ({}); check the endpoint in SLIPWAY_BLOB_URL", root(error))
        }
        Some(HttpErrorKind::Timeout) => "does not answer in time".to_owned(),
        Some(_) | None => format!("failed: {}", root(error)),
    }
}

/// The innermost reason, before any markup and any part of an address that may be secret.
fn root(error: &object_store::Error) -> String {
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    innermost.split(['<', '?']).next().unwrap_or_default().chars().take(QUOTED).collect()
}

fn chain<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |cause: &&'a (dyn Error + 'static)| (**cause).source())
}

/// The code in the body of an answer, which all three kinds write alike.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (!code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code)
}

/// `503 Service Unavailable`, where the library tells of one.
fn status(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.split(':').next().map(str::trim).filter(|status| !status.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> object_store::Error {
        let text = format!("Error performing GET http://x/y in 1ms - Server returned non-2xx status code: {body}");
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    fn bucket(kind: Kind) -> Place {
        Place::Bucket { kind, name: "logs".to_owned(), endpoint: None }
    }

    #[test]
    fn what_a_store_says_is_told_in_words_and_without_what_was_signed() {
        let signed = "<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>hunter2</CanonicalRequest></Error>";
        let denied = |body: &str| object_store::Error::PermissionDenied {
            path: "p".to_owned(),
            source: format!("status code: 403 Forbidden: {body}").into(),
        };
        let cases = [
            (denied(signed), "bucket \"logs\" refuses the credentials (SignatureDoesNotMatch); check AWS_ACCESS_KEY"),
            (denied("<Code>AccessDenied</Code>"), "denies access (AccessDenied)"),
            (denied("hunter2"), "refuses the credentials (no reason given)"),
            (said("404 Not Found: <Code>NoSuchBucket</Code>"), "does not exist; make it, or correct SLIPWAY_BLOB_URL"),
            (said("503 Service Unavailable: <Code>SlowDown</Code>hunter2"), "answers 503 Service Unavailable SlowDown"),
            (said("502 Bad Gateway: <html>hunter2</html>"), "answers 502 Bad Gateway"),
            (said("301: <Code>PermanentRedirect</Code>"), "set ?region="),
            (said("403: <Code>RequestTimeTooSkewed</Code>"), "clock"),
        ];
        for (error, expected) in cases {
            let told = bucket(Kind::S3).explain(&error).to_string();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_missing_bucket_is_not_a_missing_object() {
        let missing = |body: &str| object_store::Error::NotFound { path: "p".to_owned(), source: body.into() };
        for (kind, code) in
            [(Kind::S3, "NoSuchBucket"), (Kind::Google, "NoSuchBucket"), (Kind::Azure, "ContainerNotFound")]
        {
            let told = bucket(kind).explain(&missing(&format!("<Code>{code}</Code>")));
            assert!(matches!(told, BlobError::Storage(_)), "{told}");
            let told = bucket(kind).explain(&missing("<Code>NoSuchKey</Code>"));
            assert!(matches!(told, BlobError::NotFound(_)), "{told}");
        }
    }
}
