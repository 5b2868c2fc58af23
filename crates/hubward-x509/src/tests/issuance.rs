//! A new key, a request for it, the issued chain in each encoding, and what the device presents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    Issuer, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
};

use super::{Issued, authority, chain, params};
use crate::{
    CHAIN_MAX, Certificate, CertificateError, CertificateRequest, ClientCertificate, DeviceKey, FILE_MAX, KeyAlgorithm,
};

/// A public test key of 2048 bits; see `data/README.md`.
const RSA_KEY: &str = include_str!("data/rsa.key");

/// Issues a certificate for a request, as an authority does.
fn issue(request: &CertificateRequest, by: &Issued) -> Certificate {
    let params = params(request.common_name().expect("a name"));
    let key = RequestedKey(request.public_key());
    let made = params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).expect("a certificate");
    Certificate::from_der(made.der()).expect("a readable certificate")
}

/// The public key of a request (`SubjectPublicKeyInfo`), in the form that rcgen needs.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        // The bits of the key are the last part of the structure. Before them are the algorithm and its parameters.
        let length = match self.0.len() {
            91 => 65,
            120 => 97,
            294 => 270,
            other => panic!("a public key of {other} bytes"),
        };
        &self.0[self.0.len() - length..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.0.len() {
            91 => &PKCS_ECDSA_P256_SHA256,
            120 => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_RSA_SHA256,
        }
    }
}

#[test]
fn a_new_key_its_request_and_the_issued_chain_become_a_client_certificate() {
    let root = Issued::by_itself(authority("root"));
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        let key = DeviceKey::generate(algorithm).expect("a key");
        assert_eq!(key.signer().algorithm(), algorithm);
        let request = CertificateRequest::new("Dev_1.a:b-", key.signer()).expect("a request");
        assert_eq!(request.subject_name(), "CN=Dev_1.a:b-", "{algorithm:?}");
        assert_eq!(request.public_key(), key.signer().public_key(), "{algorithm:?}");
        assert!(request.is_signed_by_its_key(), "{algorithm:?}");
        assert_eq!(STANDARD.decode(request.to_base64()).as_deref(), Ok(request.der()), "{algorithm:?}");

        let issued = vec![issue(&request, &root), root.certificate.clone()];
        let presented = ClientCertificate::with_device_key(issued.clone(), &key).expect("a pair");
        assert_eq!(presented.chain(), issued, "{algorithm:?}");
        assert!(!presented.signs_outside(), "{algorithm:?}");

        let stored = key.expose_pem();
        assert!(stored.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{algorithm:?}");
        let again = DeviceKey::from_pem(&stored).expect("the stored key");
        assert_eq!(again.signer().public_key(), key.signer().public_key(), "{algorithm:?}");
        let text: String = issued.iter().map(Certificate::to_pem).collect();
        let loaded = ClientCertificate::from_pem(text.as_bytes(), stored.as_bytes(), None).expect("from the store");
        assert_eq!(loaded, presented, "{algorithm:?}");
    }
}

#[test]
fn a_request_can_have_a_key_of_the_user() {
    let key = DeviceKey::from_pem(RSA_KEY).expect("a key");
    let request = CertificateRequest::new("dev-1", key.signer()).expect("a request");
    assert!(request.is_signed_by_its_key());
    let root = Issued::by_itself(authority("root"));
    ClientCertificate::with_device_key(vec![issue(&request, &root)], &key).expect("a pair");
    assert!(DeviceKey::generate(KeyAlgorithm::Rsa).is_err(), "ring makes no RSA keys");
}

#[test]
fn each_new_key_is_different_and_is_never_printed() {
    let [one, other] = [(); 2].map(|()| DeviceKey::generate(KeyAlgorithm::EcP256).expect("a key"));
    assert_ne!(one.signer().public_key(), other.signer().public_key());
    assert_eq!(format!("{one:?}"), "DeviceKey { algorithm: EcP256, .. }");
}

#[test]
fn the_common_name_of_a_request_has_1_to_64_characters() {
    let key = DeviceKey::generate(KeyAlgorithm::EcP256).expect("a key");
    let request = |length: usize| CertificateRequest::new(&"a".repeat(length), key.signer());
    assert_eq!(request(0).err(), Some(CertificateError::NoCommonName { subject: String::new() }));
    assert_eq!(request(64).expect("a request").common_name().map(str::len), Some(64));
    assert_eq!(request(65).err(), Some(CertificateError::LongCommonName { length: 65, limit: 64 }));
}

#[test]
fn another_key_or_order_is_refused() {
    let [root, intermediate, _] = chain();
    let key = DeviceKey::generate(KeyAlgorithm::EcP384).expect("a key");
    let request = CertificateRequest::new("dev-1", key.signer()).expect("a request");
    let leaf = issue(&request, &intermediate);
    let others = || [intermediate.certificate.clone(), root.certificate.clone()];
    let chain = |first: &Certificate| [vec![first.clone()], others().to_vec()].concat();
    ClientCertificate::with_device_key(chain(&leaf), &key).expect("the right order");

    let other_key = DeviceKey::generate(KeyAlgorithm::EcP384).expect("a key");
    let error = ClientCertificate::with_device_key(chain(&leaf), &other_key).expect_err("another key");
    assert_eq!(error, CertificateError::KeyMismatch { subject: "CN=dev-1".into() });
    let mut reversed = chain(&leaf);
    reversed[1..].reverse();
    let error = ClientCertificate::with_device_key(reversed, &key).expect_err("another order");
    assert!(matches!(error, CertificateError::BrokenChain { .. }), "{error}");
    let error = ClientCertificate::with_device_key(Vec::new(), &key).expect_err("no certificate");
    assert!(matches!(error, CertificateError::NoCertificate { .. }), "{error}");
}

#[test]
fn an_issued_chain_is_read_in_each_encoding() {
    let [root, intermediate, device] = chain();
    let all = [&device, &intermediate, &root].map(|it| it.certificate.clone());
    let der = |it: &Certificate| STANDARD.encode(it.der());
    let pem = Certificate::to_pem;
    let base64_pem = |it: &Certificate| STANDARD.encode(it.to_pem());
    let crlf = |it: &Certificate| it.to_pem().replace('\n', "\r\n");
    let wrapped = |it: &Certificate| {
        der(it).as_bytes().chunks(64).map(|it| String::from_utf8_lossy(it)).collect::<Vec<_>>().join("\n")
    };
    let read = |texts: &[String]| Certificate::chain_from_service_texts(texts);
    for (what, texts) in [
        ("base64 of DER", all.each_ref().map(der).to_vec()),
        ("PEM", all.each_ref().map(pem).to_vec()),
        ("base64 of PEM", all.each_ref().map(base64_pem).to_vec()),
        ("PEM with CRLF", all.each_ref().map(crlf).to_vec()),
        ("base64 in lines", all.each_ref().map(wrapped).to_vec()),
        ("mixed", vec![der(&all[0]), pem(&all[1]), base64_pem(&all[2])]),
        ("one PEM text with all", vec![all.iter().map(pem).collect()]),
        ("base64 of one PEM text with all", vec![STANDARD.encode(all.iter().map(pem).collect::<String>())]),
    ] {
        assert_eq!(read(&texts).as_deref(), Ok(&all[..]), "{what}");
    }
    let secret = device.key_pem();
    for (what, texts) in [
        ("nothing", vec![]),
        ("an empty text", vec![der(&all[0]), String::new()]),
        ("neither PEM nor base64", vec!["?".to_owned()]),
        ("base64 of other data", vec!["AAAA".to_owned()]),
        ("a private key", vec![secret]),
        ("a text in two pieces", vec![der(&all[0])[..40].to_owned(), der(&all[0])[40..].to_owned()]),
        ("too many certificates", vec![der(&all[0]); CHAIN_MAX + 1]),
        ("too many certificates in one text", vec![all.iter().map(pem).collect(); CHAIN_MAX / 3 + 1]),
        ("too large", vec!["A".repeat(FILE_MAX + 4)]),
        ("too large together", vec!["A".repeat(FILE_MAX / 2), "A".repeat(FILE_MAX / 2 + 4)]),
    ] {
        assert!(read(&texts).is_err(), "{what}");
    }
}
