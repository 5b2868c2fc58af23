//! The emulator's wall clock. It is the system clock plus an offset. A test can set the offset, for example to make
//! tokens expire.

use std::time::{Duration, SystemTime};

use hubward_sas::UnixSeconds;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

/// A hundred years. With this limit, years in timestamps have four digits.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(3_155_760_000);

const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// The timestamp that the service uses for an event that has not happened yet.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, examples.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug)]
pub(crate) struct Clock {
    ahead: watch::Sender<Duration>,
}

impl Clock {
    pub(crate) fn new(ahead: Duration) -> Self {
        Self { ahead: watch::Sender::new(ahead.min(MAX_AHEAD)) }
    }

    /// Sets how far this clock is ahead of the system clock (at most [`MAX_AHEAD`]). A future may be waiting for a time
    /// of this clock. If this call moves the clock past that time, the future resolves at once.
    pub(crate) fn set_ahead(&self, ahead: Duration) {
        self.ahead.send_replace(ahead.min(MAX_AHEAD));
    }

    pub(crate) fn ahead(&self) -> Duration {
        *self.ahead.borrow()
    }

    pub(crate) fn now(&self) -> SystemTime {
        system_now() + self.ahead()
    }

    pub(crate) fn unix(&self) -> UnixSeconds {
        UnixSeconds::from_system_time(self.now())
    }

    /// Returns when this clock reaches `moment`.
    pub(crate) async fn at(&self, moment: SystemTime) {
        let mut ahead = self.ahead.subscribe();
        while let Ok(wait) = moment.duration_since(self.now())
            && !wait.is_zero()
        {
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
                changed = ahead.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Returns when this clock is at least one second past `moment`.
    pub(crate) async fn after(&self, moment: UnixSeconds) {
        let mut ahead = self.ahead.subscribe();
        loop {
            let now = self.unix();
            if now > moment {
                return;
            }
            // Limit the wait, because a token may expire at a time that no timer can represent.
            let wait = (moment.saturating_since(now) + Duration::from_secs(1)).min(LONGEST_WAIT);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = ahead.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// The system time.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn system_now() -> SystemTime {
    SystemTime::now()
}

/// Parses an ISO 8601 timestamp from a client. A timestamp without a time zone is UTC. Returns `None` if the timestamp
/// is not valid.
///
/// Source: `[sdk]` azure-iot-device-http (Node) writes `Z`; azure-iot-sdk-python writes no zone.
pub(crate) fn read_timestamp(text: &str) -> Option<SystemTime> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    parse(text).or_else(|| parse(&format!("{text}Z"))).map(SystemTime::from)
}

/// Formats a timestamp as the services do: in UTC, with seven fractional digits of the second.
///
/// Source: `[doc]` azure-rest-api-specs, examples of the DPS device API.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:07}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.nanosecond() / 100
    )
}

/// Formats a timestamp as the answers to certificate requests do: in UTC, with nine fractional digits of the second.
///
/// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md`.
pub(crate) fn long_timestamp(at: SystemTime) -> String {
    let nanoseconds = OffsetDateTime::from(at).nanosecond();
    let short = timestamp(at);
    format!("{}{:02}Z", short.trim_end_matches('Z'), nanoseconds % 100)
}

/// Formats a timestamp for the HTTP header `Date`.
///
/// Source: RFC 9110, section 5.6.7.
pub(crate) fn http_date(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let weekday = at.weekday().to_string();
    let month = at.month().to_string();
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn writes_seven_or_nine_digits_and_http_dates() {
        assert_eq!(timestamp(at(1_700_000_000, 123_456_789)), "2023-11-14T22:13:20.1234567Z");
        assert_eq!(long_timestamp(at(1_700_000_000, 123_456_789)), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(long_timestamp(at(0, 5)), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(timestamp(at(0, 0)), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(http_date(at(1_700_000_000, 0)), "Tue, 14 Nov 2023 22:13:20 GMT");
    }

    #[test]
    fn the_clock_is_at_most_a_hundred_years_ahead() {
        let clock = Clock::new(Duration::MAX);
        assert_eq!(clock.ahead(), MAX_AHEAD);
        clock.set_ahead(Duration::ZERO);
        clock.set_ahead(Duration::MAX);
        assert_eq!(timestamp(clock.now()).len(), "2023-11-14T22:13:20.1234567Z".len());
    }

    #[tokio::test]
    async fn a_jump_ends_a_wait() {
        let clock = Clock::new(Duration::ZERO);
        let moment = clock.unix().saturating_add(Duration::from_secs(1000));
        let wait = clock.after(moment);
        tokio::pin!(wait);
        assert!(futures_poll(wait.as_mut()).await.is_none());
        let at = clock.at(clock.now() + Duration::from_secs(1001));
        tokio::pin!(at);
        assert!(futures_poll(at.as_mut()).await.is_none());
        clock.set_ahead(Duration::from_secs(1002));
        wait.await;
        at.await;
        clock.at(SystemTime::UNIX_EPOCH).await;
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
