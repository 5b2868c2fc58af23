//! A device SDK for Azure IoT.
//!
//! It gets the device's hub from the Device Provisioning Service (DPS) or from a connection string, and connects the
//! device to this hub.
//!
//! The program can then send telemetry, follow the twin, answer direct methods and receive messages.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hubward::{Device, Message};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let device = Device::from_env()?.connect().await?;
//!     for speed in 1..=10 {
//!         device.send(Message::new(format!("test wind speed {speed}"))).await?;
//!     }
//!     device.close(Duration::from_secs(5)).await?;
//!     println!("ten messages acknowledged");
//!     Ok(())
//! }
//! ```
//!
//! # How to connect
//!
//! | the program | how it connects |
//! |---|---|
//! | runs a device in the field, which gets its hub from DPS | [`Device::from_env`], then [`DeviceSettings::connect`] |
//! | connects a device once, to the hub that DPS assigns | [`Settings::from_env`], then [`Settings::connect`] |
//! | connects a device or module to a known hub | [`HubSettings::from_env`], then [`HubSettings::connect`] |
//!
//! A program can also make the settings without the environment: from a credential and ids ([`Settings::new`], and
//! [`Settings::device`] for a [`Device`]), or from a connection string ([`HubSettings::from_connection_string`]).
//!
//! The credential of a device is a symmetric key or a [certificate](#certificates).
//!
//! A [`Device`] keeps itself connected for as long as the program runs. It remembers its hub in a
//! [file](field@DeviceSettings::cache), stays with this hub during temporary failures, tries its next credential after
//! a refusal, registers again when that can help, and follows its moves to other hubs. It says what it does and why in
//! [events](DeviceEvent). [`DevicePolicy`] has the numbers.
//!
//! [`Settings::connect`] is simpler: it registers the device at each start, and the client stays with this hub. Use it
//! for tests, tools, and programs that end soon.
//!
//! [`Device`] contains a [`HubClient`]; [`Settings::connect`] and [`HubSettings::connect`] return one. The methods of
//! the client send telemetry with receipts, read and change the twin, answer direct methods and receive messages.
//!
//! All of these settings contain the same [`ConnectOptions`]: the timeout, the certificate authorities, a function that
//! registers method handlers before the login, and the [`HubOptions`].
//!
//! # Examples
//!
//! Each of these programs is complete. It needs only `hubward` and `tokio`.
//!
//! * [Register the device and send ten messages](examples#register-and-send)
//! * [Stay connected, and follow the device to another hub](examples#stay-connected)
//! * [Send telemetry: JSON, properties, receipts](examples#send-telemetry)
//! * [Answer a direct method](examples#answer-a-method)
//! * [Follow the desired properties of the twin](examples#follow-desired-properties)
//! * [Receive messages from the cloud](examples#receive-messages)
//! * [Run as a module](examples#run-as-a-module)
//! * [Test a device against the emulator](#test-without-azure)
//!
//! # Certificates
//!
//! Instead of a symmetric key, a device can have an X.509 certificate, at DPS and at a hub, over each transport:
//!
//! ```no_run
//! use hubward::{ClientCertificate, Message, Settings};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let host = "global.azure-devices-provisioning.net";
//!     let certificate = ClientCertificate::from_files("dev-1.pem", "dev-1.key", None)?;
//!     let hub = Settings::new(host, "0ne00123ABC".parse()?, "dev-1".parse()?, certificate).connect().await?;
//!     hub.send(Message::new("21.5")).await?;
//!     Ok(())
//! }
//! ```
//!
//! * The certificate file is in PEM format. It contains the device's certificate first, then the certificate of its
//!   issuer, and so on. The client sends all of them. An enrollment group needs this chain up to its CA certificate.
//! * The private key is an EC key (P-256, P-384) or an RSA key, as PKCS#8, SEC1 or PKCS#1, or as encrypted PKCS#8 with
//!   a passphrase.
//! * The common name (CN) of the certificate must be the registration id. `connect` checks this, and the dates of the
//!   chain, before it opens a connection.
//! * [`Settings::from_env`] reads `X509_CERT_FILE`, `X509_KEY_FILE` and `X509_PASS_PHRASE`. For a known hub,
//!   [`HubSettings::from_env`] reads them if the connection string contains `x509=true`. A program can also set the
//!   certificate with [`HubSettings::credential`](HubSettings::credential()).
//! * For a key in an HSM or TPM, implement [`SigningKey`](x509::SigningKey) and call
//!   [`ClientCertificate::with_signing_key`]. TLS waits for the signature on a thread for blocking work, so a slow key
//!   does not stop other tasks.
//! * The client does not read the files again. A [`Device`] takes a new certificate with
//!   [`change_credentials`](Device::change_credentials); other programs connect with new settings.
//! * A preview: DPS and the hub can issue the certificate with which a [`Device`] logs in to its hub; see
//!   [`CertificateIssuance`](device::CertificateIssuance).
//!
//! # Test without Azure
//!
//! The crate [`hubward-emulator`] is a local DPS and IoT Hub. It runs inside the process of the test, on free ports, so
//! the test needs no Azure subscription. Add the emulator to the development dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! hubward-emulator = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! This is a complete test. It registers a device, sends a message, and checks that the hub has received the message:
//!
// `tests/readme` runs this test. A doc test cannot run it, because this crate does not depend on the emulator.
#![cfg_attr(not(doctest), doc = concat!("```rust\n", include_str!("../doc/test_with_emulator.rs"), "```"))]
//!
//! [`hubward-emulator`]: https://docs.rs/hubward-emulator
//!
//! # Behaviour
//!
//! * `connect` always ends. It returns a connected client, or an error whose [`Diagnosis`] names the cause and
//!   says what to do.
//! * If no program listens at an address of this machine, the emulator is not running, and `connect` fails within three
//!   seconds. A client that has already been connected keeps trying to reconnect.
//! * A [`Device`] that was connected once never gives up, and neither does one that [`DeviceSettings::spawn`] started.
//! * If `main` returns an error of this crate, Rust prints the error's message, its causes and what to do.
//! * The client logs each attempt to connect with the crate `tracing`: transport, endpoint, attempt, outcome and next
//!   wait. No log contains a secret.
//! * The program chooses the transport at run time ([`TransportKind`]): MQTT, MQTT over WebSocket, and for DPS also
//!   HTTPS.
//! * The client checks certificates against the system's certificate authorities. If the system has none, it uses a
//!   bundled set. If the program names a file of authorities, the client trusts only these.
//! * The features `https`, `mqtt` and `ws` each add a transport. All are on by default. To make the program smaller,
//!   turn off the transports that it does not use.
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
//! Each step has an alternative:
//!
//! * [`Settings::provisioner`] returns a [`Provisioner`](provisioning::Provisioner), with which the program can follow
//!   the progress of the registration.
//! * [`HubSettings::spawn`] does not wait for the hub.
//!
//! Lower-level types are in [`provisioning`] and [`transport`].
//!
//! # Crates
//!
//! Most programs depend only on `hubward`, which re-exports the types of the other device crates. Each part is also a
//! crate of its own:
//!
//! | crate | content |
//! |---|---|
//! | `hubward` | settings from the environment, `connect`, and re-exports of the other device crates |
//! | [`hubward-dps`](hubward_dps) | registers a device with DPS, over any transport |
//! | [`hubward-hub`](hubward_hub) | the client of a hub: telemetry with receipts, twin, methods, messages, reconnects |
//! | [`hubward-https`](https://docs.rs/hubward-https) | DPS over HTTPS |
//! | [`hubward-mqtt`](https://docs.rs/hubward-mqtt) | DPS and hub over MQTT |
//! | [`hubward-ws`](https://docs.rs/hubward-ws) | a byte stream inside WebSocket frames |
//! | [`hubward-transport`](hubward_transport) | the interface between the clients and the protocols |
//! | [`hubward-dial`](hubward_dial) | DNS, TCP and TLS |
//! | [`hubward-proto`](hubward_proto) | the wire formats of DPS and IoT Hub |
//! | [`hubward-sas`](hubward_sas) | shared keys, SAS tokens and connection strings |
//! | [`hubward-x509`](hubward_x509) | certificates and private keys |
//! | [`hubward-pkcs11`](https://docs.rs/hubward-pkcs11) | device keys in a PKCS#11 token, such as an HSM |
//! | [`hubward-emulator`] | a local DPS and IoT Hub, for tests |
//! | [`hubward-service`](https://docs.rs/hubward-service) | a client of the service APIs, for operators |
//! | [`hubward-cli`](https://docs.rs/crate/hubward-cli) | the command `hubward` |

#[cfg(not(any(feature = "https", feature = "mqtt", feature = "ws")))]
compile_error!(
    "hubward has no transport. Enable at least one of its features `https`, `mqtt` and `ws`, for example: \
     hubward = { version = \"0.1\", default-features = false, features = [\"mqtt\"] }"
);

mod advice;
mod certificate_vars;
mod client_diagnosis;
mod connect;
mod connect_error;
mod connect_options;
mod connection_string;
pub mod device;
mod diagnosis;
pub mod error;
#[cfg(all(doc, not(doctest)))]
pub mod examples;
#[doc(hidden)]
pub mod fuzzing;
mod hub_settings;
mod settings;
mod settings_error;
pub mod transport;
pub mod vars;

pub use connect_error::ConnectError;
pub use connect_options::ConnectOptions;
pub use device::{Device, DeviceEvent, DevicePolicy, DeviceSettings};
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
    ClientCertificate, Credential, DeviceId, Fault, HubHost, HubIdentity, IdScope, Message, ModuleId, RegistrationId,
    SharedKey, TransportKind,
};
/// A JSON value for payloads and properties, and the macro that makes one. Both are from the crate `serde_json`.
pub use serde_json::{Value, json};
pub use settings::Settings;

pub mod hub {
    //! Types of the hub client that programs seldom need to name.

    pub use hubward_hub::{Backoff, Closed, HubCounts, IssuanceRequest, MessageLabel, Pacing, WeakHubClient};
    pub use hubward_transport::{CertificateRequestId, IncomingMessage};
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
    //! Functions for programs that print errors, or print texts that devices, hubs or DPS have sent.

    pub use hubward_proto::{error_messages, is_hidden};
}

pub mod x509 {
    //! Certificates and private keys of devices. [`ClientCertificate`](crate::ClientCertificate) at the root of the
    //! crate is what a device presents.

    pub use hubward_transport::Csr;
    pub use hubward_x509::{Certificate, CertificateRequest, DeviceKey, KeyAlgorithm, SigningKey};
}

pub mod twin {
    //! The twin: the types that [`HubClient::twin`](crate::HubClient::twin), [`report`](crate::HubClient::report) and
    //! [`desired`](crate::HubClient::desired) return, and functions that check, merge and measure properties.

    pub use hubward_hub::{DesiredProperties, Reported};
    pub use hubward_proto::hub::twin::{check, check_patch, merge, size};
    pub use hubward_proto::hub::{Properties, Twin};
}
