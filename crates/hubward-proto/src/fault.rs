//! The party that is at fault for an error. Errors for devices and errors for operators use the same type.

use std::fmt;

/// The party that is at fault for an error and has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The network between the program and the service.
    Network,
    /// The certificates or the TLS configuration.
    Tls,
    /// The key, token, policy or ids that the user provided.
    Credential,
    /// The service, or its configuration. For an operator's request to a device, also the device, if it does not answer
    /// or answers with text that is not JSON.
    Service,
    /// The service received too many requests, and refuses further requests for some time.
    Throttled,
    /// No party: the operation did not finish in time.
    Deadline,
    /// The peer, or a proxy that answers in its place.
    Peer,
    /// The program: it requests something that does not exist, already exists or is not allowed.
    Request,
    /// The version of hubward or of the service: it does not support the request.
    Unsupported,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Credential => "credential",
            Self::Service => "service",
            Self::Throttled => "throttled",
            Self::Deadline => "deadline",
            Self::Peer => "peer",
            Self::Request => "request",
            Self::Unsupported => "unsupported",
        })
    }
}
