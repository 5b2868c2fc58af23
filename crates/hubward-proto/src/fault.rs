//! Who is at fault for an error. The errors for devices and for operators use the same type.

use std::fmt;

/// Who is at fault for an error and has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The network between the program and the service.
    Network,
    /// The certificates or the TLS configuration.
    Tls,
    /// The key, token, policy or ids that the user provided.
    Credential,
    /// The service, its configuration, or something that it depends on, such as a device that does not
    /// answer an operator.
    Service,
    /// The service. It refuses further requests for some time, because it received too many.
    Throttled,
    /// No one: the operation did not finish in time.
    Deadline,
    /// The peer, or a proxy that answers in its place.
    Peer,
    /// The program: it requests something that does not exist, already exists or is not allowed.
    Request,
    /// This version of hubward or of the service, which does not support the request.
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
