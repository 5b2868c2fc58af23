//! The service APIs of Azure's Device Provisioning Service and IoT Hub: what an operator's tools ask,
//! over HTTPS, of the real services and of hubward's emulator alike.
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
//! # Behavior
//!
//! * Nothing is sent before a [`Call`] is awaited. It gives the typed model; [`Call::raw`] gives the
//!   service's own JSON, [`Call::verbatim`] as it came to the last space, and [`Call::json`] sends JSON of your own in place of the model.
//! * A call has a deadline over everything: token, connection, attempts, answer.
//! * Asking is repeated when the connection broke, after 429 and 5xx. Changing is repeated after 429,
//!   and after a 5xx that says when: never after an answer that was lost. See [`ServiceOptions`].
//! * Tokens are signed for an hour and renewed before they expire; a file with a bearer token is read
//!   again before each attempt.
//! * One connection is kept between calls. Several calls at a time open several.
//! * No key or token is in `Debug`, in an error or in the log.

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
// What crosses this crate's functions.
pub use hubward_dial::{ConnectTo, TcpDialer, TlsFault, TlsSettings, TrustError};
pub use hubward_proto::Fault;
pub use hubward_proto::service as model;
pub use hubward_sas::{SasToken, SharedKey};
pub use hyper::Method;
pub use login::{LoginError, ServiceLogin};
pub use options::ServiceOptions;
pub use pager::{Page, Pager};
/// What [`Call::verbatim`] gives.
pub use serde_json::value::RawValue;
