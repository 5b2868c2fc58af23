//! Who has to act on an error: the word that devices' and operators' errors share.

use std::fmt;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The network between us and the service.
    Network,
    /// Trust: certificates and TLS.
    Tls,
    /// Whoever provided key, token, policy or ids.
    Credential,
    /// The service, its configuration, or something it depends on: a device that does not answer its
    /// operator, too.
    Service,
    /// The service, for now: too many requests.
    Throttled,
    /// Nobody in particular: it took too long.
    Deadline,
    /// The peer, or something between that speaks in its place.
    Peer,
    /// The program that asked: what it asks for does not exist, exists already, or cannot be asked so.
    Request,
    /// This version of hubward, or of the service: it does not do that.
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
