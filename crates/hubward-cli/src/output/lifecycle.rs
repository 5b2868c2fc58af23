//! Prints the events of a device that keeps itself connected, as text and as JSON. The JSON is a documented interface:
//! see docs/cli.md.

use std::time::{Duration, SystemTime};

use hubward::device::{DeviceStep, SetAside, SetAsideReason};
use hubward::{DeviceEvent, Diagnosis, TransportKind};
use serde_json::{Value, json};

use super::assignment::AssignmentFacts;
use super::visible::visible;
use crate::failure::hint_of;

/// The hint if the hub refuses the device. The hint of the library tells the program to register the device again,
/// which this device does by itself.
const REFUSED: &str = "a hub does not say why: was the device disabled or deleted there, or was its key or certificate \
                       changed? is this machine's clock right?";

/// An event of a device that keeps itself connected, and facts that the event itself does not contain.
#[derive(Debug)]
pub(crate) struct LifecycleEvent<'a> {
    pub(crate) event: &'a DeviceEvent,
    pub(crate) device: &'a LifecycleFacts,
    /// Whether the text contains the hint. The JSON always contains it.
    pub(crate) shows_hint: bool,
}

/// Facts about a device.
#[derive(Debug)]
pub(crate) struct LifecycleFacts {
    pub(crate) registration_id: String,
    /// Host and port of DPS.
    pub(crate) dps: String,
    pub(crate) dps_transport: TransportKind,
    pub(crate) hub_transport: TransportKind,
    /// The id of the device at its hub. `None` until the device has a hub.
    pub(crate) device_id: Option<String>,
}

/// The assignment that an event contains.
pub(crate) fn assignment(event: &DeviceEvent, device: &LifecycleFacts) -> Option<AssignmentFacts> {
    let DeviceEvent::Assigned { hub, device_id, substatus, payload, .. } = event else { return None };
    Some(AssignmentFacts {
        registration_id: Some(device.registration_id.clone()),
        device_id: device_id.to_string(),
        hub: hub.to_string(),
        substatus: substatus.as_ref().map(|it| it.as_str().to_owned()),
        payload: payload.clone(),
    })
}

/// The text for people: the sentence of the library, and a hint after a problem.
pub(super) fn text(it: &LifecycleEvent<'_>) -> String {
    let mut text = visible(&it.event.to_string());
    if it.shows_hint
        && let Some(hint) = hint(it.event)
    {
        text.push_str(&format!("\n  hint: {}", visible(&hint)));
    }
    text
}

/// The type and the fields of the JSON line.
pub(super) fn json(it: &LifecycleEvent<'_>) -> (&'static str, Value) {
    let LifecycleEvent { event, device, .. } = it;
    let mut body = match event {
        DeviceEvent::CacheUsed { hub, device_id, file } => json!({
            "hub": hub.as_str(),
            "deviceId": device_id.as_str(),
            "file": file.display().to_string(),
        }),
        DeviceEvent::CacheSetAside(it) => json!({
            "file": it.file.display().to_string(),
            "problem": problem_of(it),
            "renamedTo": it.renamed_to.as_ref().map(|it| it.display().to_string()),
        }),
        DeviceEvent::CacheNotWritten(error) => {
            json!({ "file": error.file.display().to_string(), "problem": error.problem })
        }
        DeviceEvent::Registering { credential, reason, .. } => json!({
            "registrationId": device.registration_id,
            "endpoint": device.dps,
            "transport": device.dps_transport.as_str(),
            "credential": &**credential,
            "reason": reason.name(),
        }),
        DeviceEvent::Assigned { moved_from, .. } => {
            let mut body = assignment(event, device).map_or_else(|| json!({}), |it| it.json());
            body["movedFrom"] = json!(moved_from.as_ref().map(|it| it.as_str()));
            body
        }
        DeviceEvent::RegistrationFailed { credential, error, .. }
        | DeviceEvent::CredentialUnusable { credential, error, .. } => {
            json!({ "credential": &**credential, "cause": error })
        }
        DeviceEvent::Connected { hub, credential, moved_from } => json!({
            "deviceId": device.device_id,
            "moduleId": null,
            "hub": hub.as_str(),
            "transport": device.hub_transport.as_str(),
            "credential": &**credential,
            "movedFrom": moved_from.as_ref().map(|it| it.as_str()),
        }),
        DeviceEvent::HubFailed { hub, credential, cause, failures, .. } => json!({
            "hub": hub.as_str(),
            "credential": &**credential,
            "cause": hubward::text::error_messages(cause).join(": "),
            "failures": failures,
        }),
        DeviceEvent::ReprovisionRequested { method } => json!({ "method": method }),
        DeviceEvent::CredentialsOnTrial { credentials, .. } => {
            json!({ "credentials": credentials.iter().map(|it| &**it).collect::<Vec<&str>>() })
        }
        DeviceEvent::CredentialsKept { credential } => json!({ "credential": &**credential }),
        DeviceEvent::CredentialsRolledBack { reason, .. } => json!({ "cause": reason }),
        DeviceEvent::CertificateIssued { by, not_after, renews_in } => json!({
            "by": by.name(),
            "notAfter": unix_seconds(*not_after),
            "renewsInMs": milliseconds(*renews_in),
        }),
        DeviceEvent::CertificateNotIssued { credential, reason } => {
            json!({ "credential": &**credential, "cause": reason })
        }
        DeviceEvent::CertificateKept { not_after } => json!({ "notAfter": unix_seconds(*not_after) }),
        DeviceEvent::CertificateRenewalFailed { error, retry_in, not_after, .. } => json!({
            "cause": error,
            "retryInMs": milliseconds(*retry_in),
            "notAfter": unix_seconds(*not_after),
        }),
        DeviceEvent::CertificateRolledBack { reason, .. } => json!({ "cause": reason }),
        DeviceEvent::CertificateNotStored(error) => {
            json!({ "file": error.file.display().to_string(), "problem": error.problem })
        }
        DeviceEvent::Missed { count } => json!({ "count": count }),
        _ => json!({}),
    };
    if let Some(diagnosis) = diagnosis(event) {
        body["fault"] = json!(diagnosis.fault.to_string());
        body["serviceCode"] = json!(diagnosis.service_code);
        body["trackingId"] = json!(diagnosis.tracking_id);
        body["hint"] = json!(hint(event));
    }
    if let Some(step) = event.next_step() {
        body["then"] = step_json(step);
    }
    body["text"] = json!(event.to_string());
    (event.name(), body)
}

/// What to do about a failure.
pub(crate) fn hint(event: &DeviceEvent) -> Option<String> {
    if matches!(event, DeviceEvent::HubFailed { cause, .. } if cause.suggests_reprovisioning()) {
        return Some(REFUSED.to_owned());
    }
    diagnosis(event).and_then(|it| hint_of(&it))
}

/// What failed, and what to do; `None` if the event is not a failure.
fn diagnosis(event: &DeviceEvent) -> Option<Diagnosis> {
    match event {
        DeviceEvent::RegistrationFailed { diagnosis, .. }
        | DeviceEvent::CredentialUnusable { diagnosis, .. }
        | DeviceEvent::CertificateRenewalFailed { diagnosis, .. } => Some((**diagnosis).clone()),
        DeviceEvent::HubFailed { cause, .. } => Some(cause.into()),
        _ => None,
    }
}

fn step_json(step: &DeviceStep) -> Value {
    let (credential, after) = match step {
        DeviceStep::Stay { at_least, .. } => (None, Some(*at_least)),
        DeviceStep::Connect { credential, after, .. } | DeviceStep::Register { credential, after, .. } => {
            (Some(&**credential), Some(*after))
        }
        _ => (None, None),
    };
    json!({
        "step": step.name(),
        "credential": credential,
        "afterMs": after.map(milliseconds),
        "reason": step.reason().map(|it| it.name()),
        "trouble": step.reason().and_then(|it| it.trouble()),
    })
}

/// The time in seconds since 1970.
fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

/// A duration in JSON.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn problem_of(file: &SetAside) -> &'static str {
    match file.reason {
        SetAsideReason::Damaged(_) => "damaged",
        SetAsideReason::Newer { .. } => "newer",
        SetAsideReason::Foreign { .. } => "foreign",
        SetAsideReason::NotAFile(_) => "notAFile",
        SetAsideReason::Unreadable(_) => "unreadable",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use hubward::device::{CertificateIssuer, Reason};
    use hubward::error::SetupError;

    use super::super::visible::HOSTILE;
    use super::*;

    fn facts() -> LifecycleFacts {
        LifecycleFacts {
            registration_id: "pump-1".into(),
            dps: "dps.example:8883".into(),
            dps_transport: TransportKind::Mqtt,
            hub_transport: TransportKind::Mqtt,
            device_id: None,
        }
    }

    #[test]
    fn an_event_has_a_name_members_and_a_text() {
        let step = |reason| DeviceStep::Connect {
            credential: "primary key".into(),
            after: Duration::from_millis(1500),
            reason,
        };
        let then = |reason| {
            json!({
                "step": "connect", "credential": "primary key", "afterMs": 1500, "reason": reason, "trouble": null,
            })
        };
        let setup = SetupError::NotForHubs { kind: TransportKind::Https };
        for (event, name, members, text) in [
            (
                DeviceEvent::ReprovisionRequested { method: Some("again".into()) },
                "reprovisionRequested",
                json!({ "method": "again" }),
                "an operator called the method `again`: the device registers again",
            ),
            (
                DeviceEvent::CredentialUnusable {
                    credential: "certificate".into(),
                    error: "it has expired".into(),
                    diagnosis: Box::new(setup.diagnosis()),
                    then: step(Reason::NextCredentialAtHub),
                },
                "credentialUnusable",
                json!({
                    "credential": "certificate", "cause": "it has expired", "fault": "unsupported",
                    "then": then("nextCredentialAtHub"),
                }),
                "the certificate cannot be used: it has expired; connecting with the primary key in 1 s, because the \
                 hub may accept another credential",
            ),
            (
                DeviceEvent::CredentialsOnTrial {
                    credentials: vec!["new key".into()],
                    then: step(Reason::CredentialsChanged),
                },
                "credentialsOnTrial",
                json!({ "credentials": ["new key"], "then": then("credentialsChanged") }),
                "the device tries new credentials (new key): connecting with the primary key in 1 s, because the \
                 program changed the credentials",
            ),
            (
                DeviceEvent::CredentialsKept { credential: "certificate".into() },
                "credentialsKept",
                json!({ "credential": "certificate" }),
                "the hub accepted the new certificate: the device keeps the new credentials",
            ),
            (
                DeviceEvent::CredentialsRolledBack {
                    reason: "refused".into(),
                    then: step(Reason::TrialFailed { is_refused: true }),
                },
                "credentialsRolledBack",
                json!({ "cause": "refused", "then": then("trialFailed") }),
                "the new credentials do not work: refused; the device uses the old ones again, connecting with the \
                 primary key in 1 s, because the new credentials are refused",
            ),
            (
                DeviceEvent::CertificateIssued {
                    by: CertificateIssuer::Hub,
                    not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
                    renews_in: Duration::from_secs(480_000),
                },
                "certificateIssued",
                json!({ "by": "hub", "notAfter": 1_800_000_000, "renewsInMs": 480_000_000 }),
                "the hub issued a certificate to the device, which will renew it in 5 days 13 h",
            ),
            (
                DeviceEvent::CertificateNotIssued { credential: "primary key".into(), reason: "no policy".into() },
                "certificateNotIssued",
                json!({ "credential": "primary key", "cause": "no policy" }),
                "the device has no issued certificate: no policy; it uses the primary key at the hub too",
            ),
            (
                DeviceEvent::CertificateKept { not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(7) },
                "certificateKept",
                json!({ "notAfter": 7 }),
                "the hub accepted the renewed certificate: the device keeps it",
            ),
            (
                DeviceEvent::CertificateRenewalFailed {
                    error: "the hub is busy".into(),
                    diagnosis: Box::new(setup.diagnosis()),
                    retry_in: Duration::from_secs(90),
                    not_after: SystemTime::UNIX_EPOCH,
                },
                "certificateRenewalFailed",
                json!({ "cause": "the hub is busy", "retryInMs": 90_000, "notAfter": 0, "fault": "unsupported" }),
                "the certificate could not be renewed: the hub is busy; trying again in 1 min 30 s",
            ),
            (
                DeviceEvent::CertificateRolledBack {
                    reason: "refused".into(),
                    then: step(Reason::CertificateRolledBack),
                },
                "certificateRolledBack",
                json!({ "cause": "refused", "then": then("certificateRolledBack") }),
                "the renewed certificate does not work: refused; the device uses the old one again, connecting with \
                 the primary key in 1 s, because the previous certificate is still valid",
            ),
            (
                DeviceEvent::Missed { count: 2 },
                "missed",
                json!({ "count": 2 }),
                "2 events were missed, because their reader was too slow",
            ),
        ] {
            let device = facts();
            let event = LifecycleEvent { event: &event, device: &device, shows_hint: false };
            let (kind, body) = json(&event);
            assert_eq!(kind, name);
            for (member, value) in members.as_object().expect("members") {
                assert_eq!(&body[member], value, "{name}: {body}");
            }
            assert_eq!((super::text(&event).as_str(), &body["text"]), (text, &json!(text)), "{name}");
        }
    }

    #[test]
    fn a_text_from_dps_cannot_control_a_terminal() {
        for hostile in HOSTILE {
            let event = DeviceEvent::RegistrationFailed {
                credential: "primary key".into(),
                error: (*hostile).to_owned(),
                diagnosis: Box::new(SetupError::NotForHubs { kind: TransportKind::Https }.diagnosis()),
                then: DeviceStep::End,
            };
            let text = text(&LifecycleEvent { event: &event, device: &facts(), shows_hint: false });
            assert!(!text.contains(hubward::text::is_hidden), "{text:?}");
        }
    }
}
