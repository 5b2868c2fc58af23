//! The names in a certificate: their text in Azure's form, the common name, and whether two names are the same.

use const_oid::db::rfc4519::CN;
use der::asn1::{BmpString, Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Encode as _, Tag, Tagged as _};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RelativeDistinguishedName};

/// The name in Azure's form: the last part first, with a comma and a space between the parts.
pub(crate) fn text_of(name: &Name) -> String {
    let mut parts: Vec<String> = name.iter_rdn().map(text_of_part).collect();
    parts.reverse();
    printable(&parts.join(", "))
}

/// Escapes control characters, so that a certificate of another party cannot control a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let mut bytes = [0; 4];
            printable.extend(character.encode_utf8(&mut bytes).bytes().map(|it| format!("\\{it:02x}")));
        } else {
            printable.push(character);
        }
    }
    printable
}

/// The text of the first common name, whatever string type it has.
pub(crate) fn common_name(name: &Name) -> Option<String> {
    text_of_value(name.iter().find(|it| it.oid == CN)?)
}

/// Whether two names are the same. The comparison ignores string types, upper and lower case, and the amount of white
/// space.
///
/// Source: `[doc]` RFC 5280, section 7.1.
pub(crate) fn is_same(one: &Name, other: &Name) -> bool {
    one == other || one.iter_rdn().map(comparable).eq(other.iter_rdn().map(comparable))
}

fn text_of_part(part: &RelativeDistinguishedName) -> String {
    let texts: Vec<String> = part.iter().map(text_of_attribute).collect();
    texts.join("+")
}

/// The crate `x509-cert` writes texts in UTF-16 as hexadecimal digits, but Azure shows the text.
fn text_of_attribute(attribute: &AttributeTypeAndValue) -> String {
    let utf8 = |it: String| der::Any::new(Tag::Utf8String, it.into_bytes()).ok();
    match text_of_value(attribute).filter(|_| attribute.value.tag() == Tag::BmpString).and_then(utf8) {
        Some(value) => AttributeTypeAndValue { oid: attribute.oid, value }.to_string(),
        None => attribute.to_string(),
    }
}

fn text_of_value(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().map(|it| it.as_str().to_owned()).ok(),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().map(|it| it.as_str().to_owned()).ok(),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().map(|it| it.as_str().to_owned()).ok(),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().map(|it| it.as_str().to_owned()).ok(),
        Tag::BmpString => value.decode_as::<BmpString>().map(|it| it.chars().collect()).ok(),
        _ => None,
    }
}

/// A part of a name in a form that can be compared. Attributes that are not texts are compared as DER.
fn comparable(part: &RelativeDistinguishedName) -> Vec<(String, Vec<u8>)> {
    let form = |it: &AttributeTypeAndValue| {
        let value = match text_of_value(it) {
            Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase().into_bytes(),
            None => it.value.to_der().unwrap_or_default(),
        };
        (it.oid.to_string(), value)
    };
    let mut forms: Vec<_> = part.iter().map(form).collect();
    forms.sort();
    forms
}
