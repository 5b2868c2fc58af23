//! The certificates that DPS issues to devices.

use std::time::SystemTime;

use hubward_proto::Csr;
use hubward_proto::dps::{API_VERSION_WITH_CSR, DeviceRegistration};

use super::admit::{Admitted, Caller, Denial};
use super::response::Refusal;
use crate::services::issuer::{CredentialAuthority, SigningRequest};
use crate::state::clock::timestamp;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Assigned, CredentialPolicy, Issued, State, policy_name};

/// The error code for a certificate request that cannot be used.
///
/// Source: `[guess]`, from the hub's code.
const BAD_CSR: u32 = hubward_proto::hub::credential_code::ARGUMENT_INVALID;

/// A checked certificate request of a registration.
#[derive(Debug)]
pub(super) struct Order {
    request: SigningRequest,
    pub(super) policy: CredentialPolicy,
}

/// The certificate request in the body of a request, if its `api-version` has this member.
///
/// Source: `[guess]`: an older version ignores the member, as it ignores every unknown member.
pub(super) fn csr<'a>(caller: &Caller, registration: &'a DeviceRegistration) -> Option<&'a str> {
    registration.csr.as_deref().filter(|_| has_csr(caller))
}

/// Whether the `api-version` of a request includes certificate requests and issued certificates.
pub(super) fn has_csr(caller: &Caller) -> bool {
    *caller.api_version >= *API_VERSION_WITH_CSR
}

/// Checks the certificate request of a registration. Returns `None` if there is none, or if the enrollment has no
/// credential policy: DPS then assigns the hub without a certificate.
///
/// Source: `[sdk]` Azure/azure-iot-sdk: a device continues with the credential of the registration if DPS issues no
/// certificate. `[guess]`:
///
/// * The status and the code for a request that cannot be used.
/// * DPS checks the request even if the enrollment has no policy.
pub(super) fn order(
    state: &State,
    caller: &Caller,
    admitted: &Admitted,
    registration: &DeviceRegistration,
) -> Result<Option<Order>, Denial> {
    let Some(csr) = csr(caller, registration) else { return Ok(None) };
    let refused = |why: String| Denial {
        refusal: Refusal::new(400, BAD_CSR, "The certificate signing request is not valid."),
        why,
    };
    let csr = Csr::new(csr).map_err(|problem| refused(problem.to_string()))?;
    let request = SigningRequest::read(&csr, caller.registration_id.as_str()).map_err(refused)?;
    let settings = match &admitted.group {
        Some(name) => state.groups.get(name).map(|it| &it.model.settings),
        None => state.individuals.get(&caller.key()).map(|it| &it.model.settings),
    };
    let named = settings.and_then(|it| policy_name(it).ok().flatten());
    let policy = named.and_then(|it| state.credential_policies.named(it));
    if policy.is_none() {
        let registration_id = &caller.registration_id;
        tracing::info!(%registration_id, "DPS issues no certificate: the enrollment has no credential policy");
    }
    Ok(policy.map(|policy| Order { request, policy }))
}

/// Issues the certificate of a registration that has assigned a hub. `operation` is the id of the registration. Returns
/// an event for the journal, or `None` if no hub was assigned.
///
/// The common name of the certificate is the id of the device, because its hub compares this name. `[guess]`: for a
/// device whose id differs from its registration id.
pub(super) fn issue(
    state: &mut State,
    authority: &CredentialAuthority,
    caller: &Caller,
    order: &Order,
    operation: &str,
    now: SystemTime,
) -> Result<Option<Note>, Denial> {
    let record = state.records.get(&caller.key()).filter(|it| it.state.assigned_hub.is_some());
    let Some(Assigned { hub, device_id }) = record.and_then(|it| it.assigned.clone()) else { return Ok(None) };
    let Some(issuance) = state.device(&hub, &device_id).and_then(|it| it.issuance.as_ref()) else { return Ok(None) };
    let days = order.policy.validity_period_in_days;
    let issued = authority.issue(&order.request, &device_id, &issuance.unique_id, days, now);
    let issued = issued.map_err(|problem| {
        let why = format!("the certificate cannot be issued: {problem}");
        Denial { refusal: Refusal::generic(500, "The certificate cannot be issued."), why }
    })?;
    if let Some(record) = state.records.get_mut(&caller.key()) {
        record.issued = Some(Issued { operation: operation.to_owned(), leaf: issued.text });
    }
    let (until, serial) = (timestamp(issued.not_after), issued.serial_number);
    let message = format!("policy `{}`, serial number {serial}, valid until {until}", order.policy.name);
    let note = Note::new(EventKind::CertificateIssued, EventSource::Dps).id(caller.registration_id.as_str());
    Ok(Some(note.hub(&hub).message(message)))
}
