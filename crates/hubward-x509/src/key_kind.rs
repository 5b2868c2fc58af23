//! Names the kind of a private key that cannot be used.

use const_oid::db::{rfc5912, rfc8410};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use rustls::pki_types::PrivateKeyDer;

/// Bits of the smallest RSA key that ring and Azure IoT accept.
pub(crate) const RSA_BITS_MIN: usize = 2048;

/// Bits of the smallest and the largest RSA key that ring and Azure IoT accept.
const RSA_BITS: std::ops::RangeInclusive<usize> = RSA_BITS_MIN..=4096;

const ACCEPTED: &str = "Azure IoT accepts EC keys (P-256, P-384) and RSA keys (2048 to 4096 bits)";

/// Why this key cannot be used. Never contains a part of the key.
pub(crate) fn problem_of(key: &PrivateKeyDer<'_>) -> String {
    let kind = match key {
        PrivateKeyDer::Pkcs8(it) => pkcs8(it.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(it) => sec1(it.secret_sec1_der(), None),
        PrivateKeyDer::Pkcs1(it) => rsa(it.secret_pkcs1_der()),
        _ => return ACCEPTED.to_owned(),
    };
    kind.unwrap_or_else(|_| "it is malformed".to_owned())
}

/// Source: `[doc]` RFC 5958, section 2.
fn pkcs8(der: &[u8]) -> der::Result<String> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.value())?;
    AnyRef::decode(&mut reader)?;
    let algorithm = AnyRef::decode(&mut reader)?;
    let inner = <&OctetStringRef>::decode(&mut reader)?.as_bytes();
    let mut reader = SliceReader::new(algorithm.value())?;
    let oid = ObjectIdentifier::decode(&mut reader)?;
    Ok(match oid {
        rfc5912::ID_EC_PUBLIC_KEY => return sec1(inner, Some(AnyRef::decode(&mut reader)?)),
        rfc5912::RSA_ENCRYPTION => return rsa(inner),
        rfc8410::ID_ED_25519 => refused("an Ed25519 key"),
        rfc8410::ID_ED_448 => refused("an Ed448 key"),
        rfc8410::ID_X_25519 | rfc8410::ID_X_448 => refused("a key for key agreement, which cannot sign"),
        rfc5912::ID_DSA => refused("a DSA key"),
        rfc5912::ID_RSASSA_PSS => refused("an RSA key for PSS signatures only"),
        other => refused(&format!("a key of the algorithm {other}")),
    })
}

/// `curve` is the parameter of the PKCS#8 structure around the key. Source: `[doc]` RFC 5915, section 3.
fn sec1(der: &[u8], curve: Option<AnyRef<'_>>) -> der::Result<String> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.value())?;
    AnyRef::decode(&mut reader)?;
    <&OctetStringRef>::decode(&mut reader)?;
    let (mut curve, mut has_public_key) = (curve, false);
    while !reader.is_finished() {
        let part = AnyRef::decode(&mut reader)?;
        match part.tag() {
            Tag::ContextSpecific { number, .. } if number.value() == 0 => curve = Some(AnyRef::from_der(part.value())?),
            Tag::ContextSpecific { number, .. } if number.value() == 1 => has_public_key = true,
            _ => {}
        }
    }
    let Some(curve) = curve else { return Ok("it is an EC key that does not name its curve".to_owned()) };
    let Ok(curve) = curve.decode_as::<ObjectIdentifier>() else {
        return Ok("it is an EC key with the parameters of its curve instead of the curve's name".to_owned());
    };
    Ok(match curve {
        rfc5912::SECP_256_R_1 | rfc5912::SECP_384_R_1 if !has_public_key => {
            "it is an EC key without its public key, which `openssl pkey -in OLD -out NEW` adds".to_owned()
        }
        rfc5912::SECP_256_R_1 | rfc5912::SECP_384_R_1 => "it is a damaged EC key".to_owned(),
        rfc5912::SECP_521_R_1 => refused("an EC key with the curve P-521"),
        rfc5912::SECP_224_R_1 => refused("an EC key with the curve P-224"),
        other => refused(&format!("an EC key with the curve {other}")),
    })
}

/// Source: `[doc]` RFC 8017, appendix A.1.2.
fn rsa(der: &[u8]) -> der::Result<String> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.value())?;
    AnyRef::decode(&mut reader)?;
    let modulus = UintRef::decode(&mut reader)?.as_bytes();
    let exponent = UintRef::decode(&mut reader)?.as_bytes();
    let bits = modulus.first().map_or(0, |it| modulus.len() * 8 - it.leading_zeros() as usize);
    Ok(if !RSA_BITS.contains(&bits) {
        refused(&format!("an RSA key with {bits} bits"))
    } else if exponent.len() < 3 {
        "it is an RSA key with a public exponent below 65537".to_owned()
    } else {
        "it is a damaged RSA key, or has more than two primes".to_owned()
    })
}

fn refused(kind: &str) -> String {
    format!("it is {kind}; {ACCEPTED}")
}
