//! JSON bodies: what is read is written as something that reads the same.

use std::fmt::Debug;

use hubward_emulator::fuzzing;
use hubward_proto::dps::{DeviceRegistration, RegistrationOperation, ServiceError, TpmChallenge};
use hubward_proto::hub::{ErrorBody, Properties, Twin, twin};
use hubward_proto::limits::TWIN_PROPERTIES_MAX;
use hubward_proto::service::{
    self, BulkResult, DeviceBulkResult, DeviceOperation, EnrollmentBulk, EnrollmentGroup, EnrollmentGroupBulk,
    IndividualEnrollment, MethodRequest, MethodResult, PurgeResult, QuerySpecification, RegistryStatistics, TwinPatch,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Every body.
pub(super) fn bodies(bytes: &[u8]) -> bool {
    let mut taken = false;
    // Says something or nothing, and never fails.
    taken |= ErrorBody::parse(bytes) != ErrorBody::default();
    if let Ok(body) = DeviceRegistration::parse(bytes) {
        taken = true;
        let again = DeviceRegistration::parse(&body.encode()).expect("our own body");
        assert_eq!(rounded(&again), rounded(&body));
    }
    taken |= again::<RegistrationOperation>(bytes);
    taken |= again::<ServiceError>(bytes);
    taken |= again::<TpmChallenge>(bytes);
    taken |= again::<IndividualEnrollment>(bytes);
    taken |= again::<EnrollmentGroup>(bytes);
    if let Ok(read) = Twin::parse(bytes) {
        taken = true;
        let written = Twin::parse(&read.encode()).expect("our own twin");
        for (one, other) in [(&read.desired, &written.desired), (&read.reported, &written.reported)] {
            assert_eq!(one.version, other.version);
            assert_eq!(rounded(&one.values), rounded(&other.values));
        }
        check_merge(&read.desired.values, &read.reported.values);
    }
    if let Ok(patch) = Properties::parse_patch(bytes) {
        taken = true;
        assert!(patch.values.keys().all(|it| !it.starts_with('$')), "the service's names are left out");
        check_merge(&Map::new(), &patch.values);
    }
    taken
}

/// What the service APIs read and write.
pub(super) fn service_bodies(bytes: &[u8]) -> bool {
    let mut taken = fuzzing::enrollment(bytes);
    taken |= again::<EnrollmentBulk>(bytes);
    taken |= again::<EnrollmentGroupBulk>(bytes);
    taken |= again::<BulkResult>(bytes);
    taken |= again::<QuerySpecification>(bytes);
    taken |= again::<service::Device>(bytes);
    taken |= again::<service::Module>(bytes);
    taken |= again::<Vec<DeviceOperation>>(bytes);
    taken |= again::<DeviceBulkResult>(bytes);
    taken |= again::<service::Twin>(bytes);
    taken |= again::<TwinPatch>(bytes);
    taken |= again::<MethodRequest>(bytes);
    taken |= again::<MethodResult>(bytes);
    taken |= again::<RegistryStatistics>(bytes);
    taken | again::<PurgeResult>(bytes)
}

fn again<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> bool {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return false };
    let text = serde_json::to_vec(&read).expect("what was JSON is JSON");
    let second: T = serde_json::from_slice(&text).expect("our own body");
    assert_eq!(rounded(&second), rounded(&read));
    true
}

/// As JSON, fractions aside: reading one may be off by its last bit.
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
    assert_eq!(once, twice, "a patch that comes twice changes nothing more");
    assert!(twin::size(&once) <= twin::size(target) + twin::size(patch));
    if twin::check(patch, TWIN_PROPERTIES_MAX).is_ok() {
        assert!(twin::size(patch) <= TWIN_PROPERTIES_MAX);
        assert_eq!(twin::check_patch(patch, TWIN_PROPERTIES_MAX), Ok(()), "what fits whole, fits as a patch");
    }
}
