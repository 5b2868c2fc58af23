//! The kinds of private keys, and whether a key belongs to the certificate.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::{Issued, chain, joined, params};
use crate::{Certificate, CertificateError, ClientCertificate};

const VERSION_1: &[u8] = include_bytes!("data/version-1.pem");
const VERSION_1_KEY: &str = include_str!("data/version-1.key");
const EXPLICIT_CURVE: &str = include_str!("data/explicit-curve.key");
const WITHOUT_PUBLIC_KEY: &str = include_str!("data/without-public-key.key");

/// Why this key cannot be loaded.
fn problem(key: &str) -> String {
    let device = Issued::by_itself(params("dev-1"));
    match ClientCertificate::from_pem(device.pem().as_bytes(), key.as_bytes(), None) {
        Err(CertificateError::UnsupportedKey { problem, .. }) => problem,
        other => panic!("expected an unsupported key, found {other:?}"),
    }
}

#[test]
fn the_key_must_belong_to_the_certificate() {
    let device = Issued::by_itself(params("dev-1"));
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    for (key, case) in [
        (Issued::by_itself(params("dev-1")).key_pem(), "another key of the same kind"),
        (p384.serialize_pem(), "a key of another kind"),
    ] {
        let error = ClientCertificate::from_pem(device.pem().as_bytes(), key.as_bytes(), None).expect_err(case);
        assert_eq!(error.to_string(), "the private key does not belong to the certificate `CN=dev-1`", "{case}");
    }
    let certificate = params("dev-1").self_signed(&p384).expect("a certificate");
    let key = p384.serialize_pem();
    assert!(ClientCertificate::from_pem(certificate.pem().as_bytes(), key.as_bytes(), None).is_ok(), "P-384");
}

#[test]
fn an_unsupported_key_is_named() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("a key").serialize_pem();
    let accepted = "Azure IoT accepts EC keys (P-256, P-384) and RSA keys (2048 to 4096 bits)";
    assert_eq!(problem(&ed25519), format!("it is an Ed25519 key; {accepted}"));
    assert_eq!(
        problem(WITHOUT_PUBLIC_KEY),
        "it is an EC key without its public key, which `openssl pkey -in OLD -out NEW` adds"
    );
    assert_eq!(problem(EXPLICIT_CURVE), "it is an EC key with the parameters of its curve instead of the curve's name");
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        for content in ["", "AAAA", "MAA="] {
            let text = format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n");
            assert_eq!(problem(&text), "it is malformed", "{text}");
        }
    }
}

#[test]
fn a_certificate_of_version_1_is_refused_by_name() {
    let error = ClientCertificate::from_pem(VERSION_1, VERSION_1_KEY.as_bytes(), None).expect_err("version 1");
    assert_eq!(error.to_string(), "the certificate `CN=dev-1` has X.509 version 1; TLS needs version 3");
    // As an authority, such a certificate is possible.
    let certificate = Certificate::from_pem(VERSION_1).expect("a certificate");
    assert_eq!((certificate.version(), certificate.is_self_signed()), (1, true));
}

/// A key outside the program.
#[derive(Debug)]
struct Outside(Option<Vec<u8>>);

impl SigningKey for Outside {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        None
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.as_deref().map(SubjectPublicKeyInfoDer::from)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[test]
fn a_key_outside_the_program_is_checked_if_it_shows_its_public_key() {
    let [_, intermediate, device] = chain();
    let certificates = vec![device.certificate.clone(), intermediate.certificate.clone()];
    let with = |public_key: Option<Vec<u8>>, chain: &[Certificate]| {
        ClientCertificate::with_signing_key(chain.to_vec(), Arc::new(Outside(public_key)))
    };
    let right = Some(device.certificate.public_key());
    let wrong = Some(intermediate.certificate.public_key());
    let loaded = with(right.clone(), &certificates).expect("the right key");
    assert!(loaded.signs_outside() && with(None, &certificates).is_ok());
    let error = with(wrong, &certificates).expect_err("another key");
    assert_eq!(error, CertificateError::KeyMismatch { subject: "CN=dev-1".into() });
    let error = with(right.clone(), &[]).expect_err("no certificate");
    assert_eq!(error, CertificateError::NoCertificate { from: "the chain".into() });
    let broken = [device.certificate.clone(), device.certificate.clone()];
    assert!(matches!(with(right, &broken), Err(CertificateError::BrokenChain { .. })));
}

#[test]
fn a_key_in_a_file_signs_in_the_program() {
    let [_, intermediate, device] = chain();
    let chain = joined([&device, &intermediate]);
    let load = || ClientCertificate::from_pem(chain.as_bytes(), device.key_pem().as_bytes(), None).expect("a chain");
    let loaded = load();
    assert!(!loaded.signs_outside());
    let copy = loaded.clone();
    assert!(Arc::ptr_eq(&copy.certified_key(), &loaded.certified_key()), "a clone shares the key");
    assert_eq!(load(), loaded, "the same chain");
}
