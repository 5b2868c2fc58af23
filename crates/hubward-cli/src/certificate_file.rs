//! Reads the certificate in a file that an operator names. A private key in the file is never sent to a service.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward::vars;
use hubward_x509::{Certificate, CertificateError, FILE_MAX};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::shell::Shell;
use crate::stop::reading;

/// The first byte of a certificate in DER: the tag of a sequence.
const DER_START: u8 = 0x30;

/// A certificate, and the file that contains it.
#[derive(Debug)]
pub(crate) struct CertificateFile {
    file: PathBuf,
    certificate: Certificate,
    has_key: bool,
}

/// The files with which a device authenticates. The paths are absolute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceFiles {
    certificate: PathBuf,
    /// The file with the private key, if it is known.
    key: Option<PathBuf>,
}

impl CertificateFile {
    /// Reads the first certificate of a PEM file, or the certificate of a DER file. Errors name the argument `flag`.
    ///
    /// Prints a warning if the file also contains a private key.
    pub(crate) fn read(flag: &str, file: &Path) -> Result<Self, Failure> {
        let read = Self::open(file).map_err(|mut failure| {
            failure.messages[0] = format!("{flag}: {}", failure.messages[0]);
            failure
        })?;
        if read.has_key {
            tracing::warn!(
                "{flag}: the file {} also contains a private key, which the command does not send",
                file.display()
            );
        }
        Ok(read)
    }

    /// Like [`CertificateFile::read`], but prints no warning, and errors do not name an argument.
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        let path = file.to_owned();
        let read = reading(move || bytes(&path))?;
        let bytes = read.map_err(|error| {
            Failure::usage(format!("the file {} cannot be read: {error}", file.display()))
                .hint("check the path, and whether this user may read the file")
        })?;
        let certificate = parse(&bytes)
            .map_err(|error| Failure::usage(format!("the file {}: {error}", file.display())).hint(error.advice()))?;
        Ok(Self { file: file.to_owned(), certificate, has_key: has_private_key(&bytes) })
    }

    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate as PEM, without the line break at its end.
    pub(crate) fn to_pem(&self) -> String {
        self.certificate.to_pem().trim_end().to_owned()
    }

    /// The certificate as the base64 of its DER.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(self.certificate.der())
    }

    /// The files that a device needs. The private key may be in the same file, or in the file with the extension `key`
    /// beside it.
    pub(crate) fn device_files(&self) -> DeviceFiles {
        let beside = self.file.with_extension("key");
        let key = if self.has_key { Some(&self.file) } else { Some(&beside).filter(|it| it.is_file()) };
        DeviceFiles { certificate: absolute(&self.file), key: key.map(|it| absolute(it)) }
    }
}

/// Returns the lines that set the files of a device's certificate and of its private key. `files` are the paths, as far
/// as they are known.
pub(crate) fn export_files(shell: Shell, files: Option<DeviceFiles>) -> [String; 2] {
    let (certificate, key) = files.map_or((None, None), |it| (Some(it.certificate), it.key));
    let text =
        |path: Option<PathBuf>, default: &str| path.map_or_else(|| default.to_owned(), |it| it.display().to_string());
    let certificate = text(certificate, "the file with the certificate and its issuers");
    let key = text(key, "the file with the private key");
    [shell.export(vars::CERT_FILE, &certificate), shell.export(vars::KEY_FILE, &key)]
}

fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// Reads at most one byte more than a certificate file may have. The bytes may contain a private key.
fn bytes(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
    File::open(file)?.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    if bytes.first() == Some(&DER_START) && bytes.len() <= FILE_MAX {
        return Certificate::from_der(bytes);
    }
    Certificate::from_pem(bytes)
}

fn has_private_key(bytes: &[u8]) -> bool {
    const LABEL: &[u8] = b"PRIVATE KEY-----";
    bytes.windows(LABEL.len()).any(|it| it == LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate with the common name `dev-1`, made by OpenSSL.
    const PEM: &str = "-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUCbuCCTKzYsWF77BduqlsBmTsE94wCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFZGV2LTEwIBcNMjYxMjAxMTI0NDM0WhgPMjEyNjExMDcxMjQ0
MzRaMBAxDjAMBgNVBAMMBWRldi0xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
BtAUUazsDyfFST27ZUEFaLU9AwDbiE4GEOr/C3s0oMY+bLz1nFoNs8TScYbplG1h
f/icfVZ8lVXTVEScqwELt6NTMFEwHQYDVR0OBBYEFI+85RjsG7Z8mE0sDew+W5zq
EIdpMB8GA1UdIwQYMBaAFI+85RjsG7Z8mE0sDew+W5zqEIdpMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhANR17esBVV/iGmJOlLcVvyNnpz2YMqdP
fhM7rn0K/+yXAiEAhfmDhsQRP9S0LbIf8lk4sFenmbfU9CcaoyStacM82XU=
-----END CERTIFICATE-----
";

    fn read(content: &[u8]) -> Result<CertificateFile, Failure> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("written");
        CertificateFile::read("--path", file.path())
    }

    #[test]
    fn a_file_is_pem_or_der() {
        let from_pem = read(PEM.as_bytes()).expect("PEM");
        assert_eq!(from_pem.certificate().common_name(), Some("dev-1"));
        let from_der = read(from_pem.certificate().der()).expect("DER");
        assert_eq!(from_der.certificate(), from_pem.certificate());
        assert_eq!(from_der.to_pem(), PEM.trim_end());
        assert_eq!(STANDARD.decode(from_der.to_base64()).expect("base64"), from_pem.certificate().der());
    }

    #[test]
    fn a_private_key_in_the_file_is_not_part_of_what_is_sent() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n";
        let both = read(format!("{key}{PEM}").as_bytes()).expect("a certificate");
        assert_eq!(both.to_pem(), PEM.trim_end());
        let files = both.device_files();
        assert_eq!(files.key.as_ref(), Some(&files.certificate));
        let failure = read(key.as_bytes()).expect_err("no certificate");
        assert!(!format!("{failure:?}").contains("c2VjcmV0"), "{failure:?}");
    }

    #[test]
    fn a_key_with_the_same_name_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dev-1.pem");
        std::fs::write(&file, PEM).expect("written");
        let read = || CertificateFile::read("--path", &file).expect("a certificate").device_files();
        assert_eq!(read(), DeviceFiles { certificate: file.clone(), key: None });
        let key = folder.path().join("dev-1.key");
        std::fs::write(&key, "").expect("written");
        assert_eq!(read(), DeviceFiles { certificate: file.clone(), key: Some(key) });
    }

    #[test]
    fn other_files_are_refused_with_their_name() {
        for content in [&b"hello"[..], b"", &[DER_START, 1, 2], &[b'a'; FILE_MAX + 1]] {
            let failure = read(content).expect_err("no certificate");
            assert!(failure.messages[0].starts_with("--path: the file /") && failure.hint.is_some(), "{failure:?}");
        }
        let failure = CertificateFile::read("--path", Path::new("/no/such/file")).expect_err("no file");
        assert!(failure.messages[0].contains("/no/such/file cannot be read"), "{failure:?}");
    }
}
