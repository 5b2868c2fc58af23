//! From a host name to a secure byte stream: DNS, TCP, TLS, and dial overrides.
//!
//! # Behaviour
//!
//! * All connections use one TLS configuration: TLS 1.2 and 1.3, and the system's root certificates. If the system has
//!   no root certificates, a bundled set replaces them. A CA file replaces both sets.
//! * A [`DialOverride`] changes only the address that is dialed. The certificate must still match the original
//!   host name. The dialer logs each address that an override changes ([`OVERRIDE_LOG_TARGET`]).
//!
//! # Features
//!
//! * `hyper` adds `HyperConnector`, which lets hyper's client open connections with a [`TcpDialer`]. It is not a
//!   default feature.

mod all_failed;
mod dial_override;
mod endpoint;
mod error;
#[cfg(feature = "hyper")]
mod hyper_connector;
mod progress;
mod proxy;
mod stream;
mod tcp;
mod tls;
mod trust;

pub use dial_override::{DialOverride, DialOverrideError};
pub use endpoint::Endpoint;
pub use error::{DialError, TlsFault};
#[cfg(feature = "hyper")]
pub use hyper_connector::HyperConnector;
pub use progress::{DialProgress, DialStep};
pub use proxy::unused_proxy_variable;
/// The TLS configuration that [`TlsSettings::client_config`] makes and [`TlsDialer`] takes.
pub use rustls::ClientConfig;
pub use stream::{ByteStream, Dialer, Opened};
pub use tcp::{OVERRIDE_LOG_TARGET, TcpDialer};
pub use tls::TlsDialer;
pub use trust::{TlsSettings, TrustError};
