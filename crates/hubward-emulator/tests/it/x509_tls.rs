//! Client certificates in the TLS handshake.

use std::time::Duration;

use hubward_emulator::{Emulator, EventKind};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt as _;

use crate::client::{patient, receive, send, tls, tls_with};
use crate::lab::{self, Leaf};
use crate::x509_client::{ACCEPTED, NOT_AUTHORIZED, config, connect, dps_username, hub_connect};

/// Turns a certificate into one of version 1: removes the version and the extensions. The signature is then wrong, but
/// no handshake verifies it.
fn version_1(der: &[u8]) -> Vec<u8> {
    let (_, outer, _) = element(der);
    let (_, body, signature) = element(outer);
    let (mut rest, mut kept) = (body, Vec::new());
    while !rest.is_empty() {
        let (tag, _, next) = element(rest);
        if tag != 0xa0 && tag != 0xa3 {
            kept.extend_from_slice(&rest[..rest.len() - next.len()]);
        }
        rest = next;
    }
    sequence(&[&sequence(&kept), signature].concat())
}

/// Tag and contents of the first DER element, and the bytes that follow it.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (start, length) = match der[1] {
        short @ ..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("short").to_be_bytes();
    // DER requires the shortest form of a length.
    let head: &[u8] = match length {
        [0, short @ 0..=0x7f] => &[0x30, short],
        [0, long] => &[0x30, 0x81, long],
        [high, low] => &[0x30, 0x82, high, low],
    };
    [head, contents].concat()
}

#[tokio::test]
async fn every_certificate_of_version_3_passes_and_none_is_required() {
    let emulator = Emulator::start().await.expect("started");
    let (root, stranger) = (lab::root("root"), lab::self_signed("anybody"));
    let leaf = root.device("dev-1");
    let old = root.device_of(Some("dev-1"), (2020, 2021));
    let one = leaf.certificate.der();
    let cases: [(&str, &Leaf, Vec<&[u8]>); 6] = [
        ("no certificate", &leaf, vec![]),
        ("a leaf", &leaf, vec![one]),
        ("a chain", &leaf, vec![one, root.certificate.der()]),
        ("an expired one", &old, vec![old.certificate.der()]),
        ("a self-signed one", &stranger, vec![stranger.certificate.der()]),
        ("a chain of eleven", &leaf, vec![one; 11]),
    ];
    for (name, key, chain) in cases {
        for version in [&TLS12, &TLS13] {
            // The service refuses the device later, in its own words.
            let config = config(&emulator, &[version], &chain, key);
            let mut stream = tls_with(config, emulator.mqtt_addr(), "localhost").await.expect(name);
            send(&mut stream, &connect("dev-1", &dps_username(&emulator, "dev-1"))).await;
            let expected = if chain.is_empty() { NOT_AUTHORIZED } else { ACCEPTED };
            assert_eq!(receive(&mut stream).await.as_deref(), Some(expected), "{name} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_fails_and_so_does_one_of_version_1() {
    let emulator = Emulator::start().await.expect("started");
    let (leaf, other) = (lab::self_signed("dev-1"), lab::self_signed("dev-1"));
    let old = version_1(leaf.certificate.der());
    assert_eq!(hubward_x509::Certificate::from_der(&old).expect("readable").version(), 1);
    let mut failed = 0;
    for (name, chain) in [("another key", other.certificate.der()), ("version 1", &old[..])] {
        for version in [&TLS12, &TLS13] {
            for address in [emulator.mqtt_addr(), emulator.https_addr()] {
                let config = config(&emulator, &[version], &[chain], &leaf);
                // With TLS 1.3, a client learns of the refusal only when it reads.
                let outcome = match tls_with(config, address, "localhost").await {
                    Ok(mut stream) => patient(stream.read(&mut [0; 16])).await,
                    Err(error) => Err(error),
                };
                let error = outcome.expect_err(name).to_string();
                assert!(error.contains("received fatal alert"), "{name} {version:?}: {error}");
                failed += 1;
                let events = emulator.events().all();
                let count = events.iter().filter(|it| it.kind == EventKind::HandshakeFailed).count();
                assert_eq!(count, failed, "{name} {version:?}");
            }
        }
    }
    // The emulator still serves other clients.
    tls(&emulator, emulator.mqtt_addr()).await;
}

#[tokio::test]
async fn a_resumed_session_keeps_the_certificate_and_its_dates_are_checked_again() {
    let emulator = Emulator::start().await.expect("started");
    let leaf = lab::self_signed("d1");
    let thumbprint = leaf.certificate.sha256_thumbprint();
    emulator.add_self_signed_device("localhost", "d1", &thumbprint, None).expect("a device");
    for version in [&TLS12, &TLS13] {
        let config = config(&emulator, &[version], &[leaf.certificate.der()], &leaf);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = tls_with(config.clone(), emulator.mqtt_addr(), "localhost").await.expect("a handshake");
            assert_eq!(hub_connect(&mut stream, "d1").await, ACCEPTED, "{version:?} {kind:?}");
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
        }
        emulator.clock_ahead(Duration::from_secs(40 * 366 * 24 * 3600));
        let mut stream = tls_with(config, emulator.mqtt_addr(), "localhost").await.expect("a handshake");
        assert_eq!(hub_connect(&mut stream, "d1").await, NOT_AUTHORIZED, "{version:?}: it has expired");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
        emulator.clock_ahead(Duration::ZERO);
    }
}
