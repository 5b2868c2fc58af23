//! A client with a certificate. Its MQTT packets have no password.

use std::sync::Arc;

use hubward_emulator::Emulator;
use hubward_x509::Certificate;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::client::{Tls, packet, receive, send, string, tls_with};
use crate::lab::Leaf;

/// CONNACK: accepted.
pub(crate) const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";

/// CONNACK: not authorized.
pub(crate) const NOT_AUTHORIZED: &[u8] = b"\x20\x02\x00\x05";

/// A TLS client that presents `chain` and signs with `key`, even if they do not belong together. If `chain` is empty,
/// the client presents no certificate.
pub(crate) fn config(
    emulator: &Emulator,
    versions: &[&'static SupportedProtocolVersion],
    chain: &[&[u8]],
    key: &Leaf,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let builder = builder.with_root_certificates(roots);
    if chain.is_empty() {
        return Arc::new(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.key.clone()));
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).expect("a P-256 key");
    let chain = chain.iter().map(|it| CertificateDer::from(it.to_vec())).collect();
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = builder.with_client_cert_resolver(Arc::new(certified));
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Opens a TLS connection that presents the leaf, and then `issuers`.
pub(crate) async fn tls_as(
    emulator: &Emulator,
    address: std::net::SocketAddr,
    leaf: &Leaf,
    issuers: &[&Certificate],
) -> Tls {
    let chain: Vec<_> = [&leaf.certificate].iter().chain(issuers).map(|it| it.der()).collect();
    let config = config(emulator, rustls::DEFAULT_VERSIONS, &chain, leaf);
    tls_with(config, address, "localhost").await.expect("a handshake")
}

/// A CONNECT without a password.
pub(crate) fn connect(client_id: &str, username: &str) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04\x82\x00\x3c".to_vec();
    rest.extend(string(client_id));
    rest.extend(string(username));
    packet(0x10, &rest)
}

pub(crate) fn dps_username(emulator: &Emulator, registration_id: &str) -> String {
    let id_scope = emulator.id_scope();
    format!("{id_scope}/registrations/{registration_id}/api-version=2019-03-31&ClientVersion=t")
}

/// Connects to the hub `localhost` without a password and returns the CONNACK.
pub(crate) async fn hub_connect<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, client_id: &str) -> Vec<u8> {
    send(stream, &connect(client_id, &format!("localhost/{client_id}/?api-version=2021-04-12"))).await;
    receive(stream).await.expect("a CONNACK")
}

/// Opens a connection with a certificate, and connects to the hub `localhost`. Returns the connection and the CONNACK.
pub(crate) async fn at_hub(
    emulator: &Emulator,
    client_id: &str,
    leaf: &Leaf,
    issuers: &[&Certificate],
) -> (Tls, Vec<u8>) {
    let mut stream = tls_as(emulator, emulator.mqtt_addr(), leaf, issuers).await;
    let connack = hub_connect(&mut stream, client_id).await;
    (stream, connack)
}
