//! The names of events and their parts, for programs: logs, metrics, and the JSON of `hubward device run`.

use super::super::lifecycle::{DpsTrouble, HubTrouble, Reason};
use super::{CertificateIssuer, DeviceEvent, DeviceStep};

impl DeviceEvent {
    /// The name of the event, such as `hubFailed`. It stays the same in later versions. `hubward device run --output
    /// json` prints it as the type of the event.
    ///
    /// The name is that of the variant, except that [`DeviceEvent::Registering`] has the name `provisioning`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CacheUsed { .. } => "cacheUsed",
            Self::CacheSetAside(_) => "cacheSetAside",
            Self::CacheNotWritten(_) => "cacheNotWritten",
            Self::Registering { .. } => "provisioning",
            Self::Assigned { .. } => "assigned",
            Self::RegistrationFailed { .. } => "registrationFailed",
            Self::Connected { .. } => "connected",
            Self::HubFailed { .. } => "hubFailed",
            Self::CredentialUnusable { .. } => "credentialUnusable",
            Self::ReprovisionRequested { .. } => "reprovisionRequested",
            Self::CredentialsOnTrial { .. } => "credentialsOnTrial",
            Self::CredentialsKept { .. } => "credentialsKept",
            Self::CredentialsRolledBack { .. } => "credentialsRolledBack",
            Self::CertificateIssued { .. } => "certificateIssued",
            Self::CertificateNotIssued { .. } => "certificateNotIssued",
            Self::CertificateKept { .. } => "certificateKept",
            Self::CertificateRenewalFailed { .. } => "certificateRenewalFailed",
            Self::CertificateRolledBack { .. } => "certificateRolledBack",
            Self::CertificateNotStored(_) => "certificateNotStored",
            Self::Missed { .. } => "missed",
        }
    }

    /// The next step of the device, if the event contains it.
    #[must_use]
    pub const fn next_step(&self) -> Option<&DeviceStep> {
        match self {
            Self::RegistrationFailed { then, .. }
            | Self::HubFailed { then, .. }
            | Self::CredentialUnusable { then, .. }
            | Self::CredentialsOnTrial { then, .. }
            | Self::CredentialsRolledBack { then, .. }
            | Self::CertificateRolledBack { then, .. } => Some(then),
            _ => None,
        }
    }
}

impl CertificateIssuer {
    /// The name of the service: `dps` or `hub`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dps => "dps",
            Self::Hub => "hub",
        }
    }
}

impl DeviceStep {
    /// The name of the step: `stay`, `connect`, `register` or `end`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stay { .. } => "stay",
            Self::Connect { .. } => "connect",
            Self::Register { .. } => "register",
            Self::End => "end",
        }
    }

    /// Why the device takes this step; `None` for [`DeviceStep::End`].
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Stay { reason, .. } | Self::Connect { reason, .. } | Self::Register { reason, .. } => Some(reason),
            Self::End => None,
        }
    }
}

impl Reason {
    /// The name of the reason, such as `slowSchedule`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::NoAssignment => "noAssignment",
            Self::Assigned { .. } => "assigned",
            Self::HubTrouble(_) => "hubTrouble",
            Self::HubFailsTooLong { .. } => "hubFailsTooLong",
            Self::NextCredentialAtHub => "nextCredentialAtHub",
            Self::HubRefuses => "hubRefuses",
            Self::NextCredentialAtDps => "nextCredentialAtDps",
            Self::SlowSchedule { .. } => "slowSchedule",
            Self::BackToHub(_) => "backToHub",
            Self::RegisterAgain(_) => "registerAgain",
            Self::Requested => "requested",
            Self::HubUnusable(_) => "hubUnusable",
            Self::CredentialsChanged => "credentialsChanged",
            Self::NoCertificate => "noCertificate",
            Self::CertificateExpired => "certificateExpired",
            Self::CertificateRenewed => "certificateRenewed",
            Self::CertificateRolledBack => "certificateRolledBack",
            Self::TrialFailed { .. } => "trialFailed",
        }
    }

    /// The kind of the failure that is the reason, such as `throttled`; `None` if the reason is not a failure.
    #[must_use]
    pub const fn trouble(&self) -> Option<&'static str> {
        match self {
            Self::HubTrouble(it) | Self::HubUnusable(it) => Some(it.name()),
            Self::BackToHub(it) | Self::RegisterAgain(it) => Some(it.name()),
            _ => None,
        }
    }
}

impl HubTrouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::UntrustedServer => "untrustedServer",
            Self::LocalCredential => "localCredential",
            Self::DuplicateIdentity => "duplicateIdentity",
            Self::NotListening => "notListening",
            Self::Request => "request",
        }
    }
}

impl DpsTrouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Server => "server",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::UntrustedServer => "untrustedServer",
            Self::LocalCredential => "localCredential",
            Self::NotListening => "notListening",
            Self::Request => "request",
        }
    }
}
