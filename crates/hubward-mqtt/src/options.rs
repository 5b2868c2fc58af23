//! The limits of a session that the caller can change.

use std::time::Duration;

/// Limits of a session. The defaults suit the services; tests and slow links may need others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Time limit for a silent peer while a request is unanswered. If the peer sends nothing for this time, the
    /// connection counts as dead.
    ///
    /// After half of this time without a byte from the peer, the session sends a ping. If the peer answers the ping,
    /// the connection stays open, even if an acknowledgement is late.
    pub silence: Duration,
    /// The largest packet that the session accepts, in bytes after the fixed header.
    pub max_packet: usize,
}

impl SessionOptions {
    /// Default of [`SessionOptions::silence`].
    pub const SILENCE: Duration = Duration::from_secs(20);

    /// Default of [`SessionOptions::max_packet`]: 512 KiB, twice the largest packet of the services.
    pub const MAX_PACKET: usize = 512 * 1024;

    /// Sets [`SessionOptions::silence`]; at least 1 s.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence.max(Duration::from_secs(1));
        self
    }

    /// Sets [`SessionOptions::max_packet`].
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
