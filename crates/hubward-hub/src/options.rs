//! What a device may choose about its connection; the defaults suit most.

use std::time::Duration;

use hubward_proto::limits;

use crate::receipt::CENTURY;

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
pub struct HubOptions {
    /// Messages that may be sent and not yet acknowledged; 1 to [`HubOptions::WINDOW_MAX`].
    /// Default 100.
    pub window: u16,
    /// Messages that may wait beyond the window before [`enqueue`](crate::HubClient::enqueue) waits
    /// too; at least 1. Default 1024.
    pub queue: usize,
    /// Bytes of messages, counted by [`Message::size`](crate::Message::size), that may wait or be
    /// unanswered before [`enqueue`](crate::HubClient::enqueue) waits too; at least one message of 256 KB.
    /// Default 16 MiB.
    pub queue_bytes: usize,
    /// How long a message may take from `enqueue` to the hub's acknowledgement; `None` for as long
    /// as the client lives. Default 5 minutes: longer than the longest back-off and a reconnect,
    /// short enough that nobody waits for ever.
    pub send_deadline: Option<Duration>,
    /// How long one attempt to connect and log in may take. Default 30 s.
    pub login_deadline: Duration,
    /// How long the hub may take to acknowledge a message before the client reconnects, once, and
    /// sends it again; doubles each time until acknowledgements are on time again, since a hub
    /// throttles by delaying them. Default 30 s.
    pub ack_timeout: Duration,
    /// How long a token is good for; at least 2 s. Renewed at about 85 % of it. Default 1 hour.
    pub token_lifetime: Duration,
    /// How long a renewal waits for acknowledgements before it moves to the new connection and sends
    /// again what is unanswered. Default 5 s.
    pub renewal_drain: Duration,
    /// The waits between attempts while the network or the service is in trouble: random between
    /// zero and a bound that doubles. Default 1 s to 60 s.
    pub backoff: Backoff,
    /// The waits after a refusal that will not go away by itself (credential, certificate):
    /// random in the upper half of a bound that doubles. Default 30 s to 15 minutes.
    pub refused_backoff: Backoff,
    /// How long a connection must have lasted for the waits to begin from the start; a renewal does
    /// not end it. Default 30 s.
    pub lasting: Duration,
    /// How long the client waits at least, up to twice as long at random, while another client seems to
    /// use the same identity ([`DisconnectCause::DuplicateIdentity`](crate::DisconnectCause)).
    /// Default 60 s.
    pub duplicate_wait: Duration,
    /// Calls of direct methods that are worked on at a time; at least 1. The next ones are answered
    /// with 503 at once. Default 16.
    pub method_calls: usize,
    /// How long a method's handler may take before the call is answered with 504 and the handler's
    /// future dropped. Default 5 minutes, the longest a hub lets anybody wait.
    pub method_deadline: Duration,
    /// Received messages that may wait to be taken (4 MiB at most, and 16 MiB with those that the program
    /// holds); at least 1. What comes beyond that is left with the hub. Default 64, more than a hub keeps for a device.
    pub receive_queue: usize,
    /// How long a question about the twin or a report may take, from the call to the hub's answer;
    /// `None` for as long as the client lives. Default 60 s.
    pub twin_deadline: Option<Duration>,
    /// How long the hub may take to answer about the twin before it is asked again; doubles for the
    /// same question on the same connection. Default 15 s.
    pub twin_timeout: Duration,
    /// Questions about the twin and reports that may be without their answer before the next ones
    /// wait too; at least 1. Default 64.
    pub twin_queue: usize,
    /// Makes the random waits repeatable, for simulations; `None` for real randomness.
    pub seed: Option<u64>,
}

impl HubOptions {
    /// The largest window: MQTT needs some of its 65,535 packet ids for other things.
    pub const WINDOW_MAX: u16 = 32_767;

    /// Sets [`HubOptions::window`].
    #[must_use]
    pub const fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// Sets [`HubOptions::queue`].
    #[must_use]
    pub const fn queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets [`HubOptions::queue_bytes`].
    #[must_use]
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets [`HubOptions::send_deadline`].
    #[must_use]
    pub const fn send_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.send_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::login_deadline`].
    #[must_use]
    pub const fn login_deadline(mut self, deadline: Duration) -> Self {
        self.login_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::ack_timeout`].
    #[must_use]
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Sets [`HubOptions::token_lifetime`].
    #[must_use]
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Sets [`HubOptions::renewal_drain`].
    #[must_use]
    pub const fn renewal_drain(mut self, drain: Duration) -> Self {
        self.renewal_drain = drain;
        self
    }

    /// Sets [`HubOptions::backoff`].
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets [`HubOptions::refused_backoff`].
    #[must_use]
    pub const fn refused_backoff(mut self, backoff: Backoff) -> Self {
        self.refused_backoff = backoff;
        self
    }

    /// Sets [`HubOptions::lasting`].
    #[must_use]
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// Sets [`HubOptions::duplicate_wait`].
    #[must_use]
    pub const fn duplicate_wait(mut self, wait: Duration) -> Self {
        self.duplicate_wait = wait;
        self
    }

    /// Sets [`HubOptions::method_calls`].
    #[must_use]
    pub const fn method_calls(mut self, calls: usize) -> Self {
        self.method_calls = calls;
        self
    }

    /// Sets [`HubOptions::method_deadline`].
    #[must_use]
    pub const fn method_deadline(mut self, deadline: Duration) -> Self {
        self.method_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::receive_queue`].
    #[must_use]
    pub const fn receive_queue(mut self, messages: usize) -> Self {
        self.receive_queue = messages;
        self
    }

    /// Sets [`HubOptions::twin_deadline`].
    #[must_use]
    pub const fn twin_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.twin_deadline = deadline;
        self
    }

    /// Sets [`HubOptions::twin_timeout`].
    #[must_use]
    pub const fn twin_timeout(mut self, timeout: Duration) -> Self {
        self.twin_timeout = timeout;
        self
    }

    /// Sets [`HubOptions::twin_queue`].
    #[must_use]
    pub const fn twin_queue(mut self, questions: usize) -> Self {
        self.twin_queue = questions;
        self
    }

    /// Sets [`HubOptions::seed`].
    #[must_use]
    pub const fn seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// The same with every value inside its range.
    pub(crate) fn in_range(mut self) -> Self {
        self.window = self.window.clamp(1, Self::WINDOW_MAX);
        self.queue = self.queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.queue_bytes = self.queue_bytes.clamp(limits::TELEMETRY_MAX, tokio::sync::Semaphore::MAX_PERMITS);
        self.token_lifetime = self.token_lifetime.max(Duration::from_secs(2));
        self.method_calls = self.method_calls.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.receive_queue = self.receive_queue.max(1);
        self.twin_queue = self.twin_queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        // Zero would mean to reconnect, or to ask, without end.
        self.ack_timeout = self.ack_timeout.max(Duration::from_millis(1));
        self.twin_timeout = self.twin_timeout.max(Duration::from_millis(1));
        // Beyond this, sums with a moment would be none.
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
            *limit = (*limit).min(CENTURY);
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
            lasting: Duration::from_secs(30),
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

/// A bound that doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound after the first failure.
    pub first: Duration,
    /// What it never exceeds.
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
    fn what_no_clock_can_say_is_brought_into_range() {
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
