//! Options of a client; the defaults suit most devices.

use std::time::Duration;

use hubward_proto::limits;

use crate::Pacing;
use crate::deadline::DURATION_MAX;

/// Options of a [`HubClient`](crate::HubClient).
///
/// ```
/// use std::time::Duration;
/// use hubward_hub::HubOptions;
///
/// let options = HubOptions::default().window(10).send_deadline(Some(Duration::from_secs(30)));
/// assert_eq!(options.queue, 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct HubOptions {
    /// Maximum number of messages in flight (sent and not yet acknowledged), from 1 to [`HubOptions::WINDOW_MAX`].
    /// Default 100.
    pub window: u16,
    /// Maximum number of messages that wait because the window is full. If this number is reached,
    /// [`enqueue`](crate::HubClient::enqueue) waits. At least 1. Default 1024.
    pub queue: usize,
    /// Maximum number of bytes of messages that wait or are in flight, as [`Message::size`](crate::Message::size)
    /// counts them. If this number is reached, [`enqueue`](crate::HubClient::enqueue) waits.
    ///
    /// At least 256 KB, the maximum size of one message. Default 16 MiB.
    pub queue_bytes: usize,
    /// Maximum time from `enqueue` to the hub's acknowledgement of the message; `None` for no limit. Default 5 minutes.
    /// This is enough for the longest wait after a network failure (60 s) and a reconnect.
    pub send_deadline: Option<Duration>,
    /// Maximum time for one attempt to connect and log in. Default 30 s.
    pub login_deadline: Duration,
    /// Maximum time for the hub to acknowledge a message. After this time, the client reconnects once and sends the
    /// message again. Default 30 s.
    ///
    /// A hub throttles by delaying acknowledgements. So the time doubles with each such reconnect, until
    /// acknowledgements come in time again.
    pub ack_timeout: Duration,
    /// Lifetime of a token; at least 2 s. The client renews the token after about 85 % of this time. Default 1 hour.
    pub token_lifetime: Duration,
    /// Maximum time that a renewal, a move, or a credential change waits for acknowledgements. After this time, the
    /// client moves to the new connection and sends unacknowledged messages again. Default 5 s.
    pub renewal_drain: Duration,
    /// Waits between attempts after a network or service failure. Each wait is random, between zero and a bound that
    /// doubles with each failure. Default 1 s to 60 s.
    pub backoff: Backoff,
    /// Waits after a refusal that does not pass by itself (credential, certificate). Default 30 s to 15 minutes.
    ///
    /// Each wait is random, between half of a bound and the bound. The bound doubles with each refusal. A client
    /// with a provider can decide otherwise; see [`HubProvider`](crate::HubProvider).
    pub refused_backoff: Backoff,
    /// When the client has been logged in for this time without a failure, the bounds of the waits return to their
    /// start. A renewal does not interrupt this time. Default 30 s.
    pub backoff_reset_after: Duration,
    /// Spreads the reconnects of a fleet: the client waits at least this long after a failure of the network or of the
    /// service ([`Pacing::wait`], and [`Pacing::wait_again`] after further failures in a row). Default `None`: only the
    /// back-off applies.
    pub pacing: Option<Pacing>,
    /// Minimum wait between attempts while another client seems to use the same identity
    /// ([`DisconnectCause::DuplicateIdentity`](crate::DisconnectCause)). Each wait is random, between this time and
    /// twice this time. Default 60 s.
    pub duplicate_wait: Duration,
    /// Maximum number of method calls that run at a time; at least 1. While this number of calls is running, the client
    /// answers further calls with 503 at once. Default 16.
    pub method_calls: usize,
    /// Maximum time for a method handler. After this time, the client answers the call with 504 and drops the handler's
    /// future. Default 5 minutes, because a hub lets a caller wait no longer.
    pub method_deadline: Duration,
    /// Maximum number of received messages that wait for the program; at least 1. Default 64, which is more than a hub
    /// keeps for a device.
    ///
    /// The waiting messages take at most 4 MiB, and at most 16 MiB together with the messages that the program holds.
    /// The client does not acknowledge a message that exceeds a limit, so the hub keeps it.
    pub receive_queue: usize,
    /// Maximum time of a twin request, from the call to the hub's response; `None` for no limit. Default 60 s.
    pub twin_deadline: Option<Duration>,
    /// Maximum time for the hub to answer a twin request. After this time, the client sends the request again. The time
    /// doubles with each repetition on the same connection. Default 15 s.
    pub twin_timeout: Duration,
    /// Maximum number of unanswered twin requests; at least 1. If this number is reached, the next calls wait. Default
    /// 64.
    pub twin_queue: usize,
    /// Seed that makes the random waits repeatable, for simulations; `None` for real randomness.
    pub seed: Option<u64>,
}

impl HubOptions {
    /// The largest window. MQTT has 65,535 packet ids, and the client needs some of them for requests.
    pub const WINDOW_MAX: u16 = 32_767;

    /// Sets [`HubOptions::window`].
    pub const fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// Sets [`HubOptions::queue`].
    pub const fn queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets [`HubOptions::queue_bytes`].
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets [`HubOptions::send_deadline`].
    pub const fn send_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.send_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::login_deadline`].
    pub const fn login_deadline(mut self, deadline: Duration) -> Self {
        self.login_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::ack_timeout`].
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Sets [`HubOptions::token_lifetime`].
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Sets [`HubOptions::renewal_drain`].
    pub const fn renewal_drain(mut self, drain: Duration) -> Self {
        self.renewal_drain = drain;
        self
    }

    /// Sets [`HubOptions::backoff`].
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets [`HubOptions::refused_backoff`].
    pub const fn refused_backoff(mut self, backoff: Backoff) -> Self {
        self.refused_backoff = backoff;
        self
    }

    /// Sets [`HubOptions::backoff_reset_after`].
    pub const fn backoff_reset_after(mut self, backoff_reset_after: Duration) -> Self {
        self.backoff_reset_after = backoff_reset_after;
        self
    }

    /// Sets [`HubOptions::pacing`].
    pub const fn pacing(mut self, pacing: Option<Pacing>) -> Self {
        self.pacing = pacing;
        self
    }

    /// Sets [`HubOptions::duplicate_wait`].
    pub const fn duplicate_wait(mut self, wait: Duration) -> Self {
        self.duplicate_wait = wait;
        self
    }

    /// Sets [`HubOptions::method_calls`].
    pub const fn method_calls(mut self, calls: usize) -> Self {
        self.method_calls = calls;
        self
    }

    /// Sets [`HubOptions::method_deadline`].
    pub const fn method_deadline(mut self, deadline: Duration) -> Self {
        self.method_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::receive_queue`].
    pub const fn receive_queue(mut self, messages: usize) -> Self {
        self.receive_queue = messages;
        self
    }

    /// Sets [`HubOptions::twin_deadline`].
    pub const fn twin_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.twin_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::twin_timeout`].
    pub const fn twin_timeout(mut self, timeout: Duration) -> Self {
        self.twin_timeout = timeout;
        self
    }

    /// Sets [`HubOptions::twin_queue`].
    pub const fn twin_queue(mut self, requests: usize) -> Self {
        self.twin_queue = requests;
        self
    }

    /// Sets [`HubOptions::seed`].
    pub const fn seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the options with every value brought into its range.
    pub(crate) fn in_range(mut self) -> Self {
        self.window = self.window.clamp(1, Self::WINDOW_MAX);
        self.queue = self.queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.queue_bytes = self.queue_bytes.clamp(limits::TELEMETRY_MAX, tokio::sync::Semaphore::MAX_PERMITS);
        self.token_lifetime = self.token_lifetime.max(Duration::from_secs(2));
        self.method_calls = self.method_calls.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.receive_queue = self.receive_queue.max(1);
        self.twin_queue = self.twin_queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        // With a timeout of zero, the client would reconnect or repeat its requests without end.
        self.ack_timeout = self.ack_timeout.max(Duration::from_millis(1));
        self.twin_timeout = self.twin_timeout.max(Duration::from_millis(1));
        // A longer duration overflows when it is added to an `Instant`.
        for limit in [
            &mut self.login_deadline,
            &mut self.ack_timeout,
            &mut self.token_lifetime,
            &mut self.renewal_drain,
            &mut self.method_deadline,
            &mut self.backoff.first,
            &mut self.backoff.cap,
            &mut self.refused_backoff.first,
            &mut self.refused_backoff.cap,
            &mut self.duplicate_wait,
            &mut self.twin_timeout,
        ] {
            *limit = (*limit).min(DURATION_MAX);
        }
        self
    }
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            window: 100,
            queue: 1024,
            queue_bytes: 16 * 1024 * 1024,
            send_deadline: Some(Duration::from_secs(5 * 60)),
            login_deadline: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(30),
            token_lifetime: Duration::from_secs(60 * 60),
            renewal_drain: Duration::from_secs(5),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            refused_backoff: Backoff::new(Duration::from_secs(30), Duration::from_secs(15 * 60)),
            backoff_reset_after: Duration::from_secs(30),
            pacing: None,
            duplicate_wait: Duration::from_secs(60),
            method_calls: 16,
            method_deadline: limits::METHOD_RESPONSE_TIMEOUT_MAX,
            receive_queue: 64,
            twin_deadline: Some(Duration::from_secs(60)),
            twin_timeout: Duration::from_secs(15),
            twin_queue: 64,
            seed: None,
        }
    }
}

/// The bound of a random wait. The bound doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure.
    pub first: Duration,
    /// The greatest value of the bound.
    pub cap: Duration,
}

impl Backoff {
    /// A bound that starts at `first` and stops at `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_overflow_a_clock_are_brought_into_range() {
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        let options = HubOptions::default()
            .login_deadline(Duration::MAX)
            .ack_timeout(Duration::MAX)
            .token_lifetime(Duration::MAX)
            .renewal_drain(Duration::MAX)
            .method_deadline(Duration::MAX)
            .backoff(endless)
            .refused_backoff(endless)
            .duplicate_wait(Duration::MAX)
            .twin_timeout(Duration::MAX)
            .method_calls(usize::MAX)
            .receive_queue(0)
            .in_range();
        assert!(options.method_calls <= tokio::sync::Semaphore::MAX_PERMITS && options.receive_queue == 1);
        let now = tokio::time::Instant::now();
        for limit in [
            options.login_deadline,
            options.ack_timeout,
            options.token_lifetime,
            options.renewal_drain,
            options.method_deadline,
            options.backoff.first + options.backoff.cap,
            options.refused_backoff.first + options.refused_backoff.cap,
            options.duplicate_wait,
            options.twin_timeout,
        ] {
            assert!(now.checked_add(limit * 2).is_some(), "{limit:?}");
        }
    }
}
