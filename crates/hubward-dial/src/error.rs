//! What can go wrong before the first byte of a protocol.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crate::Endpoint;

/// Why there is no byte stream. Messages do not repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name does not resolve, nobody listens, no route.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Who was asked for.
        endpoint: Endpoint,
        /// What the system says; names the addresses that were tried.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// Who was asked for.
        endpoint: Endpoint,
        /// What is wrong, as far as we can tell.
        fault: TlsFault,
        /// What the TLS library says.
        #[source]
        source: io::Error,
    },
    /// The connection ended before it was ready.
    #[error("{endpoint} closed the connection during {during}")]
    Closed {
        /// Who was asked for.
        endpoint: Endpoint,
        /// `the TLS handshake`, `the WebSocket upgrade`.
        during: &'static str,
        /// What the system says, if it was not an orderly end.
        #[source]
        source: Option<io::Error>,
    },
    /// The peer took too long to become ready.
    #[error("{endpoint} did not finish {during} within {after:?}")]
    Timeout {
        /// Who was asked for.
        endpoint: Endpoint,
        /// `connecting`, `the TLS handshake`, `the WebSocket upgrade`.
        during: &'static str,
        /// The limit that was exceeded.
        after: Duration,
    },
    /// The server answered the WebSocket upgrade with an HTTP status other than 101.
    #[error("{endpoint} refused to speak WebSocket: HTTP status {status}")]
    Upgrade {
        /// Who was asked for.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// Its `Retry-After`, as it stands.
        retry_after: Option<String>,
        /// Its `Date`, if it can be read.
        server_time: Option<SystemTime>,
    },
    /// The server's answer to the WebSocket upgrade breaks the protocol.
    #[error("{endpoint} broke the WebSocket protocol: {problem}")]
    NotWebSocket {
        /// Who was asked for.
        endpoint: Endpoint,
        /// Which rule.
        problem: String,
    },
}

/// What is wrong with a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// The certificate leads to no authority we trust.
    Untrusted,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not begun.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The peer does not speak TLS, or no version we speak.
    NotTls,
    /// Anything else.
    Other,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "the server's certificate is not signed by a trusted authority",
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::WrongName => "the server's certificate is for another name",
            Self::NotTls => "the peer does not speak TLS as we do",
            Self::Other => "the TLS handshake failed",
        })
    }
}
