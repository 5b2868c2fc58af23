//! The files: missing, too large, without end, and every form of PEM that users have.

use std::fs;
use std::path::Path;

use super::{Issued, chain, joined, params};
use crate::{CertificateError, ClientCertificate, FILE_MAX};

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = Issued::by_itself(params("dev-1"));
    let good = folder.path().join("device.pem");
    fs::write(&good, device.pem() + &device.key_pem()).expect("a file");
    assert!(ClientCertificate::from_files(&good, &good, None).is_ok(), "both in one file");
    let large = folder.path().join("large");
    fs::write(&large, vec![b'\n'; FILE_MAX + 1]).expect("a file");
    let missing = folder.path().join("missing");
    let mut cases = vec![
        (missing.as_path(), "cannot be read: No such file"),
        (folder.path(), "cannot be read: Is a directory"),
        (large.as_path(), "is larger than 1048576 bytes"),
    ];
    if cfg!(unix) {
        cases.push((Path::new("/dev/zero"), "is larger than 1048576 bytes"));
        cases.push((Path::new("/dev/null"), "is not valid PEM: it has no line `-----BEGIN`"));
    }
    for (file, expected) in cases {
        for (chain, key) in [(file, good.as_path()), (good.as_path(), file)] {
            let error = ClientCertificate::from_files(chain, key, None).expect_err(expected).to_string();
            let named = format!("`{}` {expected}", file.display());
            assert!(error.contains(&named), "{named}: {error}");
        }
    }
}

#[test]
fn a_file_of_the_maximum_size_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("device.pem");
    let device = Issued::by_itself(params("dev-1"));
    let mut text = device.pem() + &device.key_pem();
    text.extend(std::iter::repeat_n('\n', FILE_MAX - text.len()));
    fs::write(&file, text).expect("a file");
    assert!(ClientCertificate::from_files(&file, &file, None).is_ok());
}

#[test]
fn pem_has_many_forms() {
    let [root, intermediate, device] = chain();
    let chain = joined([&device, &intermediate, &root]);
    let key = device.key_pem();
    let other = Issued::by_itself(params("other"));
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (chain, key, case) in [
        (chain.clone(), key.clone(), "plain"),
        (chain.replace('\n', "\r\n"), key.replace('\n', "\r\n"), "CRLF"),
        (chain.replace('\n', "\r"), key.replace('\n', "\r"), "CR"),
        (format!("\u{feff}{chain}"), format!("\u{feff}{key}"), "a byte order mark"),
        (
            format!("subject=CN = dev-1\n\n{chain}"),
            format!("Bag Attributes\n    friendlyName: x\n{key}"),
            "text before",
        ),
        (chain.replace("-----\n-----", "-----\nissuer=x\n-----"), format!("{key}the end\n"), "text between and after"),
        (chain.trim_end().to_owned(), key.trim_end().to_owned(), "no line break at the end"),
        (chain.replace("\n-----END", "\n\n-----END"), key.replace("\n-----END", "\n\n-----END"), "an empty line"),
        (indented(&chain), indented(&key), "indented"),
        (chain.clone(), format!("{parameters}{key}"), "EC parameters before the key"),
        (chain.clone(), format!("{chain}{key}"), "certificates before the key"),
        (format!("{key}{chain}"), key.clone(), "the key before the certificates"),
        (chain.clone(), format!("{key}{}", other.key_pem()), "another key after it"),
        (chain.replace("CERTIFICATE", "X509 CERTIFICATE"), key.clone(), "the old label of OpenSSL"),
    ] {
        let loaded = ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), None);
        assert_eq!(loaded.map(|it| it.chain().len()).map_err(|it| it.to_string()), Ok(3), "{case}");
    }
    // A text before the blocks can have any encoding.
    let latin = [b"Ger\xe4t 1\n", chain.as_bytes()].concat();
    assert!(ClientCertificate::from_pem(&latin, key.as_bytes(), None).is_ok(), "Latin-1 before the chain");
}

fn indented(text: &str) -> String {
    text.lines().map(|it| format!(" \t{it}\n")).collect()
}

#[test]
fn damaged_pem_is_refused_and_not_shortened() {
    let [_, intermediate, device] = chain();
    let chain = joined([&device, &intermediate]);
    let end = "-----END CERTIFICATE-----";
    let cut = &chain[..chain.len() - end.len() - 10];
    let utf16: Vec<u8> = chain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (text, problem, case) in [
        (cut.as_bytes(), "the line `-----END` of a block is missing or different", "the last certificate is cut"),
        (
            chain.replacen(end, "", 1).leak().as_bytes(),
            "the line `-----END` of a block is missing or different",
            "the first end is missing",
        ),
        (
            chain.replacen(end, "-----END X-----", 1).leak().as_bytes(),
            "the line `-----END` of a block is missing or different",
            "another label at the end",
        ),
        (chain.replacen("MII", "M!I", 1).leak().as_bytes(), "a block is not base64", "a wrong digit"),
        (device.certificate.der(), "it is not text in UTF-8", "DER"),
        (&utf16, "it has no line `-----BEGIN`", "UTF-16"),
        (b"", "it has no line `-----BEGIN`", "empty"),
        (b"-----BEGIN CERTIFICATE", "it has no line `-----BEGIN`", "half a line"),
    ] {
        let error = ClientCertificate::from_pem(text, device.key_pem().as_bytes(), None).expect_err(case);
        let from = "the PEM text of the certificate".to_owned();
        assert_eq!(error, CertificateError::NotPem { from, problem }, "{case}");
    }
}

#[test]
fn other_blocks_are_named() {
    let device = Issued::by_itself(params("dev-1"));
    let (pem, key) = (device.pem(), device.key_pem());
    let trusted = pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    for (chain, key, expected) in [
        (&key, &key, "the PEM text of the certificate contains no certificate"),
        (&pem, &pem, "the PEM text of the key contains no private key"),
        (
            &trusted,
            &key,
            "the PEM text of the certificate contains a certificate that cannot be read: `TRUSTED CERTIFICATE` is a \
             format of OpenSSL only; `openssl x509 -in OLD -out NEW` converts it",
        ),
        (
            &pem,
            &key.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
            "the private key in the PEM text of the key cannot be used: the format `OPENSSH PRIVATE KEY` is not \
             supported",
        ),
    ] {
        let error = ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), None).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}
