//! The emulator's certificates: a CA, and a leaf for each of its names.

mod acceptor;
mod ca;
mod client;
mod directory;
mod leaf;
mod resolver;

use std::sync::Arc;

use rustls::ServerConfig;

use client::AnyClient;

pub(crate) use acceptor::{Acceptor, HandshakeError};
pub(crate) use ca::Ca;
pub use leaf::BadCertificate;
pub(crate) use leaf::Names;
pub(crate) use resolver::Resolver;

/// TLS 1.2 and 1.3 with the certificates of `resolver`. Asks each client for a certificate.
///
/// A client can resume an earlier session (rustls keeps 256 sessions in memory). The session includes the certificates
/// that the client presented.
pub(crate) fn server_config(resolver: Resolver) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient::new(&provider)))
        .with_cert_resolver(Arc::new(resolver));
    Ok(Arc::new(config))
}
