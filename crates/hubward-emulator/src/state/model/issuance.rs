//! The certificates that a hub issues to a device: the policy, and the request that the hub works on.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::state::wire_id;

/// How a hub issues certificates to a device. DPS creates this value when it issues the first certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issuance {
    /// The name of the credential policy.
    pub(crate) policy: String,
    /// An id in each certificate of the device. A device that is deleted and created again gets another id, so its
    /// earlier certificates are no longer valid.
    pub(crate) unique_id: String,
    /// The request that the hub has accepted, until the client has acknowledged its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<PendingRequest>,
}

/// A certificate request that a hub has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingRequest {
    /// The id that the client chose.
    pub(crate) request_id: String,
    pub(crate) correlation_id: String,
    /// The base64 of the request.
    pub(crate) csr: String,
    /// When the hub gives up, by the clock of the emulator.
    pub(crate) expires: SystemTime,
    /// When the result is ready, by the clock of the emulator. A scripted fault can delay the result once. `None`
    /// without such a delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<SystemTime>,
    /// The result, until the client has acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<RequestResult>,
}

/// The result of a certificate request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestResult {
    pub(crate) status: u16,
    /// The JSON.
    pub(crate) body: String,
}

impl Issuance {
    pub(crate) fn new(policy: &str) -> Self {
        Self { policy: policy.to_owned(), unique_id: wire_id::guid(), pending: None }
    }

    /// The request that the hub works on, if it has not expired. The hub no longer works on a request with a result.
    pub(crate) fn active(&self, now: SystemTime) -> Option<&PendingRequest> {
        self.pending.as_ref().filter(|it| now < it.expires && it.result.is_none())
    }
}

impl PendingRequest {
    /// Delays the result. The delay ends before the year 10000, so the time can be written.
    pub(crate) fn delay(&mut self, now: SystemTime, delay: Duration) {
        self.ready = now.checked_add(delay).filter(|it| *it < self.expires).or(Some(self.expires));
    }
}
