//! Parses JSON bodies. If a parser accepts a body, the function encodes the value and parses it again. It checks that
//! the second value is the same as the first.

use std::fmt::Debug;

use hubward_emulator::fuzzing;
use hubward_proto::dps::{DeviceRegistration, RegistrationOperation, ServiceError, TpmChallenge};
use hubward_proto::hub::{
    CertificateAccepted, CertificateRefusal, ErrorBody, IssueCertificate, IssuedCertificates, Properties, Twin, twin,
};
use hubward_proto::limits::TWIN_PROPERTIES_MAX;
use hubward_proto::service::{
    self, BulkResult, DeviceBulkResult, DeviceOperation, EnrollmentBulk, EnrollmentGroup, EnrollmentGroupBulk,
    IndividualEnrollment, MethodRequest, MethodResult, PurgeResult, QuerySpecification, RegistryStatistics, TwinPatch,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The bodies of devices, DPS and the hub.
pub(super) fn bodies(bytes: &[u8]) -> bool {
    let mut accepted = false;
    // This parser extracts an error from a body, and never fails. If the body contains no error, the parser returns
    // the default value. The body counts as accepted if the parser returns any other value.
    accepted |= ErrorBody::parse(bytes) != ErrorBody::default();
    if let Ok(body) = DeviceRegistration::parse(bytes) {
        accepted = true;
        let again = DeviceRegistration::parse(&body.encode()).expect("our own body");
        assert_eq!(rounded(&again), rounded(&body));
    }
    accepted |= round_trips::<RegistrationOperation>(bytes);
    accepted |= round_trips::<ServiceError>(bytes);
    accepted |= round_trips::<TpmChallenge>(bytes);
    accepted |= round_trips::<CertificateAccepted>(bytes);
    accepted |= round_trips::<IssuedCertificates>(bytes);
    let refusal = CertificateRefusal::parse(bytes);
    let second = CertificateRefusal::parse(&refusal.encode());
    assert_eq!((second.error_code, second.retry_after), (refusal.error_code, refusal.retry_after));
    if let Ok(request) = IssueCertificate::parse(bytes) {
        accepted = true;
        assert_eq!(IssueCertificate::parse(&request.encode()), Ok(request));
    }
    accepted |= round_trips::<IndividualEnrollment>(bytes);
    accepted |= round_trips::<EnrollmentGroup>(bytes);
    if let Ok(read) = Twin::parse(bytes) {
        accepted = true;
        let written = Twin::parse(&read.encode()).expect("our own twin");
        for (one, other) in [(&read.desired, &written.desired), (&read.reported, &written.reported)] {
            assert_eq!(one.version, other.version);
            assert_eq!(rounded(&one.values), rounded(&other.values));
        }
        check_merge(&read.desired.values, &read.reported.values);
    }
    if let Ok(patch) = Properties::parse_patch(bytes) {
        accepted = true;
        assert!(patch.values.keys().all(|it| !it.starts_with('$')), "the parser removes the service's names");
        check_merge(&Map::new(), &patch.values);
    }
    accepted
}

/// The bodies of the service APIs.
pub(super) fn service_bodies(bytes: &[u8]) -> bool {
    let mut accepted = fuzzing::enrollment(bytes);
    accepted |= round_trips::<EnrollmentBulk>(bytes);
    accepted |= round_trips::<EnrollmentGroupBulk>(bytes);
    accepted |= round_trips::<BulkResult>(bytes);
    accepted |= round_trips::<QuerySpecification>(bytes);
    accepted |= round_trips::<service::Device>(bytes);
    accepted |= round_trips::<service::Module>(bytes);
    accepted |= round_trips::<Vec<DeviceOperation>>(bytes);
    accepted |= round_trips::<DeviceBulkResult>(bytes);
    accepted |= round_trips::<service::Twin>(bytes);
    accepted |= round_trips::<TwinPatch>(bytes);
    accepted |= round_trips::<MethodRequest>(bytes);
    accepted |= round_trips::<MethodResult>(bytes);
    accepted |= round_trips::<RegistryStatistics>(bytes);
    accepted | round_trips::<PurgeResult>(bytes)
}

fn round_trips<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> bool {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return false };
    let text = serde_json::to_vec(&read).expect("a value that was parsed from JSON");
    let second: T = serde_json::from_slice(&text).expect("our own body");
    assert_eq!(rounded(&second), rounded(&read));
    true
}

/// Returns the value as JSON, with a placeholder for each fraction. Parsing and encoding a fraction can change its last
/// bit, so the comparison ignores fractions.
fn rounded(value: &impl Serialize) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => *value = "a fraction".into(),
            Value::Array(values) => values.iter_mut().for_each(round),
            Value::Object(values) => values.values_mut().for_each(round),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).expect("JSON");
    round(&mut value);
    value
}

fn check_merge(target: &Map<String, Value>, patch: &Map<String, Value>) {
    let mut once = target.clone();
    twin::merge(&mut once, patch);
    let mut twice = once.clone();
    twin::merge(&mut twice, patch);
    assert_eq!(once, twice, "applying a patch twice changes nothing more");
    assert!(twin::size(&once) <= twin::size(target) + twin::size(patch));
    if twin::check(patch, TWIN_PROPERTIES_MAX).is_ok() {
        assert!(twin::size(patch) <= TWIN_PROPERTIES_MAX);
        assert_eq!(
            twin::check_patch(patch, TWIN_PROPERTIES_MAX),
            Ok(()),
            "a patch that is a valid section is a valid patch"
        );
    }
}
