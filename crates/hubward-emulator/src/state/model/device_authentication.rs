//! How a device or module authenticates at its hub.

use hubward_proto::service::X509Thumbprint;
use hubward_x509::Certificate;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{KeyPair, serial};

/// Number of hexadecimal digits of a SHA-1 thumbprint.
const SHA1_DIGITS: usize = 40;

/// Number of hexadecimal digits of a SHA-256 thumbprint.
const SHA256_DIGITS: usize = 64;

/// How a device or module authenticates at its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceAuthentication {
    /// With a token that the device signs with one of these keys.
    Sas(KeyPair),
    /// With a certificate that has one of these thumbprints.
    SelfSigned(Thumbprints),
    /// With a certificate of an authority that the hub trusts. The common name of the certificate is the device id.
    CertificateAuthority,
}

impl DeviceAuthentication {
    /// The keys; `None` if the device has a certificate.
    pub(crate) const fn keys(&self) -> Option<&KeyPair> {
        match self {
            Self::Sas(keys) => Some(keys),
            Self::SelfSigned(_) | Self::CertificateAuthority => None,
        }
    }

    /// The service's word for the type of authentication.
    ///
    /// Source: `[doc]` azure-rest-api-specs, iothub service models, `AuthenticationMechanism`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sas(_) => "sas",
            Self::SelfSigned(_) => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
        }
    }

    /// The thumbprints in the form of the service. Both are `None` if the device has no thumbprints.
    pub(crate) fn thumbprints(&self) -> X509Thumbprint {
        match self {
            Self::SelfSigned(thumbprints) => thumbprints.to_model(),
            Self::Sas(_) | Self::CertificateAuthority => X509Thumbprint::default(),
        }
    }
}

/// One or two thumbprints of certificates, as the operator wrote them. A device may use either certificate.
///
/// Source: `[sdk]` azure-iot-sdk-csharp, service client: the two thumbprints are both SHA-1 or both SHA-256. `[guess]`:
/// the hub keeps the letter case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbprints {
    primary: Option<String>,
    secondary: Option<String>,
}

impl Thumbprints {
    /// Checks the thumbprints of a request. An empty text counts as absent.
    pub(crate) fn new(given: X509Thumbprint) -> Result<Self, &'static str> {
        let X509Thumbprint { primary_thumbprint, secondary_thumbprint } = given;
        let [primary, secondary] = [primary_thumbprint, secondary_thumbprint].map(|it| it.filter(|it| !it.is_empty()));
        let is_thumbprint = |it: &str| {
            matches!(it.len(), SHA1_DIGITS | SHA256_DIGITS) && it.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if ![&primary, &secondary].into_iter().flatten().all(|it| is_thumbprint(it)) {
            return Err("a thumbprint must have 40 (SHA-1) or 64 (SHA-256) hexadecimal digits");
        }
        match (&primary, &secondary) {
            (None, None) => Err("the type selfSigned requires a thumbprint"),
            (Some(one), Some(other)) if one.len() != other.len() => {
                Err("both thumbprints must be SHA-1, or both must be SHA-256")
            }
            _ => Ok(Self { primary, secondary }),
        }
    }

    /// The thumbprints that DPS gives to a device: both are the SHA-256 of the presented certificate.
    ///
    /// Source: `[sdk]` azure-iot-cli-extension, integration tests; `[seen]` Azure/iotedge, issue 2951.
    pub(crate) fn of(leaf: &Certificate) -> Self {
        let thumbprint = leaf.sha256_thumbprint();
        Self { primary: Some(thumbprint.clone()), secondary: Some(thumbprint) }
    }

    /// Whether one of the thumbprints belongs to this certificate. Ignores the letter case.
    pub(crate) fn contain(&self, leaf: &Certificate) -> bool {
        [&self.primary, &self.secondary].into_iter().flatten().any(|it| {
            let own = if it.len() == SHA1_DIGITS { leaf.sha1_thumbprint() } else { leaf.sha256_thumbprint() };
            own.eq_ignore_ascii_case(it)
        })
    }

    pub(super) fn to_model(&self) -> X509Thumbprint {
        let Self { primary, secondary } = self.clone();
        X509Thumbprint { primary_thumbprint: primary, secondary_thumbprint: secondary }
    }
}

/// The form in the state file. Only the keys existed in earlier versions.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Keys(#[serde(with = "serial::key_pair")] KeyPair),
    Thumbprints(X509Thumbprint),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    CertificateAuthority,
}

impl Serialize for DeviceAuthentication {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sas(keys) => serial::key_pair::serialize(keys, to),
            Self::SelfSigned(thumbprints) => thumbprints.to_model().serialize(to),
            Self::CertificateAuthority => Word::CertificateAuthority.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceAuthentication {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Keys(keys) => Self::Sas(keys),
            Stored::Thumbprints(given) => Self::SelfSigned(Thumbprints::new(given).map_err(serde::de::Error::custom)?),
            Stored::Word(Word::CertificateAuthority) => Self::CertificateAuthority,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbprints(primary: Option<&str>, secondary: Option<&str>) -> Result<Thumbprints, &'static str> {
        let [primary_thumbprint, secondary_thumbprint] = [primary, secondary].map(|it| it.map(str::to_owned));
        Thumbprints::new(X509Thumbprint { primary_thumbprint, secondary_thumbprint })
    }

    #[test]
    fn thumbprints_are_checked() {
        let (sha1, sha256) = ("a".repeat(40), "B".repeat(64));
        for (name, primary, secondary, expected) in [
            ("SHA-1", Some(&*sha1), None, Ok(())),
            ("SHA-256 in the second slot", None, Some(&*sha256), Ok(())),
            ("two of a kind", Some(&*sha256), Some(&*sha256), Ok(())),
            ("an empty secondary", Some(&*sha1), Some(""), Ok(())),
            ("none", None, Some(""), Err("requires a thumbprint")),
            ("a mix", Some(&*sha1), Some(&*sha256), Err("both thumbprints must be")),
            ("41 digits", Some(&*"a".repeat(41)), None, Err("must have 40")),
            ("no digits", Some(&*"g".repeat(40)), None, Err("must have 40")),
            ("40 bytes that are no ASCII", Some(&*"é".repeat(20)), None, Err("must have 40")),
        ] {
            match (thumbprints(primary, secondary), expected) {
                (Ok(_), Ok(())) => {}
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{name}: {problem}"),
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_form_on_disk_includes_that_of_earlier_versions() {
        let old = r#"["AAECAwQFBgcICQoLDA0ODw==","AAECAwQFBgcICQoLDA0ODw=="]"#;
        let read: DeviceAuthentication = serde_json::from_str(old).expect("the form of earlier versions");
        assert!(read.keys().is_some());
        let by_thumbprint = DeviceAuthentication::SelfSigned(thumbprints(Some(&"a".repeat(40)), None).expect("valid"));
        for authentication in [read, by_thumbprint, DeviceAuthentication::CertificateAuthority] {
            let text = serde_json::to_string(&authentication).expect("JSON");
            assert_eq!(serde_json::from_str::<DeviceAuthentication>(&text).expect(&text), authentication);
        }
        for wrong in [r#"{}"#, r#""none""#, "[]", "null", r#"{"primaryThumbprint":"a"}"#] {
            assert!(serde_json::from_str::<DeviceAuthentication>(wrong).is_err(), "{wrong}");
        }
    }
}
