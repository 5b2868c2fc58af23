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
//! // Returns when the hub has acknowledged the message.
//! hub.send(Message::new("21.5").property("unit", "C")).await?;
//!
//! // Returns when the queue has room; the receipt resolves when the hub has acknowledged the message.
//! let receipt = hub.enqueue(Message::new("21.6").message_id("m-2")).await?;
//! receipt.await?;
//!
//! // The error, if any, names the messages that were not acknowledged in time.
//! hub.close(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! * **Delivery is at least once.** If the hub does not acknowledge a message, the receipt says whether the hub may
//!   have the message. With [`SendError::NotSent`], the hub certainly does not have it. With [`SendError::Unknown`],
//!   the client wrote the message and received no acknowledgement. After a reconnect, the client sends unacknowledged
//!   messages again in their original order, even if the hub has lost the session. The hub may then receive a message
//!   twice.
//! * **Every receipt resolves**: with an acknowledgement, a refusal, the message's deadline (5 minutes from
//!   `enqueue`; see [`HubOptions::send_deadline`]) or the end of the client. Every future of this crate can be
//!   dropped at any time.
//! * **Memory is bounded.** At most [`window`](HubOptions::window) messages are in flight, at most
//!   [`queue`](HubOptions::queue) wait, and together they take at most [`queue_bytes`](HubOptions::queue_bytes). When a
//!   limit is reached, [`HubClient::enqueue`] waits. Whatever the hub sends, received messages take at most 16 MiB
//!   ([`HubClient::cloud_messages`]), desired properties take at most 128 KiB as JSON ([`HubClient::desired`]), and at
//!   most [`method_calls`](HubOptions::method_calls) method calls run at a time.
//! * **A hub cannot fill the log.** The client logs at most 5 warnings of each kind in a minute, and then the number of
//!   the warnings that it suppressed. Names that come from the hub are cut to 128 characters and escaped.
//! * **The client reconnects.** After a network or service failure it waits for a random time. The limit of that time
//!   doubles with each failure, up to a minute, and returns to its start only after a connection that lasted. After a
//!   refusal the client waits longer. Only a refusal of the very first login ends the client, so that a wrong key shows
//!   at once.
//! * **Renewing a token does not interrupt the program.** At about 85 % of the token's lifetime the client waits for
//!   outstanding acknowledgements, moves to a connection with a new token and continues. Meanwhile, the state is
//!   [`ConnectionState::Renewing`]. No message is lost, and the client reports no failure. The client also renews its
//!   token after the machine has slept.
//! * **A slow acknowledgement does not mean a dead connection**: a hub throttles by delaying acknowledgements.
//!   When one is overdue (30 s, doubling), the client reconnects once and sends the messages again.
//! * **Two clients with one identity** take over each other's connection again and again, since a hub keeps one
//!   connection for each identity and gives no reason when it closes one. After the fifth time within a quarter
//!   of an hour the state reports [`DisconnectCause::DuplicateIdentity`]. From then on the client connects at
//!   most once a [minute](HubOptions::duplicate_wait), until a connection has lasted ten minutes.
//! * **The client does not trust clocks.** Token age uses whichever clock advanced further, so a clock that was set
//!   back does not delay a renewal. With MQTT over WebSocket, the hub also sends its time, and the client warns if the
//!   local clock differs from that time by more than four minutes.
//! * **Reports keep their order.** The client sends twin requests one at a time, also when the hub is busy or a
//!   connection breaks. Each request ends within [`twin_deadline`](HubOptions::twin_deadline), and
//!   [`TwinError`] says whether the hub may have it.
//! * **No change of desired properties is missed.** [`HubClient::desired`] returns complete states, always the newest
//!   one. After a reconnect, the client reads what changed while it was not connected.
//! * **Every method call gets one response**, whatever its handler does. The client sends the response over the
//!   connection that delivered the call. At most [`method_calls`](HubOptions::method_calls) run at a time.
//! * **The program decides when the client acknowledges a received message**, by calling [`CloudMessage::complete`].
//!   The client does not subscribe to messages before a receiver exists.
//! * **A slow reader delays only itself.** [`HubClient::counts`] counts what the client could not hand over or answer.
//! * Dropping the last handle ends the client in the background; messages that were still queued count as not
//!   sent.

mod client;
mod core;
mod counts;
mod deadline;
mod driver;
mod error;
mod features;
mod inbox;
mod incoming;
mod latest;
mod method;
mod options;
mod outcome;
mod receipt;
mod shared;
mod state;
mod unsupported;
mod warnings;

pub use client::{
    CloudMessage, CloudMessages, DesiredProperties, HubClient, MethodCall, ReceiveError, Reported, SettleError,
    TwinError, WeakHubClient,
};
pub use counts::HubCounts;
pub use error::{CloseError, Closed, HubError, MessageLabel, SendError, TryEnqueueError, UnconfirmedReason};
pub use method::{MethodError, MethodResponse};
pub use options::{Backoff, HubOptions};
pub use receipt::Receipt;
pub use state::{CloseReason, ConnectionState, DisconnectCause};
pub use unsupported::{Capability, Unsupported};
// Types of other crates that appear in this crate's API.
pub use hubward_proto::hub::{Properties, Twin};
pub use hubward_transport::{
    Abilities, Credential, Feature, HubIdentity, HubLogin, HubTransport, IncomingMessage, Message, SharedKey,
};
