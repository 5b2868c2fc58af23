//! Errors of enrollments.

use hubward_proto::ProtoError;
use hubward_sas::KeyError;

/// Why an enrollment cannot be created or changed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The service would not accept an id.
    #[error(transparent)]
    Id(#[from] ProtoError),
    /// The service would not accept a key, or the system provides no random numbers to generate a key.
    #[error("the enrollment `{id}` has no usable key: {problem}")]
    Key {
        /// The id.
        id: String,
        /// The cause.
        problem: KeyError,
    },
    /// The real service supports the requested feature, but the emulator does not.
    #[error("the enrollment `{id}` requires {what}, which is not emulated")]
    NotEmulated {
        /// The id.
        id: String,
        /// The unsupported setting.
        what: String,
    },
    /// The enrollment names a hub that the emulator does not have.
    #[error("the enrollment `{id}` names the hub `{hub}`, which is not linked")]
    UnknownHub {
        /// The id.
        id: String,
        /// The name of the hub.
        hub: String,
    },
    /// The enrollment names a CA certificate that the emulator does not have.
    #[error("the enrollment `{id}` names the CA certificate `{name}`, which does not exist")]
    UnknownAuthority {
        /// The id.
        id: String,
        /// The name of the CA certificate.
        name: String,
    },
    /// The enrollment names a credential policy that the emulator does not have.
    #[error("the enrollment `{id}` names the credential policy `{name}`, which does not exist")]
    UnknownCredentialPolicy {
        /// The id.
        id: String,
        /// The name of the policy.
        name: String,
    },
    /// The caller asks for keys, but the enrollment or identity has certificates.
    #[error("`{id}` has certificates, and no symmetric keys")]
    NoKeys {
        /// The enrollment, the device, or `{device}/{module}`.
        id: String,
    },
    /// The type of authentication, a thumbprint or another part of the authentication of an identity is not valid.
    #[error("the authentication of `{id}` is not valid: {problem}")]
    Authentication {
        /// The device, or `{device}/{module}`.
        id: String,
        /// The cause.
        problem: String,
    },
    /// The device of the module does not exist at the hub.
    #[error("the module `{id}` needs the device `{device}`, which the hub does not know")]
    UnknownDevice {
        /// Device and module id.
        id: String,
        /// The device id.
        device: String,
    },
    /// The twin breaks a rule for twins.
    #[error("the twin of `{id}` is refused: {problem}")]
    Twin {
        /// The device, or `{device}/{module}`.
        id: String,
        /// The rule that the twin breaks.
        problem: ProtoError,
    },
    /// A setting is not valid.
    #[error("the enrollment `{id}` is not valid: {problem}")]
    Setting {
        /// The id.
        id: String,
        /// The cause.
        problem: String,
    },
    /// The enrollment or group does not exist.
    #[error("the enrollment `{id}` does not exist")]
    NotFound {
        /// The registration id or the name of the group.
        id: String,
    },
}

hubward_proto::debug_as_error_report!(EnrollError);
