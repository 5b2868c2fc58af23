//! What can go wrong between a device and a service, sorted by who is at fault.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use hubward_proto::dps::{Failure, FailureKind, error_code};
use hubward_proto::{Fault, ProtoError, is_hidden};

use crate::CredentialError;

/// Any failure of a transport. Messages read after "failed to …" and do not repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection: the name does not resolve, nobody listens, no route.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A proxy would not let us through.
    #[error("the proxy {proxy} refused to connect to {endpoint}")]
    Proxy {
        /// The proxy's address, without credentials.
        proxy: String,
        /// Host and port behind it.
        endpoint: String,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// Host and port.
        endpoint: String,
        /// What is wrong, as far as we can tell.
        fault: TlsFault,
        /// What the TLS library says.
        #[source]
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("{endpoint} did not answer within {after:?} ({stage})")]
    Timeout {
        /// Host and port.
        endpoint: String,
        /// What we were waiting for.
        stage: Stage,
        /// How long.
        after: Duration,
    },
    /// The connection ended.
    #[error("{endpoint} closed the connection ({stage})")]
    Closed {
        /// Host and port.
        endpoint: String,
        /// What we were doing.
        stage: Stage,
        /// What the system says, if it was not an orderly end.
        #[source]
        source: Option<io::Error>,
    },
    /// The service said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The peer broke the protocol, or what we were to send would.
    #[error("{endpoint} broke the protocol ({stage})")]
    Protocol {
        /// Host and port.
        endpoint: String,
        /// What we were doing.
        stage: Stage,
        /// Which rule.
        #[source]
        source: ProtoError,
    },
    /// The request itself is impossible; it was not sent.
    #[error("the request cannot be sent")]
    Request(#[source] ProtoError),
    /// There is no token to log in with.
    #[error("no credential")]
    Credential(#[from] CredentialError),
    /// This protocol cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// What a transport was doing. [`fmt::Display`] gives the word that the command line prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Name resolution and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// CONNECT and CONNACK.
    Login,
    /// SUBSCRIBE and SUBACK.
    Subscribe,
    /// The registration and its answer.
    Register,
    /// A poll and its answer.
    Poll,
    /// Anything on a connection that is established.
    Exchange,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Login => "login",
            Self::Subscribe => "subscribe",
            Self::Register => "register",
            Self::Poll => "poll",
            Self::Exchange => "exchange",
        })
    }
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
    /// The peer does not speak TLS, or speaks another version.
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

/// A refusal with everything the service said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Host and port.
    pub endpoint: String,
    /// What was refused.
    pub stage: Stage,
    /// In which way.
    pub by: RefusedBy,
    /// The service's six-digit code.
    pub error_code: Option<u32>,
    /// The service's words.
    pub message: Option<String>,
    /// The service's id of this refusal; what its support asks for.
    pub tracking_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// The service's clock, where it shows it.
    pub server_time: Option<SystemTime>,
}

/// The ways to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedBy {
    /// An HTTP status, or the same number in a DPS topic.
    Status(u16),
    /// An HTTP status where a WebSocket was asked for.
    UpgradeStatus(u16),
    /// The return code of a CONNACK (1 to 5).
    Connack(u8),
    /// A SUBACK with failure for a filter.
    Suback,
}

impl Refusal {
    /// A refusal with nothing known but how.
    #[must_use]
    pub const fn new(endpoint: String, stage: Stage, by: RefusedBy) -> Self {
        Self {
            endpoint,
            stage,
            by,
            error_code: None,
            message: None,
            tracking_id: None,
            retry_after: None,
            server_time: None,
        }
    }

    /// What is behind it.
    #[must_use]
    pub fn cause(&self) -> error_code::Cause {
        use error_code::Cause;
        match self.by {
            RefusedBy::Status(status) => error_code::cause(status, self.error_code),
            // A gateway or proxy on the way: not the device's credential.
            RefusedBy::UpgradeStatus(429) => Cause::Throttled,
            RefusedBy::UpgradeStatus(500..) => Cause::Server,
            RefusedBy::UpgradeStatus(_) => Cause::Request,
            // 3: server unavailable. Source: MQTT 3.1.1, table 3.1.
            RefusedBy::Connack(3) => Cause::Server,
            // 4: bad user name or password, 5: not authorized. The hub sends 5 [sdk] protocol gateway.
            RefusedBy::Connack(4 | 5) => Cause::Credential,
            RefusedBy::Connack(_) | RefusedBy::Suback => Cause::Request,
        }
    }
}

/// Words of a peer, for an error or a log: one line, no [hidden characters](is_hidden), at most 200
/// characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let words: Vec<&str> =
        text.split(|it: char| it.is_whitespace() || is_hidden(it)).filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(MOST).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, stage, .. } = self;
        match self.by {
            RefusedBy::Status(status) => write!(f, "{endpoint} refused ({stage}) with status {status}")?,
            RefusedBy::UpgradeStatus(status) => {
                write!(f, "{endpoint} refused to speak WebSocket: HTTP status {status}")?;
            }
            RefusedBy::Connack(code) => {
                let words = match code {
                    1 => "protocol version not accepted",
                    2 => "client id not accepted",
                    3 => "server unavailable",
                    4 => "bad user name or password",
                    5 => "not authorized",
                    _ => "a code that MQTT does not define",
                };
                write!(f, "{endpoint} refused the login: {words} (CONNACK {code})")?;
            }
            RefusedBy::Suback => write!(f, "{endpoint} refused the subscription (SUBACK 128)")?,
        }
        if let Some(code) = self.error_code {
            write!(f, ", code {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl TransportError {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Connect { .. } | Self::Proxy { .. } | Self::Closed { .. } => Fault::Network,
            Self::Timeout { .. } => Fault::Deadline,
            Self::Tls { .. } => Fault::Tls,
            Self::Refused(refusal) => match refusal.cause() {
                error_code::Cause::Credential => Fault::Credential,
                error_code::Cause::Throttled => Fault::Throttled,
                _ => Fault::Service,
            },
            Self::Protocol { .. } => Fault::Peer,
            Self::Request(_) => Fault::Request,
            Self::Credential(_) => Fault::Credential,
            Self::Unsupported(_) => Fault::Unsupported,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Proxy { .. } | Self::Closed { .. } | Self::Timeout { .. } => true,
            Self::Refused(refusal) => refusal.cause().is_retryable(),
            Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Request(_)
            | Self::Credential(_)
            | Self::Unsupported(_) => false,
        }
    }

    /// How long the service asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|it| it.retry_after)
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Host and port it happened with, if it came that far.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Connect { endpoint, .. }
            | Self::Proxy { endpoint, .. }
            | Self::Tls { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Closed { endpoint, .. }
            | Self::Protocol { endpoint, .. } => Some(endpoint),
            Self::Refused(refusal) => Some(&refusal.endpoint),
            Self::Request(_) | Self::Credential(_) | Self::Unsupported(_) => None,
        }
    }

    /// What the transport was doing.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Connect { .. } | Self::Proxy { .. } => Some(Stage::Connect),
            Self::Tls { .. } => Some(Stage::Tls),
            Self::Timeout { stage, .. } | Self::Closed { stage, .. } | Self::Protocol { stage, .. } => Some(*stage),
            Self::Refused(refusal) => Some(refusal.stage),
            Self::Request(_) | Self::Credential(_) | Self::Unsupported(_) => None,
        }
    }

    /// The plain view that the registration flow decides on.
    #[must_use]
    pub fn failure(&self) -> Failure {
        use error_code::Cause;
        let kind = match self {
            Self::Connect { .. } | Self::Proxy { .. } | Self::Closed { .. } | Self::Timeout { .. } => {
                FailureKind::Network
            }
            Self::Refused(refusal) if refusal.by == RefusedBy::Connack(3) => FailureKind::Unavailable,
            Self::Refused(refusal) => match refusal.cause() {
                Cause::Throttled | Cause::Conflict => FailureKind::Throttled,
                Cause::Server => FailureKind::Server,
                Cause::NotFound if refusal.stage == Stage::Poll => FailureKind::OperationUnknown,
                _ => FailureKind::Final,
            },
            _ => FailureKind::Final,
        };
        Failure::new(kind, self.retry_after())
    }

    /// This error and its causes in one line, as a log wants it.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(stage: Stage, by: RefusedBy, error_code: Option<u32>) -> TransportError {
        let mut refusal = Refusal::new("dps.example:443".into(), stage, by);
        refusal.error_code = error_code;
        TransportError::Refused(Box::new(refusal))
    }

    #[test]
    fn sorts_refusals_by_who_has_to_act() {
        for (stage, by, code, fault, failure) in [
            (Stage::Register, RefusedBy::Status(401), Some(401_002), Fault::Credential, FailureKind::Final),
            (Stage::Register, RefusedBy::Status(404), Some(404_201), Fault::Service, FailureKind::Final),
            (Stage::Poll, RefusedBy::Status(404), None, Fault::Service, FailureKind::OperationUnknown),
            (Stage::Register, RefusedBy::Status(409), Some(409_203), Fault::Service, FailureKind::Throttled),
            (Stage::Register, RefusedBy::Status(429), Some(429_001), Fault::Throttled, FailureKind::Throttled),
            (Stage::Poll, RefusedBy::Status(503), None, Fault::Service, FailureKind::Server),
            (Stage::Login, RefusedBy::Connack(5), None, Fault::Credential, FailureKind::Final),
            (Stage::Login, RefusedBy::Connack(3), None, Fault::Service, FailureKind::Unavailable),
            (Stage::Subscribe, RefusedBy::Suback, None, Fault::Service, FailureKind::Final),
            (Stage::Upgrade, RefusedBy::UpgradeStatus(403), None, Fault::Service, FailureKind::Final),
            (Stage::Upgrade, RefusedBy::UpgradeStatus(502), None, Fault::Service, FailureKind::Server),
        ] {
            let error = refused(stage, by, code);
            assert_eq!(error.fault(), fault, "{error}");
            assert_eq!(error.failure().kind, failure, "{error}");
            assert_eq!(
                error.is_retryable(),
                matches!(failure, FailureKind::Throttled | FailureKind::Server | FailureKind::Unavailable),
                "{error}"
            );
        }
    }

    #[test]
    fn words_of_a_peer_are_one_short_line() {
        assert_eq!(one_line(" not\r\n\tnow \u{1b}[31mred\u{7}"), "not now [31mred");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), 200);
        assert_eq!(one_line("\n"), "");
    }

    #[test]
    fn a_chain_says_each_thing_once() {
        let error = TransportError::Connect {
            endpoint: "dps.example:443".into(),
            source: io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"),
        };
        assert_eq!(error.chain(), "could not connect to dps.example:443: connection refused");
    }

    #[test]
    fn a_refusal_tells_what_the_service_said() {
        let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(401));
        refusal.error_code = Some(401_002);
        refusal.message = Some("Unauthorized".into());
        assert_eq!(
            refusal.to_string(),
            "dps.example:443 refused (register) with status 401, code 401002: Unauthorized"
        );
    }
}
