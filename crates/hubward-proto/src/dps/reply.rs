//! What a transport carries to DPS and back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dps::RegistrationOperation;
use crate::{IdScope, RegistrationId};

/// A registration, ready for any transport.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Register {
    /// Which DPS instance.
    pub id_scope: IdScope,
    /// Who registers.
    pub registration_id: RegistrationId,
    /// Anything the custom allocation should see.
    pub payload: Option<Value>,
    /// Name and version of the program, for the service's diagnostics.
    pub client_version: Option<String>,
}

impl Register {
    /// A registration without payload.
    #[must_use]
    pub const fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self { id_scope, registration_id, payload: None, client_version: None }
    }

    /// Sends `payload` along; comes to the custom allocation webhook, if the enrollment has one.
    #[must_use]
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Says who asks, such as `acme-pump/2.1`.
    #[must_use]
    pub fn client_version(mut self, client_version: impl Into<String>) -> Self {
        self.client_version = Some(client_version.into());
        self
    }

    /// What a token for this registration must be for.
    #[must_use]
    pub fn sas_resource(&self) -> String {
        crate::dps::sas_resource(&self.id_scope, &self.registration_id)
    }
}

/// What DPS answered, and how long it asks to wait before the next question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DpsReply {
    /// The answer.
    pub body: DpsBody,
    /// `None` if the service did not say; zero means at once.
    pub retry_after: Option<Duration>,
    /// The HTTP status, or the same number in the topic: [`DpsReply::ACCEPTED`] says that the operation
    /// goes on. `None` if the transport does not know it.
    pub status: Option<u16>,
}

impl DpsReply {
    /// The status of an answer while the operation goes on; an operation that has ended has 200.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `RuntimeRegistration_OperationStatusLookup`.
    pub const ACCEPTED: u16 = 202;

    /// An answer as a transport read it, without its status.
    #[must_use]
    pub const fn new(body: DpsBody, retry_after: Option<Duration>) -> Self {
        Self { body, retry_after, status: None }
    }

    /// Sets [`DpsReply::status`].
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

/// The kinds of answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DpsBody {
    /// How the registration is doing.
    Operation(Box<RegistrationOperation>),
    /// A challenge for a device that proves itself with a TPM.
    TpmChallenge(TpmChallenge),
}

/// What a TPM has to decrypt before the device may register; HTTPS only.
///
/// Source: `[sdk]` azure-iot-sdk-node, provisioning transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TpmChallenge {
    /// The encrypted key, base64.
    pub authentication_key: String,
    /// Where the TPM is to keep it.
    pub key_name: String,
}
