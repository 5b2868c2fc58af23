//! The errors of transports. Each error names who is at fault.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use hubward_proto::dps::{Failure, FailureKind, error_code};
use hubward_proto::{Fault, ProtoError, is_hidden};

use crate::CredentialError;

/// Any failure of a transport. The text of an error does not repeat the text of its source.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The transport could not connect. For example, the name does not resolve, the host refuses the connection, or the
    /// network cannot reach the host.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// No program listens at the address, and the address is on this machine. For example, the local emulator is not
    /// running.
    ///
    /// Every address of the host is a loopback address, and at least one of them refused the connection.
    ///
    /// If another machine refuses a connection, the error is [`TransportError::Connect`]: a client should retry longer
    /// then, because such a failure often passes by itself.
    #[error("could not connect to {endpoint}")]
    NotListening {
        /// Host and port.
        endpoint: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// Host and port.
        endpoint: String,
        /// The cause, as far as known.
        fault: TlsFault,
        /// The error of the TLS library.
        #[source]
        source: io::Error,
    },
    /// The peer did not answer in time.
    #[error("{endpoint} did not answer within {after:?} ({stage})")]
    Timeout {
        /// Host and port.
        endpoint: String,
        /// The stage that did not finish.
        stage: Stage,
        /// How long the transport waited.
        after: Duration,
    },
    /// The peer or the network ended the connection.
    #[error("{endpoint} closed the connection ({stage})")]
    Closed {
        /// Host and port.
        endpoint: String,
        /// The stage that was interrupted.
        stage: Stage,
        /// The error of the operating system. `None` if the peer closed the connection in an orderly way.
        #[source]
        source: Option<io::Error>,
    },
    /// The service refused the request.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The peer broke the protocol.
    #[error("{endpoint} broke the protocol ({stage})")]
    Protocol {
        /// Host and port.
        endpoint: String,
        /// The stage that was interrupted.
        stage: Stage,
        /// The rule that the peer broke.
        #[source]
        source: ProtoError,
    },
    /// The request is not valid; the transport did not send it.
    #[error("the request cannot be sent")]
    Request(#[source] ProtoError),
    /// The credential could not provide a token for the login.
    #[error("could not get a SAS token")]
    Credential(#[from] CredentialError),
    /// This protocol does not support the request.
    #[error("{0}")]
    Unsupported(&'static str),
}

hubward_proto::debug_as_error_report!(TransportError);

/// A stage of a connection. [`fmt::Display`] writes the name that the command line prints.
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
    /// The registration and its response.
    Register,
    /// A poll and its response.
    Poll,
    /// Any exchange on an established connection.
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

/// Why a TLS handshake failed.
///
/// A protocol crate creates this value from the fault that its dialer reports, because this crate does not depend on
/// dialers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// No trusted authority signed the certificate.
    Untrusted,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The server refused the host name that the client asked for: it has no certificate for this name.
    UnknownName,
    /// The peer does not speak TLS, or not a supported version.
    NotTls,
    /// The server refused the certificate that the client presented. Only for a client with a certificate.
    ClientCertificate,
    /// The private key of the client's certificate could not sign. Only for a client with a certificate.
    Signing,
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
            Self::UnknownName => "the server has no certificate for this name",
            Self::NotTls => "the peer does not speak TLS, or not a version that hubward supports",
            Self::ClientCertificate => "the server refused the client's certificate",
            Self::Signing => "the private key of the client's certificate could not sign",
            Self::Other => "the TLS handshake failed",
        })
    }
}

/// A refusal by the service, with all the details that the service sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Host and port.
    pub endpoint: String,
    /// The stage that was refused.
    pub stage: Stage,
    /// How the service refused.
    pub by: RefusedBy,
    /// The service's six-digit code.
    pub error_code: Option<u32>,
    /// The service's error message.
    pub message: Option<String>,
    /// The service's id of this refusal. Microsoft's support asks for it.
    pub tracking_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// The time of the service's clock, if the service sent it.
    pub server_time: Option<SystemTime>,
    /// Whether the device logged in with a certificate instead of a token. The transport leaves this `false`; the
    /// client of DPS or of the hub, which has the credential, sets it.
    pub with_certificate: bool,
}

/// How a service refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedBy {
    /// An HTTP status, or the same number in a DPS topic.
    Status(u16),
    /// An HTTP status in response to a WebSocket upgrade.
    UpgradeStatus(u16),
    /// The return code of a CONNACK (1 to 5).
    Connack(u8),
    /// A SUBACK with a failure code for a filter.
    Suback,
}

impl Refusal {
    /// Creates a refusal without further details.
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
            with_certificate: false,
        }
    }

    /// The status of the answer of a service, such as 400 or 429; `None` if the refusal has none.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self.by {
            RefusedBy::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Returns the cause of the refusal.
    #[must_use]
    pub fn cause(&self) -> error_code::Cause {
        use error_code::Cause;
        match self.by {
            RefusedBy::Status(status) => error_code::cause(status, self.error_code),
            // A gateway or proxy refused the upgrade, so the device's credential is not the cause.
            RefusedBy::UpgradeStatus(429) => Cause::Throttled,
            RefusedBy::UpgradeStatus(500..) => Cause::Server,
            RefusedBy::UpgradeStatus(_) => Cause::Request,
            // 3: server unavailable. Source: MQTT 3.1.1, table 3.1.
            RefusedBy::Connack(3) => Cause::Server,
            // Code 4 means a bad user name or password. Code 5 means "not authorized". Source for 5: `[sdk]` protocol
            // gateway.
            RefusedBy::Connack(4 | 5) => Cause::Credential,
            RefusedBy::Connack(_) | RefusedBy::Suback => Cause::Request,
        }
    }
}

/// Prepares text from a peer for an error or a log. The result has one line, no [hidden characters](is_hidden) and at
/// most 200 characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    const LENGTH_MAX: usize = 200;
    let words: Vec<&str> =
        text.split(|it: char| it.is_whitespace() || is_hidden(it)).filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(LENGTH_MAX).collect()
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
    /// Returns who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Connect { .. } | Self::NotListening { .. } | Self::Closed { .. } => Fault::Network,
            Self::Timeout { .. } => Fault::Deadline,
            Self::Tls { fault: TlsFault::ClientCertificate | TlsFault::Signing, .. } => Fault::Credential,
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

    /// Returns `true` if the same request may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NotListening { .. } | Self::Closed { .. } | Self::Timeout { .. } => true,
            Self::Refused(refusal) => refusal.cause().is_retryable(),
            Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Request(_)
            | Self::Credential(_)
            | Self::Unsupported(_) => false,
        }
    }

    /// Returns how long the service asked to wait; `None` if it did not ask.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|it| it.retry_after)
    }

    /// Sets [`Refusal::with_certificate`] to `true` if the service refused. Other errors stay as they are.
    #[must_use]
    pub fn with_certificate(mut self) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.with_certificate = true;
        }
        self
    }

    /// Returns the refusal, if the service refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the host and port of the failed connection; `None` for [`TransportError::Request`],
    /// [`TransportError::Credential`] and [`TransportError::Unsupported`].
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Connect { endpoint, .. }
            | Self::NotListening { endpoint, .. }
            | Self::Tls { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Closed { endpoint, .. }
            | Self::Protocol { endpoint, .. } => Some(endpoint),
            Self::Refused(refusal) => Some(&refusal.endpoint),
            Self::Request(_) | Self::Credential(_) | Self::Unsupported(_) => None,
        }
    }

    /// Returns the stage that failed; `None` if the failure has nothing to do with a connection.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Connect { .. } | Self::NotListening { .. } => Some(Stage::Connect),
            Self::Tls { .. } => Some(Stage::Tls),
            Self::Timeout { stage, .. } | Self::Closed { stage, .. } | Self::Protocol { stage, .. } => Some(*stage),
            Self::Refused(refusal) => Some(refusal.stage),
            Self::Request(_) | Self::Credential(_) | Self::Unsupported(_) => None,
        }
    }

    /// Converts the error into the [`Failure`] that the registration flow works with.
    #[must_use]
    pub fn failure(&self) -> Failure {
        use error_code::Cause;
        let kind = match self {
            Self::Connect { .. } | Self::Closed { .. } | Self::Timeout { .. } => FailureKind::Network,
            Self::NotListening { .. } => FailureKind::NotListening,
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

    /// Returns this error and its causes on one line, for a log.
    #[must_use]
    pub fn chain(&self) -> String {
        hubward_proto::error_messages(self).join(": ")
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
    fn each_refusal_names_who_is_at_fault() {
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
    fn a_refused_certificate_is_a_wrong_credential() {
        let tls = |fault| TransportError::Tls {
            endpoint: "dps.example:443".into(),
            fault,
            source: io::ErrorKind::InvalidData.into(),
        };
        for (fault, expected) in [
            (TlsFault::ClientCertificate, Fault::Credential),
            (TlsFault::Signing, Fault::Credential),
            (TlsFault::Untrusted, Fault::Tls),
        ] {
            let error = tls(fault);
            assert_eq!((error.fault(), error.is_retryable()), (expected, false), "{error}");
        }
        let refused = refused(Stage::Login, RefusedBy::Connack(5), None);
        assert!(refused.refusal().is_some_and(|it| !it.with_certificate));
        assert!(refused.with_certificate().refusal().is_some_and(|it| it.with_certificate));
        assert!(tls(TlsFault::Untrusted).with_certificate().refusal().is_none());
    }

    #[test]
    fn the_text_of_a_peer_becomes_one_short_line() {
        assert_eq!(one_line(" not\r\n\tnow \u{1b}[31mred\u{7}"), "not now [31mred");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), 200);
        assert_eq!(one_line("\n"), "");
    }

    #[test]
    fn a_chain_contains_each_error_once() {
        let error = TransportError::Connect {
            endpoint: "dps.example:443".into(),
            source: io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"),
        };
        assert_eq!(error.chain(), "could not connect to dps.example:443: connection refused");
    }

    #[test]
    fn the_message_of_a_refusal_contains_code_and_text_of_the_service() {
        let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(401));
        refusal.error_code = Some(401_002);
        refusal.message = Some("Unauthorized".into());
        assert_eq!(
            refusal.to_string(),
            "dps.example:443 refused (register) with status 401, code 401002: Unauthorized"
        );
    }
}
