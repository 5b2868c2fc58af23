//! A device SDK for Azure IoT. It asks the Device Provisioning Service (DPS) for the device's hub, connects
//! the device to that hub, sends telemetry, follows the twin, answers direct methods and receives messages.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hubward::{Message, Settings};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = Settings::from_env()?.connect().await?;
//!     for speed in 1..=10 {
//!         hub.send(Message::new(format!("test wind speed {speed}"))).await?;
//!     }
//!     hub.close(Duration::from_secs(5)).await?;
//!     println!("ten messages acknowledged");
//!     Ok(())
//! }
//! ```
//!
//! # How to connect
//!
//! | the device | settings | connect |
//! |---|---|---|
//! | gets its hub from DPS | [`Settings`]: from the environment, or a key and ids | [`Settings::connect`] |
//! | knows its hub | [`HubSettings`]: from a connection string, or an identity and a key | [`HubSettings::connect`] |
//!
//! Both return a [`HubClient`], which has everything that a connected device can do: telemetry with receipts, the
//! twin, methods, messages. Both have the same [`ConnectOptions`]: timeout, certificate authorities, a function
//! that registers method handlers before the login, [`HubOptions`]. The crate's `examples` folder has one small
//! program for each task.
//!
//! # Behavior
//!
//! * `connect` always ends: with a connected client, or with an error whose [`Diagnosis`] names the cause and
//!   says what to do.
//! * The transport is chosen at run time ([`TransportKind`]): MQTT, MQTT over WebSocket, and for DPS also HTTPS.
//! * Certificates are checked against the system's certificate authorities, against a bundled set if the
//!   system has none, or only against a file that the program names.
//! * The features `https`, `mqtt` and `ws` are on by default. A device can turn off the transports that it
//!   does not use.
//!
//! # Step by step
//!
//! A program that needs more than [`Settings::connect`] takes its steps one at a time:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hubward::Settings;
//!
//! let settings = Settings::from_env()?;
//! let assignment = settings.provision().await?;
//! println!("{} belongs to {}", assignment.device_id, assignment.hub);
//! let hub = settings.hub_settings(&assignment).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each of these steps has the whole [timeout](ConnectOptions::timeout); [`Settings::connect`] has it once.
//! [`Settings::provisioner`] makes the first step observable, and [`HubSettings::spawn`] does not wait for the
//! hub. The parts below are in [`provisioning`] and [`transport`].

mod client_diagnosis;
mod connect;
mod connect_error;
mod connect_options;
mod connection_string;
mod diagnosis;
pub mod error;
mod hub_settings;
mod settings;
mod settings_error;
pub mod transport;
pub mod vars;

pub use connect_error::ConnectError;
pub use connect_options::ConnectOptions;
pub use diagnosis::Diagnosis;
pub use hub_settings::HubSettings;
pub use hubward_dial::DialOverride;
pub use hubward_dps::Assignment;
pub use hubward_hub::{
    CloudMessage, CloudMessages, ConnectionState, HubClient, HubOptions, MethodCall, MethodError, MethodResponse,
    Receipt, SendError,
};
pub use hubward_proto::limits;
pub use hubward_transport::{
    Credential, DeviceId, Fault, HubHost, HubIdentity, IdScope, Message, ModuleId, RegistrationId, SharedKey,
    TransportKind,
};
pub use settings::Settings;

pub mod hub {
    //! Types of the hub client that a program seldom names.

    pub use hubward_hub::{Backoff, Closed, HubCounts, MessageLabel, WeakHubClient};
    pub use hubward_transport::IncomingMessage;
}

pub mod provisioning {
    //! The registration at DPS: its progress, its retries, and what the service answers.
    //!
    //! [`Settings::provisioner`](crate::Settings::provisioner) makes a [`Provisioner`].

    pub use hubward_dps::{AssignmentStatus, Progress, Provisioner, RegistrationState, RetryPolicy, Substatus};
    pub use hubward_transport::OperationId;
}

pub mod sas {
    //! Shared access signatures: tokens, signers for a [`Credential`](crate::Credential) that keeps its key to
    //! itself, and the grammar of connection strings.

    pub use hubward_sas::ConnectionString;
    pub use hubward_transport::{SasToken, Signer, UnixSeconds};
}

pub mod text {
    //! Texts from devices, hubs and DPS that a program prints.

    pub use hubward_proto::is_hidden;
}

pub mod twin {
    //! The twin: what [`HubClient::twin`](crate::HubClient::twin), [`report`](crate::HubClient::report) and
    //! [`desired`](crate::HubClient::desired) return, and the rules for properties.

    pub use hubward_hub::{DesiredProperties, Reported};
    pub use hubward_proto::hub::twin::{check, check_patch, merge, size};
    pub use hubward_proto::hub::{Properties, Twin};
}
