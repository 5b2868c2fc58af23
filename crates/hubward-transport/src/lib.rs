//! The interface between hubward's clients (DPS, hub) and its protocols (HTTPS, MQTT, MQTT over WebSocket). It consists
//! of object-safe traits and the types in their signatures.
//!
//! ```
//! use hubward_transport::{DpsTransport, TransportKind};
//!
//! // A client accepts any transport and selects it at run time.
//! fn describe(transport: &dyn DpsTransport) -> String {
//!     format!("DPS over {}", transport.kind())
//! }
//! assert_eq!("mqtt-ws".parse(), Ok(TransportKind::MqttWs));
//! ```
//!
//! # Behaviour
//!
//! * A transport sends each request once. It never retries or delays a request; the client decides when to retry.
//! * Every error says who is at fault ([`Fault`]), whether a retry can help, and how long the service asked
//!   to wait. No error contains a secret.
//! * A transport never signs tokens. The client gets a token from a [`Credential`] and passes the token to the
//!   transport.
//! * A device with a certificate has no token. TLS presents the certificate, so the program builds the transport with
//!   it.

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
    Abilities, Call, CallId, CertificateOutcome, CertificateResponse, Delivery, Disposition, Downstream, Feature,
    HubConnection, HubLogin, HubTransport, Lock, Reply, Tag, Upstream,
};
pub use kind::{TransportKind, UnknownTransport};
pub use warning_limit::WarningLimit;
// The traits use these types of the protocol crates.
pub use hubward_proto::dps::{DpsBody, DpsReply, Register};
pub use hubward_proto::hub::{HubIdentity, IncomingMessage, Message, Replace};
pub use hubward_proto::{
    CertificateRequestId, Csr, DeviceId, Excerpt, Fault, HubHost, IdScope, ModuleId, OperationId, ProtoError,
    RegistrationId,
};
pub use hubward_sas::{KeyError, SasToken, SharedKey, UnixSeconds};
pub use hubward_x509::{CertificateError, ClientCertificate};
