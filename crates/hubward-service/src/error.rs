//! The errors of a request to a service. For each error, the crate says which party must act, and gives advice.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use hubward_dial::TlsFault;
use hubward_proto::Fault;

const OF_POLICY: &str = "check the host, the policy and its key, and the permissions of the policy";
/// Source: `[doc]` "Control access to IoT Hub by using Microsoft Entra ID", and the same page for DPS.
const OF_TOKEN: &str = "check the host and the token: the token may have expired; its resource must be \
    https://iothubs.azure.net, or https://azure-devices-provisioning.net for DPS; and its owner needs a role such as \
    IoT Hub Data Contributor, or Device Provisioning Service Data Contributor";

/// Why a call failed. The message of an error does not name the operation, so a program can print it after a text such
/// as "failed to delete the device: ". The message does not repeat the message of the `source`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The TCP connection failed. The host name does not resolve, no program listens on the port, or the network has
    /// no route to the host.
    #[error("could not connect to {endpoint}")]
    Connect {
        /// Host and port of the service.
        endpoint: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// Host and port of the service.
        endpoint: String,
        /// The cause, as far as it is known.
        fault: TlsFault,
        /// The error of the TLS library.
        #[source]
        source: io::Error,
    },
    /// The deadline passed before the answer arrived. The service may have processed the request.
    #[error("{endpoint} did not answer within {after:?}")]
    Timeout {
        /// Host and port of the service.
        endpoint: String,
        /// The deadline.
        after: Duration,
    },
    /// The connection ended before the whole answer arrived. The service may have processed the request.
    #[error("{endpoint} closed the connection before it answered")]
    Closed {
        /// Host and port of the service.
        endpoint: String,
        /// The error of the operating system. `None` if the peer closed the connection without an error.
        #[source]
        source: Option<io::Error>,
    },
    /// The service refused the request.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The answer violates the protocol.
    #[error("{endpoint} broke the protocol: {problem}")]
    Protocol {
        /// Host and port of the service.
        endpoint: String,
        /// The violated rule.
        problem: String,
    },
    /// A device answered a method call with text that is not JSON. The service forwards the text without checking it.
    /// The device has run the method.
    #[error("`{device}` answered the method with text that is not JSON; the service forwarded: {response}")]
    DeviceResponse {
        /// Host and port of the service.
        endpoint: String,
        /// The device, or `{device}/{module}`.
        device: String,
        /// The answer of the service, including the text of the device. Shortened to one line of at most 400
        /// characters.
        response: String,
    },
    /// The request is not valid. The client did not send it.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The client has no usable token to authenticate with.
    #[error("no credential: {0}")]
    Credential(String),
}

hubward_proto::debug_as_error_report!(ServiceError);

/// A refusal, with all details from the service's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Host and port of the service.
    pub endpoint: String,
    /// The refused request: method and path.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The name of the error. Only hubs and Azure Resource Manager send names.
    pub name: Option<String>,
    /// The six-digit error code.
    pub code: Option<u32>,
    /// The service's message.
    pub message: Option<String>,
    /// The service's id for this refusal. Azure support asks for it.
    pub tracking_id: Option<String>,
    /// How long the service asks the client to wait.
    pub retry_after: Option<Duration>,
    /// The service's time, if the answer contains it.
    pub server_time: Option<SystemTime>,
    /// Whether the client authenticated with a token of Microsoft Entra.
    pub bearer: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused {} with status {}", self.endpoint, self.request, self.status)?;
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
    /// Returns the party that has to act to resolve the error.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Connect { .. } | Self::Closed { .. } => Fault::Network,
            Self::Tls { .. } => Fault::Tls,
            Self::Timeout { .. } => Fault::Deadline,
            Self::Refused(refused) => refused.fault(),
            Self::DeviceResponse { .. } => Fault::Service,
            Self::Protocol { .. } => Fault::Peer,
            Self::Request(_) => Fault::Request,
            Self::Credential(_) => Fault::Credential,
        }
    }

    /// The details, if the service refused the request.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Returns whether the service answered with 404: the requested resource does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refused().is_some_and(|it| it.status == 404)
    }

    /// Returns the host and port of the service. Returns `None` if the request or the credential is not valid.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Connect { endpoint, .. }
            | Self::Tls { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Closed { endpoint, .. }
            | Self::DeviceResponse { endpoint, .. }
            | Self::Protocol { endpoint, .. } => Some(endpoint),
            Self::Refused(refused) => Some(&refused.endpoint),
            Self::Request(_) | Self::Credential(_) => None,
        }
    }

    /// Returns advice for resolving the error, in one sentence, or `None`.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Connect { .. } => "check the host name and the port, and that the service is running",
            Self::Tls { fault: TlsFault::Untrusted, .. } => {
                "trust the authority that issued the server's certificate; \
                 an emulator prints the path of its CA file when it starts"
            }
            Self::Tls { fault: TlsFault::NotTls, .. } => "check the port: this one does not speak TLS",
            Self::Tls { fault: TlsFault::UnknownName, endpoint, .. } => return Some(unknown_name(endpoint)),
            Self::Tls { .. } => "check the host name, and the clock of this machine",
            Self::Timeout { .. } | Self::Closed { .. } => {
                "check whether the service carried out the request before you repeat it; a longer deadline may help"
            }
            Self::Refused(refused) => return refused.advice(),
            Self::DeviceResponse { .. } => "correct the device's program: the answer to a method must be JSON or empty",
            Self::Protocol { .. } => "check that the host name is that of the intended service",
            Self::Request(_) | Self::Credential(_) => return None,
        };
        Some(text.to_owned())
    }

    /// This error and its causes in one line, for a log.
    #[must_use]
    pub fn chain(&self) -> String {
        hubward_proto::error_messages(self).join(": ")
    }
}

/// Returns what to do if the server has no certificate for the host name of `endpoint`. `endpoint` has the form
/// `HOST:PORT`.
fn unknown_name(endpoint: &str) -> String {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    format!(
        "check the host name `{host}` and any connect-to rule; if an emulator listens there, `hubward emulator status` \
         prints its names, and its option --name adds one"
    )
}

impl Refused {
    /// Creates a refusal from its status. All other details are absent.
    pub(crate) const fn new(endpoint: String, request: String, status: u16) -> Self {
        Self {
            endpoint,
            request,
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

    /// Returns the party that has to act to resolve the error.
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

    /// Returns advice for resolving the refusal, or `None`.
    fn advice(&self) -> Option<String> {
        let by_code = match self.code {
            Some(404_103) => {
                Some("the device must be connected and subscribed to methods; set a connect timeout to wait for it")
            }
            Some(404_104) => Some("the device disconnected before it answered; the method may have run"),
            Some(504_101) => Some("the device did not answer in time; the method may have run"),
            Some(403_004) => Some("the device's queue is full; let the device receive its messages, or purge them"),
            _ => None,
        };
        if let Some(text) = by_code {
            return Some(text.to_owned());
        }
        let by_status = match self.status {
            400 | 413 => "correct the request; the same request would fail again",
            401 | 403 => {
                let skew = self.skew();
                let skew = skew.map(|it| format!("; {it}")).unwrap_or_default();
                let check = if self.bearer { OF_TOKEN } else { OF_POLICY };
                return Some(format!("{check}{skew}"));
            }
            404 => "check the id, including its letter case; it may exist at another hub or DPS",
            405 | 421 => "check the host name: this service does not support the request",
            409 => "it already exists; update it instead",
            412 => "it has changed since it was read; read it again, or use the ETag `*`",
            429 => "wait as long as the service asks, then try again",
            501 => "the service does not implement the request; the emulator does not emulate every feature",
            500.. => "try again later; if you contact Azure support, give them the tracking id",
            _ => return None,
        };
        Some(by_status.to_owned())
    }

    /// Describes how far the clock of this machine differs from the clock of the service. Returns `None` if the
    /// difference is too small to make a token invalid.
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

/// Shortens the text of a peer to one line of at most 400 characters. Removes control characters.
pub(crate) fn one_line(text: &str) -> String {
    const LENGTH_MAX: usize = 400;
    let words = text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<u32>) -> Refused {
        Refused { code, ..Refused::new("h:443".into(), "GET /devices/d1".into(), status) }
    }

    #[test]
    fn a_refusal_says_who_has_to_act_and_what_to_do() {
        for (status, code, fault, advice) in [
            (400, Some(400_004), Fault::Request, "correct the request"),
            (401, Some(401_003), Fault::Credential, "check the host, the policy and its key"),
            (403, None, Fault::Credential, "check the host, the policy and its key"),
            (403, Some(403_004), Fault::Service, "the device's queue is full"),
            (404, Some(404_001), Fault::Request, "check the id"),
            (404, Some(404_103), Fault::Service, "the device must be connected"),
            (409, Some(409_001), Fault::Request, "it already exists"),
            (412, Some(412_001), Fault::Request, "it has changed"),
            (421, None, Fault::Request, "check the host name"),
            (429, Some(429_001), Fault::Throttled, "wait as long"),
            (501, None, Fault::Unsupported, "the service does not implement the request"),
            (503, None, Fault::Service, "try again later"),
            (504, Some(504_101), Fault::Service, "the device did not answer"),
        ] {
            let error = ServiceError::Refused(Box::new(refused(status, code)));
            assert_eq!(error.fault(), fault, "{status} {code:?}");
            let advised = error.advice().expect("advice");
            assert!(advised.starts_with(advice), "{status} {code:?}: {advised}");
        }
    }

    #[test]
    fn the_advice_for_an_unknown_name_contains_the_name() {
        let error = ServiceError::Tls {
            endpoint: "hub.exmaple:443".into(),
            fault: TlsFault::UnknownName,
            source: io::Error::other("x"),
        };
        assert_eq!(
            error.to_string(),
            "no secure connection to hub.exmaple:443: the server has no certificate for this name"
        );
        let advised = error.advice().expect("advice");
        assert!(advised.starts_with("check the host name `hub.exmaple` and any connect-to rule"), "{advised}");
    }

    #[test]
    fn the_advice_for_a_bearer_token_differs_from_that_for_a_policy() {
        for status in [401, 403] {
            let it = Refused { bearer: true, ..refused(status, None) };
            let advised = ServiceError::Refused(Box::new(it)).advice().expect("advice");
            for word in ["expired", "https://iothubs.azure.net", "role"] {
                assert!(advised.contains(word) && !advised.contains("policy"), "{advised}");
            }
        }
    }

    #[test]
    fn a_refusal_shows_its_code_name_and_message() {
        let mut it = refused(404, Some(404_001));
        assert_eq!(it.to_string(), "h:443 refused GET /devices/d1 with status 404, code 404001");
        it.name = Some("DeviceNotFound".into());
        it.message = Some("d1".into());
        assert_eq!(it.to_string(), "h:443 refused GET /devices/d1 with status 404, DeviceNotFound (404001): d1");
    }

    #[test]
    fn the_advice_names_a_wrong_clock() {
        let mut it = refused(401, None);
        it.server_time = Some(crate::clock::now() - Duration::from_secs(7200));
        let advised = ServiceError::Refused(Box::new(it)).advice().expect("advice");
        assert!(advised.contains(" s ahead of the service's"), "{advised}");
    }

    #[test]
    fn text_of_a_peer_becomes_one_short_line() {
        assert_eq!(one_line("a\r\n\u{1b}[2J  b"), "a [2J b");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 400);
    }
}
