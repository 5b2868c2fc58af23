//! Tests of the registration without transports.

use std::time::{Duration, SystemTime};

use hubward_proto::service::{
    AllocationPolicy, EnrollmentGroup, IndividualEnrollment, InitialTwin, ProvisioningStatus, ReprovisionPolicy,
};
use hubward_proto::{IdScope, RegistrationId};
use hubward_sas::{SasToken, SharedKey};
use serde_json::{Value, json};

use super::*;
use crate::state::model::complete;

const SCOPE: &str = "0ne00000001";

fn registrar(polls_before_assigned: u32) -> Registrar {
    let clock = Arc::new(Clock::new(Duration::ZERO));
    Registrar {
        authority: Arc::new(CredentialAuthority::generate().expect("an authority")),
        store: Arc::new(Store::new(State::new(["a.example", "b.example"]))),
        journal: EventLog::new(Arc::clone(&clock)),
        moves: Moves::default(),
        clock,
        id_scope: SCOPE.into(),
        retry_after: Some(3),
        polls_before_assigned,
    }
}

impl Registrar {
    fn enroll(&self, model: IndividualEnrollment) -> SharedKey {
        let key = model.registration_id.to_ascii_lowercase();
        self.store.change(|state| {
            let before = state.individuals.get(&key);
            let (entry, _) = complete(model, before, SystemTime::UNIX_EPOCH).expect("valid");
            let primary = entry.proof.keys().expect("keys").primary.clone();
            state.individuals.insert(key, entry);
            primary
        })
    }

    fn caller(&self, id: &str, key: &SharedKey) -> Caller {
        let token = SasToken::sign(key, &format!("{SCOPE}/registrations/{id}"), self.clock.unix(), None);
        Caller {
            id_scope: IdScope::new(SCOPE).expect("scope"),
            registration_id: RegistrationId::new(id).expect("id"),
            token: Some(token),
            certificates: None,
            api_version: "2021-06-01".into(),
        }
    }

    /// Registers and polls until there is a result.
    fn result(&self, caller: &Caller, body: &[u8]) -> Value {
        let registered = self.register(caller, body);
        let mut answer = json(&registered);
        while answer["status"] == "assigning" {
            let id = OperationId::new(answer["operationId"].as_str().expect("an id")).expect("valid");
            answer = json(&self.poll(caller, &id));
        }
        answer
    }
}

fn json(answer: &DpsResponse) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn answers_as_documented_while_and_after_assigning() {
    let registrar = registrar(1);
    let key = registrar.enroll(IndividualEnrollment::new("d1"));
    let caller = registrar.caller("d1", &key);
    let first = registrar.register(&caller, b"");
    let body = json(&first);
    let id = body["operationId"].as_str().expect("an id").to_owned();
    assert_eq!((first.status, first.retry_after.as_deref()), (202, Some("3")));
    assert_eq!(body, json!({"operationId": id, "status": "assigning"}));

    let operation = OperationId::new(id.clone()).expect("valid");
    let second = registrar.poll(&caller, &operation);
    assert_eq!((second.status, second.retry_after.as_deref()), (202, Some("3")));
    let state = json!({"registrationId": "d1", "status": "assigning"});
    assert_eq!(json(&second), json!({"operationId": id, "status": "assigning", "registrationState": state}));

    let last = registrar.poll(&caller, &operation);
    assert_eq!((last.status, last.retry_after.as_deref()), (200, None));
    let body = json(&last);
    assert_eq!((&body["operationId"], &body["status"]), (&json!(id), &json!("assigned")));
    let state = &body["registrationState"];
    for (name, expected) in
        [("registrationId", "d1"), ("deviceId", "d1"), ("status", "assigned"), ("substatus", "initialAssignment")]
    {
        assert_eq!(state[name], expected, "{name}");
    }
    for name in ["createdDateTimeUtc", "lastUpdatedDateTimeUtc"] {
        let text = state[name].as_str().expect(name);
        assert!(text.len() == 28 && text.ends_with('Z') && &text[19..20] == ".", "{text}");
    }
    let hub = state["assignedHub"].as_str().expect("a hub");
    let device = registrar.store.read(|it| it.device(hub, "d1").cloned()).expect("in the registry");
    assert!(device.enabled && device.keys().primary == key);
    // DPS keeps the result. A lookup returns it again.
    assert_eq!(json(&registrar.poll(&caller, &operation)), body);
    assert_eq!(json(&registrar.lookup(&caller, b"{}")), *state);
}

#[test]
fn a_repeated_registration_is_assigning_first_and_keeps_its_hub() {
    let registrar = registrar(0);
    let key = registrar.enroll(IndividualEnrollment::new("d1"));
    let caller = registrar.caller("d1", &key);
    let first = registrar.result(&caller, b"{}");
    assert_eq!(first["registrationState"]["substatus"], "initialAssignment");
    assert_eq!(registrar.register(&caller, b"{}").status, 202);
    registrar.clock.set_ahead(Duration::from_secs(1));
    let caller = registrar.caller("D1", &key);
    let second = registrar.result(&caller, br#"{"registrationId": "d1"}"#);
    for name in ["assignedHub", "deviceId"] {
        assert_eq!(first["registrationState"][name], second["registrationState"][name], "{name}");
    }
    for name in ["etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"] {
        assert_ne!(first["registrationState"][name], second["registrationState"][name], "{name}");
    }
    // The substatus in the response depends on the api-version of the device. The record always contains the
    // substatus of the newest version.
    for (api_version, substatus) in [
        ("2018-11-01", "initialAssignment"),
        ("2019-03-31", "initialAssignment"),
        ("2019-04-15", "reprovisionedToInitialAssignment"),
        ("2025-07-01-preview", "reprovisionedToInitialAssignment"),
    ] {
        let caller = Caller { api_version: api_version.into(), ..caller.clone() };
        assert_eq!(registrar.result(&caller, b"")["registrationState"]["substatus"], substatus, "{api_version}");
        assert_eq!(json(&registrar.lookup(&caller, b""))["substatus"], substatus, "{api_version}");
        let record = registrar.store.read(|it| it.records.get("d1").cloned()).expect("a record");
        assert_eq!(record.state.substatus, Some(Substatus::ReprovisionedToInitialAssignment));
    }
}

#[test]
fn the_substatus_depends_on_whether_dps_and_the_hub_know_the_device() {
    let registrar = registrar(0);
    let key = registrar.enroll(IndividualEnrollment::new("d1"));
    let caller = registrar.caller("d1", &key);
    let substatus = || registrar.result(&caller, b"")["registrationState"]["substatus"].clone();
    assert_eq!(substatus(), "initialAssignment");
    // Delete the record at DPS. The hub still has the device.
    registrar.store.change(|state| state.records.remove("d1"));
    assert_eq!(substatus(), "reprovisionedToInitialAssignment");
    // Delete the device at the hub. DPS still has the record.
    registrar.store.change(|state| {
        let hub = state.records.get("d1").and_then(|it| it.assigned.clone()).expect("assigned").hub;
        state.remove_device(&hub, "d1").expect("known there");
    });
    assert_eq!(substatus(), "initialAssignment");
}

#[test]
fn a_move_to_another_hub_follows_the_policy() {
    let named = |hub: &str, policy: Option<ReprovisionPolicy>, site: &str| {
        let mut model = IndividualEnrollment::new("d1");
        model.device_id = Some("pump".into());
        model.settings.allocation_policy = Some(AllocationPolicy::Static);
        model.settings.iot_hubs = Some(vec![hub.into()]);
        model.settings.reprovision_policy = policy;
        let mut twin = InitialTwin::default();
        twin.tags.insert("site".into(), site.into());
        model.settings.initial_twin = Some(twin);
        model
    };
    let policy = |update_hub_assignment, migrate_device_data| {
        Some(ReprovisionPolicy { update_hub_assignment, migrate_device_data })
    };
    for (policy, hub, substatus, site) in [
        (None, "b.example", "deviceDataMigrated", "old"),
        (policy(true, false), "b.example", "deviceDataReset", "new"),
        (policy(false, false), "a.example", "reprovisionedToInitialAssignment", "old"),
    ] {
        let registrar = registrar(0);
        let key = registrar.enroll(named("a.example", policy, "old"));
        registrar.result(&registrar.caller("d1", &key), b"");
        registrar.store.change(|state| {
            let twin = &mut state.device_mut("a.example", "pump").expect("the device").twin;
            twin.report(&serde_json::Map::from_iter([("fan".to_owned(), json!(1))]), "now").expect("fine");
        });
        registrar.enroll(named("b.example", policy, "new"));
        let state = registrar.result(&registrar.caller("d1", &key), b"")["registrationState"].clone();
        assert_eq!((&state["assignedHub"], &state["substatus"]), (&json!(hub), &json!(substatus)));
        let sites: Vec<_> = registrar.store.read(|state| {
            let devices = state.hubs.values().flat_map(|hub| hub.devices.iter().map(|it| (hub.host.clone(), it)));
            let site = |(host, (id, device)): (String, (&String, &crate::state::model::Device))| {
                let initial = device.initial_twin.clone().expect("a twin");
                assert_eq!(initial.tags, *device.twin.tags());
                (host, id.clone(), initial.tags["site"].clone(), device.twin.reported().version)
            };
            devices.map(site).collect()
        });
        let reported = if site == "old" { 2 } else { 1 };
        assert_eq!(sites, [(hub.to_owned(), "pump".to_owned(), json!(site), reported)], "{policy:?}");
    }
}

#[test]
fn a_changed_device_id_takes_effect_once_the_record_is_deleted() {
    let registrar = registrar(0);
    let key = registrar.enroll(IndividualEnrollment::new("d1"));
    let caller = registrar.caller("d1", &key);
    registrar.result(&caller, b"");
    let mut renamed = IndividualEnrollment::new("d1");
    renamed.device_id = Some("pump".into());
    registrar.enroll(renamed);
    assert_eq!(registrar.result(&caller, b"")["registrationState"]["deviceId"], "d1");
    registrar.store.change(|state| state.records.remove("d1"));
    assert_eq!(registrar.result(&caller, b"")["registrationState"]["deviceId"], "pump");
}

#[test]
fn a_group_assigns_by_registration_id_and_returns_its_payload() {
    let registrar = registrar(0);
    let group = registrar.store.change(|state| {
        let (mut entry, _) = complete(EnrollmentGroup::new("Line"), None, SystemTime::UNIX_EPOCH).expect("valid");
        entry.answer_payload = Some(json!({"color": "red"}));
        let keys = entry.proof.keys().expect("keys").clone();
        state.groups.insert("line".into(), entry);
        keys
    });
    let caller = registrar.caller("sn-1", &group.secondary.derive("sn-1"));
    let state =
        registrar.result(&caller, br#"{"registrationId":"sn-1","payload":{"a":1}}"#)["registrationState"].clone();
    assert_eq!(state["deviceId"], "sn-1");
    assert_eq!(state["symmetricKey"], json!({"enrollmentGroupId": "Line"}));
    assert_eq!(state["payload"], json!({"color": "red"}));
    let record = registrar.store.read(|it| it.records["sn-1"].clone());
    assert_eq!(record.received_payload, Some(json!({"a": 1})));
    let hub = state["assignedHub"].as_str().expect("a hub");
    let device = registrar.store.read(|it| it.device(hub, "sn-1").cloned()).expect("in the registry");
    assert_eq!(*device.keys(), group.derive("sn-1"));
}

#[test]
fn a_disabled_enrollment_gets_a_response_and_not_an_error() {
    let registrar = registrar(0);
    let mut model = IndividualEnrollment::new("d1");
    let key = registrar.enroll(model.clone());
    let caller = registrar.caller("d1", &key);
    let id = json(&registrar.register(&caller, b""))["operationId"].as_str().expect("an id").to_owned();
    model.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
    registrar.enroll(model);
    let expected = json!({"operationId": "", "status": "disabled",
        "registrationState": {"registrationId": "d1", "status": "disabled"}});
    let id = OperationId::new(id).expect("valid");
    for answer in [registrar.register(&caller, b""), registrar.poll(&caller, &id)] {
        assert_eq!((answer.status, json(&answer)), (200, expected.clone()));
    }
}

#[test]
fn a_registration_without_an_available_hub_fails() {
    let registrar = registrar(0);
    let mut model = IndividualEnrollment::new("d1");
    model.settings.iot_hubs = Some(vec!["gone.example".into()]);
    let key = registrar.enroll(model);
    let body = registrar.result(&registrar.caller("d1", &key), b"");
    let state = &body["registrationState"];
    assert_eq!(
        (&body["status"], &state["status"], &state["errorCode"]),
        (&json!("failed"), &json!("failed"), &json!(400_208))
    );
    assert!(state["errorMessage"].is_string() && state["assignedHub"].is_null() && state["deviceId"].is_null());
    assert!(registrar.store.read(|it| it.hubs.values().all(|hub| hub.devices.is_empty())));
}

#[test]
fn refusals_have_the_error_body_of_the_service() {
    let registrar = registrar(0);
    let key = registrar.enroll(IndividualEnrollment::new("d1"));
    let caller = registrar.caller("d1", &key);
    let wrong_key = registrar.caller("d1", &SharedKey::generate().expect("a key"));
    let unknown = OperationId::new("4.0.x").expect("valid");
    let huge = vec![b' '; limits::DPS_MESSAGE_MAX + 1];
    for (answer, status, code) in [
        (registrar.register(&wrong_key, b""), 401, 401_002),
        (registrar.poll(&wrong_key, &unknown), 401, 401_002),
        (registrar.lookup(&wrong_key, b""), 401, 401_002),
        (registrar.register(&wrong_key, b"{"), 401, 401_002),
        (registrar.register(&caller, b"{"), 400, 400_000),
        (registrar.register(&caller, b"[]"), 400, 400_000),
        (registrar.register(&caller, br#"{"registrationId":"d2"}"#), 400, 400_000),
        (registrar.register(&caller, &huge), 413, 413_000),
        (registrar.poll(&caller, &unknown), 404, 404_201),
        (registrar.lookup(&caller, b""), 404, 404_201),
    ] {
        let body = json(&answer);
        assert_eq!((answer.status, answer.error_code), (status, Some(code)), "{body}");
        assert_eq!(body["errorCode"], code);
        assert_eq!(body["trackingId"], answer.request_id);
        assert!(body["message"].is_string() && body["timestampUtc"].is_string(), "{body}");
    }
    assert_eq!(json(&registrar.register(&wrong_key, b""))["message"], "Unauthorized");
}

#[test]
fn a_device_cannot_see_the_operation_of_another() {
    let registrar = registrar(0);
    let (one, other) =
        (registrar.enroll(IndividualEnrollment::new("d1")), registrar.enroll(IndividualEnrollment::new("d2")));
    let id = json(&registrar.register(&registrar.caller("d1", &one), b""))["operationId"].clone();
    let id = OperationId::new(id.as_str().expect("an id")).expect("valid");
    assert_eq!(registrar.poll(&registrar.caller("d2", &other), &id).status, 404);
    assert_eq!(registrar.poll(&registrar.caller("d1", &one), &id).status, 200);
}

#[test]
fn a_failed_registration_leaves_the_device_at_its_hub() {
    let registrar = registrar(0);
    let named = |policy: AllocationPolicy, hub: &str| {
        let mut model = IndividualEnrollment::new("d1");
        model.settings.allocation_policy = Some(policy);
        model.settings.iot_hubs = Some(vec![hub.into()]);
        model
    };
    let key = registrar.enroll(named(AllocationPolicy::Static, "a.example"));
    let caller = registrar.caller("d1", &key);
    registrar.result(&caller, b"");
    for (model, code) in [
        (named(AllocationPolicy::Static, "gone.example"), 400_208),
        (named(AllocationPolicy::GeoLatency, "a.example"), 400_208),
        (named(AllocationPolicy::Custom, "a.example"), 400_207),
    ] {
        registrar.enroll(model);
        let state = registrar.result(&caller, b"")["registrationState"].clone();
        assert_eq!((&state["status"], &state["errorCode"]), (&json!("failed"), &json!(code)));
        assert!(registrar.store.read(|it| it.device("a.example", "d1").is_some()));
    }
    registrar.enroll(named(AllocationPolicy::Static, "b.example"));
    let state = registrar.result(&caller, b"")["registrationState"].clone();
    assert_eq!((&state["assignedHub"], &state["substatus"]), (&json!("b.example"), &json!("deviceDataMigrated")));
    assert!(registrar.store.read(|it| it.device("a.example", "d1").is_none()), "the first hub no longer has it");
}

#[test]
fn custom_allocation_runs_even_for_a_device_that_never_moves() {
    let registrar = registrar(0);
    let mut model = IndividualEnrollment::new("d1");
    model.settings.reprovision_policy =
        Some(ReprovisionPolicy { update_hub_assignment: false, migrate_device_data: false });
    let key = registrar.enroll(model.clone());
    let caller = registrar.caller("d1", &key);
    registrar.result(&caller, b"");
    model.settings.allocation_policy = Some(AllocationPolicy::GeoLatency);
    registrar.enroll(model.clone());
    assert_eq!(registrar.result(&caller, b"")["status"], "assigned", "the device stays at its hub");
    model.settings.allocation_policy = Some(AllocationPolicy::Custom);
    registrar.enroll(model);
    assert_eq!(registrar.result(&caller, b"")["registrationState"]["errorCode"], 400_207);
}

#[test]
fn a_move_overwrites_a_device_of_the_same_id_at_the_new_hub() {
    for (migrate_device_data, site) in [(true, "a"), (false, "new")] {
        let registrar = registrar(0);
        let mut model = IndividualEnrollment::new("d1");
        model.settings.allocation_policy = Some(AllocationPolicy::Static);
        model.settings.reprovision_policy =
            Some(ReprovisionPolicy { update_hub_assignment: true, migrate_device_data });
        let mut twin = InitialTwin::default();
        twin.tags.insert("site".into(), "a".into());
        model.settings.initial_twin = Some(twin.clone());
        let key = registrar.enroll(model.clone());
        let caller = registrar.caller("d1", &key);
        registrar.result(&caller, b"");
        registrar.store.change(|state| {
            let other = complete(IndividualEnrollment::new("x"), None, SystemTime::UNIX_EPOCH).expect("valid").0;
            let existing = crate::state::model::Device::with_keys(
                other.proof.keys().expect("keys").clone(),
                SystemTime::UNIX_EPOCH,
            );
            state.hub_mut("b.example").expect("a hub").devices.insert("d1".into(), existing);
        });
        model.settings.iot_hubs = Some(vec!["b.example".into()]);
        twin.tags.insert("site".into(), "new".into());
        model.settings.initial_twin = Some(twin);
        registrar.enroll(model);
        registrar.result(&caller, b"");
        let device = registrar.store.read(|it| it.device("b.example", "d1").cloned()).expect("there");
        assert_eq!((&device.twin.tags()["site"], &device.keys().primary), (&json!(site), &key));
    }
}
