//! Connection, deadline and retry options of a service client.

use std::time::Duration;

use hubward_dial::{DialOverride, TcpDialer, TlsSettings};

/// Connection, deadline and retry options of a service client.
///
/// ```
/// use std::time::Duration;
/// use hubward_service::ServiceOptions;
///
/// let options = ServiceOptions::new().deadline(Duration::from_secs(10)).attempts(1);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceOptions {
    pub(crate) tcp: TcpDialer,
    pub(crate) tls: TlsSettings,
    pub(crate) deadline: Duration,
    pub(crate) attempts: u32,
}

impl ServiceOptions {
    /// Default deadline of a call.
    pub const DEADLINE: Duration = Duration::from_secs(60);

    /// Default maximum number of attempts for a request, including the first.
    pub const ATTEMPTS: u32 = 4;

    /// Creates the default options: the certificate authorities of the system, a deadline of 60 s, and at most 4
    /// attempts.
    #[must_use]
    pub fn new() -> Self {
        Self { tcp: TcpDialer::new(), tls: TlsSettings::new(), deadline: Self::DEADLINE, attempts: Self::ATTEMPTS }
    }

    /// Sets the certificate authorities to trust.
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the dialer for TCP connections.
    #[must_use]
    pub fn tcp(mut self, tcp: TcpDialer) -> Self {
        self.tcp = tcp;
        self
    }

    /// Sets, for some hosts, an address to connect to instead of the address that DNS returns. The certificate must
    /// still match the host name.
    #[must_use]
    pub fn dial_overrides(mut self, overrides: Vec<DialOverride>) -> Self {
        self.tcp = self.tcp.dial_overrides(overrides);
        self
    }

    /// Sets the deadline of a call. The time includes all attempts and the waits between attempts.
    ///
    /// Each page of a query is a separate call. If a call invokes a method, the timeouts of the method extend the
    /// deadline.
    #[must_use]
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Sets the maximum number of attempts for a request, including the first. The client retries only if a retry is
    /// safe. 0 and 1 mean one attempt.
    #[must_use]
    pub const fn attempts(mut self, max: u32) -> Self {
        self.attempts = max;
        self
    }
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self::new()
    }
}
