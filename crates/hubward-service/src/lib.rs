//! A client of the service APIs of Azure's Device Provisioning Service (DPS) and IoT Hub, for tools of operators. It
//! uses HTTPS, and works with the real services and with hubward's emulator.
//!
//! ```no_run
//! use hubward_proto::service::{IndividualEnrollment, TwinPatch};
//! use hubward_service::{DpsService, HubService, ServiceLogin, ServiceOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ServiceOptions::new();
//! let login = ServiceLogin::from_connection_string(&std::env::var("PROVISIONING_CONNECTION_STRING")?)?;
//! let dps = DpsService::new(login, &options)?;
//! dps.create_enrollment(&IndividualEnrollment::new("dev-1")).await?;
//!
//! let login = ServiceLogin::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;
//! let hub = HubService::new(login, &options)?;
//! let mut twins = hub.query("SELECT * FROM devices WHERE tags.site = 'a'");
//! while let Some(page) = twins.next_page().await? {
//!     println!("{} twins", page.items.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! * The client sends a [`Call`] when the caller awaits it. The result is a typed model.
//! * [`Call::raw`] returns the service's JSON instead of the model. [`Call::verbatim`] returns this JSON byte for byte.
//!   [`Call::json`] sends the caller's JSON instead of the model.
//! * The deadline of a call covers everything: the token, the connection, all attempts and the answer.
//! * If a request only reads, the client retries it after a lost connection, after 429, and after a 5xx except 501 and
//!   504.
//! * If a request changes something, the client retries it after 429, and after a 5xx with a `Retry-After` header,
//!   except 501 and 504. It does not retry the request after a lost connection, because the service may already have
//!   made the change.
//! * [`ServiceOptions::attempts`] sets the maximum number of attempts.
//! * A token that the client signs is valid for an hour. The client replaces it before it expires.
//! * If the bearer token comes from a file, the client reads the file again before each attempt. If the file is a pipe,
//!   the client reads it once.
//! * The client keeps one connection open between calls. Concurrent calls open more connections.
//! * `Debug`, errors and logs contain no key and no token.

mod admin;
mod call;
mod client;
mod clock;
mod credential;
mod dps;
mod error;
mod event_stream;
mod http;
mod hub;
mod login;
mod options;
mod pager;
mod retry;

pub use admin::{AdminPort, AdminUrlError};
pub use call::Call;
pub use dps::DpsService;
pub use error::{Refused, ServiceError};
pub use event_stream::{EventStream, ServerEvent};
pub use hub::{HubService, Target};
// Types in this crate's public API.
pub use hubward_dial::{DialOverride, TcpDialer, TlsFault, TlsSettings, TrustError};
pub use hubward_proto::Fault;
pub use hubward_proto::service as model;
pub use hubward_sas::{SasToken, SharedKey};
pub use hyper::Method;
pub use login::{LoginError, ServiceLogin};
pub use options::ServiceOptions;
pub use pager::{Page, Pager};
/// The result of [`Call::verbatim`].
pub use serde_json::value::RawValue;
