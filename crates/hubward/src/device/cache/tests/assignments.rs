//! What the assignment cache keeps, to whom it belongs, and what it does not contain.

use hubward_proto::dps::{DpsBody, DpsReply, Registration, RegistrationEnd, RetryPolicy, Step};

use super::super::document::seal;
use super::super::{SetAside, SetAsideReason};
use super::*;

/// The file of `assignment(7)`. The fingerprints and the checksum were computed with another program (Python).
const FILE: &str = r#"{
  "assignment": {
    "assignedAt": 1700000007,
    "connectionProfile": "classic",
    "credential": "key:f82d",
    "deviceId": "dev-7",
    "etag": "etag-7",
    "hub": "hub-7.azure-devices.net",
    "substatus": "deviceDataMigrated"
  },
  "binding": {
    "credentials": [
      "key:e300",
      "key:f82d"
    ],
    "dpsHost": "global.azure-devices-provisioning.net",
    "idScope": "0ne00123ABC",
    "registrationId": "dev-1"
  },
  "content": "assignment cache",
  "version": "1.0",
  "sha256": "acd3499c00814833f64eec4930605782945d71b33382a7f0eb5432ca96704e65"
}
"#;

fn open(path: &Path) -> (AssignmentCache, Option<CachedAssignment>, Option<SetAside>) {
    AssignmentCache::open(path, binding())
}

/// Opens a cache that contains the members, between the braces of a JSON object.
fn open_sealed(path: &Path, members: &str) -> (AssignmentCache, Option<CachedAssignment>, Option<SetAside>) {
    fs::write(path, seal(format!("{{\n{}", members.trim()).as_bytes())).expect("written");
    open(path)
}

/// The members of `FILE`, changed.
fn members(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_slice(&assignment_file()).expect("JSON");
    change(&mut value);
    value.as_object_mut().expect("an object").remove("sha256");
    let text = value.to_string();
    text[1..text.len() - 1].to_owned()
}

#[test]
fn the_file_has_the_documented_form() {
    assert_eq!(String::from_utf8(assignment_file()).expect("text"), FILE);
}

#[test]
fn the_next_start_reads_what_was_stored() {
    let (folder, path) = folder();
    let (mut cache, found, warning) = open(&path);
    assert_eq!((found, warning), (None, None), "no file is no problem");
    let minimal =
        CachedAssignment { substatus: None, etag: None, connection_profile: None, credential: None, ..assignment(3) };
    for stored in [assignment(1), assignment(2), minimal] {
        cache.store(&stored).expect("stored");
        let (next, found, warning) = open(&path);
        assert_eq!((found.as_ref(), warning), (Some(&stored), None));
        cache = next;
        assert_eq!(names(folder.path()), ["device.json"]);
    }
}

#[test]
fn the_cache_is_created_from_an_assignment() {
    let state = r#"{"operationId":"4.x","status":"assigned","registrationState":{
        "assignedHub":"hub-7.azure-devices.net","deviceId":"dev-7","status":"assigned",
        "substatus":"deviceDataMigrated","etag":"etag-7","connectionProfile":"classic"}}"#;
    let operation = serde_json::from_str(state).expect("an answer");
    let reply = DpsReply::new(DpsBody::Operation(Box::new(operation)), None);
    let (mut flow, now) = (Registration::new(RetryPolicy::default(), None), tokio::time::Instant::now().into_std());
    let _ = flow.step(now);
    flow.on_reply(now, 0.0, Ok(&reply));
    let Step::End(RegistrationEnd::Assigned(assigned)) = flow.step(now) else { panic!("{flow:?}") };
    assert_eq!(CachedAssignment::new(&assigned, UnixSeconds(1_700_000_007), Some(1)), assignment(7));
}

#[test]
fn a_changed_list_of_credentials_keeps_the_cache_if_one_is_left() {
    let certificate = |number: usize| -> Credential {
        let pair = &PAIRS[number];
        let chain: String = pair.chain.iter().map(Certificate::to_pem).collect();
        hubward_transport::ClientCertificate::from_pem(chain.as_bytes(), pair.key.as_bytes(), None)
            .expect("a pair")
            .into()
    };
    let token = |expiry| -> Credential {
        let key = SharedKey::from_bytes(&[9; 32]).expect("a key");
        Credential::Token(hubward_transport::SasToken::sign(&key, "a/b", UnixSeconds(expiry), None))
    };
    // The credentials before and after, the position of the one that worked, and its position afterwards.
    for (what, before, after, worked, expected) in [
        ("the same", vec![key(1), key(2)], vec![key(1), key(2)], 1, Some(Some(1))),
        ("another order", vec![key(1), key(2)], vec![key(2), key(1)], 1, Some(Some(0))),
        ("one more", vec![key(1)], vec![key(1), key(2)], 0, Some(Some(0))),
        ("one more in front", vec![key(1)], vec![certificate(0), key(1)], 0, Some(Some(1))),
        ("one fewer", vec![key(1), key(2)], vec![key(2)], 1, Some(Some(0))),
        ("one replaced", vec![key(1), key(2)], vec![key(3), key(2)], 0, Some(None)),
        ("all replaced", vec![key(1), key(2)], vec![key(3), key(4)], 0, None),
        ("a renewed certificate", vec![certificate(0)], vec![certificate(1)], 0, None),
        ("the same certificate", vec![certificate(0)], vec![certificate(0)], 0, Some(Some(0))),
        ("a key becomes a certificate", vec![key(1)], vec![certificate(0)], 0, None),
        ("another token", vec![token(1)], vec![token(2)], 0, Some(Some(0))),
        ("the second of two tokens", vec![token(1), token(2)], vec![token(3), token(4)], 1, Some(Some(1))),
        ("no credential", vec![], vec![key(1)], 0, None),
    ] {
        let (_folder, path) = folder();
        let bound = |credentials: &[Credential]| binding_of(DPS, "0ne00123ABC", "dev-1", credentials);
        let mut cache = AssignmentCache::open(&path, bound(&before)).0;
        cache.store(&CachedAssignment { credential: Some(worked), ..assignment(1) }).expect("stored");
        let (_, found, warning) = AssignmentCache::open(&path, bound(&after));
        assert_eq!(found.map(|it| it.credential), expected, "{what}");
        match warning {
            None => assert!(expected.is_some(), "{what}"),
            Some(it) => assert_eq!(it.reason, SetAsideReason::Foreign { difference: "credential" }, "{what}"),
        }
    }
}

#[test]
fn the_file_of_another_device_is_set_aside() {
    for (host, scope, id, difference) in [
        (DPS, "0ne00123ABC", "dev-1", None),
        // These texts have no letter case.
        ("GLOBAL.azure-devices-provisioning.net", "0ne00123ABC", "DEV-1", None),
        ("localhost", "0ne00123ABC", "dev-1", Some("DPS host")),
        (DPS, "0ne00123ABD", "dev-1", Some("id scope")),
        (DPS, "0ne00123ABC", "dev-2", Some("registration id")),
    ] {
        let (folder, path) = folder();
        open(&path).0.store(&assignment(1)).expect("stored");
        let (_, found, warning) = AssignmentCache::open(&path, binding_of(host, scope, id, &[key(1), key(2)]));
        assert_eq!(found.is_some(), difference.is_none(), "{host} {scope} {id}");
        let reason = warning.map(|it| it.reason);
        assert_eq!(reason, difference.map(|difference| SetAsideReason::Foreign { difference }), "{host} {scope} {id}");
        let name = if difference.is_some() { "device.json.foreign" } else { "device.json" };
        assert_eq!(names(folder.path()), [name]);
    }
}

#[test]
fn a_rebound_cache_stores_the_new_credentials() {
    let (_folder, path) = folder();
    let mut cache = open(&path).0;
    cache.store(&assignment(1)).expect("stored");
    let new = || binding_of(DPS, "0ne00123ABC", "dev-1", &[key(8), key(9)]);
    cache.rebind(new());
    cache.store(&assignment(1)).expect("stored");
    assert_eq!(AssignmentCache::open(&path, new()).1, Some(assignment(1)));
    assert_eq!(open(&path).1, None, "the old credentials are not in the file");
}

#[test]
fn the_file_contains_neither_the_key_nor_much_about_it() {
    let (text, secret) = (FILE.to_lowercase(), SharedKey::from_bytes(&[1; 64]).expect("a key"));
    let base64 = secret.expose_base64().trim_end_matches('=').to_lowercase();
    for length in [8, base64.len()] {
        assert!(!text.contains(&base64[..length]), "{length} digits of the key");
    }
    let fingerprint = |id: &str| {
        let bound = binding_of(DPS, "0ne00123ABC", id, &[key(1)]);
        bound.fingerprint(0).expect("a fingerprint").to_owned()
    };
    assert_eq!(fingerprint("dev-1").len(), "key:".len() + 4, "16 bits");
    assert_ne!(fingerprint("dev-1"), fingerprint("dev-2"), "two devices with the same key");
    let debug = format!("{:?}", open(Path::new("nothing")).0);
    assert!(!debug.to_lowercase().contains(&base64[..8]), "{debug}");
}

#[test]
fn an_older_version_keeps_what_a_newer_minor_version_has_added() {
    let added = |value: &mut serde_json::Value| {
        value["version"] = "1.7".into();
        value["future"] = serde_json::json!({ "a": [1, 2.5, null], "b": "ü\n" });
        value["binding"]["site"] = "north".into();
        value["assignment"]["region"] = "west".into();
        value["assignment"]["etag"] = serde_json::Value::Null;
    };
    let (_folder, path) = folder();
    let (mut cache, found, warning) = open_sealed(&path, &members(added));
    assert_eq!((found, warning), (Some(CachedAssignment { etag: None, ..assignment(7) }), None));
    let written = |cache: &mut AssignmentCache, assignment: &CachedAssignment| -> serde_json::Value {
        cache.store(assignment).expect("stored");
        serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON")
    };
    // The same hub and device: everything stays.
    let value = written(&mut cache, &CachedAssignment { etag: Some("new".to_owned()), ..assignment(7) });
    assert_eq!(value["future"], serde_json::json!({ "a": [1, 2.5, null], "b": "ü\n" }));
    let texts = [&value["version"], &value["binding"]["site"], &value["assignment"]["region"]];
    assert_eq!(texts, ["1.7", "north", "west"]);
    assert_eq!(value["assignment"]["etag"], "new");
    // Another hub: what belonged to the old assignment does not describe the new one.
    let value = written(&mut cache, &assignment(8));
    assert_eq!(value["binding"]["site"], "north");
    assert_eq!(value["assignment"].get("region"), None);
    assert!(open(&path).2.is_none(), "the file is still readable");
}

#[test]
fn a_file_with_wrong_members_is_damaged_although_its_checksum_is_right() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 17] = [
        ("its version is missing or invalid", |it| it["version"] = 1.into()),
        ("its version is missing or invalid", |it| it["version"] = "1".into()),
        ("its version is missing or invalid", |it| it["version"] = "0.9".into()),
        ("its version is missing or invalid", |it| it["version"] = "+1.0".into()),
        ("its version is missing or invalid", |it| it["version"] = "99999999999.0".into()),
        ("its member `content` is not `assignment cache`", |it| it["content"] = "certificate store".into()),
        ("its member `binding` is missing or invalid", |it| it["binding"] = "dev-1".into()),
        ("its member `credentials` is missing or invalid", |it| it["binding"]["credentials"][0] = 1.into()),
        ("its member `assignment` is missing or invalid", |it| it["assignment"] = serde_json::Value::Null),
        ("its member `hub` is missing or invalid", |it| it["assignment"]["hub"] = "a/b".into()),
        ("its member `hub` is missing or invalid", |it| it["assignment"]["hub"] = 5.into()),
        ("its member `deviceId` is missing or invalid", |it| it["assignment"]["deviceId"] = "".into()),
        ("its member `assignedAt` is missing or invalid", |it| it["assignment"]["assignedAt"] = "now".into()),
        ("its member `assignedAt` is missing or invalid", |it| it["assignment"]["assignedAt"] = (-1).into()),
        ("its member `etag` is missing or invalid", |it| it["assignment"]["etag"] = 5.into()),
        ("its member `credential` is missing or invalid", |it| it["assignment"]["credential"] = true.into()),
        ("its member `substatus` is missing or invalid", |it| it["assignment"]["substatus"] = 1.into()),
    ];
    for (expected, change) in changes {
        let (folder, path) = folder();
        let (_, found, warning) = open_sealed(&path, &members(change));
        assert_eq!(found, None, "{expected}");
        assert_eq!(warning.map(|it| it.reason), Some(SetAsideReason::Damaged(expected.to_owned())));
        assert_eq!(names(folder.path()), ["device.json.damaged"]);
    }
}
