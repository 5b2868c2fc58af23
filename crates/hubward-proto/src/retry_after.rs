//! Parses how long the service asks a client to wait: the HTTP header `Retry-After` and the topic property
//! `retry-after`.

use std::time::{Duration, SystemTime};

/// The longest accepted wait. [`parse`] reduces a longer wait to this value.
///
/// Source: `[guess]` no source names a maximum; the traces show 2 to 5 s.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses whole seconds or an HTTP date. Returns `None` if the text is invalid or the number is negative.
///
/// Returns zero for a date in the past. Zero means that the service asks for no wait. `None` means that the service
/// named no valid wait.
///
/// `server_time` is the time in the header `Date` of the same answer. If the answer has no `Date`, pass the local
/// time.
///
/// A date in `text` is compared with `server_time`, because both come from the same clock.
///
/// Source: RFC 9110, section 10.2.3; `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md (`retry-after` in
/// whole seconds).
#[must_use]
pub fn parse(text: &str, server_time: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(server_time).unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_seconds_and_dates_and_refuses_other_text() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let seconds = |it| Some(Duration::from_secs(it));
        for (text, expected) in [
            ("0", seconds(0)),
            ("3", seconds(3)),
            (" 7 ", seconds(7)),
            ("007", seconds(7)),
            ("99999999999999999999999", Some(RETRY_AFTER_MAX)),
            ("Tue, 14 Nov 2023 22:13:25 GMT", seconds(5)),
            ("Tue, 14 Nov 2023 22:13:15 GMT", seconds(0)),
            ("Sun, 14 Nov 2123 22:13:15 GMT", Some(RETRY_AFTER_MAX)),
            ("", None),
            ("-1", None),
            ("+3", None),
            ("1.5", None),
            ("soon", None),
            ("3 seconds", None),
        ] {
            assert_eq!(parse(text, now), expected, "{text}");
        }
    }
}
