//! Error types, and the types of the values that these errors contain. The errors that programs name most often are at
//! the root of the crate: [`ConnectError`](crate::ConnectError), [`SendError`](crate::SendError) and
//! [`MethodError`](crate::MethodError).
//!
//! Each error implements [`std::error::Error`], so a program that uses `?` and `Box<dyn Error>` needs none of these
//! names.
//!
//! If `main` returns an error, Rust prints the error's [`Debug`](std::fmt::Debug): its message and its causes. For an
//! error that the crate `hubward` itself defines, such as [`ConnectError`](crate::ConnectError), this text also says
//! what to do.
//!
//! A [`Diagnosis`](crate::Diagnosis) of an error says which party has to act ([`Fault`](crate::Fault)), and what to do.

pub use hubward_dial::{DialOverrideError, TrustError};
pub use hubward_dps::ProvisionError;
pub use hubward_hub::{
    Capability, CloseError, CloseReason, DisconnectCause, HubError, IssuanceError, ReceiveError, SettleError,
    TryEnqueueError, TwinError, UnconfirmedReason, Unsupported,
};
pub use hubward_sas::ConnectionStringError;
pub use hubward_transport::{
    CertificateError, CredentialError, KeyError, ProtoError, Refusal, RefusedBy, TlsFault, TransportError,
    UnknownTransport,
};

pub use crate::connect_error::SetupError;
pub use crate::connection_string::DeviceStringError;
pub use crate::diagnosis::{DiagnosisStage, SettingName};
pub use crate::settings_error::{SettingsError, SettingsProblem};
