//! The seam between hubward's drivers (DPS, hub) and its protocols (HTTPS, MQTT, MQTT over
//! WebSocket): two object-safe traits, and the types that cross them.
//!
//! ```
//! use hubward_transport::{DpsTransport, TransportKind};
//!
//! // A driver takes any transport; which one is data, chosen at run time.
//! fn describe(transport: &dyn DpsTransport) -> String {
//!     format!("DPS over {}", transport.kind())
//! }
//! assert_eq!("mqtt-ws".parse(), Ok(TransportKind::MqttWs));
//! ```
//!
//! # Behavior
//!
//! * A transport sends once. It never retries and never waits on purpose: policy decides.
//! * Every error says who is at fault ([`Fault`]), whether trying again can help, and what the
//!   service wanted to be waited for; none contains a secret.
//! * Protocols never sign: the driver asks a [`Credential`] for a token and hands it over.

pub mod clock;
mod credential;
mod dps;
mod error;
mod hub;
mod kind;
mod warning_limit;

pub use credential::{Credential, CredentialError, Signer};
pub use dps::DpsTransport;
pub use error::{Refusal, RefusedBy, Stage, TlsFault, TransportError, one_line};
pub use hub::{
    Abilities, Call, CallId, Delivery, Downstream, Feature, HubConnection, HubLogin, HubTransport, Lock, Reply, Tag,
    Upstream, Verdict,
};
pub use kind::{TransportKind, UnknownTransport};
pub use warning_limit::WarningLimit;
// What crosses the seam comes from the two crates of facts.
pub use hubward_proto::dps::{DpsBody, DpsReply, Register};
pub use hubward_proto::hub::{HubIdentity, IncomingMessage, Message};
pub use hubward_proto::{
    DeviceId, Excerpt, Fault, HubHost, IdScope, ModuleId, OperationId, ProtoError, RegistrationId,
};
pub use hubward_sas::{KeyError, SasToken, SharedKey, UnixSeconds};
