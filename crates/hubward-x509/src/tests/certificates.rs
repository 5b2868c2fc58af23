//! The names, the serial number and the PEM of a certificate, and the registration id.

use rcgen::{DnType, DnValue, SanType, SerialNumber};

use super::{Issued, chain, params};
use crate::{COMMON_NAME_MAX, Certificate, CertificateError, ClientCertificate};

fn check_id(device: &Issued, id: &str) -> Result<(), CertificateError> {
    let (chain, key) = (device.pem(), device.key_pem());
    let loaded = ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), None).expect("a certificate");
    loaded.check_registration_id(id)
}

#[test]
fn the_common_name_must_be_the_registration_id() {
    let long = "x".repeat(COMMON_NAME_MAX);
    for (common_name, id, expected) in [
        ("dev-1", "dev-1", None),
        ("DEV-1", "dev-1", None),
        ("dev-1", "Dev-1", None),
        ("dev-1", "dev-2", Some("the common name of the certificate is `dev-1`, but it must be `dev-2`")),
        ("dev-1 ", "dev-1", Some("the common name of the certificate is `dev-1 `, but it must be `dev-1`")),
        ("", "dev-1", Some("the common name of the certificate is ``, but it must be `dev-1`")),
        ("K-1", "\u{212a}-1", Some("the common name of the certificate is `K-1`, but it must be `\u{212a}-1`")),
        ("dev\n", "dev-1", Some("the common name of the certificate is `dev\\0a`, but it must be `dev-1`")),
        (&long, &long, None),
    ] {
        let result = check_id(&Issued::by_itself(params(common_name)), id);
        assert_eq!(result.err().map(|it| it.to_string()).as_deref(), expected, "{common_name} for {id}");
    }
    // Characters, not bytes.
    let umlauts = "ü".repeat(COMMON_NAME_MAX);
    assert_eq!(check_id(&Issued::by_itself(params(umlauts.as_str())), &umlauts), Ok(()));
    let longer = "x".repeat(COMMON_NAME_MAX + 1);
    let error = check_id(&Issued::by_itself(params(longer.as_str())), &longer).expect_err("too long");
    assert_eq!(error.to_string(), "the common name of the certificate has 65 characters; DPS allows 64");
}

#[test]
fn a_certificate_without_a_common_name_is_named_by_its_other_parts() {
    let mut params = params("x");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Contoso");
    let device = Issued::by_itself(params);
    assert_eq!(device.certificate.common_name(), None);
    let error = check_id(&device, "dev-1").expect_err("no common name");
    assert_eq!(error.to_string(), "the certificate `O=Contoso` has no common name (CN)");
}

#[test]
fn the_first_of_several_common_names_counts() {
    let mut params = params("dev-1");
    // The same object identifier as `CommonName`, which rcgen would replace.
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "dev-2");
    let device = Issued::by_itself(params);
    assert_eq!(device.certificate.common_name(), Some("dev-1"));
    assert_eq!(device.certificate.subject_name(), "CN=dev-2, CN=dev-1");
}

#[test]
fn a_common_name_can_have_any_string_type() {
    for (value, expected) in [
        (DnValue::Utf8String("größe-1".into()), "größe-1"),
        (DnValue::PrintableString("dev-1".try_into().expect("printable")), "dev-1"),
        (DnValue::Ia5String("dev@1".try_into().expect("ASCII")), "dev@1"),
        (DnValue::TeletexString("dev-1".try_into().expect("ASCII")), "dev-1"),
        (DnValue::BmpString("größe-1".try_into().expect("UCS-2")), "größe-1"),
    ] {
        let case = format!("{value:?}");
        let device = Issued::by_itself(params(value));
        assert_eq!(device.certificate.common_name(), Some(expected), "{case}");
        assert_eq!(device.certificate.subject_name(), format!("CN={expected}"), "{case}");
        assert_eq!(check_id(&device, expected), Ok(()), "{case}");
    }
}

#[test]
fn names_have_the_form_that_azure_shows() {
    let mut params = params("x");
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, text) in [
        (DnType::CountryName, "US"),
        (DnType::OrganizationName, "MSFT"),
        (DnType::OrganizationalUnitName, "Azure IoT"),
        (DnType::CommonName, "dev, 1\n\u{1b}[31m\u{9b}"),
    ] {
        params.distinguished_name.push(kind, text);
    }
    let certificate = Issued::by_itself(params).certificate;
    // Control characters are escaped, so a certificate of another party cannot control a terminal.
    assert_eq!(certificate.subject_name(), "CN=dev\\, 1\\0a\\1b[31m\\c2\\9b, OU=Azure IoT, O=MSFT, C=US");
    assert_eq!(certificate.issuer_name(), certificate.subject_name());
}

#[test]
fn the_serial_number_has_no_leading_zero_byte() {
    for (bytes, expected) in [(vec![1], "01"), (vec![0x7f, 0], "7F00"), (vec![0x80, 1], "8001")] {
        let mut params = params("dev-1");
        params.serial_number = Some(SerialNumber::from_slice(&bytes));
        assert_eq!(Issued::by_itself(params).certificate.serial_number(), expected, "{bytes:?}");
    }
}

#[test]
fn pem_and_the_forms_of_the_service_give_the_same_certificate() {
    let [_, _, device] = chain();
    let certificate = &device.certificate;
    let pem = certificate.to_pem();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\nMII") && pem.ends_with("\n-----END CERTIFICATE-----\n"));
    assert!(pem.lines().all(|it| it.len() <= 64) && !pem.contains('\r'));
    let lines: Vec<&str> = pem.lines().collect();
    let base64 = lines[1..lines.len() - 1].join("\r\n");
    let twice = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pem);
    for (text, case) in [
        (pem.clone(), "PEM"),
        (pem.replace('\n', "\r\n"), "PEM with CRLF"),
        (base64.clone(), "base64 in lines"),
        (base64.replace("\r\n", ""), "base64 in one line"),
        (twice, "base64 of PEM"),
    ] {
        assert_eq!(Certificate::from_service_text(&text).as_ref(), Ok(certificate), "{case}");
    }
    for (text, expected) in [
        ("", "the text contains a certificate that cannot be read"),
        ("no base64!", "the text is not valid PEM: it is neither PEM nor base64"),
        ("AAAA", "the text contains a certificate that cannot be read"),
        ("-----BEGIN CERTIFICATE-----", "the PEM text is not valid PEM: the line `-----END` of a block is missing"),
    ] {
        let error = Certificate::from_service_text(text).expect_err(text);
        assert!(error.to_string().starts_with(expected), "`{text}`: {error}");
    }
}

#[test]
fn debug_shows_names_but_no_key() {
    let [_, intermediate, device] = chain();
    let chain = super::joined([&device, &intermediate]);
    let loaded = ClientCertificate::from_pem(chain.as_bytes(), device.key_pem().as_bytes(), None).expect("a chain");
    let text = format!("{loaded:?} {:#?}", loaded.leaf());
    assert!(text.contains("CN=dev-1") && text.contains(&device.certificate.sha256_thumbprint()), "{text}");
    let key = device.key_pem();
    for line in key.lines().filter(|it| !it.starts_with('-')) {
        assert!(!text.contains(line), "the key in {text}");
    }
    assert!(!text.to_lowercase().contains("private"), "{text}");
}

#[test]
fn the_uris_of_a_certificate_are_listed() {
    let mut with_uris = params("dev-1");
    let uri = |it: &str| SanType::URI(it.try_into().expect("ASCII"));
    with_uris.subject_alt_names = vec![
        SanType::DnsName("dev-1.example".try_into().expect("ASCII")),
        uri("urn:uuid:5ecd03d5-8183-412b-9d6e-b95a7f36feb7"),
        uri("urn:example:2"),
    ];
    let certificate = Issued::by_itself(with_uris).certificate;
    assert_eq!(certificate.alternative_uris(), ["urn:uuid:5ecd03d5-8183-412b-9d6e-b95a7f36feb7", "urn:example:2"]);
    assert!(Issued::by_itself(params("dev-1")).certificate.alternative_uris().is_empty());
}
