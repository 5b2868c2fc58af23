//! The option with which DPS and the hub issue certificates to a device.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hubward_hub::Backoff;
use hubward_x509::KeyAlgorithm;

use super::cache::CertificateStore;

/// A function that returns the time of the wall clock.
pub(crate) type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A preview: DPS and the hub issue certificates to the device, and the device renews them.
///
/// Certificate issuance is a preview of the service, so this type and its behaviour can change in any version.
///
/// The device sends a certificate request with each registration. The enrollment needs a policy for certificates. If
/// DPS issues a certificate, the device uses it at the hub, and the credentials of the settings only for DPS. If DPS
/// issues none, the device uses the credentials at the hub too, and reports a
/// [`CertificateNotIssued`](super::DeviceEvent::CertificateNotIssued).
///
/// The device has a new key for each certificate. The keys and certificates are in a file, which only the user of the
/// program can read. The device stores the key before it sends the request, and the certificate before it uses it. So
/// the program can end at any moment.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::Device;
/// use hubward::device::CertificateIssuance;
///
/// let device = Device::from_env()?
///     .cache("/var/lib/acme-pump/assignment")
///     .certificate_issuance(CertificateIssuance::new("/var/lib/acme-pump/certificate"))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Renewal
/// The device requests another certificate from the hub after a random 75 % to 85 % of the certificate's lifetime. It
/// then connects with the new certificate, and keeps it when the hub has accepted it. If the hub refuses it, or the
/// connection fails [several times](crate::DevicePolicy::trial_failures), the device returns to the previous
/// certificate.
///
/// If a renewal fails, the device tries again with growing waits until the certificate expires. If the certificate has
/// expired, or the hub refuses it, the device registers again.
///
/// The wall clock decides when a certificate is renewed and when it has expired. If the device's clock was
/// wrong when the certificate was issued, the device measures the lifetime from the time that its clock showed then,
/// until the clock is corrected. The device reads the clock at least every 10 minutes
/// ([`check_every`](Self::check_every)), because it can jump.
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct CertificateIssuance {
    /// The file with the keys and certificates. The program must be able to create files in the folder. If the file is
    /// damaged or belongs to another device, the device renames it and registers.
    pub file: PathBuf,
    /// The algorithm of the keys: P-384 or P-256. RSA is not supported: every request fails. Default P-384.
    ///
    /// Source: `[doc]` iot/concept-certificate-issuance.md names P-384 only. The tests of `[sdk]` Azure/azure-iot-sdk
    /// use P-256, too.
    pub key_algorithm: KeyAlgorithm,
    /// The share of a certificate's life after which the device renews it. From 0 to 0.95. Default 0.8.
    ///
    /// Source: `[doc]` iot/concept-certificate-issuance.md.
    pub renew_at: f64,
    /// A renewal is earlier or later by a random part of this share of the certificate's life, so that the devices of a
    /// fleet do not all renew at once. Default 0.05. If the sum with [`renew_at`](Self::renew_at) exceeds 0.95, the
    /// device uses a smaller value.
    pub jitter: f64,
    /// Wait after a failed renewal. A random wait between half of a bound and the bound, which doubles with each failed
    /// renewal. Default 1 minute to 1 hour. A wait that the hub asks for can make it longer.
    pub retry_wait: Backoff,
    /// Maximum time of one request to the hub, including reconnects. Default 10 minutes. If the hub does not answer at
    /// all, the request fails after 2 minutes.
    pub request_timeout: Duration,
    /// Maximum time between two readings of the wall clock. From 1 ms to a day. Default 10 minutes.
    pub check_every: Duration,
    clock: Option<WallClock>,
}

impl CertificateIssuance {
    /// Uses this file, and the defaults.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            file: file.into(),
            key_algorithm: KeyAlgorithm::EcP384,
            renew_at: 0.8,
            jitter: 0.05,
            retry_wait: Backoff::new(MINUTE, MINUTE.saturating_mul(60)),
            request_timeout: MINUTE.saturating_mul(10),
            check_every: MINUTE.saturating_mul(10),
            clock: None,
        }
    }

    /// Uses a file in the folder of this [assignment cache](super::DeviceSettings::cache). Its name is that of
    /// the cache and `.certificate`.
    pub fn beside(cache: impl AsRef<Path>) -> Self {
        Self::new(CertificateStore::beside(cache.as_ref()))
    }

    /// Sets [`CertificateIssuance::key_algorithm`].
    pub const fn key_algorithm(mut self, algorithm: KeyAlgorithm) -> Self {
        self.key_algorithm = algorithm;
        self
    }

    /// Sets [`CertificateIssuance::renew_at`].
    pub const fn renew_at(mut self, share: f64) -> Self {
        self.renew_at = share;
        self
    }

    /// Sets [`CertificateIssuance::jitter`].
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Sets [`CertificateIssuance::retry_wait`].
    pub const fn retry_wait(mut self, wait: Backoff) -> Self {
        self.retry_wait = wait;
        self
    }

    /// Sets [`CertificateIssuance::request_timeout`].
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`CertificateIssuance::check_every`].
    pub const fn check_every(mut self, time: Duration) -> Self {
        self.check_every = time;
        self
    }

    /// Reads the wall clock with this function: for tests, and for a device that gets the time from another source than
    /// the operating system. The dates of issued certificates and of the tokens for DPS follow this clock.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(now));
        self
    }

    pub(crate) fn wall_clock(&self) -> Option<WallClock> {
        self.clock.clone()
    }
}

impl fmt::Debug for CertificateIssuance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateIssuance")
            .field("file", &self.file)
            .field("key_algorithm", &self.key_algorithm)
            .field("renew_at", &self.renew_at)
            .field("jitter", &self.jitter)
            .field("retry_wait", &self.retry_wait)
            .field("request_timeout", &self.request_timeout)
            .field("check_every", &self.check_every)
            .field("clock", &self.clock.as_ref().map(|_| format_args!("..")))
            .finish()
    }
}
