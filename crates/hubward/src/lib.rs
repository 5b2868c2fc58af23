//! A device SDK for Azure IoT. It gets the device's hub from the Device Provisioning Service (DPS) or from a connection
//! string, and connects the device to this hub. The program can then send telemetry, follow the twin, answer direct
//! methods and receive messages.
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
//! | has a known hub | [`HubSettings`]: from a connection string, or an identity and a key | [`HubSettings::connect`] |
//!
//! [`Settings::connect`] and [`HubSettings::connect`] return a [`HubClient`]. The methods of the client send telemetry
//! with receipts, read and change the twin, answer direct methods and receive messages.
//!
//! `Settings` and `HubSettings` contain the same [`ConnectOptions`]: the timeout, the certificate authorities, a
//! function that registers method handlers before the login, and the [`HubOptions`].
//!
//! The crate's `examples` folder has one small program for each task.
//!
//! # Behaviour
//!
//! * `connect` always ends. It returns a connected client, or an error whose [`Diagnosis`] names the cause and
//!   says what to do.
//! * The program chooses the transport at run time ([`TransportKind`]): MQTT, MQTT over WebSocket, and for DPS also
//!   HTTPS.
//! * The client checks certificates against the system's certificate authorities, or against a bundled set if the
//!   system has none. If the program names a file of authorities, the client trusts only the authorities in this file.
//! * The features `https`, `mqtt` and `ws` are on by default. To make the program smaller, turn off the transports
//!   that it does not use.
//!
//! # Step by step
//!
//! [`Settings::connect`] has two steps: it registers the device at DPS, and connects it to the assigned hub. A program
//! can also make these steps separately:
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
//! In this example, the [timeout](ConnectOptions::timeout) applies to each step. In [`Settings::connect`], the timeout
//! applies to both steps together.
//!
//! [`Settings::provisioner`] is another way to make the first step. It returns a
//! [`Provisioner`](provisioning::Provisioner), with which the program can follow the progress of the registration.
//! [`HubSettings::spawn`] is another way to make the second step. It does not wait for the hub.
//!
//! Lower-level types are in [`provisioning`] and [`transport`].

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
    //! Types of the hub client that programs seldom need to name.

    pub use hubward_hub::{Backoff, Closed, HubCounts, MessageLabel, WeakHubClient};
    pub use hubward_transport::IncomingMessage;
}

pub mod provisioning {
    //! The registration at DPS: progress, retries, and the service's answers.
    //!
    //! [`Settings::provisioner`](crate::Settings::provisioner) makes a [`Provisioner`].

    pub use hubward_dps::{AssignmentStatus, Progress, Provisioner, RegistrationState, RetryPolicy, Substatus};
    pub use hubward_transport::OperationId;
}

pub mod sas {
    //! Shared access signatures: tokens, signers for keys that the program cannot read (see
    //! [`Credential`](crate::Credential)), and the grammar of connection strings.

    pub use hubward_sas::ConnectionString;
    pub use hubward_transport::{SasToken, Signer, UnixSeconds};
}

pub mod text {
    //! A function for programs that print texts from devices, hubs and DPS.

    pub use hubward_proto::is_hidden;
}

pub mod twin {
    //! The twin: the types that [`HubClient::twin`](crate::HubClient::twin), [`report`](crate::HubClient::report) and
    //! [`desired`](crate::HubClient::desired) return, and functions that check, merge and measure properties.

    pub use hubward_hub::{DesiredProperties, Reported};
    pub use hubward_proto::hub::twin::{check, check_patch, merge, size};
    pub use hubward_proto::hub::{Properties, Twin};
}
