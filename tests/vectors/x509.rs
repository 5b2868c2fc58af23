//! Certificates, chains, private keys and certificate requests of a test PKI, and the packets that Microsoft's SDKs
//! send with them (see `README.md`). The private keys in `x509.json` are public: never use them for a device.
//!
//! `x509_accounted.json` lists every example, as `accounted.json` does for the other vectors.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_proto::dps::{RegistrationState, sas_resource};
use hubward_proto::{IdScope, RegistrationId};
use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use hubward_x509::{Certificate, CertificateError, CertificateRequest, CertificateSigner, ClientCertificate};
use serde_json::Value;

use super::{Sides, x509_matching, x509_traces};

const BOTH: Sides = Sides { client: true, emulator: true };

/// All examples: the name of the section, the name in the section, and the example.
pub(super) struct Examples(Value);

impl Examples {
    fn load() -> Self {
        let file: Value = serde_json::from_str(include_str!("x509.json")).expect("x509.json is JSON");
        assert_eq!(file["format"], 1, "these tests read format 1");
        Self(file)
    }

    /// The examples of one section. A list becomes a map with the member `key` as name.
    fn section(&self, section: &str, key: &str) -> BTreeMap<String, &Value> {
        match &self.0[section] {
            Value::Object(it) => it.iter().map(|(name, it)| (name.clone(), it)).collect(),
            Value::Array(it) => it.iter().map(|it| (text(it, key).to_owned(), it)).collect(),
            other => panic!("{section}: {other}"),
        }
    }

    pub(super) fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_pem(text(&self.0["certificates"][name], "pem").as_bytes()).expect(name)
    }

    /// The private key of a certificate as PEM.
    pub(super) fn key_pem(&self, name: &str) -> &str {
        text(&self.0["certificates"][name], "key_pkcs8_pem")
    }

    /// The chain of a leaf as PEM. A leaf without a chain is alone.
    pub(super) fn chain_pem(&self, leaf: &str) -> String {
        let alone = vec![Value::from(leaf)];
        let names = self.0["chains"][leaf].as_array().unwrap_or(&alone);
        names.iter().map(|it| text(&self.0["certificates"][it.as_str().expect("a name")], "pem")).collect()
    }
}

pub(super) fn text<'a>(example: &'a Value, member: &str) -> &'a str {
    example[member].as_str().unwrap_or_else(|| panic!("no text {member} in {example}"))
}

pub(super) fn optional<'a>(example: &'a Value, member: &str) -> Option<&'a str> {
    example[member].as_str()
}

/// Names, serial number, dates, thumbprints, issuer, and the private key of a certificate.
fn certificate(all: &Examples, name: &str, example: &Value) -> Sides {
    let it = all.certificate(name);
    assert_eq!(it.subject_name(), text(example, "subject"), "{name}");
    assert_eq!(it.issuer_name(), text(example, "issuer"), "{name}");
    assert_eq!(it.common_name().map(|it| format!("CN={it}")).as_deref(), Some(text(example, "subject")), "{name}");
    assert_eq!(it.serial_number(), text(example, "serial_hex"), "{name}");
    assert_eq!(it.sha1_thumbprint(), text(example, "sha1"), "{name}");
    assert_eq!(it.sha256_thumbprint(), text(example, "sha256"), "{name}");
    assert_eq!(it.version(), 3, "{name}");
    for (found, member) in [(it.not_before(), "not_before"), (it.not_after(), "not_after")] {
        assert_eq!(found, date(text(example, member)), "{name}: {member}");
    }
    assert_eq!(it.is_authority(), matches!(name, "root" | "inter" | "otherroot"), "{name}");
    // Each certificate is issued by the one with the issuer's name, and by no other.
    for (other_name, other) in all.section("certificates", "") {
        let other_name = other_name.as_str();
        let is_itself = matches!(name, "self1" | "self2");
        // Two certificates have the name of `self1`, and only the key tells which of them is the issuer.
        let expected = text(other, "subject") == text(example, "issuer") && (!is_itself || other_name == name);
        assert_eq!(it.is_issued_by(&all.certificate(other_name)), expected, "{name} by {other_name}");
    }
    // The emulator gets certificates as PEM or as base64, from the service APIs.
    let base64 = STANDARD.encode(it.der());
    for service_text in [text(example, "pem"), &base64] {
        assert_eq!(Certificate::from_service_text(service_text).as_ref(), Ok(&it), "{name}");
    }
    if let Some(key) = optional(example, "key_pkcs8_pem") {
        let loaded = ClientCertificate::from_pem(text(example, "pem").as_bytes(), key.as_bytes(), None);
        assert_eq!(loaded.expect(name).leaf(), &it, "{name}");
    }
    BOTH
}

fn date(text: &str) -> SystemTime {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a date").into()
}

/// The client loads the whole chain, in the order of the file. In any other order, it refuses the chain.
fn chain(all: &Examples, leaf: &str, example: &Value) -> Sides {
    let names: Vec<&str> = example.as_array().expect("names").iter().map(|it| it.as_str().expect("a name")).collect();
    assert_eq!(names[0], leaf);
    let key = text(&all.0["certificates"][leaf], "key_pkcs8_pem");
    let loaded = ClientCertificate::from_pem(all.chain_pem(leaf).as_bytes(), key.as_bytes(), None).expect(leaf);
    let expected: Vec<Certificate> = names.iter().map(|it| all.certificate(it)).collect();
    assert_eq!(loaded.chain(), expected, "{leaf}");
    for start in 1..names.len() {
        let wrong: String =
            [names[0]].iter().chain(names[start..].iter().rev()).map(|it| all.certificate(it).to_pem()).collect();
        let outcome = ClientCertificate::from_pem(wrong.as_bytes(), key.as_bytes(), None);
        // If only one authority follows the leaf, it may be the right one.
        let is_right = names.len() - start == 1 && start == 1;
        assert_eq!(outcome.is_ok(), is_right, "{leaf}, the authorities from {start} in reverse: {outcome:?}");
        assert!(is_right || matches!(outcome, Err(CertificateError::BrokenChain { .. })), "{leaf}");
    }
    Sides { client: true, emulator: false }
}

/// Another encoding of the private key of `leaf_p256` or `leaf_rsa`.
fn key_encoding(all: &Examples, name: &str, example: &Value) -> Sides {
    let leaf = if name.starts_with("leaf_rsa") { "leaf_rsa" } else { "leaf_p256" };
    let (chain, key) = (all.chain_pem(leaf), text(example, "pem"));
    let load = |passphrase: Option<&str>| ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), passphrase);
    let from = "the PEM text of the key".to_owned();
    match optional(example, "passphrase") {
        Some(passphrase) if name.ends_with("legacy_encrypted") => {
            assert_eq!(load(Some(passphrase)).err(), Some(CertificateError::OldEncryption { from }), "{name}");
        }
        Some(passphrase) => {
            assert_eq!(load(Some(passphrase)).expect(name).leaf(), &all.certificate(leaf), "{name}");
            assert_eq!(load(None).err(), Some(CertificateError::PassphraseNeeded { from: from.clone() }), "{name}");
            let wrong = format!("{passphrase}x");
            assert_eq!(load(Some(&wrong)).err(), Some(CertificateError::WrongPassphrase { from }), "{name}");
        }
        None => assert_eq!(load(None).expect(name).leaf(), &all.certificate(leaf), "{name}"),
    }
    Sides { client: true, emulator: false }
}

/// A certificate request: its subject, its key, and its signature.
fn request(name: &str, example: &Value) -> Sides {
    let der = STANDARD.decode(text(example, "base64_der")).expect("base64");
    let it = CertificateRequest::from_der(&der).expect(name);
    assert_eq!(it.subject_name(), text(example, "subject"), "{name}");
    assert!(it.is_signed_by_its_key(), "{name}");
    let key = CertificateSigner::from_pem(text(example, "key_pkcs8_pem").as_bytes(), None).expect(name);
    assert_eq!(it.public_key(), key.public_key(), "{name}: the request is for this key");
    BOTH
}

/// A token that a TPM signed. A TPM is a `Signer` for the client; the emulator checks the token.
fn tpm_sas(example: &Value) -> Sides {
    let key = SharedKey::from_bytes(text(example, "hmac_key_ascii").as_bytes()).expect("a key");
    let resource = sas_resource(
        &IdScope::new("0ne00TEST01").expect("an id scope"),
        &RegistrationId::new("tpm-dev-01").expect("an id"),
    );
    let expiry = UnixSeconds(1_795_984_684);
    assert_eq!(SasToken::string_to_sign(&resource, expiry), text(example, "string_to_sign"));
    assert_eq!(SasToken::sign(&key, &resource, expiry, Some("registration")).expose(), text(example, "token"));
    let signature: [u8; 32] =
        STANDARD.decode(text(example, "signature_base64")).expect("base64").try_into().expect("32 bytes");
    assert_eq!(
        SasToken::from_signature(&signature, &resource, expiry, Some("registration")).expose(),
        text(example, "token")
    );
    let read = SasToken::parse(text(example, "token")).expect("a token");
    assert!(read.is_signed_by(&key) && read.is_for(&resource));
    assert_eq!((read.expiry(), read.policy()), (expiry, Some("registration")));
    BOTH
}

/// The member `x509` of a registration: the client reads it, and the emulator writes the same.
fn live_state(name: &str, example: &Value) -> Sides {
    let answer = serde_json::json!({"registrationId": "x509-dev-01", "x509": example["json"]});
    let read: RegistrationState = serde_json::from_value(answer.clone()).expect(name);
    assert_eq!(read.x509.as_ref(), Some(&example["json"]), "{name}");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), answer, "{name}");
    BOTH
}

/// Checks every example. Returns the sides that were checked, by id.
fn check_all() -> BTreeMap<String, Sides> {
    let all = Examples::load();
    let mut checked = BTreeMap::new();
    let mut check = |section: &str, key: &str, check: &dyn Fn(&str, &Value) -> Sides| {
        for (name, example) in all.section(section, key) {
            checked.insert(format!("{section}/{name}"), check(&name, example));
        }
    };
    check("certificates", "", &|name, it| certificate(&all, name, it));
    check("chains", "", &|name, it| chain(&all, name, it));
    check("key_encodings", "", &|name, it| key_encoding(&all, name, it));
    check("csrs", "", &request);
    check("live_registration_state_x509", "attestation", &live_state);
    check("cases", "case", &|name, it| {
        x509_traces::check(name, it, &|thumbprint| {
            let certificates = all.section("certificates", "");
            let (leaf, _) = certificates.into_iter().find(|(_, it)| it["sha256"] == thumbprint).expect("a certificate");
            all.certificate(&leaf)
        })
    });
    check("matching", "id", &|name, it| x509_matching::check(&all, name, it));
    checked.insert("tpm_sas".to_owned(), tpm_sas(&all.0["tpm_sas"]));
    checked
}

#[test]
fn every_example_is_handled_on_the_sides_it_is_listed_for() {
    let listed: Value = serde_json::from_str(include_str!("x509_accounted.json")).expect("JSON");
    let checked = check_all();
    assert_eq!(checked.len(), 56, "all examples");
    assert_eq!(super::listed_sides(&listed), checked.iter().map(|(id, sides)| (id.as_str(), *sides)).collect());
}
