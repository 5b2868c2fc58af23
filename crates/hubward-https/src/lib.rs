//! Azure's Device Provisioning Service over HTTPS: one request per question, over a connection that
//! is kept between them.
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
//! # Behavior
//!
//! * Sends once. Only a kept connection that turns out closed before anything was written is
//!   replaced. Redirects are refusals like any other status.
//! * Has no limit for an answer: dropping the future ends the request and its connection. TCP has
//!   the limit of the [`TcpDialer`].
//! * Reads at most [`DPS_ANSWER_MAX`](hubward_proto::limits::DPS_ANSWER_MAX) bytes of an answer.
//! * Text of an answer that ends up in an error is short, free of control characters, and does not
//!   quote the token even if the answer does.

mod answer;
mod connector;
mod dps;
mod failure;

pub use dps::HttpsDps;
// What crosses this crate's functions.
pub use hubward_dial::{ClientConfig, ConnectTo, Endpoint, TcpDialer, TlsSettings, TrustError};
pub use hubward_transport::{DpsTransport, TransportError};
