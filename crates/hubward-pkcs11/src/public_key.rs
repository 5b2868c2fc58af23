//! The public key that belongs to a private key in a token.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Tag};
use rustls::pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::public_key_to_spki;

use crate::Pkcs11Error;
use crate::token_key::Opened;

/// `secp256r1`. Source: `[doc]` RFC 5480, section 2.1.1.1.
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// `secp384r1`.
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Bits of the RSA keys that Azure IoT accepts.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The attributes of a key from which its public key can be computed.
const PARTS: [AttributeType; 4] =
    [AttributeType::EcParams, AttributeType::EcPoint, AttributeType::Modulus, AttributeType::PublicExponent];

/// The kind of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    P256,
    P384,
    Rsa,
}

/// The kind of the key, and its public key if the token returns it. Refuses keys that cannot sign a handshake.
pub(crate) fn read(opened: &Opened) -> Result<(KeyKind, Option<SubjectPublicKeyInfoDer<'static>>), Pkcs11Error> {
    let own = opened.attributes(
        opened.key,
        &[
            AttributeType::KeyType,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
            AttributeType::Id,
            AttributeType::Label,
        ],
    )?;
    for attribute in &own {
        match attribute {
            Attribute::Sign(false) => return Err(opened.unsupported("it may not sign (`CKA_SIGN`)")),
            Attribute::AlwaysAuthenticate(true) => {
                return Err(opened.unsupported("it needs the PIN for each signature (`CKA_ALWAYS_AUTHENTICATE`)"));
            }
            _ => {}
        }
    }
    let mut parts = Parts::default();
    parts.add(opened.attributes(opened.key, &PARTS)?);
    if let Some(public) = public_object(opened, &own)? {
        parts.add(opened.attributes(public, &PARTS)?);
    }
    let key_type = own.iter().find_map(|it| if let Attribute::KeyType(it) = it { Some(*it) } else { None });
    match key_type {
        Some(KeyType::EC) => parts.ec(opened),
        Some(KeyType::RSA) => parts.rsa(opened),
        _ => Err(opened.unsupported("it is neither an EC key nor an RSA key")),
    }
}

/// The public key with the same id, or with the same label if the private key has no id.
fn public_object(opened: &Opened, own: &[Attribute]) -> Result<Option<ObjectHandle>, Pkcs11Error> {
    let id = own.iter().find(|it| matches!(it, Attribute::Id(id) if !id.is_empty()));
    let label = own.iter().find(|it| matches!(it, Attribute::Label(label) if !label.is_empty()));
    let Some(name) = id.or(label) else { return Ok(None) };
    let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), name.clone()];
    let found = opened.session.find_objects(&template).map_err(|error| opened.failed(&error))?;
    Ok(found.first().copied())
}

#[derive(Default)]
struct Parts {
    curve: Vec<u8>,
    point: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Parts {
    /// Adds the parts that are still missing.
    fn add(&mut self, attributes: Vec<Attribute>) {
        for attribute in attributes {
            let (part, value) = match attribute {
                Attribute::EcParams(it) => (&mut self.curve, it),
                Attribute::EcPoint(it) => (&mut self.point, it),
                Attribute::Modulus(it) => (&mut self.modulus, it),
                Attribute::PublicExponent(it) => (&mut self.exponent, it),
                _ => continue,
            };
            if part.is_empty() {
                *part = value;
            }
        }
    }

    fn ec(&self, opened: &Opened) -> Result<(KeyKind, Option<SubjectPublicKeyInfoDer<'static>>), Pkcs11Error> {
        let curve = ObjectIdentifier::from_der(&self.curve);
        let curve = curve.map_err(|_| opened.unsupported("the token does not name the curve of the EC key"))?;
        let (kind, algorithm, length) = match curve {
            P256 => (KeyKind::P256, alg_id::ECDSA_P256, 65),
            P384 => (KeyKind::P384, alg_id::ECDSA_P384, 97),
            other => return Err(opened.unsupported(format!("it is an EC key with the curve {other}"))),
        };
        // The point is in an OCTET STRING. Some modules return the point without it.
        let inner = <&OctetStringRef>::from_der(&self.point).map(|it| it.as_bytes());
        let point = inner.unwrap_or(&self.point);
        let is_point = point.len() == length && point[0] == 4;
        Ok((kind, is_point.then(|| public_key_to_spki(&algorithm, point))))
    }

    fn rsa(&self, opened: &Opened) -> Result<(KeyKind, Option<SubjectPublicKeyInfoDer<'static>>), Pkcs11Error> {
        let Some(key) = rsa_public_key(&self.modulus, &self.exponent) else { return Ok((KeyKind::Rsa, None)) };
        let bits = bits_of(&self.modulus);
        if !RSA_BITS.contains(&bits) {
            return Err(opened.unsupported(format!("it is an RSA key with {bits} bits")));
        }
        let algorithm: AlgorithmIdentifier = alg_id::RSA_ENCRYPTION;
        Ok((KeyKind::Rsa, Some(public_key_to_spki(&algorithm, key))))
    }
}

fn bits_of(number: &[u8]) -> usize {
    let significant: &[u8] = number.iter().position(|it| *it != 0).map_or(&[], |at| &number[at..]);
    significant.first().map_or(0, |it| significant.len() * 8 - it.leading_zeros() as usize)
}

/// `RSAPublicKey`. Source: `[doc]` RFC 8017, appendix A.1.1.
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    if modulus.is_empty() || exponent.is_empty() {
        return None;
    }
    sequence(&[modulus, exponent])
}

/// A DER sequence of positive numbers.
pub(crate) fn sequence(numbers: &[&[u8]]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for number in numbers {
        content.extend(UintRef::new(number).ok()?.to_der().ok()?);
    }
    AnyRef::new(Tag::Sequence, &content).ok()?.to_der().ok()
}
