//! The errors that a program names less often than [`ConnectError`](crate::ConnectError) and
//! [`SendError`](crate::SendError), and the parts of all errors.
//!
//! Each of them implements [`std::error::Error`], so `?` and `Box<dyn Error>` need none of these names. Each says
//! which party has to act ([`Fault`](crate::Fault)); [`Diagnosis`](crate::Diagnosis) adds what to do.

pub use hubward_dial::{DialOverrideError, TrustError};
pub use hubward_dps::ProvisionError;
pub use hubward_hub::{
    Capability, CloseError, CloseReason, DisconnectCause, HubError, ReceiveError, SettleError, TryEnqueueError,
    TwinError, UnconfirmedReason, Unsupported,
};
pub use hubward_sas::ConnectionStringError;
pub use hubward_transport::{
    CredentialError, KeyError, ProtoError, Refusal, RefusedBy, TlsFault, TransportError, UnknownTransport,
};

pub use crate::connect_error::SetupError;
pub use crate::connection_string::DeviceStringError;
pub use crate::diagnosis::{DiagnosisStage, SettingName};
pub use crate::settings_error::{SettingsError, SettingsProblem};
