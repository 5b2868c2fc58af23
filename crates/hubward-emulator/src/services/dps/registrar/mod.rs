//! The three requests of the DPS device API. This code does not depend on the transport.

use std::sync::Arc;

use hubward_proto::dps::{AssignmentStatus, DeviceRegistration, RegistrationOperation, RegistrationState, Substatus};
use hubward_proto::{OperationId, limits};

use super::admit::{Admitted, Caller, Denial, admit};
use super::assign::assign;
use super::issue;
use super::response::{DpsResponse, Refusal};
use crate::services::issuer::CredentialAuthority;
use crate::state::clock::Clock;
use crate::state::fault::Moves;
use crate::state::journal::{EventKind, EventLog, EventSource, Note};
use crate::state::model::{Operation, State, too_many_levels};
use crate::state::store::Store;
use crate::state::wire_id;

/// DPS without transports.
#[derive(Debug)]
pub(crate) struct Registrar {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: EventLog,
    pub(crate) authority: Arc<CredentialAuthority>,
    /// The devices that a scripted fault moved to another hub. For these devices, DPS ignores the hubs of the
    /// enrollment.
    pub(crate) moves: Moves,
    pub(crate) id_scope: String,
    /// The Retry-After of 202 responses, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Number of polls that get `assigning` as response.
    pub(crate) polls_before_assigned: u32,
}

impl Registrar {
    /// Registers a device.
    ///
    /// * If DPS accepts the request, the status is 202, even if the device is already assigned.
    /// * If the enrollment is disabled, DPS assigns no hub. The status is 200, and the response says `disabled`.
    /// * If DPS refuses the request, the response contains an error.
    pub(crate) fn register(&self, caller: &Caller, body: &[u8]) -> DpsResponse {
        let now = self.clock.now();
        let registered = self.store.change(|state| {
            let admitted = self.admit(state, caller)?;
            let registration = read_body(caller, body)?;
            if !admitted.enabled {
                let why = "the enrollment is disabled";
                let note = Note::new(EventKind::Refused, EventSource::Dps).id(caller.registration_id.as_str());
                return Ok((disabled(caller), note.message(why)));
            }
            let order = issue::order(state, caller, &admitted, &registration)?;
            let policy = order.as_ref().map(|it| it.policy.name.as_str());
            assign(state, caller, &admitted, registration.payload, policy, now);
            let id = wire_id::operation_id();
            if let Some(order) = &order
                && let Some(note) = issue::issue(state, &self.authority, caller, order, &id, now)?
            {
                self.journal.note(note);
            }
            let operation = Operation::new(caller.key(), self.polls_before_assigned);
            state.operations.insert(id.clone(), operation);
            Ok((self.assigning(id, None), outcome(state, caller)))
        });
        self.answer(
            caller,
            registered.map(|(answer, note)| {
                self.journal.note(note);
                answer
            }),
        )
    }

    /// Returns the status of a registration. If DPS issued a certificate in this registration, each answer `assigned`
    /// contains its chain.
    pub(crate) fn poll(&self, caller: &Caller, operation_id: &OperationId) -> DpsResponse {
        self.answer(
            caller,
            self.store.change(|state| {
                let admitted = self.admit(state, caller)?;
                if !admitted.enabled {
                    return Ok(disabled(caller));
                }
                let id = operation_id.to_string();
                let unknown = || Refusal::not_found("The registration operation was not found.");
                let operation = state.operations.of(&id, &caller.key()).ok_or_else(unknown)?;
                if operation.polls_left > 0 {
                    operation.polls_left -= 1;
                    let mut so_far = RegistrationState::default();
                    so_far.registration_id = Some(caller.registration_id.to_string());
                    so_far.status = Some(AssignmentStatus::Assigning);
                    return Ok(self.assigning(id, Some(so_far)));
                }
                let record = state.records.get(&caller.key()).ok_or_else(unknown)?;
                let mut result = shown(caller, &record.state);
                let issued = record.issued.as_ref().filter(|it| it.operation == id && issue::has_csr(caller));
                result.issued_certificate_chain = issued.map(|it| self.authority.chain(&it.leaf));
                let status = result.status.clone().unwrap_or(AssignmentStatus::Failed);
                let operation = RegistrationOperation { operation_id: id, status, registration_state: Some(result) };
                Ok(DpsResponse::operation(200, &operation, None))
            }),
        )
    }

    /// Returns the result of an earlier registration. The result never contains the chain of a certificate.
    ///
    /// Source: `[doc]` azure-rest-api-specs, device registration of 2025-07-01-preview. `[guess]`: the code of the
    /// refusal.
    pub(crate) fn lookup(&self, caller: &Caller, body: &[u8]) -> DpsResponse {
        self.answer(
            caller,
            self.store.read(|state| {
                self.admit(state, caller)?;
                if issue::csr(caller, &read_body(caller, body)?).is_some() {
                    let why = "A status look-up must not contain a certificate signing request.";
                    return Err(Refusal::generic(400, why).into());
                }
                let record = state.records.get(&caller.key());
                let record = record.ok_or_else(|| Refusal::not_found("The registration was not found."))?;
                Ok(DpsResponse::json(200, &shown(caller, &record.state)))
            }),
        )
    }

    /// The response for a refusal.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> DpsResponse {
        DpsResponse::error(refusal, self.clock.now())
    }

    /// The response that a scripted fault sends for an expired token.
    pub(crate) fn expired(&self, caller: &Caller) -> DpsResponse {
        let why = "the token has expired (a scripted fault)".to_owned();
        self.answer(caller, Err(Denial { refusal: Refusal::unauthorized(), why }))
    }

    /// Whether a request is for the id scope of this DPS.
    pub(crate) fn is_own_scope(&self, caller: &Caller) -> bool {
        caller.is_of(&self.id_scope)
    }

    /// Returns why DPS refuses the requests of a device. Returns `None` if DPS allows them.
    pub(crate) fn denial(&self, caller: &Caller) -> Option<Denial> {
        self.store.read(|state| self.admit(state, caller).err())
    }

    /// Records a denial and returns its response.
    pub(crate) fn deny(&self, caller: &Caller, Denial { refusal, why }: Denial) -> DpsResponse {
        tracing::info!(registration_id = %caller.registration_id, code = refusal.code, why, "DPS refuses a device");
        let note = Note::new(EventKind::Refused, EventSource::Dps).id(caller.registration_id.as_str());
        self.journal.note(note.code(refusal.code).message(why));
        self.refuse(&refusal)
    }

    fn answer(&self, caller: &Caller, result: Result<DpsResponse, Denial>) -> DpsResponse {
        result.unwrap_or_else(|denial| self.deny(caller, denial))
    }

    fn admit(&self, state: &State, caller: &Caller) -> Result<Admitted, Denial> {
        let admitted = admit(state, &self.id_scope, caller, self.clock.unix())?;
        Ok(Admitted { moved_to: self.moves.of(&caller.key()), ..admitted })
    }

    fn assigning(&self, operation_id: String, registration_state: Option<RegistrationState>) -> DpsResponse {
        let status = AssignmentStatus::Assigning;
        let operation = RegistrationOperation { operation_id, status, registration_state };
        DpsResponse::operation(202, &operation, self.retry_after.map(|it| it.to_string()))
    }
}

/// The outcome of a registration, for the journal.
fn outcome(state: &State, caller: &Caller) -> Note {
    let id = caller.registration_id.as_str();
    let record = state.records.get(&caller.key());
    let assigned = record.and_then(|it| Some((it.state.assigned_hub.as_deref()?, it.state.device_id.as_deref()?)));
    let (Some(record), Some((hub, device))) = (record, assigned) else {
        let failed = Note::new(EventKind::RegistrationFailed, EventSource::Dps).id(id);
        let Some(record) = record else { return failed.message("its enrollment no longer exists") };
        let failed = failed.message(record.state.error_message.as_deref().unwrap_or_default());
        return match record.state.error_code {
            Some(code) => failed.code(code),
            None => failed,
        };
    };
    let how = record.state.substatus.as_ref().map_or_else(String::new, ToString::to_string);
    let message = if device == id { how } else { format!("{how}, as {device}") };
    Note::new(EventKind::Registered, EventSource::Dps).id(id).hub(hub).message(message)
}

/// Adapts a registration to the API version that the device uses. The substatus `reprovisionedToInitialAssignment` says
/// that the hub already had the device. Older versions do not know this substatus.
///
/// Source: `[issue]` Azure/azure-iot-sdk-csharp 2397, by Microsoft: this substatus exists from version 2019-04-15 on.
/// Older versions get `initialAssignment`.
fn shown(caller: &Caller, state: &RegistrationState) -> RegistrationState {
    let mut state = state.clone();
    if state.substatus == Some(Substatus::ReprovisionedToInitialAssignment) && *caller.api_version < *"2019-04-15" {
        state.substatus = Some(Substatus::InitialAssignment);
    }
    state
}

/// The response for a disabled enrollment.
///
/// Source: `[sdk]` azure-sdk-for-c, provisioning parser tests: the operation id is an empty string.
fn disabled(caller: &Caller) -> DpsResponse {
    let status = AssignmentStatus::Disabled;
    let mut state = RegistrationState::default();
    state.registration_id = Some(caller.registration_id.to_string());
    state.status = Some(status.clone());
    let operation = RegistrationOperation { operation_id: String::new(), status, registration_state: Some(state) };
    DpsResponse::operation(200, &operation, None)
}

/// Parses the body of a request.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistration`. `[guess]`: the status if the body is too large.
fn read_body(caller: &Caller, body: &[u8]) -> Result<DeviceRegistration, Refusal> {
    if body.len() > limits::DPS_MESSAGE_MAX {
        return Err(Refusal::generic(413, "The request is larger than 96 KB."));
    }
    let wrong = || Refusal::generic(400, "The request body is not a device registration.");
    // For a struct, `serde` also accepts an array and reads its items as the fields in order. Refuse arrays here.
    if body.trim_ascii_start().first().is_some_and(|it| *it != b'{') {
        return Err(wrong());
    }
    let registration = DeviceRegistration::parse(body).map_err(|_| wrong())?;
    if registration.payload.as_ref().is_some_and(too_many_levels) {
        return Err(Refusal::generic(400, "The payload has more than 64 levels of objects and arrays."));
    }
    match &registration.registration_id {
        Some(id) if !id.eq_ignore_ascii_case(caller.registration_id.as_str()) => {
            Err(Refusal::generic(400, "The registrationId of the body is another one than that of the request."))
        }
        _ => Ok(registration),
    }
}

#[cfg(test)]
mod tests;
