//! What can be tuned about a session, beyond what the service prescribes.

use std::time::Duration;

/// Limits of a session. The defaults suit the services; tests and slow links may want others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How long nothing at all may arrive while something is unanswered, before the connection
    /// counts as dead. A ping goes out after half of it, so a service that is merely slow to
    /// acknowledge keeps its connection by answering the ping.
    pub silence: Duration,
    /// The largest packet we accept, in bytes after the fixed header.
    pub max_packet: usize,
}

impl SessionOptions {
    /// Default of [`SessionOptions::silence`].
    pub const SILENCE: Duration = Duration::from_secs(20);

    /// Default of [`SessionOptions::max_packet`]: 512 KiB, twice what the services ever send.
    pub const MAX_PACKET: usize = 512 * 1024;

    /// Sets how long the peer may be silent while something is unanswered; at least 1 s.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence.max(Duration::from_secs(1));
        self
    }

    /// Sets the largest packet that is accepted, in bytes after the fixed header.
    #[must_use]
    pub const fn max_packet(mut self, bytes: usize) -> Self {
        self.max_packet = bytes;
        self
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { silence: Self::SILENCE, max_packet: Self::MAX_PACKET }
    }
}
