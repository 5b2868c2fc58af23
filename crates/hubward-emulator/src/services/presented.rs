//! The certificates that a client presented in the TLS handshake.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use hubward_sas::UnixSeconds;
use hubward_x509::{CHAIN_MAX, Certificate};

/// The certificates that a client presented, leaf first. The client has proved that it has the key of the leaf. Nothing
/// else has been checked.
///
/// Keeps the DER, and reads the certificates when they are needed. A clone shares the memory.
#[derive(Clone)]
pub(crate) struct PresentedChain(Arc<Inner>);

struct Inner {
    der: Vec<Vec<u8>>,
    /// Number of certificates that the client presented. `der` has at most [`CHAIN_MAX`] of them.
    count: usize,
    links: OnceLock<Result<Links, String>>,
}

/// The certificates of a chain, and how many of them belong together.
pub(crate) struct Links {
    /// Leaf first; never empty.
    certificates: Vec<Certificate>,
    /// See [`Links::linked`].
    linked: OnceLock<usize>,
}

impl PresentedChain {
    /// Keeps at most [`CHAIN_MAX`] certificates. Returns `None` if there is none.
    pub(crate) fn new<'a>(der: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        let count = der.len();
        let der: Vec<Vec<u8>> = der.take(CHAIN_MAX).map(<[u8]>::to_vec).collect();
        (!der.is_empty()).then(|| Self(Arc::new(Inner { der, count, links: OnceLock::new() })))
    }

    /// Reads the certificates. The error is the reason for the log.
    pub(crate) fn read(&self) -> Result<&Links, &str> {
        let Inner { der, count, links } = &*self.0;
        let links = links.get_or_init(|| {
            if *count > CHAIN_MAX {
                return Err(format!("the client presented {count} certificates; at most {CHAIN_MAX} are allowed"));
            }
            let certificates: Result<Vec<_>, _> = der.iter().map(|it| Certificate::from_der(it)).collect();
            let certificates =
                certificates.map_err(|problem| format!("a presented certificate cannot be read: {problem}"))?;
            Ok(Links { certificates, linked: OnceLock::new() })
        });
        links.as_ref().map_err(String::as_str)
    }
}

impl fmt::Debug for PresentedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedChain({} certificates)", self.0.count)
    }
}

/// A known certificate that has issued a presented certificate, directly or through others.
pub(crate) struct Issuer<'a, T> {
    /// The result of the search for the certificate.
    pub(crate) found: T,
    /// The presented certificates below it, and the certificate itself if it was presented.
    pub(crate) presented: &'a [Certificate],
}

impl Links {
    /// The certificate of the device.
    pub(crate) fn leaf(&self) -> &Certificate {
        // Never empty: `PresentedChain::new` returns `None` for an empty chain.
        &self.certificates[0]
    }

    /// Number of certificates from the leaf upwards of which each has issued the one before it; at least 1.
    ///
    /// Verifies the signatures at the first call, because a login by thumbprint needs none of them.
    fn linked(&self) -> usize {
        let holds = || self.certificates.windows(2).take_while(|pair| has_issued(&pair[1], &pair[0])).count();
        *self.linked.get_or_init(|| holds() + 1)
    }

    /// Searches the issuers of the leaf from the nearest one upwards. Calls `presented` for each issuer that the client
    /// presented. At last, calls `issuer_of` with the last presented certificate: the client need not present the root.
    ///
    /// The first `Some` ends the search. Stops where the chain is broken.
    pub(crate) fn find_issuer<T>(
        &self,
        presented: impl Fn(&Certificate) -> Option<T>,
        issuer_of: impl Fn(&Certificate) -> Option<T>,
    ) -> Option<Issuer<'_, T>> {
        for (at, certificate) in self.certificates[..self.linked()].iter().enumerate().skip(1) {
            if let Some(found) = presented(certificate) {
                return Some(Issuer { found, presented: &self.certificates[..=at] });
            }
        }
        let last = self.certificates.last().filter(|_| self.linked() == self.certificates.len())?;
        Some(Issuer { found: issuer_of(last)?, presented: &self.certificates })
    }

    /// Why the chain is broken; `None` if it is whole.
    pub(crate) fn broken(&self) -> Option<String> {
        let issued = self.certificates.get(self.linked() - 1)?;
        let next = self.certificates.get(self.linked())?;
        let (issued, next_name) = (issued.subject_name(), next.subject_name());
        Some(if may_issue(next) {
            format!("the presented chain is broken: `{next_name}` has not issued `{issued}`")
        } else {
            format!(
                "the presented chain is broken: `{next_name}` has not issued `{issued}`, and is not a CA certificate"
            )
        })
    }
}

/// Whether `issuer` has issued `issued` and may do so.
///
/// Source: RFC 5280, section 4.2.1.9: a certificate of version 3 needs the extension *basic constraints* to be a CA
/// certificate. `[guess]`: the services check this.
pub(crate) fn has_issued(issuer: &Certificate, issued: &Certificate) -> bool {
    may_issue(issuer) && issued.is_issued_by(issuer)
}

fn may_issue(issuer: &Certificate) -> bool {
    issuer.is_authority() || issuer.version() < 3
}

/// The time to compare with the dates of certificates.
pub(crate) fn system_time(now: UnixSeconds) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now.0)).unwrap_or(SystemTime::UNIX_EPOCH)
}
