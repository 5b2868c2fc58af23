//! Percent-encoding and percent-decoding, compatible with Microsoft's Python SDK.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes all characters except `A-Z a-z 0-9 - . _ ~`, with upper-case hexadecimal digits.
///
/// Source: RFC 3986, section 2.3; vectors `telemetry-*`, `sas-odd-*`.
pub(crate) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

/// Decodes `%XX` only: `+` stays `+`. Returns `None` if the result is not UTF-8.
///
/// Source: vector `decode-c2d-plus`.
pub(crate) fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
