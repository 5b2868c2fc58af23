//! Diagnoses of errors about twins, certificate requests, methods and received messages. The module `diagnosis`
//! contains the diagnoses of errors about telemetry and connections.

use hubward_hub::{IssuanceError, ReceiveError, TwinError, UnconfirmedReason, Unsupported};
use hubward_proto::ProtoError;
use hubward_proto::hub::credential_code;
use hubward_transport::{Fault, Refusal, RefusedBy, TransportError};

use crate::diagnosis::{Diagnosis, DiagnosisStage, SettingName, Target};

impl From<&TwinError> for Diagnosis {
    /// Diagnoses a twin request that failed.
    fn from(error: &TwinError) -> Self {
        let mut diagnosis = match error {
            TwinError::Unsupported(unsupported) => return Self::from(unsupported),
            TwinError::Refused(refusal) => Self::of_transport(Target::Hub, &TransportError::Refused(refusal.clone())),
            TwinError::NotSent { reason } | TwinError::Unknown { reason } => match cause(reason) {
                Some(cause) => Self::of_transport(Target::Hub, cause),
                None => Self::of_twin(error),
            },
            error => Self::of_twin(error),
        };
        diagnosis.stage = DiagnosisStage::Twin;
        diagnosis
    }
}

impl Diagnosis {
    /// Diagnoses a twin request that failed while the connection still worked.
    fn of_twin(error: &TwinError) -> Self {
        let setting = error.is_deadline().then_some(SettingName::TwinDeadline);
        Self { setting, ..Self::of_settings(error.fault().unwrap_or(Fault::Deadline), twin_hint(error)) }
    }
}

fn cause(reason: &UnconfirmedReason) -> Option<&TransportError> {
    match reason {
        UnconfirmedReason::Deadline { cause, .. } => cause.as_ref()?.transport_error(),
        UnconfirmedReason::Closed(reason) => reason.transport_error(),
        _ => None,
    }
}

fn twin_hint(error: &TwinError) -> Option<String> {
    Some(match error {
        TwinError::Invalid(ProtoError::TooLarge { limit, .. }) => {
            format!(
                "reported properties have at most {limit} bytes in total: report less, or send the rest as a message"
            )
        }
        TwinError::Invalid(_) => "the service does not accept such properties; nothing was sent".into(),
        error if error.is_deadline() => "the hub is slow to answer: allow more time (HubOptions::twin_deadline)".into(),
        _ => return None,
    })
}

impl From<&IssuanceError> for Diagnosis {
    /// Diagnoses a certificate request that failed.
    fn from(error: &IssuanceError) -> Self {
        let of_request = || Self::of_settings(error.fault().unwrap_or(Fault::Deadline), issuance_hint(error));
        let mut diagnosis = match error {
            IssuanceError::Unsupported(unsupported) => return Self::from(unsupported),
            IssuanceError::NotEnabled | IssuanceError::Busy => return of_request(),
            IssuanceError::Refused(refusal) => {
                let of_refusal = Self::of_transport(Target::Hub, &TransportError::Refused(refusal.clone()));
                let hint = refused_certificate_hint(refusal).or(of_refusal.hint);
                Self { fault: error.fault().unwrap_or(of_refusal.fault), hint, ..of_refusal }
            }
            IssuanceError::NotSent { reason } | IssuanceError::Unknown { reason } => match cause(reason) {
                Some(cause) => Self::of_transport(Target::Hub, cause),
                None => of_request(),
            },
            _ => of_request(),
        };
        diagnosis.stage = DiagnosisStage::Certificate;
        diagnosis
    }
}

fn issuance_hint(error: &IssuanceError) -> Option<String> {
    Some(match error {
        IssuanceError::NotEnabled => {
            "certificate requests are a preview of the service: allow them with HubLogin::certificate_requests".into()
        }
        IssuanceError::Busy => "wait for the other certificate request of this client".into(),
        IssuanceError::Unknown { reason: UnconfirmedReason::Deadline { .. } } => {
            "does the hub issue certificates? a hub without this preview does not answer".into()
        }
        _ => return None,
    })
}

fn refused_certificate_hint(refusal: &Refusal) -> Option<String> {
    let code = refusal.error_code;
    Some(match refusal.by {
        RefusedBy::Suback => "the hub does not offer certificate requests".into(),
        RefusedBy::Status(status) if credential_code::is_pending(status, code) => {
            "another program has requested a certificate of this device: IssuanceRequest::replace_pending replaces it"
                .into()
        }
        RefusedBy::Status(_) => match code {
            Some(credential_code::CSR_REFUSED | credential_code::ARGUMENT_INVALID) => {
                "the subject of the certificate request must be CN={device id}, and its key P-256, P-384 or RSA".into()
            }
            code => credential_code::meaning(code?)?.into(),
        },
        _ => return None,
    })
}

impl From<&Unsupported> for Diagnosis {
    /// Diagnoses a request for a feature that the protocol, or the kind of identity, does not support.
    fn from(error: &Unsupported) -> Self {
        let hint = if error.by_identity {
            "log in as the other kind of identity: a connection string with or without ModuleId"
        } else {
            "choose another transport: mqtt or mqtt-ws"
        };
        Self::of_settings(Fault::Unsupported, Some(hint.into()))
    }
}

impl From<&ReceiveError> for Diagnosis {
    /// Diagnoses the error of a receiver that cannot be created, or has ended.
    fn from(error: &ReceiveError) -> Self {
        match error {
            ReceiveError::Unsupported(unsupported) => Self::from(unsupported),
            _ => Self::of_settings(
                Fault::Request,
                Some("only one receiver at a time is possible: drop the other one".into()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubward_transport::Stage;

    #[test]
    fn a_failed_certificate_request_has_fault_and_hint() {
        let refused = |status, code: Option<u32>| {
            let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
            refusal.error_code = code;
            IssuanceError::Refused(Box::new(refusal))
        };
        let silence = UnconfirmedReason::Deadline { after: std::time::Duration::from_secs(120), cause: None };
        let (settings, certificate) = (DiagnosisStage::Settings, DiagnosisStage::Certificate);
        for (error, stage, fault, hint) in [
            (IssuanceError::NotEnabled, settings, Fault::Request, "HubLogin::certificate_requests"),
            (IssuanceError::Busy, settings, Fault::Request, "the other certificate request"),
            (refused(409, Some(409_004)), certificate, Fault::Request, "IssuanceRequest::replace_pending"),
            (refused(400, Some(400_037)), certificate, Fault::Request, "CN={device id}"),
            (refused(403, Some(403_010)), certificate, Fault::Service, "the tier of the hub"),
            (refused(429, Some(429_002)), certificate, Fault::Throttled, "too many certificate requests"),
            (IssuanceError::Unknown { reason: silence }, certificate, Fault::Deadline, "without this preview"),
        ] {
            let found = Diagnosis::from(&error);
            assert_eq!((found.stage, found.fault), (stage, fault), "{error}");
            assert!(found.hint.as_deref().is_some_and(|it| it.contains(hint)), "{found:?}");
        }
    }

    #[test]
    fn a_refused_report_keeps_code_and_tracking_id() {
        let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(400));
        refusal.error_code = Some(400_004);
        refusal.tracking_id = Some("t-1".into());
        let diagnosis = Diagnosis::from(&TwinError::Refused(Box::new(refusal)));
        assert_eq!((diagnosis.stage, diagnosis.service_code), (DiagnosisStage::Twin, Some(400_004)));
        assert_eq!(diagnosis.tracking_id.as_deref(), Some("t-1"));
        assert_eq!(diagnosis.endpoint.as_deref(), Some("hub.example:8883"));
    }

    #[test]
    fn an_error_of_an_unsent_request_has_a_hint() {
        let too_large = ProtoError::TooLarge { what: "the twin's section", size: 40_000, limit: 32_768 };
        for (error, fault, hint) in [
            (TwinError::Invalid(too_large), Fault::Request, "at most 32768 bytes"),
            (TwinError::Invalid(ProtoError::Unexpected("x".into())), Fault::Request, "nothing was sent"),
            (
                TwinError::Unknown {
                    reason: UnconfirmedReason::Deadline { after: std::time::Duration::from_secs(1), cause: None },
                },
                Fault::Deadline,
                "HubOptions::twin_deadline",
            ),
        ] {
            let diagnosis = Diagnosis::from(&error);
            assert_eq!(diagnosis.fault, fault, "{error}");
            assert!(diagnosis.hint.as_deref().is_some_and(|it| it.contains(hint)), "{diagnosis:?}");
        }
    }
}
