//! What went wrong between us and the broker, in an operator's words. Never the password: lapin's errors do not
//! hold it, and the address does not show it.

use std::io;

use lapin::{Error, ErrorKind};

use super::address::Address;

/// AMQP's reply codes that have a meaning of their own here.
const CONNECTION_FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// Says what happened, where, and what to do next.
pub(crate) fn explain(address: &Address, error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => refused(address, error.get_id(), error.get_message().as_str()),
        ErrorKind::IOError(error) => unreachable(address, error),
        ErrorKind::MissingHeartbeatError => format!("{address} stopped answering"),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            format!("{address} closed the connection")
        }
        _ => format!("{address}: {error}"),
    }
}

/// The reply code of an answer, if it was one.
fn code(error: &Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().to_string())),
        _ => None,
    }
}

/// True when `declare` met a queue that was made with other arguments.
pub(crate) fn is_other_queue(error: &Error) -> bool {
    // "invalid arg", the same code, means that the broker does not know the argument: there is no such queue.
    code(error).is_some_and(|(code, text)| code == PRECONDITION_FAILED && text.contains("inequivalent arg"))
}

fn refused(address: &Address, code: u16, text: &str) -> String {
    let Address { user, vhost, .. } = address;
    match code {
        ACCESS_REFUSED if text.contains("Login was refused") => {
            format!("{address} refused the credentials of user {user}")
        }
        ACCESS_REFUSED => format!("{address}: user {user} lacks a permission in vhost {vhost}: {text}"),
        NOT_ALLOWED if text.contains("not found") => format!("{address} has no vhost {vhost}"),
        NOT_ALLOWED if text.contains("refused for user") => {
            format!("{address}: user {user} has no permission in vhost {vhost}")
        }
        NOT_FOUND => format!("{address}: the queue does not exist (yet); a dispatcher makes it: {text}"),
        PRECONDITION_FAILED if text.contains("invalid arg") => {
            format!("{address} does not know an argument of the queue; it needs RabbitMQ 3.10 or newer: {text}")
        }
        CONNECTION_FORCED => format!("{address} closed the connection: {text}"),
        _ => format!("{address} refused: {code} {text}"),
    }
}

fn unreachable(address: &Address, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
            let scheme = if address.tls { "amqps" } else { "amqp" };
            format!("{address} closed the connection; if it never opened, is that the port for {scheme}?")
        }
        io::ErrorKind::InvalidData => format!("{address}: TLS failed: {error}"),
        _ => format!("cannot reach {address}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn answer(code: u16, text: &str) -> Error {
        let error = AMQPError::from_id(code, text.into()).expect("a known code");
        ErrorKind::ProtocolError(error).into()
    }

    #[test]
    fn each_trouble_has_its_words() {
        let address = Address::parse("amqp://u:geheim@h:1/v").expect("valid");
        let login = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see";
        let table = [
            (answer(403, login), "refused the credentials of user u"),
            (answer(403, "ACCESS_REFUSED - read access to queue 'q'"), "lacks a permission in vhost v"),
            (answer(530, "NOT_ALLOWED - vhost v not found"), "has no vhost v"),
            (answer(530, "NOT_ALLOWED - access to vhost 'v' refused for user 'u'"), "no permission in vhost v"),
            (answer(404, "NOT_FOUND - no queue 'q' in vhost 'v'"), "does not exist"),
            (answer(406, "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue"), "3.10 or newer"),
            (answer(320, "CONNECTION_FORCED - broker forced"), "closed the connection"),
            (io::Error::from(io::ErrorKind::ConnectionRefused).into(), "cannot reach RabbitMQ at h:1"),
            (io::Error::from(io::ErrorKind::ConnectionAborted).into(), "port for amqp?"),
            (ErrorKind::MissingHeartbeatError.into(), "stopped answering"),
        ];
        for (error, words) in table {
            let said = explain(&address, &error);
            assert!(said.contains(words) && !said.contains("geheim"), "{said}");
        }
    }

    #[test]
    fn a_queue_with_other_arguments_is_not_a_broker_that_knows_too_little() {
        assert!(is_other_queue(&answer(406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue")));
        assert!(!is_other_queue(&answer(406, "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue")));
        assert!(!is_other_queue(&answer(404, "NOT_FOUND")));
    }
}
