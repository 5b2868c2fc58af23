//! A device client for Azure IoT Hub over any transport: telemetry, twins, direct methods and received messages.
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
//! * **Delivery is at least once.** After a reconnect, the client sends unacknowledged messages again in their original
//!   order. It does this even if the hub has lost the session. The hub may then receive a message twice. If the hub
//!   does not acknowledge a message, the receipt says whether the hub may have it. With [`SendError::NotSent`], the hub
//!   certainly does not have the message. With [`SendError::Unknown`], the client wrote the message and received no
//!   acknowledgement.
//!
//! * **Every receipt resolves.** It resolves with an acknowledgement, a refusal, the message's deadline or the end of
//!   the client. The default deadline is 5 minutes from `enqueue` ([`HubOptions::send_deadline`]). Every future of this
//!   crate can be dropped at any time.
//!
//! * **Memory is bounded.** At most [`window`](HubOptions::window) messages are in flight, and at most
//!   [`queue`](HubOptions::queue) messages wait. All these messages together take at most
//!   [`queue_bytes`](HubOptions::queue_bytes). When a limit is reached, [`HubClient::enqueue`] waits. Limits also apply
//!   to data from the hub. Received messages take at most 16 MiB ([`HubClient::cloud_messages`]). Desired properties
//!   take at most 128 KiB as JSON ([`HubClient::desired`]). At most [`method_calls`](HubOptions::method_calls) method
//!   calls run at a time.
//!
//! * **A hub cannot fill the log.** The client logs at most 5 warnings of each kind in a minute. It counts the other
//!   warnings and logs their number later. Names that come from the hub are cut to 128 characters and escaped.
//!
//! * **The client reconnects.** After a network or service failure, it waits for a random time. The upper limit of this
//!   time doubles with each failure, up to a minute. The limit returns to its start after the hub has accepted the
//!   client for 30 s ([`HubOptions::backoff_reset_after`]). After a refusal, the client waits longer. Before the first
//!   successful login, a failure ends the client if a retry cannot succeed. So a wrong key shows at once. After the
//!   first login, a failure ends the client only if the hub refuses a token that the client cannot renew.
//!
//! * **Renewing a token does not interrupt the program.** At about 85 % of the token's lifetime, the client waits for
//!   outstanding acknowledgements. It then moves to a connection with a new token and continues. During the renewal,
//!   the state is [`ConnectionState::Renewing`]. A renewal loses no message, and the client does not report it as a
//!   failure. If the token became old while the machine slept, the client renews the token soon after the sleep.
//!
//! * **A slow acknowledgement does not mean a dead connection**, because a hub throttles by delaying acknowledgements.
//!   If an acknowledgement takes longer than 30 s, the client reconnects once and sends the messages again. Each such
//!   reconnect doubles the 30 s, up to 10 minutes, until acknowledgements come in time again.
//!
//! * **Two clients with one identity** take over each other's connection again and again. A hub keeps one connection
//!   for each identity, and gives no reason when it closes one. After the fifth takeover within a quarter of an hour,
//!   the state reports [`DisconnectCause::DuplicateIdentity`]. From then on, the client connects at most once a
//!   [minute](HubOptions::duplicate_wait), until a connection has lasted ten minutes.
//!
//! * **The client does not trust clocks.** To measure the age of a token, the client reads two clocks and uses the one
//!   that advanced further. So a clock that was set back does not delay a renewal. With MQTT over WebSocket, the hub
//!   also sends its time. The client warns if the local clock differs from the hub's time by four minutes or more.
//!
//! * **Reports keep their order.** The client sends twin requests one at a time, even if the hub is busy or a
//!   connection breaks. Each request ends within [`twin_deadline`](HubOptions::twin_deadline). If a request fails,
//!   [`TwinError`] says whether the hub may have the request.
//!
//! * **No change of desired properties is missed.** [`HubClient::desired`] returns complete states, always the newest
//!   one. After a reconnect, the client fetches the whole twin, which contains the changes that happened while the
//!   client was not connected.
//!
//! * **The client answers every method call once**, even if its handler fails, panics or hangs. It sends the response
//!   over the connection that delivered the call. If this connection has ended, the client cannot answer, and the
//!   caller sees a timeout. At most [`method_calls`](HubOptions::method_calls) calls run at a time.
//!
//! * **The program decides when the client acknowledges a received message**, by calling [`CloudMessage::complete`].
//!   The client subscribes to messages when the program makes the first receiver.
//!
//! * **A slow reader delays only itself.** If the program reads received messages too slowly, the client discards
//!   messages and continues to work. The hub delivers discarded messages again; only messages with QoS 0 are lost.
//!   [`HubClient::counts`] counts these messages and failed calls.
//!
//! * Dropping the last handle ends the client in the background. The client does not send messages that are still
//!   queued.

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
