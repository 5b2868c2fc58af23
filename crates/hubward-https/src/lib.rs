//! A client of Azure's Device Provisioning Service (DPS) over HTTPS. It keeps one connection open between requests.
//!
//! ```no_run
//! use hubward_dial::{Endpoint, TcpDialer, TlsSettings};
//! use hubward_https::HttpsDps;
//! use hubward_transport::{DpsTransport, IdScope, Register, RegistrationId, SasToken};
//!
//! # async fn example(token: SasToken) -> Result<(), Box<dyn std::error::Error>> {
//! let tls = TlsSettings::new().client_config()?;
//! let endpoint = Endpoint::new("global.azure-devices-provisioning.net", 443);
//! let mut dps = HttpsDps::new(endpoint, TcpDialer::new(), tls);
//!
//! let request = Register::new(IdScope::new("0ne00000000")?, RegistrationId::new("device1")?);
//! let reply = dps.register(&request, Some(&token)).await?;
//! println!("{:?}", reply.body);
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! * The client sends each request once. If the server closed the idle connection before the client wrote any byte of
//!   the request, the client writes the request to a new connection.
//! * The client does not follow redirects: it returns a redirect as a refusal.
//! * The client sets no time limit for an answer. Dropping the future cancels the request and closes its connection.
//!   Only the opening of the TCP connection has a limit, which the [`TcpDialer`] sets.
//! * The client reads at most [`DPS_RESPONSE_MAX`](hubward_proto::limits::DPS_RESPONSE_MAX) bytes of an answer.
//! * An error quotes the answer of the server as a short text without control characters. If the answer contains the
//!   token of the device, the error redacts it.

mod answer;
mod connector;
mod dps;
mod failure;
mod request_context;

pub use dps::HttpsDps;
// Types in this crate's public API.
pub use hubward_dial::{DialOverride, Endpoint, TcpDialer, TlsConfig, TlsSettings, TrustError};
pub use hubward_transport::{DpsTransport, TransportError};
