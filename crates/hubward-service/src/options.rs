//! How a service is reached, and how patiently.

use std::time::Duration;

use hubward_dial::{ConnectTo, TcpDialer, TlsSettings};

/// How a service is reached, and how patiently.
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
    /// How long a call may take when nobody chose otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(60);

    /// How often a request goes out when nobody chose otherwise, the first time included.
    pub const ATTEMPTS: u32 = 4;

    /// The system's authorities and resolver, a minute for a call, four attempts.
    #[must_use]
    pub fn new() -> Self {
        Self { tcp: TcpDialer::new(), tls: TlsSettings::new(), deadline: Self::DEADLINE, attempts: Self::ATTEMPTS }
    }

    /// Which certificates are trusted.
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = tls;
        self
    }

    /// Over connections of this dialer.
    #[must_use]
    pub fn tcp(mut self, tcp: TcpDialer) -> Self {
        self.tcp = tcp;
        self
    }

    /// Which address to dial for which name; the certificate must still be for the name.
    #[must_use]
    pub fn connect_to(mut self, rules: Vec<ConnectTo>) -> Self {
        self.tcp = self.tcp.connect_to(rules);
        self
    }

    /// How long a call may take, attempts and the waits between them included; a page of a query
    /// counts as one call. The timeouts of a method come on top of it for the call that invokes it.
    #[must_use]
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// How often a request goes out at most, where it may be repeated; 1 is once, and so is 0.
    #[must_use]
    pub const fn attempts(mut self, most: u32) -> Self {
        self.attempts = most;
        self
    }
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self::new()
    }
}
