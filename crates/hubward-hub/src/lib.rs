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
//! * **Delivery is at least once.** After a reconnect, the client sends unacknowledged messages again in their
//!   original order, even if the hub has lost the session. The hub may then receive a message twice.
//!
//!   If the hub does not acknowledge a message, the receipt says whether the hub may have it. With
//!   [`SendError::NotSent`], the hub certainly does not have the message. With [`SendError::Unknown`], the client
//!   wrote the message and received no acknowledgement.
//!
//! * **Every receipt resolves.** It resolves with an acknowledgement, a refusal, the message's deadline or the end of
//!   the client. The default deadline is 5 minutes from `enqueue` ([`HubOptions::send_deadline`]).
//!
//! * **Every future can be dropped at any time.**
//!
//! * **Memory is bounded.**
//!   * At most [`window`](HubOptions::window) messages are in flight, and at most [`queue`](HubOptions::queue)
//!     messages wait. Together, they take at most [`queue_bytes`](HubOptions::queue_bytes). When a limit is reached,
//!     [`HubClient::enqueue`] waits.
//!   * Received messages take at most 16 MiB ([`HubClient::cloud_messages`]).
//!   * Desired properties take at most 128 KiB as JSON ([`HubClient::desired`]).
//!   * At most [`method_calls`](HubOptions::method_calls) method calls run at a time.
//!
//! * **A hub cannot fill the log.** The client logs at most 5 warnings of each kind in a minute, and later logs the
//!   number of the others. It cuts names from the hub to 128 characters and escapes them.
//!
//! * **The client reconnects.** After a network or service failure, the client waits for a random time. The upper
//!   limit of this time doubles with each failure, up to a minute. After a refusal, the client waits longer.
//!
//!   The limit returns to its start after the hub has accepted the client for 30 s
//!   ([`HubOptions::backoff_reset_after`]).
//!
//! * **A wrong key shows at once.** Before the first successful login, a failure ends the client if a retry cannot
//!   succeed.
//!
//!   After the first successful login, a failure ends the client only if the hub refuses a token that the client
//!   cannot renew. A client with a provider ends only if the provider says so.
//!
//! * **A client can change its hub.** With a [`HubProvider`], a client asks after each failure what to do: stay, or
//!   move to another hub, credential or protocol ([`HubClient::spawn_with_provider`]). Receipts, method handlers and
//!   receivers stay valid.
//!
//!   After a move to another hub, unacknowledged messages leave first, and the desired properties start over. A program
//!   that reports properties must report them again, because the new hub may not know them.
//!
//! * **Renewing a token does not interrupt the program.** At about 85 % of the token's lifetime, the client waits for
//!   outstanding acknowledgements. It then moves to a connection with a new token.
//!
//!   During the renewal, the state is [`ConnectionState::Renewing`].
//!
//!   A renewal loses no message, and the client does not report it as a failure. A token may become old while the
//!   machine sleeps. The client then renews it soon after the machine wakes.
//!
//! * **A slow acknowledgement does not mean a dead connection**, because a hub throttles by delaying acknowledgements.
//!   After 30 s without an acknowledgement, the client reconnects once and sends the messages again.
//!
//!   Each such reconnect doubles the 30 s, up to 10 minutes, until acknowledgements come in time again.
//!
//! * **Two clients with one identity** take over each other's connection again and again. A hub keeps only one
//!   connection for each identity. If a second client connects, the hub closes the older connection and gives no
//!   reason.
//!
//!   After the fifth takeover within 15 minutes, the state reports [`DisconnectCause::DuplicateIdentity`]. The client
//!   then connects at most once a [minute](HubOptions::duplicate_wait), until a connection has lasted ten minutes.
//!
//! * **The client does not trust clocks.** To measure the age of a token, the client reads the monotonic clock and the
//!   wall clock, and uses the one that advanced further.
//!
//!   So a clock that was set back does not delay a renewal.
//!
//!   With MQTT over WebSocket, the hub also sends its time. The client warns if the local clock differs from this time
//!   by four minutes or more.
//!
//! * **Reports keep their order.** The client sends twin requests one at a time, even if the hub is busy or a
//!   connection breaks.
//!
//!   Each request ends within [`twin_deadline`](HubOptions::twin_deadline). If it fails, [`TwinError`] says whether
//!   the hub may have the request.
//!
//! * **The program always gets the newest desired properties.** [`HubClient::desired`] returns complete states. After
//!   a reconnect, the client fetches the whole twin, with the changes that happened while it was not connected.
//!
//! * **The client answers every method call once**, even if its handler fails, panics or hangs. It sends the response
//!   over the connection that delivered the call. If this connection has ended, the caller sees a timeout.
//!
//! * **The program decides when the client acknowledges a received message**, by calling [`CloudMessage::complete`].
//!   Until the program makes its first receiver, the client does not subscribe to messages.
//!
//! * **A slow reader delays only itself.** If the program reads received messages too slowly, the client discards the
//!   messages for which it has no room, and continues to work. The hub delivers the discarded messages again, except
//!   messages with QoS 0, which are lost.
//!
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
mod pacing;
mod provider;
mod receipt;
mod shared;
mod state;
mod unsupported;
mod warnings;

pub use client::{
    CloudMessage, CloudMessages, DesiredProperties, HubClient, IssuanceError, IssuanceRequest, MethodCall,
    ReceiveError, Reported, SettleError, TwinError, WeakHubClient,
};
pub use counts::HubCounts;
pub use error::{CloseError, Closed, HubError, MessageLabel, SendError, TryEnqueueError, UnconfirmedReason};
pub use method::{MethodError, MethodResponse};
pub use options::{Backoff, HubOptions};
pub use pacing::Pacing;
pub use provider::{HubDecision, HubEvent, HubFailure, HubProvider, HubTarget};
pub use receipt::Receipt;
pub use state::{CloseReason, ConnectionState, DisconnectCause};
pub use unsupported::{Capability, Unsupported};
// Types of other crates that appear in this crate's API.
pub use hubward_proto::hub::{Properties, Twin};
pub use hubward_transport::{
    Abilities, CertificateRequestId, Credential, Csr, Feature, HubIdentity, HubLogin, HubTransport, IncomingMessage,
    Message, SharedKey,
};
