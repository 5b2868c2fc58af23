//! The requests and answers that a transport exchanges with DPS.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dps::{API_VERSION, API_VERSION_WITH_CSR, DeviceRegistration, DpsUsername, RegistrationOperation};
use crate::{Csr, IdScope, RegistrationId};

/// A registration request, for any transport.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Register {
    /// The id scope of the DPS instance.
    pub id_scope: IdScope,
    /// The registration id of the device.
    pub registration_id: RegistrationId,
    /// Data for the custom allocation webhook.
    pub payload: Option<Value>,
    /// Name and version of the program, for the service's diagnostics.
    pub client_version: Option<String>,
    /// A request for a certificate that the device will use at its hub; a preview of the service.
    pub csr: Option<Csr>,
}

impl Register {
    /// Creates a registration without payload.
    pub const fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self { id_scope, registration_id, payload: None, client_version: None, csr: None }
    }

    /// Sets [`Register::payload`]. DPS passes it to the custom allocation webhook, if the enrollment has one.
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Sets [`Register::client_version`], such as `acme-pump/2.1`.
    pub fn client_version(mut self, client_version: impl Into<String>) -> Self {
        self.client_version = Some(client_version.into());
        self
    }

    /// Sets [`Register::csr`]. If the enrollment has a policy for certificates, DPS returns the issued chain in
    /// [`RegistrationState::issued_certificate_chain`](crate::dps::RegistrationState::issued_certificate_chain).
    pub fn csr(mut self, csr: Csr) -> Self {
        self.csr = Some(csr);
        self
    }

    /// Returns the `api-version` for this registration and its polls: [`API_VERSION`], or [`API_VERSION_WITH_CSR`] with
    /// a certificate request.
    #[must_use]
    pub const fn api_version(&self) -> &'static str {
        if self.csr.is_some() { API_VERSION_WITH_CSR } else { API_VERSION }
    }

    /// Returns the body of the registration.
    #[must_use]
    pub fn body(&self) -> DeviceRegistration {
        DeviceRegistration::new(&self.registration_id, self.payload.clone()).csr(self.csr.as_ref())
    }

    /// Returns the MQTT user name for the registration and its polls.
    #[must_use]
    pub fn username(&self) -> DpsUsername {
        let name = DpsUsername::new(self.id_scope.clone(), self.registration_id.clone(), self.client_version.clone());
        DpsUsername { api_version: self.api_version().to_owned(), ..name }
    }

    /// Returns the resource that a token for this registration must cover.
    #[must_use]
    pub fn sas_resource(&self) -> String {
        crate::dps::sas_resource(&self.id_scope, &self.registration_id)
    }
}

/// An answer of DPS, and how long DPS asks the client to wait before the next request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DpsReply {
    /// The answer.
    pub body: DpsBody,
    /// How long to wait. `None` if the service named no time; zero if the client need not wait.
    pub retry_after: Option<Duration>,
    /// The status of the answer: the HTTP status, or the number in the MQTT topic. `None` if the transport does not
    /// know the status. [`DpsReply::ACCEPTED`] means that the operation is still running.
    pub status: Option<u16>,
}

impl DpsReply {
    /// The status of an answer while the operation is running. After the operation has ended, the status is 200.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `RuntimeRegistration_OperationStatusLookup`.
    pub const ACCEPTED: u16 = 202;

    /// Creates an answer without a status.
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
    /// The status of the registration.
    Operation(Box<RegistrationOperation>),
    /// A challenge for a device that authenticates with a TPM.
    TpmChallenge(TpmChallenge),
}

/// A challenge of DPS: an encrypted key, which the device's TPM must decrypt before the device may register. DPS sends
/// challenges over HTTPS only.
///
/// Source: `[sdk]` azure-iot-sdk-node, provisioning transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TpmChallenge {
    /// The encrypted key, base64.
    pub authentication_key: String,
    /// The name under which the TPM must store the key.
    pub key_name: String,
}
