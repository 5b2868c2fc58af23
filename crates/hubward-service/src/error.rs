//! What can go wrong between us and a service, sorted by who has to act.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use hubward_dial::TlsFault;
use hubward_proto::Fault;

/// Why a call did not succeed. Messages read after "failed to …" and do not repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// No connection: the name does not resolve, nobody listens, no route.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// What the system says.
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
    /// It took longer than it may. Whether the service has done it is not known.
    #[error("{endpoint} did not answer within {after:?}")]
    Timeout {
        /// Host and port.
        endpoint: String,
        /// The deadline.
        after: Duration,
    },
    /// The connection ended before the answer did. Whether the service has done it is not known.
    #[error("{endpoint} closed the connection before it answered")]
    Closed {
        /// Host and port.
        endpoint: String,
        /// What the system says, if it was not an orderly end.
        #[source]
        source: Option<io::Error>,
    },
    /// The service said no.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// An answer that makes no sense.
    #[error("{endpoint} broke the protocol: {problem}")]
    Protocol {
        /// Host and port.
        endpoint: String,
        /// Which rule.
        problem: String,
    },
    /// A device answered a call of a method with text that is not JSON. The service hands it on unread, and the
    /// method has run.
    #[error("`{device}` answered the method with text that is not JSON; the service handed on: {said}")]
    DeviceAnswer {
        /// Host and port of the service.
        endpoint: String,
        /// The device, or `{device}/{module}`.
        device: String,
        /// The service's answer with the device's text in it: one line of at most 400 characters.
        said: String,
    },
    /// The request itself is impossible; it was not sent.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// There is no token to log in with.
    #[error("no credential: {0}")]
    Credential(String),
}

/// A refusal with everything the service said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Host and port.
    pub endpoint: String,
    /// What was asked: method and path.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The name of the service's code; a hub's have one.
    pub name: Option<String>,
    /// The service's six-digit code.
    pub code: Option<u32>,
    /// The service's words.
    pub message: Option<String>,
    /// The service's id of this refusal; what its support asks for.
    pub tracking_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// The service's clock, where it shows it.
    pub server_time: Option<SystemTime>,
    /// Whether a token of Microsoft Entra was sent.
    pub bearer: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused {} with status {}", self.endpoint, self.asked, self.status)?;
        match (&self.name, self.code) {
            (Some(name), Some(code)) => write!(f, ", {name} ({code})")?,
            (Some(name), None) => write!(f, ", {name}")?,
            (None, Some(code)) => write!(f, ", code {code}")?,
            (None, None) => {}
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl ServiceError {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Connect { .. } | Self::Closed { .. } => Fault::Network,
            Self::Tls { .. } => Fault::Tls,
            Self::Timeout { .. } => Fault::Deadline,
            Self::Refused(refused) => refused.fault(),
            Self::DeviceAnswer { .. } => Fault::Service,
            Self::Protocol { .. } => Fault::Peer,
            Self::Request(_) => Fault::Request,
            Self::Credential(_) => Fault::Credential,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Whether the service says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refused().is_some_and(|it| it.status == 404)
    }

    /// Host and port it happened with, if it came that far.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Connect { endpoint, .. }
            | Self::Tls { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Closed { endpoint, .. }
            | Self::DeviceAnswer { endpoint, .. }
            | Self::Protocol { endpoint, .. } => Some(endpoint),
            Self::Refused(refused) => Some(&refused.endpoint),
            Self::Request(_) | Self::Credential(_) => None,
        }
    }

    /// What to do about it, in one sentence, if there is something.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Connect { .. } => "check the host name, and that something listens there",
            Self::Tls { fault: TlsFault::Untrusted, .. } => {
                "trust the authority of its certificate; an emulator's is a file that it names at its start"
            }
            Self::Tls { fault: TlsFault::NotTls, .. } => "check the port: this one does not speak TLS",
            Self::Tls { .. } => "check the host name, and the clock of this machine",
            Self::Timeout { .. } | Self::Closed { .. } => {
                "look whether it was done before you do it again; a longer deadline may help"
            }
            Self::Refused(refused) => return refused.advice(),
            Self::DeviceAnswer { .. } => "correct the device's program: a method's answer is JSON, or empty",
            Self::Protocol { .. } => "check that the host is the service that is meant",
            Self::Request(_) | Self::Credential(_) => return None,
        };
        Some(text.to_owned())
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

impl Refused {
    /// A refusal with nothing known but its status.
    pub(crate) const fn new(endpoint: String, asked: String, status: u16) -> Self {
        Self {
            endpoint,
            asked,
            status,
            name: None,
            code: None,
            message: None,
            tracking_id: None,
            retry_after: None,
            server_time: None,
            bearer: false,
        }
    }

    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.status {
            401 | 403 if !matches!(self.code, Some(403_001..=403_999)) => Fault::Credential,
            429 => Fault::Throttled,
            403 => Fault::Service,
            501 => Fault::Unsupported,
            404 if matches!(self.code, Some(404_103 | 404_104)) => Fault::Service,
            408 | 500.. => Fault::Service,
            _ => Fault::Request,
        }
    }

    /// What to do about it.
    fn advice(&self) -> Option<String> {
        let by_code = match self.code {
            Some(404_103) => Some("the device must be connected and listen to methods; a connect timeout waits for it"),
            Some(404_104) => Some("the device left before it answered; the method may have run"),
            Some(504_101) => Some("the device did not answer in time; the method may have run"),
            Some(403_004) => Some("the device has to take its messages first, or they are purged"),
            _ => None,
        };
        if let Some(text) = by_code {
            return Some(text.to_owned());
        }
        let by_status = match self.status {
            400 | 413 => "correct the request; sending it again changes nothing",
            401 | 403 => {
                let skew = self.skew();
                let skew = skew.map(|it| format!("; {it}")).unwrap_or_default();
                let check = if self.bearer { OF_TOKEN } else { OF_POLICY };
                return Some(format!("{check}{skew}"));
            }
            404 => "check the id: upper and lower case differ; it may be at another hub or DPS",
            405 | 421 => "check the host name: this service does not have that",
            409 => "it is there already: update it instead",
            412 => "it has changed since it was read: read it again, or use the etag `*`",
            429 => "wait as long as the service asks, then try again",
            501 => "an emulator says so of what it does not emulate",
            500.. => "try again later; the tracking id is what support asks for",
            _ => return None,
        };
        Some(by_status.to_owned())
    }

    /// How far our clock is from the service's, if that makes tokens useless.
    fn skew(&self) -> Option<String> {
        const TOLERATED: Duration = Duration::from_secs(4 * 60);
        let (server, ours) = (self.server_time?, crate::clock::now());
        let (by, direction) = match ours.duration_since(server) {
            Ok(by) => (by, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        (by >= TOLERATED).then(|| format!("the clock of this machine is {} s {direction} the service's", by.as_secs()))
    }
}

const OF_POLICY: &str = "check host, policy and key, and what the policy may do";
/// Source: `[doc]` "Control access to IoT Hub by using Microsoft Entra ID", and the same of DPS.
const OF_TOKEN: &str = "check host and token: it may have expired; its resource has to be https://iothubs.azure.net, or \
    https://azure-devices-provisioning.net for DPS; and whose it is needs a role such as IoT Hub Data Contributor, \
    or Device Provisioning Service Data Contributor";

/// Words of a peer, for an error: one line, no control characters, at most 400 characters.
pub(crate) fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let words = text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<u32>) -> Refused {
        Refused { code, ..Refused::new("h:443".into(), "GET /devices/d1".into(), status) }
    }

    #[test]
    fn says_who_has_to_act_and_what_to_do() {
        for (status, code, fault, advice) in [
            (400, Some(400_004), Fault::Request, "correct the request"),
            (401, Some(401_003), Fault::Credential, "check host, policy and key"),
            (403, None, Fault::Credential, "check host, policy and key"),
            (403, Some(403_004), Fault::Service, "the device has to take its messages"),
            (404, Some(404_001), Fault::Request, "check the id"),
            (404, Some(404_103), Fault::Service, "the device must be connected"),
            (409, Some(409_001), Fault::Request, "it is there already"),
            (412, Some(412_001), Fault::Request, "it has changed"),
            (421, None, Fault::Request, "check the host name"),
            (429, Some(429_001), Fault::Throttled, "wait as long"),
            (501, None, Fault::Unsupported, "an emulator says so"),
            (503, None, Fault::Service, "try again later"),
            (504, Some(504_101), Fault::Service, "the device did not answer"),
        ] {
            let error = ServiceError::Refused(Box::new(refused(status, code)));
            assert_eq!(error.fault(), fault, "{status} {code:?}");
            let said = error.advice().expect("advice");
            assert!(said.starts_with(advice), "{status} {code:?}: {said}");
        }
    }

    #[test]
    fn of_a_token_of_entra_other_things_are_to_be_checked_than_of_a_policy() {
        for status in [401, 403] {
            let it = Refused { bearer: true, ..refused(status, None) };
            let said = ServiceError::Refused(Box::new(it)).advice().expect("advice");
            for word in ["expired", "https://iothubs.azure.net", "role"] {
                assert!(said.contains(word) && !said.contains("policy"), "{said}");
            }
        }
    }

    #[test]
    fn a_refusal_says_everything_it_knows() {
        let mut it = refused(404, Some(404_001));
        assert_eq!(it.to_string(), "h:443 refused GET /devices/d1 with status 404, code 404001");
        it.name = Some("DeviceNotFound".into());
        it.message = Some("d1".into());
        assert_eq!(it.to_string(), "h:443 refused GET /devices/d1 with status 404, DeviceNotFound (404001): d1");
    }

    #[test]
    fn a_clock_that_is_wrong_is_named() {
        let mut it = refused(401, None);
        it.server_time = Some(crate::clock::now() - Duration::from_secs(7200));
        let said = ServiceError::Refused(Box::new(it)).advice().expect("advice");
        assert!(said.contains(" s ahead of the service's"), "{said}");
    }

    #[test]
    fn words_of_a_peer_are_one_short_line() {
        assert_eq!(one_line("a\r\n\u{1b}[2J  b"), "a [2J b");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 400);
    }
}
