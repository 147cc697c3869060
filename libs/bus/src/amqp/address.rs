//! Where the broker is and who we are there, from `amqp://user:password@host:port/vhost?queues=…&cacertfile=…`.
//!
//! * `queues=classic` (usual) or `quorum`: the kind of queue that `declare` makes. A client cannot see whether a
//!   broker is clustered without its management API, so the operator says it; a queue that exists is used as it is.
//! * `cacertfile=/path.pem`: authorities that `amqps` trusts besides the host's own.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use percent_encoding::percent_decode_str;
use url::Url;

/// A peer that is silent for two of these is gone.
const HEARTBEAT_SECS: u16 = 10;
/// A longer message comes in several frames. Ours are short, and lapin keeps memory for 64 frames per connection: 8 MiB
/// with the broker's own limit, most of what an idle builder holds.
const FRAME_MAX_BYTES: u32 = 16 * 1024;

/// A parsed URL. Its `Debug` and `Display` leave out the password.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    password: String,
    pub(crate) vhost: String,
    pub(crate) tls: bool,
    pub(crate) queues: QueueKind,
    pub(crate) ca_file: Option<PathBuf>,
}

/// What `declare` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// On one node; gone with its disk.
    Classic,
    /// Replicated over a cluster.
    Quorum,
}

impl QueueKind {
    /// RabbitMQ's name for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

impl Address {
    /// Parses a URL; the error says what to write and never quotes it, for it holds a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{error}; write amqp://user:password@host:port/vhost"))?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            other => return Err(format!("\"{other}:\" is no bus; write memory:, amqp:// or amqps://")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let mut address = Self {
            host: decoded(host.trim_start_matches('[').trim_end_matches(']'), "host")?,
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            user: decoded(url.username(), "user")?,
            password: decoded(url.password().unwrap_or("guest"), "password")?,
            vhost: decoded(url.path().trim_start_matches('/'), "vhost")?,
            tls,
            queues: QueueKind::Classic,
            ca_file: None,
        };
        // What RabbitMQ's own tools do: nobody means guest, nothing means the default vhost.
        if address.user.is_empty() {
            "guest".clone_into(&mut address.user);
        }
        if address.vhost.is_empty() {
            "/".clone_into(&mut address.vhost);
        }
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("queues", "classic") => address.queues = QueueKind::Classic,
                ("queues", "quorum") => address.queues = QueueKind::Quorum,
                ("queues", _) => return Err("queues is classic or quorum".to_owned()),
                ("cacertfile", path) if !path.is_empty() => address.ca_file = Some(PathBuf::from(path)),
                (other, _) => return Err(format!("\"{other}\" is no parameter; there are queues and cacertfile")),
            }
        }
        Ok(address)
    }

    /// In lapin's words.
    pub(crate) fn uri(&self) -> AMQPUri {
        AMQPUri {
            scheme: if self.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: self.user.clone(), password: self.password.clone() },
                host: self.host.clone(),
                port: self.port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT_SECS),
                frame_max: Some(FRAME_MAX_BYTES),
                ..AMQPQueryString::default()
            },
        }
    }
}

fn decoded(text: &str, part: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| format!("its {part} is not UTF-8"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitMQ at {}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}, vhost {}, user {}", self.vhost, self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_rabbitmq_reads_them() {
        let table = [
            ("amqp://h", ("h", 5672, "guest", "guest", "/", false)),
            ("amqp://h/", ("h", 5672, "guest", "guest", "/", false)),
            ("amqps://u:p@h/%2f", ("h", 5671, "u", "p", "/", true)),
            ("amqp://u:p@127.0.0.1:99/v", ("127.0.0.1", 99, "u", "p", "v", false)),
            ("amqp://u:a%40b+c=d&e@[::1]:99/a%2Fb", ("::1", 99, "u", "a@b+c=d&e", "a/b", false)),
        ];
        for (text, (host, port, user, password, vhost, tls)) in table {
            let read = Address::parse(text).expect(text);
            assert_eq!((read.host.as_str(), read.port, read.user.as_str()), (host, port, user), "{text}");
            assert_eq!((read.password.as_str(), read.vhost.as_str(), read.tls), (password, vhost, tls), "{text}");
        }
    }

    #[test]
    fn parameters_are_known_ones() {
        let read = Address::parse("amqps://h/v?queues=quorum&cacertfile=/etc/ca.pem").expect("valid");
        assert_eq!((read.queues, read.ca_file), (QueueKind::Quorum, Some(PathBuf::from("/etc/ca.pem"))));
        for text in ["amqp://h/v?queues=mirrored", "amqp://h/v?heartbeat=3", "http://h", "amqp:", "amqp://", "x"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let read = Address::parse("amqp://u:geheim@h/v").expect("valid");
        assert!(!format!("{read} {read:?}").contains("geheim"));
        for bad in ["amqp://u:geheim@h/v?x=1", "ftp://u:geheim@h", "amqp://u:geheim@h:port/"] {
            assert!(!Address::parse(bad).expect_err(bad).contains("geheim"));
        }
    }
}
