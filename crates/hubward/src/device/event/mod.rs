//! What happens to a device, for programs, logs and people.

mod name;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubward_dps::Substatus;
use hubward_hub::DisconnectCause;
use hubward_proto::{DeviceId, HubHost};
use serde_json::Value;

pub(super) use self::text::one_line;
use super::cache::{CacheError, SetAside};
use super::lifecycle::{HubTrouble, Reason};
use crate::Diagnosis;

/// Something that happened to a device, what the device does next, and why.
///
/// [`Display`](std::fmt::Display) writes one line for a person. It contains no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The device starts, and its assignment cache names its hub. It connects to this hub without DPS.
    CacheUsed {
        /// The hub.
        hub: HubHost,
        /// The id of the device at this hub.
        device_id: DeviceId,
        /// The file.
        file: PathBuf,
    },
    /// The assignment cache, or the file of the issued certificates, cannot be used. The device registers instead.
    CacheSetAside(SetAside),
    /// The assignment cache cannot be written. The device works. Its next start uses the older file, or registers if
    /// there is none.
    CacheNotWritten(CacheError),
    /// The device registers with DPS: it sends one registration.
    Registering {
        /// Host name of DPS.
        dps_host: String,
        /// The name of the credential.
        credential: Arc<str>,
        /// Why it registers.
        reason: Reason,
    },
    /// DPS has assigned the device to a hub.
    Assigned {
        /// The hub.
        hub: HubHost,
        /// The id of the device at this hub.
        device_id: DeviceId,
        /// The hub before, if it was another one.
        moved_from: Option<HubHost>,
        /// What DPS did with the device's data.
        substatus: Option<Substatus>,
        /// The payload that the custom allocation webhook of the enrollment returned.
        payload: Option<Value>,
    },
    /// A registration failed.
    RegistrationFailed {
        /// The name of the credential.
        credential: Arc<str>,
        /// The failure, in one line.
        error: String,
        /// The party that has to act, and what to do.
        diagnosis: Box<Diagnosis>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The hub has accepted the device.
    Connected {
        /// The hub.
        hub: HubHost,
        /// The name of the credential.
        credential: Arc<str>,
        /// The hub that had accepted the device before, if it was another one. The new hub may not have the reported
        /// properties, so the program should report all of them anew.
        moved_from: Option<HubHost>,
    },
    /// A connection to the hub, or an attempt to connect, failed.
    HubFailed {
        /// The hub.
        hub: HubHost,
        /// The name of the credential.
        credential: Arc<str>,
        /// The failure.
        cause: DisconnectCause,
        /// Number of failures in a row, including this one.
        failures: u32,
        /// What the device does next.
        then: DeviceStep,
    },
    /// A credential cannot be used, for example because the certificate has expired. The device sent nothing.
    CredentialUnusable {
        /// The name of the credential.
        credential: Arc<str>,
        /// Why it cannot be used, in one line.
        error: String,
        /// The party that has to act, and what to do.
        diagnosis: Box<Diagnosis>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The program or an operator has asked for a registration.
    ReprovisionRequested {
        /// The direct method that an operator has called; `None` if the program called
        /// [`Device::reprovision`](crate::Device::reprovision).
        method: Option<String>,
    },
    /// The device tries new credentials. It keeps them when the hub has accepted one of them.
    CredentialsOnTrial {
        /// The names of the new credentials.
        credentials: Vec<Arc<str>>,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The hub has accepted the new credentials. The device keeps them.
    CredentialsKept {
        /// The name of the credential that the hub accepted.
        credential: Arc<str>,
    },
    /// The new credentials do not work. The device returns to the credentials before them.
    CredentialsRolledBack {
        /// What the hub or DPS answered.
        reason: String,
        /// What the device does next.
        then: DeviceStep,
    },
    /// DPS or the hub has issued a certificate to the device, and the device has stored it. The device now tries it at
    /// the hub. Certificate issuance is a preview: see
    /// [`CertificateIssuance`](crate::device::CertificateIssuance).
    CertificateIssued {
        /// The service that has issued it.
        by: CertificateIssuer,
        /// When it expires.
        not_after: SystemTime,
        /// The time until the device renews it.
        renews_in: Duration,
    },
    /// The device has registered, and has no issued certificate. It uses the credential of the registration at the hub
    /// too.
    CertificateNotIssued {
        /// The name of the credential.
        credential: Arc<str>,
        /// Why there is no certificate, in one line.
        reason: String,
    },
    /// The hub has accepted a renewed certificate. The device keeps it.
    CertificateKept {
        /// When it expires.
        not_after: SystemTime,
    },
    /// The hub has not issued another certificate. The device keeps the one that it has.
    CertificateRenewalFailed {
        /// The failure, in one line.
        error: String,
        /// The party that has to act, and what to do.
        diagnosis: Box<Diagnosis>,
        /// The wait until the next attempt.
        retry_in: Duration,
        /// When the certificate expires.
        not_after: SystemTime,
    },
    /// A renewed certificate does not work. The device returns to the certificate before it.
    CertificateRolledBack {
        /// What the hub answered, in one line.
        reason: String,
        /// What the device does next.
        then: DeviceStep,
    },
    /// The file of the certificates cannot be written. The device works, but its next start may have to register.
    CertificateNotStored(CacheError),
    /// The reader of the events was too slow, and this number of events was discarded.
    Missed {
        /// The number of events.
        count: u64,
    },
}

/// A service that issues certificates to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateIssuer {
    /// DPS, at a registration.
    Dps,
    /// The hub, at a renewal.
    Hub,
}

/// What a device does next, and why. [`Display`](std::fmt::Display) writes a part of a sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DeviceStep {
    /// It stays with its hub. It connects again after the back-off of the client, and not before `at_least` has passed.
    Stay {
        /// The minimum wait.
        at_least: Duration,
        /// Why.
        reason: Reason,
    },
    /// It connects to its hub with this credential.
    Connect {
        /// The name of the credential.
        credential: Arc<str>,
        /// The minimum wait.
        after: Duration,
        /// Why.
        reason: Reason,
    },
    /// It registers with this credential.
    Register {
        /// The name of the credential.
        credential: Arc<str>,
        /// The wait.
        after: Duration,
        /// Why.
        reason: Reason,
    },
    /// It ends, because no retry can change the failure. Only a device that [`connect`](crate::DeviceSettings::connect)
    /// started ends, and only before its first login.
    End,
}

impl DeviceEvent {
    /// Returns `true` for an event that a person should look at: a file that cannot be used, a failed registration, a
    /// hub that refuses the device or fails for long, credentials that do not work. Logs have the level `WARN` for
    /// these events, and `INFO` for the others.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::CacheSetAside(_)
            | Self::CacheNotWritten(_)
            | Self::RegistrationFailed { .. }
            | Self::CredentialUnusable { .. }
            | Self::CredentialsRolledBack { .. }
            | Self::CertificateNotIssued { .. }
            | Self::CertificateRenewalFailed { .. }
            | Self::CertificateRolledBack { .. }
            | Self::CertificateNotStored(_)
            | Self::Missed { .. } => true,
            Self::HubFailed { then, .. } => {
                !matches!(then, DeviceStep::Stay { reason: Reason::HubTrouble(HubTrouble::Transient), .. })
            }
            _ => false,
        }
    }
}
