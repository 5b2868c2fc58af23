//! The errors of connecting and of creating a transport.

use std::fmt;
use std::time::Duration;

use hubward_dial::TrustError;
use hubward_dps::ProvisionError;
use hubward_hub::{DisconnectCause, HubError, Unsupported};
use hubward_proto::HubHost;
use hubward_transport::{CertificateError, Fault, Stage, TransportKind};

use crate::advice::write_with_advice;
use crate::connection_string::DeviceStringError;
use crate::diagnosis::{Diagnosis, DiagnosisStage, SettingName, Target};
use crate::settings_error::SettingsError;

/// The hint if the deadline passed and the client knows no transport error that explains the delay.
const LATE_HUB: &str = "the hub did not answer in time: allow more time (ConnectOptions::timeout), \
     or try another transport";

/// Why a transport cannot be created.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The certificate authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The certificate of the device cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The connection string contains `x509=true`, but the program has not set a certificate.
    #[error("the device logs in with a certificate (x509=true), and no certificate is set")]
    NoCertificate,
    /// hubward does not support this transport for connections to hubs.
    #[error("the transport {kind} does not reach hubs yet; use mqtt or mqtt-ws for the hub")]
    NotForHubs {
        /// The transport.
        kind: TransportKind,
    },
    /// The program was built without this transport.
    #[error("this build has no transport {kind}; build hubward with its feature")]
    NotInThisBuild {
        /// The transport.
        kind: TransportKind,
    },
}

/// Why a device is not connected to its hub.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// An environment variable is missing or invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The text is not a connection string of a device or module.
    #[error(transparent)]
    ConnectionString(#[from] DeviceStringError),
    /// The transport cannot be created.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The registration failed.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The function that was passed to [`before_login`](crate::ConnectOptions::before_login) requested a feature that
    /// the transport, or the kind of identity, does not support.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The hub refused the device.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The hub did not accept the device in time.
    #[error("the hub {hub} did not accept the device within {after:?}")]
    HubDeadline {
        /// The hub.
        hub: HubHost,
        /// Host and port of the hub.
        endpoint: String,
        /// The stage that the client had reached.
        stage: Stage,
        /// How much of the timeout was left when the client started to connect to the hub.
        after: Duration,
        /// The last failure, if any.
        #[source]
        last: Option<DisconnectCause>,
    },
}

impl ConnectError {
    /// Says which stage failed, which party has to act, and what to do.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Settings(_) => Diagnosis::of_settings(Fault::Request, None),
            Self::ConnectionString(error) => Diagnosis::of_settings(error.fault(), None),
            Self::Setup(error) => error.diagnosis(),
            Self::Unsupported(error) => error.into(),
            Self::Provision(error) => Diagnosis::of_provision(error),
            Self::Hub(error) => match error.transport_error() {
                Some(error) => Diagnosis::of_transport(Target::Hub, error),
                None => Diagnosis::of_settings(Fault::Request, None),
            },
            // `last` is the last failure before the deadline. If it contains a transport error, the diagnosis describes
            // this error. Otherwise, the diagnosis names the stage that the client had reached, and the hint says that
            // the hub was too slow.
            Self::HubDeadline { endpoint, stage, last, .. } => {
                let mut diagnosis = match last {
                    Some(cause) if cause.transport_error().is_some() => Diagnosis::of_disconnect(cause),
                    _ => Diagnosis {
                        stage: DiagnosisStage::Hub(*stage),
                        hint: Some(LATE_HUB.to_owned()),
                        setting: Some(SettingName::Timeout),
                        ..Diagnosis::of_settings(Fault::Deadline, None)
                    },
                };
                diagnosis.endpoint.get_or_insert_with(|| endpoint.clone());
                diagnosis
            }
        }
    }

    /// The party that has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.diagnosis().fault
    }
}

impl fmt::Debug for ConnectError {
    /// Writes the messages of the error and its causes, then the hint and the tracking id of the
    /// [`diagnosis`](Self::diagnosis).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { hint, tracking_id, .. } = self.diagnosis();
        write_with_advice(self, hint.as_deref(), tracking_id.as_deref(), f)
    }
}

impl SetupError {
    /// Says which stage failed, which party has to act, and what to do.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        let (fault, hint) = match self {
            Self::Certificate(error) => (Fault::Credential, Some(error.advice().to_owned())),
            Self::NoCertificate => {
                let setting = SettingName::Certificate;
                let hint =
                    format!("set the certificate and its private key: {setting}, or X509_CERT_FILE and X509_KEY_FILE");
                return Diagnosis { setting: Some(setting), ..Diagnosis::of_settings(Fault::Request, Some(hint)) };
            }
            Self::Trust(_) => (Fault::Tls, Some("give a PEM file with at least one certificate".to_owned())),
            Self::NotForHubs { .. } => (
                Fault::Unsupported,
                Some("choose another transport for the hub: mqtt or mqtt-ws, Settings::hub_transport".to_owned()),
            ),
            Self::NotInThisBuild { kind } => (
                Fault::Unsupported,
                Some(format!(
                    "choose another transport, or build hubward with the feature for {kind} (https, mqtt or ws)"
                )),
            ),
        };
        Diagnosis::of_settings(fault, hint)
    }
}

impl fmt::Debug for SetupError {
    /// Writes the messages of the error and its causes, then the hint and the tracking id of the
    /// [`diagnosis`](Self::diagnosis).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { hint, tracking_id, .. } = self.diagnosis();
        write_with_advice(self, hint.as_deref(), tracking_id.as_deref(), f)
    }
}
