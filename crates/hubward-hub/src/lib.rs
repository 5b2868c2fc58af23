//! A device client for Azure IoT Hub: telemetry with receipts over any transport.
//!
//! ```no_run
//! use std::time::Duration;
//! use hubward_hub::{Credential, HubClient, HubIdentity, HubLogin, HubOptions, HubTransport, Message, SharedKey};
//!
//! # async fn example(transport: Box<dyn HubTransport>) -> Result<(), Box<dyn std::error::Error>> {
//! let identity = HubIdentity::new("contoso.azure-devices.net".parse()?, "dev-1".parse()?);
//! let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
//! let hub = HubClient::spawn(transport, HubLogin::new(identity), Credential::SharedKey(key), HubOptions::default());
//! hub.connected().await?;
//!
//! // Returns when the hub has it.
//! hub.send(Message::new("21.5").property("unit", "C")).await?;
//!
//! // Returns when there is room for it; the receipt says when the hub has it.
//! let receipt = hub.enqueue(Message::new("21.6").message_id("m-2")).await?;
//! receipt.await?;
//!
//! // Names what could not be sent in time, if anything.
//! hub.close(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Behavior
//!
//! * **At least once.** A message is acknowledged by the hub, or its receipt says whether the hub
//!   can have it: [`SendError::NotSent`] is certain, [`SendError::Unknown`] is written without an
//!   answer. After a reconnect, what is unanswered goes again in its old order, also if the hub has
//!   forgotten the session; the hub may then see a message twice.
//! * **Nothing hangs.** Each receipt resolves: acknowledged, refused, its deadline over (5 minutes
//!   from `enqueue` unless [chosen otherwise](HubOptions::send_deadline)), or the client's end. Every
//!   future of this crate can be dropped at any time.
//! * **Nothing grows.** At most [`window`](HubOptions::window) messages are unanswered and
//!   [`queue`](HubOptions::queue) wait, with at most [`queue_bytes`](HubOptions::queue_bytes) together; then
//!   [`HubClient::enqueue`] waits too. Whatever a hub sends,
//!   received messages take up at most 16 MiB ([`HubClient::cloud_messages`]), desired properties 128 KiB as
//!   JSON ([`HubClient::desired`]), and calls of methods are worked on up to
//!   [`method_calls`](HubOptions::method_calls) at a time.
//! * **A hub cannot fill the log.** Of each kind of warning, at most 5 in a minute are logged; then their
//!   number. Names that come from the hub are cut to 128 characters, and escaped.
//! * **It stays connected.** Trouble is waited out with random, growing pauses up to a minute, which
//!   begin anew only after a connection that lasted; a refusal with longer ones. Only a refusal of
//!   the very first login ends the client, so that a wrong key shows at once.
//! * **A renewed token is no event.** At about 85 % of its life the client lets the answers come in,
//!   changes to a connection with a fresh token and goes on; [`ConnectionState::Renewing`] shows it,
//!   and no message notices. A machine that slept gets a fresh token too.
//! * **A slow acknowledgement is not a dead link**: a hub throttles by delaying them. When one is
//!   overdue (30 s, doubling), the client reconnects once and sends again.
//! * **Two clients with one identity** take the connection from each other for ever, since a hub keeps
//!   one of each and gives no reason. The fifth time within a quarter of an hour the state says so
//!   ([`DisconnectCause::DuplicateIdentity`]), and from then on each tries at most once a
//!   [minute](HubOptions::duplicate_wait), until a connection has lasted for ten.
//! * **Clocks are not trusted.** A token ages by the clock that says more, so a clock that was set back
//!   delays no renewal; one that differs from the hub's by more than four minutes is warned about where
//!   the protocol shows the hub's time (MQTT over WebSocket).
//! * **Reports keep their order.** Questions about the twin go one at a time, also past a hub that is
//!   busy and a connection that breaks; each ends within [`twin_deadline`](HubOptions::twin_deadline),
//!   and [`TwinError`] says whether the hub can have it.
//! * **What the cloud wants is never missed.** [`HubClient::desired`] gives whole states, the newest one
//!   first; what changed while there was no connection is read after the reconnect.
//! * **Every call of a method gets one answer**, whatever its handler does, over the connection it came
//!   over; so many at a time as [`method_calls`](HubOptions::method_calls) says.
//! * **A received message is the program's** until [`CloudMessage::complete`]: nothing else
//!   acknowledges it, and nothing is asked of the hub before a receiver exists.
//! * **A slow reader stalls only itself**, and nothing vanishes silently: [`HubClient::counts`].
//! * Dropping the last handle ends the client in the background; what was queued counts as not sent.

mod client;
mod cloud;
mod core;
mod counts;
mod desired;
mod driver;
mod error;
mod features;
mod incoming;
mod latest;
mod method;
mod options;
mod receipt;
mod state;
mod twin;
mod unsupported;
mod warnings;
mod weak;

pub use client::HubClient;
pub use cloud::{CloudMessage, CloudMessages, ReceiveError, SettleError};
pub use counts::HubCounts;
pub use desired::DesiredProperties;
pub use error::{CloseError, Closed, HubError, MessageLabel, SendError, TryEnqueueError, Why};
pub use method::{MethodCall, MethodError, MethodResponse};
pub use options::{Backoff, HubOptions};
pub use receipt::Receipt;
pub use state::{CloseReason, ConnectionState, DisconnectCause};
pub use twin::{Reported, TwinError};
pub use unsupported::{Capability, Unsupported};
pub use weak::WeakHubClient;
// What crosses this crate's functions.
pub use hubward_proto::hub::{Properties, Twin};
pub use hubward_transport::{
    Abilities, Credential, Feature, HubIdentity, HubLogin, HubTransport, IncomingMessage, Message, SharedKey,
};
