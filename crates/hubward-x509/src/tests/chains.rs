//! The order of a chain, who issued whom, and the validity of its certificates.

use std::time::{Duration, UNIX_EPOCH};

use super::{Issued, authority, chain, joined, now, params};
use crate::{CHAIN_MAX, Certificate, CertificateError, ClientCertificate};

/// Loads a chain with the key of `device`.
fn load(chain: &str, device: &Issued) -> Result<ClientCertificate, CertificateError> {
    ClientCertificate::from_pem(chain.as_bytes(), device.key_pem().as_bytes(), None)
}

#[test]
fn a_chain_can_end_at_any_authority() {
    let [root, intermediate, device] = chain();
    for (parts, case) in [
        (vec![&device], "only the device"),
        (vec![&device, &intermediate], "without the root"),
        (vec![&device, &intermediate, &root], "complete"),
    ] {
        let loaded = load(&joined(parts.iter().copied()), &device).expect(case);
        assert_eq!(loaded.chain().len(), parts.len(), "{case}");
        assert_eq!(loaded.leaf(), &device.certificate, "{case}");
        assert_eq!(loaded.certified_key().cert.len(), parts.len(), "{case}: TLS sends the whole chain");
        assert_eq!(loaded.check(now()), Ok(()), "{case}");
    }
}

#[test]
fn a_broken_chain_says_where_it_breaks() {
    let [root, intermediate, device] = chain();
    let namesake = Issued::by_itself(authority("intermediate"));
    let stranger = Issued::by_itself(authority("stranger"));
    for (parts, expected, case) in [
        (
            vec![&device, &root, &intermediate],
            "the chain is broken: `CN=dev-1` is issued by `CN=intermediate`, but the next certificate is `CN=root`",
            "wrong order",
        ),
        (
            vec![&device, &root],
            "the chain is broken: `CN=dev-1` is issued by `CN=intermediate`, but the next certificate is `CN=root`",
            "the intermediate is missing",
        ),
        (
            vec![&device, &intermediate, &stranger],
            "the chain is broken: `CN=intermediate` is issued by `CN=root`, but the next certificate is `CN=stranger`",
            "another root",
        ),
        (
            vec![&device, &namesake],
            "the chain is broken: `CN=dev-1` is issued by `CN=intermediate`, but the next certificate is \
             `CN=intermediate`, whose key did not sign it",
            "the name of the issuer fits, but its key does not",
        ),
        (
            vec![&device, &device],
            "the chain is broken: `CN=dev-1` is issued by `CN=intermediate`, but the next certificate is `CN=dev-1`",
            "the same certificate twice",
        ),
    ] {
        let error = load(&joined(parts), &device).expect_err(case);
        assert_eq!(error.to_string(), expected, "{case}");
        assert!(matches!(error, CertificateError::BrokenChain { .. }), "{case}");
    }
    // The root comes first: the key of the device does not belong to it.
    let error = load(&joined([&root, &intermediate, &device]), &device).expect_err("upside down");
    assert_eq!(error.to_string(), "the private key does not belong to the certificate `CN=root`");
}

#[test]
fn who_issued_whom() {
    let [root, intermediate, device] = chain();
    let namesake = Issued::by_itself(authority("intermediate"));
    for (issued, issuer, expected, case) in [
        (&device, &intermediate, true, "the issuer"),
        (&device, &root, false, "the issuer of the issuer"),
        (&device, &namesake, false, "another authority with the same name"),
        (&device, &device, false, "itself"),
        (&intermediate, &root, true, "the root"),
        (&root, &root, true, "self-signed"),
        (&root, &intermediate, false, "the other way round"),
    ] {
        assert_eq!(issued.certificate.is_issued_by(&issuer.certificate), expected, "{case}");
    }
    assert!(root.certificate.is_self_signed() && !device.certificate.is_self_signed());
    assert!(root.certificate.is_authority() && intermediate.certificate.is_authority());
    assert!(!device.certificate.is_authority());
}

#[test]
fn names_are_compared_without_regard_to_case_white_space_and_string_type() {
    let root = Issued::by_itself(authority("Contoso Root"));
    for (name, same) in [("Contoso Root", true), ("contoso  ROOT ", true), ("Contoso", false), ("ContosoRoot", false)] {
        // The device's certificate names its issuer as `name`; the key of the root signs it.
        let printable = rcgen::DnValue::PrintableString(name.try_into().expect("a printable string"));
        let mut params = authority(name);
        params.distinguished_name.remove(rcgen::DnType::CommonName);
        params.distinguished_name.push(rcgen::DnType::CommonName, printable);
        let key = rcgen::KeyPair::from_pem(&root.key_pem()).expect("the key of the root");
        let device = Issued { certificate: root.certificate.clone(), params, key }.issue(super::params("dev-1"));
        assert_eq!(device.certificate.is_issued_by(&root.certificate), same, "{name}");
    }
}

#[test]
fn a_damaged_signature_is_found() {
    let [_, intermediate, device] = chain();
    let mut der = device.certificate.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let damaged = Certificate::from_der(&der).expect("still a certificate");
    assert!(!damaged.is_issued_by(&intermediate.certificate));
}

#[test]
fn a_chain_has_a_maximum_length() {
    let mut issued = vec![Issued::by_itself(authority("a0"))];
    for number in 1..CHAIN_MAX {
        let next = issued[number - 1].issue(authority(&format!("a{number}")));
        issued.push(next);
    }
    let leaf_first = joined(issued.iter().rev());
    let loaded = load(&leaf_first, &issued[CHAIN_MAX - 1]).expect("the longest chain");
    assert_eq!(loaded.chain().len(), CHAIN_MAX);
    let error = load(&(leaf_first + &issued[0].pem()), &issued[CHAIN_MAX - 1]).expect_err("one more");
    assert_eq!(error.to_string(), "the PEM text of the certificate contains more than 10 certificates");
}

#[test]
fn dates_include_their_first_and_last_second() {
    let device = Issued::by_itself(params("dev-1"));
    let (first, last) =
        (UNIX_EPOCH + Duration::from_secs(1_704_067_200), UNIX_EPOCH + Duration::from_secs(2_493_072_000));
    let loaded = load(&device.pem(), &device).expect("a certificate");
    assert_eq!((loaded.leaf().not_before(), loaded.leaf().not_after()), (first, last));
    let (nanosecond, second) = (Duration::from_nanos(1), Duration::from_secs(1));
    let early = "the certificate `CN=dev-1` is not valid before 2024-01-01T00:00:00Z";
    let late = "the certificate `CN=dev-1` expired at 2049-01-01T00:00:00Z";
    for (now, expected, case) in [
        (UNIX_EPOCH, Some(early), "a clock that was never set"),
        (first - nanosecond, Some(early), "just before the first second"),
        (first, None, "the first second"),
        (last, None, "the last second"),
        (last + second - nanosecond, None, "the end of the last second"),
        (last + second, Some(late), "just after the last second"),
    ] {
        assert_eq!(loaded.check(now).err().map(|it| it.to_string()).as_deref(), expected, "{case}");
    }
}

#[test]
fn an_authority_of_the_chain_can_expire_too() {
    let root = Issued::by_itself(authority("root"));
    let mut old = authority("old");
    old.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let old = root.issue(old);
    let device = old.issue(params("dev-1"));
    let loaded = load(&joined([&device, &old]), &device).expect("a chain");
    let error = loaded.check(now()).expect_err("expired");
    assert_eq!(error.to_string(), "the certificate `CN=old` expired at 2025-01-01T00:00:00Z");
}
