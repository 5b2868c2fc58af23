//! The time that the services send for an event that has not happened.

/// The first time that .NET can represent. A hub sends it for an event that has not happened, such as the last activity
/// of a new device.
const NEVER: &str = "0001-01-01T00:00:00";

/// Returns `never` if the text is the time of an event that has not happened. Otherwise, returns the text.
pub(super) fn time_or_never(text: &str) -> &str {
    let rest =
        text.strip_prefix(NEVER).map(|it| it.strip_suffix("+00:00").or_else(|| it.strip_suffix('Z')).unwrap_or(it));
    let is_whole_second =
        |it: &str| it.is_empty() || it.strip_prefix('.').is_some_and(|it| it.bytes().all(|it| it == b'0'));
    if rest.is_some_and(is_whole_second) { "never" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_first_time_is_never() {
        for time in
            ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000Z", "0001-01-01T00:00:00+00:00"]
        {
            assert_eq!(time_or_never(time), "never");
        }
        for other in
            ["0001-01-01T00:00:01Z", "0001-01-01T00:00:00.5Z", "2024-01-01T00:00:00Z", "0001-01-01T00:00:00 or so", ""]
        {
            assert_eq!(time_or_never(other), other);
        }
    }
}
