//! The opaque ids the services make up: tracking ids, operation ids, etags. None is a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A random GUID.
pub(crate) fn guid() -> String {
    let bits = fastrand::u128(..);
    // Version 4, variant 1, as RFC 9562 has it.
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

/// A GUID-like text in quotes.
///
/// Source: `[doc]` azure-rest-api-specs, examples.
pub(crate) fn etag() -> String {
    format!("\"{:08x}-0000-0100-0000-{:08x}0000\"", fastrand::u32(..), fastrand::u32(..))
}

/// What stands in a registration record's `etag`: base64 of a quoted GUID-like text.
///
/// Source: `[doc]` azure-rest-api-specs, examples of the DPS device API.
pub(crate) fn record_etag() -> String {
    STANDARD.encode(etag())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn have_the_documented_shapes() {
        let shape =
            |text: &str| text.chars().map(|it| if it.is_ascii_hexdigit() { 'x' } else { it }).collect::<String>();
        let guid_shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
        assert_eq!(shape(&guid()), guid_shape);
        assert_eq!(&guid()[14..15], "4");
        assert_eq!(shape(&operation_id()), format!("x.xxxxxxxxxxxxxxxx.{guid_shape}"));
        let decoded = STANDARD.decode(record_etag()).expect("base64");
        assert_eq!(shape(&String::from_utf8(decoded).expect("text")), format!("\"{guid_shape}\""));
        assert_ne!(guid(), guid());
    }
}
