//! Knows the issued certificate in use, and what is due for it. The supervisor and the renewer share one keeper.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hubward_proto::Csr;
use hubward_transport::{ClientCertificate, UnixSeconds};
use hubward_x509::{Certificate, CertificateError, CertificateRequest, DeviceKey, KeyAlgorithm};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::cache::{Binding, CacheError, FinishError, IssuedCertificate, PendingKey, SetAside};
use super::super::certificate_issuance::CertificateIssuance;
use super::super::event::one_line;
use super::super::lifecycle::{CertificateLife, RenewalPolicy, Validity};
use super::super::network::{Network, blocking};
use super::vault::{Found, Vault};

/// The issued certificate of one device.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(super) vault: Vault,
    pub(super) network: Arc<dyn Network>,
    policy: RenewalPolicy,
    algorithm: KeyAlgorithm,
    pub(super) request_timeout: Duration,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// `None` if the device has no issued certificate.
    pub(super) life: Option<CertificateLife>,
    /// Whether the hub has accepted the device with the certificate, and the connection has not failed since.
    pub(super) is_online: bool,
    /// The request of the last registration.
    csr: Option<Csr>,
    /// Number of requests. A request that is not the last one is abandoned.
    pub(super) requests: u64,
    pub(super) is_ended: bool,
}

/// What a device can do when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// There is a certificate.
    Usable,
    /// The certificate has expired.
    Expired,
    /// There is no certificate, and DPS was not asked, or has not answered.
    Lacking,
    /// DPS was asked, and has issued no certificate.
    Declined,
}

/// A certificate that a service has issued, and that the device has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) not_after: SystemTime,
    pub(crate) renews_in: Duration,
}

/// Why a registration gave no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotIssued {
    #[error("DPS has assigned the hub without a certificate")]
    ByDps,
    #[error("the key of the request cannot be made or stored: {0}")]
    Request(String),
    #[error("the issued certificate cannot be used: {0}")]
    Chain(String),
}

/// What a failure at the hub means for the certificate.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing: the usual rules apply.
    Keep,
    /// The device has returned to the certificate before. If the file cannot be written, there is an error.
    RolledBack(Result<(), CacheError>),
    /// The certificate has expired.
    Expired,
}

impl Keeper {
    pub(crate) fn new(settings: &CertificateIssuance, binding: Binding, network: Arc<dyn Network>) -> Self {
        Self {
            vault: Vault::new(settings.file.clone(), binding),
            network,
            policy: policy(settings),
            algorithm: settings.key_algorithm,
            request_timeout: settings.request_timeout,
            state: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Reads the file.
    pub(crate) async fn open(&self) -> (Readiness, Option<SetAside>) {
        let Found { has_file, set_aside } = self.vault.open().await;
        let readiness = match self.vault.current() {
            Some(current) => {
                let (validity, random) = (validity(&current), self.network.random());
                let is_on_trial = self.vault.previous().is_some();
                let life = CertificateLife::new(self.policy, validity, is_on_trial, random);
                self.state().life = Some(life);
                if validity.is_expired(self.wall()) { Readiness::Expired } else { Readiness::Usable }
            }
            None if has_file && !self.vault.has_pending_key() => Readiness::Declined,
            None => Readiness::Lacking,
        };
        (readiness, set_aside)
    }

    /// The certificate with which the device connects to the hub.
    pub(crate) fn certificate(&self) -> Option<ClientCertificate> {
        self.vault.current().map(|it| it.certificate)
    }

    /// Whether the certificate has expired.
    pub(crate) fn is_expired(&self) -> bool {
        let wall = self.wall();
        self.state().life.as_ref().is_some_and(|it| it.is_expired(wall))
    }

    /// Makes and stores a key for a registration, and returns the request. A running renewal is abandoned.
    pub(crate) async fn order(&self, registration_id: &str) -> Result<Csr, NotIssued> {
        self.begin_request();
        let ordered = self.store_key(registration_id, None).await;
        let csr = ordered.map_err(|error| NotIssued::Request(one_line(&error)))?;
        self.state().csr = Some(csr.clone());
        Ok(csr)
    }

    /// The request of the last registration, if DPS has not answered it yet.
    pub(crate) fn last_order(&self) -> Option<Csr> {
        self.state().csr.clone()
    }

    /// DPS has assigned a hub with this chain.
    pub(crate) async fn on_assigned(&self, chain: Option<&[String]>) -> Result<Issued, NotIssued> {
        let has_asked = self.state().csr.take().is_some();
        let issued = match chain.filter(|it| has_asked && !it.is_empty()) {
            Some(chain) => self.store_chain(chain).await.map_err(|error| NotIssued::Chain(one_line(&error))),
            None => Err(NotIssued::ByDps),
        };
        match issued {
            Ok(issued) => {
                // If the hub refuses this certificate, the device registers: it does not return to the one before. If
                // the file cannot be written, the next start may try that one once more.
                let _ = self.vault.confirm().await;
                Ok(self.start_life(&issued))
            }
            Err(error) => {
                self.state().life = None;
                // If the file cannot be written, the hub refuses the old certificate after the next start, and the
                // device registers.
                let _ = self.vault.forget().await;
                Err(error)
            }
        }
    }

    /// A registration has failed.
    pub(crate) fn on_registration_failed(&self) {
        let random = self.network.random();
        if let Some(life) = &mut self.state().life {
            life.on_registration_failed(now(), random);
        }
        self.news.notify_one();
    }

    /// The hub has accepted the device with the certificate. If this was a trial, returns until when the certificate is
    /// valid, and whether the file could be written.
    pub(crate) async fn on_accepted(&self) -> Option<(SystemTime, Result<(), CacheError>)> {
        {
            let mut state = self.state();
            state.is_online = true;
            if let Some(life) = &mut state.life {
                life.on_accepted();
            }
        }
        let kept = match (self.vault.current(), self.vault.previous()) {
            (Some(current), Some(_)) => Some((current.certificate.leaf().not_after(), self.vault.confirm().await)),
            _ => None,
        };
        self.news.notify_one();
        kept
    }

    /// A connection with the certificate, or an attempt to connect, has failed. `failures` is the number of failures in
    /// a row with this certificate, and `failures_max` is the number after which a trial ends.
    pub(crate) async fn on_hub_failed(&self, is_refused: bool, failures: u32, failures_max: u32) -> Verdict {
        self.state().is_online = false;
        let wall = self.wall();
        let previous = self.vault.previous().filter(|it| !validity(it).is_expired(wall));
        let is_expired = self.is_expired();
        if let Some(previous) = previous
            && (is_refused || is_expired || failures >= failures_max)
        {
            let random = self.network.random();
            if let Some(life) = &mut self.state().life {
                life.on_rolled_back(validity(&previous), now(), random);
            }
            return Verdict::RolledBack(self.vault.revert().await);
        }
        if is_expired {
            return Verdict::Expired;
        }
        Verdict::Keep
    }

    /// The device does not need the registration that it has asked for.
    pub(crate) fn drop_request(&self) {
        if let Some(life) = &mut self.state().life {
            life.on_dropped();
        }
    }

    /// The device has ended. The renewer ends too.
    pub(crate) fn end(&self) {
        self.state().is_ended = true;
        self.news.notify_one();
    }

    /// Waits until the state has changed. The renewer calls it.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Counts a request to a service, and abandons the running one. Returns its number.
    pub(super) fn begin_request(&self) -> u64 {
        let mut state = self.state();
        state.requests += 1;
        if let Some(life) = &mut state.life {
            life.on_requested();
        }
        self.news.notify_one();
        state.requests
    }

    /// Makes a key, stores it as pending, and returns the request.
    pub(super) async fn store_key(&self, common_name: &str, request_id: Option<String>) -> Result<Csr, KeyError> {
        let (name, algorithm) = (common_name.to_owned(), self.algorithm);
        let (key, csr) = blocking(move || {
            let key = DeviceKey::generate(algorithm)?;
            let request = CertificateRequest::new(&name, key.signer())?;
            Ok::<_, CertificateError>((key, request.to_base64()))
        })
        .await?;
        let csr = Csr::new(csr)?;
        let created_at = UnixSeconds::from_system_time(self.wall());
        // The new key replaces the one of an earlier request.
        self.state().csr = None;
        self.vault.begin(PendingKey { key, request_id, created_at }).await?;
        Ok(csr)
    }

    /// Reads an issued chain, and stores it with the pending key.
    pub(super) async fn store_chain(&self, chain: &[String]) -> Result<IssuedCertificate, FinishError> {
        let chain = Certificate::chain_from_service_texts(chain).map_err(FinishError::Chain)?;
        self.vault.finish(chain, UnixSeconds::from_system_time(self.wall())).await
    }

    /// The device uses this certificate from now on.
    pub(super) fn start_life(&self, issued: &IssuedCertificate) -> Issued {
        let (validity, random) = (validity(issued), self.network.random());
        let is_on_trial = self.vault.previous().is_some();
        {
            let mut state = self.state();
            match &mut state.life {
                Some(life) => life.on_issued(validity, is_on_trial, random),
                life => *life = Some(CertificateLife::new(self.policy, validity, is_on_trial, random)),
            }
        }
        self.news.notify_one();
        self.issued(issued)
    }

    fn issued(&self, issued: &IssuedCertificate) -> Issued {
        let wall = self.wall();
        let renews_in = self.state().life.as_ref().map_or(Duration::ZERO, |it| it.renews_in(wall));
        Issued { not_after: issued.certificate.leaf().not_after(), renews_in }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wall(&self) -> SystemTime {
        self.network.wall()
    }
}

/// Why a key for a request cannot be made or stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("the key or its certificate request cannot be made")]
    Key(#[from] CertificateError),
    #[error("the certificate request is too long")]
    Csr(#[from] hubward_proto::ProtoError),
    #[error(transparent)]
    Store(#[from] CacheError),
}

fn policy(settings: &CertificateIssuance) -> RenewalPolicy {
    let CertificateIssuance { renew_at, jitter, retry_wait, check_every, .. } = *settings;
    RenewalPolicy { renew_at, jitter, retry_wait, check_every }
}

fn validity(issued: &IssuedCertificate) -> Validity {
    let leaf = issued.certificate.leaf();
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    // The clock cannot represent every number that a file can contain.
    let issued_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(issued.issued_at.0));
    Validity { not_before, not_after, issued_at: issued_at.unwrap_or(not_before) }
}

pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
