//! Errors for requests that a client cannot make over its protocol. The client refuses such a request before it sends
//! anything.

use std::fmt;

use hubward_transport::{Abilities, Fault, Feature, TransportKind};

/// An error: the protocol, or the kind of identity, does not support the request. The client sent nothing, and a retry
/// does not help.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {} possible {}", self.verb(), self.place())]
#[non_exhaustive]
pub struct Unsupported {
    /// The capability that the program requested.
    pub what: Capability,
    /// The protocol of the client.
    pub kind: TransportKind,
    /// `true` if the kind of identity is the reason; `false` if the protocol is. For example, a module receives no
    /// cloud-to-device messages, and a device has no inputs.
    pub by_identity: bool,
}

hubward_proto::debug_as_error_report!(Unsupported);

/// A capability that not every protocol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A feature of the hub.
    Feature(Feature),
    /// Abandoning a received message. The hub then delivers it again at once.
    Abandon,
    /// Rejecting a received message.
    Reject,
}

impl Unsupported {
    /// Returns the party that has to act.
    ///
    /// If the identity does not support the request, the program has to change. Otherwise, another protocol or a later
    /// version of hubward may help.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        if self.by_identity { Fault::Request } else { Fault::Unsupported }
    }

    /// Creates the error for a protocol that does not support the request.
    pub(crate) const fn over(kind: TransportKind, what: Capability) -> Self {
        Self { what, kind, by_identity: false }
    }

    /// Creates the error for a kind of identity that does not support the feature.
    pub(crate) const fn for_identity(kind: TransportKind, feature: Feature) -> Self {
        Self { what: Capability::Feature(feature), kind, by_identity: true }
    }

    /// Fails if the protocol does not support the feature.
    pub(crate) const fn check(abilities: Abilities, kind: TransportKind, feature: Feature) -> Result<(), Self> {
        let able = match feature {
            Feature::TwinResponses | Feature::Desired => abilities.twin,
            Feature::Methods => abilities.methods,
            Feature::Certificates => abilities.certificates,
            _ => abilities.receive,
        };
        if able { Ok(()) } else { Err(Self::over(kind, Capability::Feature(feature))) }
    }

    const fn verb(&self) -> &'static str {
        match self.what {
            Capability::Feature(_) => "are not",
            Capability::Abandon | Capability::Reject => "is not",
        }
    }

    fn place(&self) -> String {
        match (self.by_identity, self.what) {
            (false, _) => format!("over {}", self.kind),
            (true, Capability::Feature(Feature::Inputs)) => "for a device, only for a module".into(),
            (true, _) => "for a module, only for a device".into(),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(feature) => feature.fmt(f),
            Self::Abandon => f.write_str("abandoning a message"),
            Self::Reject => f.write_str("rejecting a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_capability_and_the_protocol_or_identity() {
        let kind = TransportKind::Mqtt;
        let none = Abilities::default();
        for (feature, text) in [
            (Feature::TwinResponses, "twin responses are not possible over mqtt"),
            (Feature::Desired, "changes of desired properties are not possible over mqtt"),
            (Feature::Methods, "direct methods are not possible over mqtt"),
            (Feature::CloudToDevice, "cloud-to-device messages are not possible over mqtt"),
            (Feature::Certificates, "certificate requests are not possible over mqtt"),
        ] {
            let error = Unsupported::check(none, kind, feature).expect_err("no abilities");
            assert_eq!((error.to_string().as_str(), error.fault()), (text, Fault::Unsupported));
        }
        let mut methods = none;
        methods.methods = true;
        assert_eq!(Unsupported::check(methods, kind, Feature::Methods), Ok(()));
        assert!(Unsupported::check(methods, kind, Feature::Inputs).is_err());
        assert_eq!(Unsupported::for_identity(kind, Feature::Inputs).fault(), Fault::Request);
        for (error, text) in [
            (Unsupported::over(kind, Capability::Abandon), "abandoning a message is not possible over mqtt"),
            (
                Unsupported::for_identity(kind, Feature::CloudToDevice),
                "cloud-to-device messages are not possible for a module, only for a device",
            ),
            (
                Unsupported::for_identity(kind, Feature::Certificates),
                "certificate requests are not possible for a module, only for a device",
            ),
            (
                Unsupported::for_identity(kind, Feature::Inputs),
                "module inputs are not possible for a device, only for a module",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
