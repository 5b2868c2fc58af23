//! One renewal: a new key, a request to the hub, and the new certificate in the file.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hubward_hub::{IssuanceError, IssuanceRequest, WeakHubClient};
use hubward_transport::Fault;

use super::super::cache::FinishError;
use super::super::event::one_line;
use super::keeper::{Issued, Keeper, KeyError, now};
use crate::Diagnosis;

/// The hub of a device, as far as a renewal needs it.
#[async_trait]
pub(crate) trait CertificateHub: Send + Sync {
    /// The id of the device at its hub. `None` if it has no hub, or has ended.
    fn device_id(&self) -> Option<String>;

    /// See [`hubward_hub::HubClient::request_certificate`].
    async fn request_certificate(&self, request: IssuanceRequest) -> Result<Vec<String>, IssuanceError>;

    /// See [`hubward_hub::HubClient::ask_provider`].
    fn ask_provider(&self);
}

/// A failed renewal.
#[derive(Debug)]
pub(super) struct RenewalFailure {
    /// The failure, in one line.
    pub(super) error: String,
    pub(super) diagnosis: Diagnosis,
    /// The wait before the next attempt.
    pub(super) retry_in: Duration,
    /// When the certificate in use expires.
    pub(super) not_after: SystemTime,
}

#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Hub(#[from] IssuanceError),
    #[error(transparent)]
    Chain(#[from] FinishError),
}

impl Keeper {
    /// Requests another certificate. Returns `None` if the request was abandoned, because the device registers or ends.
    pub(super) async fn renew(
        &self,
        hub: &impl CertificateHub,
        device_id: &str,
    ) -> Option<Result<Issued, RenewalFailure>> {
        let number = self.begin_request();
        match self.try_renew(hub, device_id, number).await? {
            Ok(issued) => Some(Ok(issued)),
            Err(error) => {
                if error.is_final() {
                    // If the file cannot be written, the next request replaces this one, which changes nothing.
                    let _ = self.vault.discard_pending().await;
                }
                self.on_renewal_failed(number, &error).map(Err)
            }
        }
    }

    async fn try_renew(
        &self,
        hub: &impl CertificateHub,
        device_id: &str,
        number: u64,
    ) -> Option<Result<Issued, RenewalError>> {
        // The hub may still work on a request without an answer, also on one that the program sent before it restarted.
        let replaces = self.vault.has_request_at_hub();
        let id = IssuanceRequest::random_id();
        let csr = match self.store_key(device_id, Some(id.as_str().to_owned())).await {
            Ok(csr) => csr,
            Err(error) => return Some(Err(error.into())),
        };
        let request = IssuanceRequest::new(csr).id(id).replace_pending(replaces).deadline(Some(self.request_timeout));
        let chain = tokio::select! {
            chain = hub.request_certificate(request) => chain,
            () = self.abandoned(number) => return None,
        };
        let chain = match chain {
            Ok(chain) if self.is_last(number) => chain,
            Ok(_) => return None,
            Err(error) => return Some(Err(error.into())),
        };
        Some(match self.store_chain(&chain).await {
            Ok(issued) => Ok(self.start_life(&issued)),
            Err(error) => Err(error.into()),
        })
    }

    fn on_renewal_failed(&self, number: u64, error: &RenewalError) -> Option<RenewalFailure> {
        let (asked, random) = (error.retry_after(), self.network.random());
        let not_after = self.vault.current()?.certificate.leaf().not_after();
        let mut state = self.state();
        if state.requests != number {
            return None;
        }
        let retry_in = state.life.as_mut()?.on_failed(now(), asked, random);
        Some(RenewalFailure { error: one_line(error), diagnosis: error.diagnosis(), retry_in, not_after })
    }

    fn is_last(&self, number: u64) -> bool {
        let state = self.state();
        state.requests == number && !state.is_ended
    }

    /// Returns when the request is not the last one any more.
    async fn abandoned(&self, number: u64) {
        while self.is_last(number) {
            self.changed().await;
        }
    }
}

impl RenewalError {
    /// How long the hub asks the device to wait.
    fn retry_after(&self) -> Duration {
        match self {
            Self::Hub(error) => error.retry_after().unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Whether the hub certainly does not work on the request.
    fn is_final(&self) -> bool {
        match self {
            Self::Hub(error) => error.is_certainly_not_sent() || error.status().is_some(),
            Self::Chain(FinishError::Chain(_)) => true,
            Self::Chain(_) | Self::Key(_) => false,
        }
    }

    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Hub(error) => Diagnosis::from(error),
            Self::Chain(FinishError::Chain(_)) => Diagnosis::of_settings(Fault::Peer, None),
            Self::Key(_) | Self::Chain(_) => {
                let hint = "can the program write the file of the certificates?".to_owned();
                Diagnosis::of_settings(Fault::Request, Some(hint))
            }
        }
    }
}

#[async_trait]
impl CertificateHub for WeakHubClient {
    fn device_id(&self) -> Option<String> {
        Some(self.upgrade()?.login()?.identity.client_id())
    }

    async fn request_certificate(&self, request: IssuanceRequest) -> Result<Vec<String>, IssuanceError> {
        Self::request_certificate(self, request).await
    }

    fn ask_provider(&self) {
        if let Some(hub) = self.upgrade() {
            hub.ask_provider();
        }
    }
}
