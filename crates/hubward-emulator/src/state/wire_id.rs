//! The opaque ids that the services generate: tracking ids, operation ids and ETags. These ids are not secrets.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Number of 100 ns ticks from the year 1 to the year 1970.
const TICKS_TO_1970: u128 = 621_355_968_000_000_000;

/// A random GUID.
pub(crate) fn guid() -> String {
    let bits = fastrand::u128(..);
    // Version 4, variant 1, according to RFC 9562.
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// `<digit>.<16 hex>.<guid>`.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md, transcripts.
pub(crate) fn operation_id() -> String {
    format!("{}.{:016x}.{}", fastrand::u8(2..8), fastrand::u64(..), guid())
}

/// A GUID-like string in quotes.
///
/// Source: `[doc]` azure-rest-api-specs, examples.
pub(crate) fn etag() -> String {
    format!("\"{:08x}-0000-0100-0000-{:08x}0000\"", fastrand::u32(..), fastrand::u32(..))
}

/// Returns the bytes of a new serial number of a certificate: a random positive number of 16 bytes.
///
/// Each certificate needs its own serial number, because OpenSSL refuses a second certificate of the same issuer with
/// the same serial number.
pub(crate) fn serial_number() -> Vec<u8> {
    let mut bytes = fastrand::u128(..).to_be_bytes().to_vec();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    bytes
}

/// Returns a new `etag` of a hub identity. It is the base64 of a number, without quotes.
///
/// Source: `[doc]` examples such as `NTk1NzM4OTA1`.
pub(crate) fn identity_etag() -> String {
    STANDARD.encode(fastrand::u32(100_000_000..).to_string())
}

/// Returns the `etag` of an identity after an update. Its number is the previous number plus one.
///
/// Source: `[seen]` recordings of azure-sdk-for-net, `DevicesClient_UpdateDevice_EtagDoesNotMatch`.
pub(crate) fn next_identity_etag(etag: &str) -> String {
    match identity_version(etag).and_then(|it| it.checked_add(1)) {
        Some(number) => STANDARD.encode(number.to_string()),
        None => identity_etag(),
    }
}

/// Returns the number in the `etag` of an identity; `None` if the `etag` does not contain a number.
pub(crate) fn identity_version(etag: &str) -> Option<u64> {
    std::str::from_utf8(&STANDARD.decode(etag).ok()?).ok()?.parse().ok()
}

/// Returns a new `etag` of the certificate of an authority. It is the base64 of eight bytes, without quotes.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager, examples such as `AAAAAAExpTQ=`.
pub(crate) fn authority_etag() -> String {
    STANDARD.encode(u64::from(fastrand::u32(1..)).to_be_bytes())
}

/// Returns a new verification code for the certificate of an authority: 48 upper-case hexadecimal digits.
///
/// Source: `[doc]` azure-docs, iot-dps/how-to-verify-certificates.md.
#[cfg(feature = "admin")]
pub(crate) fn verification_code() -> String {
    format!("{:032X}{:016X}", fastrand::u128(..), fastrand::u64(..))
}

/// Returns a new `etag` of a registration record. It is the base64 of a quoted string that looks like a GUID.
///
/// Source: `[doc]` azure-rest-api-specs, examples of the DPS device API.
pub(crate) fn record_etag() -> String {
    STANDARD.encode(etag())
}

/// Returns the generation id of a new identity: the current time in ticks of 100 ns since the year 1.
///
/// If an identity is deleted and created again with the same id, the new identity has another generation id.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, `generationId`; `[seen]` recordings of
/// azure-sdk-for-net: the value is the time of creation.
pub(crate) fn generation_id(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (TICKS_TO_1970 + since.as_nanos() / 100).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_documented_shapes() {
        let shape =
            |text: &str| text.chars().map(|it| if it.is_ascii_hexdigit() { 'x' } else { it }).collect::<String>();
        let guid_shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
        assert_eq!(shape(&guid()), guid_shape);
        assert_eq!(&guid()[14..15], "4");
        assert_eq!(shape(&operation_id()), format!("x.xxxxxxxxxxxxxxxx.{guid_shape}"));
        let decoded = STANDARD.decode(record_etag()).expect("base64");
        assert_eq!(shape(&String::from_utf8(decoded).expect("text")), format!("\"{guid_shape}\""));
        assert_ne!(guid(), guid());
        let digits = STANDARD.decode(identity_etag()).expect("base64");
        assert!(digits.len() >= 9 && digits.iter().all(u8::is_ascii_digit), "{digits:?}");
        assert_eq!(next_identity_etag("MzQzMDYwMzU2"), "MzQzMDYwMzU3", "343060356 and 343060357");
        assert!(identity_version(&next_identity_etag("not one")).is_some());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_164_645);
        assert_eq!(generation_id(at), "638397614450000000", "2024-01-02T03:04:05Z");
    }
}
