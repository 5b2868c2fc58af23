//! How the easy door can stay shut.

use std::time::Duration;

use hubward_dial::TrustError;
use hubward_dps::ProvisionError;
use hubward_hub::{DisconnectCause, HubError, Unsupported};
use hubward_proto::HubHost;
use hubward_transport::{Fault, Stage, TransportKind};

use crate::SettingsError;
use crate::connection_string::DeviceStringError;
use crate::diagnosis::{Diagnosis, Leg};

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The authorities to trust cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// hubward does not speak this to hubs.
    #[error("the transport {kind} does not reach hubs yet: choose mqtt or mqtt-ws for the hub")]
    NotForHubs {
        /// Which.
        kind: TransportKind,
    },
    /// The program was built without it.
    #[error("this build has no transport {kind}: it was built without the feature")]
    NotInThisBuild {
        /// Which.
        kind: TransportKind,
    },
}

/// Why a device is not connected to its hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The environment lacks something.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The connection string is none, or not one of a device.
    #[error(transparent)]
    ConnectionString(#[from] DeviceStringError),
    /// There is no transport.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The registration failed.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The transport, or the kind of identity, has no place for what was to be set up.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The hub would not have the device.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The hub did not accept the device in time.
    #[error("the hub {hub} did not accept the device within {after:?}")]
    HubDeadline {
        /// Which hub.
        hub: HubHost,
        /// Its host and port.
        endpoint: String,
        /// What the client was doing.
        stage: Stage,
        /// The time that was left for it.
        after: Duration,
        /// What failed last, if anything did.
        #[source]
        last: Option<DisconnectCause>,
    },
}

impl ConnectError {
    /// Where it happened, who has to act, what to do.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Settings(_) => Diagnosis::of_settings(Fault::Request, None),
            Self::ConnectionString(error) => Diagnosis::of_settings(error.fault(), None),
            Self::Setup(error) => error.diagnosis(),
            Self::Unsupported(error) => error.into(),
            Self::Provision(error) => Diagnosis::of_provision(error),
            Self::Hub(error) => match error.transport_error() {
                Some(error) => Diagnosis::of_transport(Leg::Hub, error),
                None => Diagnosis::of_settings(Fault::Request, None),
            },
            // What failed last says where; that the time is over says what.
            Self::HubDeadline { endpoint, stage, last, .. } => {
                let mut diagnosis = match last {
                    Some(cause) if cause.transport_error().is_some() => Diagnosis::of_disconnect(cause),
                    _ => Diagnosis {
                        stage: format!("{}-{stage}", Leg::Hub),
                        ..Diagnosis::of_settings(Fault::Deadline, Some(LATE_HUB.to_owned()))
                    },
                };
                diagnosis.endpoint.get_or_insert_with(|| endpoint.clone());
                diagnosis
            }
        }
    }

    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.diagnosis().fault
    }
}

/// There was no failure: the time was over first.
const LATE_HUB: &str = "the hub had too little time, or stays silent: give it more (--timeout, Settings::timeout), \
     or try another transport";

impl SetupError {
    /// Where it happened, who has to act, what to do.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        let (fault, hint) = match self {
            Self::Trust(_) => (Fault::Tls, Some("give a PEM file with at least one certificate".to_owned())),
            Self::NotForHubs { .. } => (
                Fault::Unsupported,
                Some("choose another for the hub: --hub-transport mqtt or mqtt-ws, Settings::hub_transport".to_owned()),
            ),
            Self::NotInThisBuild { kind } => (
                Fault::Unsupported,
                Some(format!("choose another transport, or a build with what {kind} needs (features https, mqtt, ws)")),
            ),
        };
        Diagnosis::of_settings(fault, hint)
    }
}
