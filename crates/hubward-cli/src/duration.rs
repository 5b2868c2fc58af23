//! Parses durations: `500ms`, `20s`, `2m`, `1h`.

use std::time::Duration;

/// Like [`parse`], but refuses zero.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("the duration must be greater than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a whole number with a unit. For clap's `value_parser`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write a whole number and a unit, such as 500ms, 20s, 2m or 1h");
    let digits = text.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_unit() {
        for (text, milliseconds) in [("500ms", 500), ("20s", 20_000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_positive_duration_is_greater_than_zero() {
        assert_eq!(parse_positive("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0s", "0ms", "", "s"] {
            assert!(parse_positive(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_other_forms() {
        for text in ["", "20", "s", "-1s", "1.5s", "20 s", "20sec", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
