//! From a host name to a secure byte stream: DNS, TCP, TLS, and `connect-to` overrides.
//!
//! # Behavior
//!
//! * One TLS configuration for everything: TLS 1.2 and 1.3, the system's roots, with a bundled set
//!   where the system has none; a CA file replaces both.
//! * A [`ConnectTo`] changes which address is dialled, and nothing else: the certificate must still
//!   be for the name that was asked for.

mod connect_to;
mod endpoint;
mod error;
mod progress;
mod proxy;
mod stream;
mod tcp;
mod tls;
mod trust;

pub use connect_to::{ConnectTo, ConnectToError};
pub use endpoint::Endpoint;
pub use error::{DialError, TlsFault};
pub use progress::{DialProgress, DialStep};
pub use proxy::unused_proxy_variable;
/// The TLS configuration that [`TlsSettings::client_config`] makes and [`TlsDialer`] takes.
pub use rustls::ClientConfig;
pub use stream::{ByteStream, Dialer, Opened};
pub use tcp::TcpDialer;
pub use tls::TlsDialer;
pub use trust::{TlsSettings, TrustError};
