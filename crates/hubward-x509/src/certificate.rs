//! One certificate: its names, dates and thumbprints, and who issued it.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use der::{Decode as _, Encode as _};
use ring::digest;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

use crate::signature::{Signature, Signed};
use crate::{COMMON_NAME_MAX, CertificateError, chain, input, name};

/// An X.509 certificate of any version.
///
/// Two certificates are equal if their DER is equal.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    subject: Name,
    issuer: Name,
    subject_name: String,
    issuer_name: String,
    common_name: Option<String>,
    serial_number: String,
    not_before: Time,
    not_after: Time,
    version: u8,
    is_authority: bool,
    key_identifier: Option<Vec<u8>>,
    public_key: SubjectPublicKeyInfoOwned,
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`]
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        Self::read(der, "the DER data")
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`] if the text is not PEM, contains no certificate or more than
    /// [`CHAIN_MAX`](crate::CHAIN_MAX), or if a certificate is malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        Self::chain_from_pem(text).map(|mut it| it.swap_remove(0))
    }

    /// Reads all certificates of a PEM text, in the order of the text. The result is never empty. Ignores other blocks.
    ///
    /// # Errors
    /// As for [`Certificate::from_pem`].
    pub fn chain_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        chain::from_pem(text, "the PEM text")
    }

    /// Reads all certificates of a PEM file. The result is never empty. Ignores other blocks.
    ///
    /// # Errors
    /// As for [`Certificate::from_pem`], and [`CertificateError::File`]; the error names the file.
    pub fn chain_from_file(file: impl AsRef<Path>) -> Result<Vec<Self>, CertificateError> {
        let file = file.as_ref();
        chain::from_pem(&input::read(file)?, &input::name_of(file))
    }

    /// Checks that each certificate of the chain is issued by the next one. Does not look at dates and extensions.
    ///
    /// # Errors
    /// [`CertificateError::BrokenChain`], for the first certificate that is not issued by the next one.
    pub fn check_links(chain: &[Self]) -> Result<(), CertificateError> {
        chain::check_links(chain)
    }

    /// Reads a certificate in a form that the service APIs accept: PEM, or the base64 of DER or PEM. Line breaks and
    /// spaces in the base64 text are ignored.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `X509CertificateWithInfo`; `[sdk]` azure-iot-cli-extension, which sends
    /// the text of the file.
    ///
    /// # Errors
    /// As for [`Certificate::from_pem`].
    pub fn from_service_text(text: &str) -> Result<Self, CertificateError> {
        if text.contains("-----BEGIN") {
            return Self::from_pem(text.as_bytes());
        }
        let bytes = chain::decode_base64(text)?;
        if bytes.starts_with(b"-----BEGIN") { Self::from_pem(&bytes) } else { Self::read(&bytes, "the text") }
    }

    /// Reads a chain that DPS or a hub has issued. Each text is the base64 of DER, the base64 of PEM, or PEM, because
    /// the sources name all three. A PEM text can contain several certificates. Does not check that the certificates
    /// belong together; [`ClientCertificate::with_device_key`](crate::ClientCertificate::with_device_key) does.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `issuedCertificateChain`; `[sdk]` Azure/azure-iot-sdk; for base64 of PEM,
    /// `[seen]` a public report of a live run, 2026-09.
    ///
    /// # Errors
    /// [`CertificateError`] if there is no certificate, more than [`CHAIN_MAX`](crate::CHAIN_MAX), more than
    /// [`FILE_MAX`](crate::FILE_MAX) bytes, or a text that is not a certificate.
    pub fn chain_from_service_texts(texts: &[impl AsRef<str>]) -> Result<Vec<Self>, CertificateError> {
        chain::from_service_texts(texts.iter().map(AsRef::as_ref))
    }

    /// Reads a certificate from DER. `from` names the file or text in errors.
    pub(crate) fn read(der: &[u8], from: &str) -> Result<Self, CertificateError> {
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|error| CertificateError::Malformed { from: from.to_owned(), problem: error.to_string() })?;
        let body = parsed.tbs_certificate();
        let (subject, issuer) = (body.subject().clone(), body.issuer().clone());
        let basic = body.get_extension::<BasicConstraints>().ok().flatten();
        let key_identifier = body.get_extension::<SubjectKeyIdentifier>().ok().flatten();
        Ok(Self {
            der: der.to_owned(),
            subject_name: name::text_of(&subject),
            issuer_name: name::text_of(&issuer),
            common_name: name::common_name(&subject),
            serial_number: hex(without_sign(body.serial_number().as_bytes())),
            not_before: body.validity().not_before,
            not_after: body.validity().not_after,
            version: body.version() as u8 + 1,
            is_authority: basic.is_some_and(|(_, it)| it.ca),
            key_identifier: key_identifier.map(|(_, it)| it.0.as_bytes().to_vec()),
            public_key: body.subject_public_key_info().clone(),
            subject,
            issuer,
        })
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as PEM, with `\n` as line break.
    #[must_use]
    pub fn to_pem(&self) -> String {
        input::to_pem("CERTIFICATE", &self.der)
    }

    /// The common name (CN) of the subject. If there are several, the first.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject in the order and form that Azure shows, such as `CN=dev-1, OU=Azure IoT, O=MSFT, C=US`.
    #[must_use]
    pub fn subject_name(&self) -> &str {
        &self.subject_name
    }

    /// The subject as DER (`Name`). A certificate that this one issues should contain these bytes as the issuer's name.
    #[must_use]
    pub fn subject_der(&self) -> Vec<u8> {
        // The name was read from DER, so it can be written.
        self.subject.to_der().unwrap_or_default()
    }

    /// The issuer, in the form of [`Certificate::subject_name`].
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        &self.issuer_name
    }

    /// The serial number as upper-case hexadecimal digits, without a leading zero byte.
    #[must_use]
    pub fn serial_number(&self) -> &str {
        &self.serial_number
    }

    /// The start of the validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before.to_system_time()
    }

    /// The end of the validity. The certificate is still valid at this second.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after.to_system_time()
    }

    /// The X.509 version: 1, 2 or 3.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Whether the certificate may issue others: its extension *basic constraints* says so.
    #[must_use]
    pub const fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Whether the subject is the issuer, and the certificate's own key has signed it.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_issued_by(self)
    }

    /// Whether `issuer` has issued this certificate: its subject is the issuer's name, and its key has made the
    /// signature. Returns `false` for a signature that ring cannot check. Does not look at dates and extensions.
    #[must_use]
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.names_issuer(issuer) && self.signature_by(issuer) == Signature::Valid
    }

    pub(crate) fn names_issuer(&self, issuer: &Self) -> bool {
        name::is_same(&self.issuer, &issuer.subject)
    }

    /// Whether the key of `issuer` has made the signature.
    pub(crate) fn signature_by(&self, issuer: &Self) -> Signature {
        Signed::from_der(&self.der).map_or(Signature::Invalid, |it| it.check(&issuer.public_key))
    }

    /// SHA-1 of the DER, as 40 upper-case hexadecimal digits: the thumbprint that Azure shows for a CA certificate.
    #[must_use]
    pub fn sha1_thumbprint(&self) -> String {
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref())
    }

    /// SHA-256 of the DER, as 64 upper-case hexadecimal digits.
    #[must_use]
    pub fn sha256_thumbprint(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.der).as_ref())
    }

    /// The public key as DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        // The key was read from DER, so it can be written.
        self.public_key.to_der().unwrap_or_default()
    }

    /// The extension *subject key identifier*, if there is one. Certificates that this one issues repeat it.
    #[must_use]
    pub fn key_identifier(&self) -> Option<&[u8]> {
        self.key_identifier.as_deref()
    }

    /// The URIs of the extension *subject alternative name*. The list is empty if there are none, or if the extension
    /// cannot be read.
    #[must_use]
    pub fn alternative_uris(&self) -> Vec<String> {
        let Ok(parsed) = x509_cert::Certificate::from_der(&self.der) else { return Vec::new() };
        let names = parsed.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
        let uri = |it: &GeneralName| match it {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        };
        names.map(|(_, it)| it.0.iter().filter_map(uri).collect()).unwrap_or_default()
    }

    /// Checks that the common name is this registration id, without regard to upper and lower case, and has at most
    /// [`COMMON_NAME_MAX`] characters.
    ///
    /// Source: `[doc]` iot-dps/concepts-x509-attestation.md.
    ///
    /// # Errors
    /// [`CertificateError::NoCommonName`], [`CertificateError::OtherCommonName`] and
    /// [`CertificateError::LongCommonName`].
    pub fn check_registration_id(&self, id: &str) -> Result<(), CertificateError> {
        let Some(common_name) = self.common_name() else {
            return Err(CertificateError::NoCommonName { subject: self.subject_name.clone() });
        };
        let length = common_name.chars().count();
        if length > COMMON_NAME_MAX {
            return Err(CertificateError::LongCommonName { length, limit: COMMON_NAME_MAX });
        }
        if !common_name.eq_ignore_ascii_case(id) {
            let (common_name, expected) = (name::printable(common_name), id.to_owned());
            return Err(CertificateError::OtherCommonName { common_name, expected });
        }
        Ok(())
    }

    /// Checks that the certificate is valid at `now`.
    ///
    /// # Errors
    /// [`CertificateError::Expired`] and [`CertificateError::NotYetValid`].
    pub fn check_dates(&self, now: SystemTime) -> Result<(), CertificateError> {
        let subject = self.subject_name.clone();
        // The validity has whole seconds and includes its last second.
        let last = self.not_after() + std::time::Duration::from_secs(1);
        if now >= last {
            return Err(CertificateError::Expired { subject, not_after: self.not_after.to_string() });
        }
        if now < self.not_before() {
            return Err(CertificateError::NotYetValid { subject, not_before: self.not_before.to_string() });
        }
        Ok(())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    /// Writes the subject and the SHA-256 thumbprint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject_name, self.sha256_thumbprint())
    }
}

/// DER adds a zero byte in front of a positive number whose first bit is set.
const fn without_sign(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => bytes,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
