//! A device that keeps itself connected: it registers, remembers its hub, recovers, and follows its moves.
//!
//! [`Device`] is the handle. This module has the types that programs seldom need to name.

pub(crate) mod cache;
mod certificate_issuance;
mod compact_settings;
mod control;
mod credentials;
mod event;
mod event_stream;
mod handle;
mod issuance;
mod lifecycle;
mod network;
mod reconnect_limiter;
mod settings;
#[cfg(test)]
mod simulation;
mod storage;
mod supervisor;

pub use cache::{CacheError, SetAside, SetAsideReason};
pub use certificate_issuance::CertificateIssuance;
pub use control::{CredentialChange, CredentialChangeError};
pub use credentials::NamedCredential;
pub use event::{CertificateIssuer, DeviceEvent, DeviceStep};
pub use event_stream::DeviceEvents;
pub use handle::Device;
pub use lifecycle::{DevicePolicy, DpsTrouble, HubTrouble, Reason};
pub use settings::DeviceSettings;
