//! What is wrong with a Redis, in words for operators.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::target::Target;

/// Why a connection is not usable, and what to look at.
pub(super) fn problem(target: &Target, error: &RedisError) -> String {
    let place = &target.place;
    if error.is_connection_refusal() {
        return format!("nothing listens at {place}; start Redis or correct SLIPWAY_LIVE_URL");
    }
    let reason = match error.kind() {
        ErrorKind::AuthenticationFailed => "refused the user or the password of SLIPWAY_LIVE_URL".to_owned(),
        ErrorKind::Parse => "does not answer as Redis does; check host, port and redis:// or rediss://".to_owned(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            let prefix = &target.prefix;
            format!(
                "does not let this user publish and subscribe to &{prefix}*, or EVAL, TIME, GET and SET \
                 ~{prefix}limit:*; extend its ACL"
            )
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "is still loading its data".to_owned(),
        _ => match error.code() {
            Some("WRONGPASS" | "NOAUTH") => "refused the user or the password of SLIPWAY_LIVE_URL".to_owned(),
            _ => format!("failed: {}", target.redact(&error.to_string())),
        },
    };
    format!("Redis at {place} {reason}")
}

/// The connection does not answer in time.
pub(super) fn silence(target: &Target, secs: u64) -> String {
    let hint = if target.tls { "; does it speak TLS, as rediss:// says?" } else { "" };
    format!("Redis at {} does not answer within {secs} s{hint}", target.place)
}

/// Whoever counts could not wait for it.
pub(super) fn slow(target: &Target, patience: Duration) -> String {
    format!("Redis at {} does not count within {} ms", target.place, patience.as_millis())
}

/// The connection ended.
pub(super) fn closed(target: &Target) -> String {
    format!("Redis at {} closed the connection", target.place)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn problems_are_told_in_words() {
        let target = Target::parse("redis://:hunter2@host?prefix=stage:").expect("valid");
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let cases = [
            (refused, "nothing listens at host:6379"),
            ((ErrorKind::AuthenticationFailed, "Password authentication failed").into(), "refused the user or"),
            ((ErrorKind::Parse, "x").into(), "does not answer as Redis does"),
            ((ErrorKind::Server(ServerErrorKind::NoPerm), "x").into(), "&stage:*"),
            ((ErrorKind::Client, "x", "args: hunter2".to_owned()).into(), "args: ***"),
        ];
        for (error, expected) in cases {
            let told = problem(&target, &error);
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
