//! A device SDK for Azure IoT. It asks the Device Provisioning Service (DPS) for the device's hub, connects
//! the device to that hub, sends telemetry, follows the twin, answers direct methods and receives messages.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hubward::{Message, Settings, connect};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub = connect(&Settings::from_env()?).await?;
//!     for speed in 1..=10 {
//!         hub.send(Message::new(format!("test wind speed {speed}"))).await?;
//!     }
//!     hub.close(Duration::from_secs(5)).await?;
//!     println!("ten messages acknowledged");
//!     Ok(())
//! }
//! ```
//!
//! # Behavior
//!
//! * Four environment variables identify the device ([`Settings::from_env`]). The transport is chosen at
//!   run time: HTTPS, MQTT, or MQTT over WebSocket.
//! * [`connect()`] always ends: with a connected client, or with an error whose [`Diagnosis`] names the
//!   cause and says what to do. Each step of it is public, too: [`dps_transport`], [`Provisioner`],
//!   [`hub_transport`], [`HubClient`].
//! * A device or module that knows its hub needs no DPS: [`connect_with_connection_string`],
//!   [`HubSettings`], [`connect_to_hub`].
//! * [`HubClient`] has everything that a connected device can do: telemetry with receipts, the twin,
//!   methods, messages. The crate's `examples` folder has one small program for each task.
//! * Certificates are checked against the system's certificate authorities, against a bundled set if the
//!   system has none, or only against a file that the program names.
//! * The features `https`, `mqtt` and `ws` are on by default. A device can turn off the transports that it
//!   does not use.

mod connect;
mod connection_string;
mod diagnosis;
mod error;
mod hub_settings;
mod settings;
mod transports;
mod unanswered;

pub use connect::{
    connect, connect_assigned, connect_to_hub, connect_to_hub_with, connect_with, connect_with_connection_string,
    hub_client, provision, provisioner,
};
pub use connection_string::DeviceStringError;
pub use diagnosis::Diagnosis;
pub use error::{ConnectError, SetupError};
pub use hub_settings::HubSettings;
pub use hubward_dial::{DialOverride, DialOverrideError, TrustError};
pub use hubward_dps::{
    Assignment, AssignmentStatus, Progress, ProvisionError, Provisioner, RegistrationState, RetryPolicy, Substatus,
};
pub use hubward_hub::{
    Abilities, Backoff, Capability, CloseError, CloseReason, Closed, CloudMessage, CloudMessages, ConnectionState,
    DesiredProperties, DisconnectCause, Feature, HubClient, HubCounts, HubError, HubOptions, IncomingMessage,
    MessageLabel, MethodCall, MethodError, MethodResponse, Receipt, ReceiveError, Reported, SendError, SettleError,
    TryEnqueueError, TwinError, Unsupported, WeakHubClient, Why,
};
pub use hubward_proto::hub::{Properties, Twin, twin};
pub use hubward_proto::{is_hidden, limits};
pub use hubward_sas::{ConnectionString, ConnectionStringError};
pub use hubward_transport::{
    Credential, CredentialError, DeviceId, DpsTransport, Fault, HubHost, HubIdentity, HubLogin, HubTransport, IdScope,
    KeyError, Message, ModuleId, OperationId, ProtoError, Refusal, RefusedBy, Register, RegistrationId, SasToken,
    SharedKey, Signer, Stage, TlsFault, TransportError, TransportKind, UnixSeconds, UnknownTransport,
};
pub use settings::{Settings, SettingsError, SettingsProblem, vars};
pub use transports::{check_hub_transport, dps_transport, hub_transport};
