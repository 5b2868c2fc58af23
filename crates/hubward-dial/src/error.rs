//! Errors while opening a connection, before the first byte of the application protocol.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crate::all_failed::AllFailed;
use crate::{DialStep, Endpoint};

/// Why a dialer could not open a byte stream. The message of an error does not repeat the message of its source.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The TCP connection failed: the name does not resolve, no program listens on the port, or the network has no
    /// route.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The error of the operating system, with the addresses that were tried.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The cause, as far as it is known.
        fault: TlsFault,
        /// The error of the TLS library.
        #[source]
        source: io::Error,
    },
    /// The peer closed the connection before it was ready for use.
    #[error("{endpoint} closed the connection during {during}")]
    Closed {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The step that was interrupted.
        during: DialStep,
        /// The error of the operating system; `None` if the peer closed the connection cleanly.
        #[source]
        source: Option<io::Error>,
    },
    /// A step took too long.
    #[error("{endpoint} did not finish {during} within {after:?}")]
    Timeout {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The step that did not finish.
        during: DialStep,
        /// The limit that was exceeded.
        after: Duration,
    },
    /// The server answered the WebSocket upgrade with an HTTP status other than 101.
    #[error("{endpoint} refused to speak WebSocket: HTTP status {status}")]
    Upgrade {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// The unparsed value of the answer's `Retry-After` header, if the answer contains one.
        retry_after: Option<String>,
        /// The time in the answer's `Date` header, if the header is present and valid.
        server_time: Option<SystemTime>,
    },
    /// The server's answer to the WebSocket upgrade violates the protocol.
    #[error("{endpoint} broke the WebSocket protocol: {problem}")]
    NotWebSocket {
        /// The endpoint that the caller dialed.
        endpoint: Endpoint,
        /// The violated rule.
        problem: String,
    },
}

impl DialError {
    /// Returns `true` if the endpoint is on this machine, and no program listens there.
    ///
    /// This is the case if every address that the dialer tried is a loopback address, and at least one of them refused
    /// the connection.
    #[must_use]
    pub fn is_refused_by_loopback(&self) -> bool {
        match self {
            Self::Connect { source, .. } => AllFailed::find(source).is_some_and(AllFailed::is_refused_by_loopback),
            _ => false,
        }
    }
}

impl fmt::Debug for DialError {
    /// Writes the message and its cause. If `main` returns this error, Rust prints its `Debug`, so the user reads
    /// both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_cause(self, f)
    }
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// The certificate chain does not lead to a trusted authority.
    Untrusted,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another host name.
    WrongName,
    /// The server refused the host name that the client asked for (SNI): it has no certificate for this name.
    UnknownName,
    /// The peer does not speak TLS, or speaks only versions of TLS that the client does not support.
    NotTls,
    /// The server refused the certificate that the client presented. Only for a client with a certificate.
    ClientCertificate,
    /// The private key of the client's certificate could not sign. Only for a client with a certificate.
    Signing,
    /// Another cause.
    Other,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "the server's certificate is not signed by a trusted authority",
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::WrongName => "the server's certificate is for another name",
            Self::UnknownName => "the server has no certificate for this name",
            Self::NotTls => "the peer does not speak TLS 1.2 or 1.3",
            Self::ClientCertificate => "the server refused the client's certificate",
            Self::Signing => "the private key of the client's certificate could not sign",
            Self::Other => "the TLS handshake failed",
        })
    }
}

/// Writes the message of an error and the message of its cause, laid out as the crate `anyhow` does.
///
/// An error of this crate has at most one cause. For errors with more causes, `hubward-proto` has a similar function,
/// but this crate does not depend on `hubward-proto`.
pub(crate) fn write_with_cause(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    error.source().map_or(Ok(()), |cause| write!(f, "\n\nCaused by:\n    {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_the_message_then_the_cause() {
        let endpoint = || Endpoint::new("dps.example", 443);
        let source = io::Error::new(io::ErrorKind::ConnectionRefused, "127.0.0.1:443: refused");
        for (error, expected) in [
            (
                DialError::Connect { endpoint: endpoint(), source },
                "could not connect to dps.example:443\n\nCaused by:\n    127.0.0.1:443: refused",
            ),
            (
                DialError::Closed { endpoint: endpoint(), during: DialStep::Tls, source: None },
                "dps.example:443 closed the connection during the TLS handshake",
            ),
        ] {
            assert_eq!(format!("{error:?}"), expected);
        }
    }
}
