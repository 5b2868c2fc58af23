//! From a host name to a secure byte stream: DNS, TCP, TLS, and dial overrides.
//!
//! # Behaviour
//!
//! * All connections use the same TLS settings: TLS 1.2 and 1.3, and the system's root certificates. If the system has
//!   no root certificates, a bundled set replaces them. A CA file replaces both sets.
//! * A connection can present a certificate ([`TlsSettings::client_certificate`]). It sends the whole chain. If the
//!   private key is outside the program, the TLS handshake runs on a thread for blocking work.
//! * A [`DialOverride`] changes only the address that is dialed. The certificate must still match the original
//!   host name. The dialer logs each address that an override changes ([`OVERRIDE_LOG_TARGET`]).
//!
//! # Features
//!
//! * `hyper` adds `HyperConnector`, which lets hyper's client open connections with a [`TcpDialer`]. It is not a
//!   default feature.

mod all_failed;
mod blocking;
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
mod tls_config;
mod trust;

pub use dial_override::{DialOverride, DialOverrideError};
pub use endpoint::Endpoint;
pub use error::{DialError, TlsFault};
/// The certificate of a device, for [`TlsSettings::client_certificate`].
pub use hubward_x509::ClientCertificate;
#[cfg(feature = "hyper")]
pub use hyper_connector::HyperConnector;
pub use progress::{DialProgress, DialStep};
pub use proxy::unused_proxy_variable;
pub use stream::{ByteStream, Dialer, Opened};
pub use tcp::{OVERRIDE_LOG_TARGET, TcpDialer};
pub use tls::TlsDialer;
pub use tls_config::TlsConfig;
pub use trust::{TlsSettings, TrustError};
