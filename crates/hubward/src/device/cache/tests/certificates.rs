//! The steps of an issuance.

use hubward_x509::CertificateError;

use super::super::document::seal;
use super::super::{FinishError, SetAside, SetAsideReason, StoredCertificates};
use super::*;

fn open(path: &Path) -> (CertificateStore, StoredCertificates, Option<SetAside>) {
    CertificateStore::open(path, binding())
}

/// The position in `PAIRS` of the current pair, the previous pair and the pending key after the next start.
fn after_start(path: &Path) -> [Option<usize>; 3] {
    let (_, found, warning) = open(path);
    assert_eq!(warning, None);
    let pair = |it: Option<super::super::IssuedCertificate>| {
        it.map(|it| PAIRS.iter().position(|pair| pair.chain == it.certificate.chain()).expect("a known chain"))
    };
    let key =
        found.pending.map(|it| PAIRS.iter().position(|pair| pair.key == *it.key.expose_pem()).expect("a known key"));
    [pair(found.current), pair(found.previous), key]
}

#[test]
fn each_step_is_there_after_the_next_start() {
    let (_folder, path) = folder();
    let mut store = open(&path).0;
    assert_eq!(after_start(&path), [None, None, None]);
    store.begin(pending(0)).expect("stored");
    assert_eq!(after_start(&path), [None, None, Some(0)]);
    let issued = store.finish(PAIRS[0].chain.clone(), UnixSeconds(5)).expect("stored");
    assert_eq!((issued.certificate.leaf(), issued.issued_at), (&PAIRS[0].chain[0], UnixSeconds(5)));
    assert_eq!(after_start(&path), [Some(0), None, None]);
    store.begin(pending(1)).expect("stored");
    assert_eq!(after_start(&path), [Some(0), None, Some(1)]);
    // The next start continues the request with its key and its id.
    let (mut store, found, _) = open(&path);
    assert_eq!(found.pending, Some(pending(1)));
    assert_eq!(found, store.content());
    store.finish(PAIRS[1].chain.clone(), UnixSeconds(6)).expect("stored");
    assert_eq!(after_start(&path), [Some(1), Some(0), None]);
    store.confirm().expect("stored");
    assert_eq!(after_start(&path), [Some(1), None, None]);
    store.begin(pending(2)).expect("stored");
    store.begin(pending(0)).expect("a new key replaces the pending one");
    assert_eq!(after_start(&path), [Some(1), None, Some(0)]);
    store.discard_pending().expect("stored");
    assert_eq!(after_start(&path), [Some(1), None, None]);
    store.begin(pending(2)).expect("stored");
    store.finish(PAIRS[2].chain.clone(), UnixSeconds(7)).expect("stored");
    store.revert().expect("stored");
    assert_eq!(after_start(&path), [Some(1), None, None]);
    store.revert().expect("stored");
    assert_eq!(after_start(&path), [None, None, None]);
    assert!(store.has_file());
    store.begin(pending(0)).expect("stored");
    store.finish(PAIRS[0].chain.clone(), UnixSeconds(8)).expect("stored");
    store.begin(pending(1)).expect("stored");
    store.forget().expect("stored");
    assert_eq!(after_start(&path), [None, None, None]);
    assert_eq!(store.content(), StoredCertificates::default());
    assert!(open(&path).0.has_file(), "the file says that DPS was asked");
    fs::remove_file(&path).expect("removed");
    assert!(!open(&path).0.has_file());
}

#[test]
fn a_chain_that_does_not_belong_to_the_pending_key_changes_nothing() {
    let (_folder, path) = folder();
    let mut store = open(&path).0;
    assert_eq!(store.finish(PAIRS[0].chain.clone(), UnixSeconds(1)), Err(FinishError::NoPendingKey));
    store.begin(pending(0)).expect("stored");
    store.finish(PAIRS[0].chain.clone(), UnixSeconds(1)).expect("stored");
    store.begin(pending(1)).expect("stored");
    let backwards: Vec<Certificate> = PAIRS[1].chain.iter().rev().cloned().collect();
    for (what, chain) in [("of another key", PAIRS[2].chain.clone()), ("backwards", backwards), ("empty", Vec::new())] {
        let error = store.finish(chain, UnixSeconds(2)).expect_err(what);
        assert!(matches!(error, FinishError::Chain(_)), "{what}: {error:?}");
        assert_eq!(after_start(&path), [Some(0), None, Some(1)], "{what}");
    }
    let error = store.finish(PAIRS[2].chain.clone(), UnixSeconds(2)).expect_err("another key");
    assert!(matches!(&error, FinishError::Chain(CertificateError::KeyMismatch { .. })), "{error:?}");
    let text = PAIRS[2].key.clone() + &PAIRS[1].key;
    let two = PendingKey { key: DeviceKey::from_pem(&text).expect("a key"), ..pending(0) };
    let error = store.begin(two).expect_err("two keys");
    assert_eq!(error.problem, "the key is not PEM with one block of PKCS#8");
    assert_eq!(after_start(&path), [Some(0), None, Some(1)]);
}

#[test]
fn a_failed_write_changes_nothing() {
    let (folder, path) = folder();
    let mut store = open(&path).0;
    store.begin(pending(0)).expect("stored");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder in place of the file");
    let before = store.content();
    let error = store.finish(PAIRS[0].chain.clone(), UnixSeconds(1)).expect_err("a folder");
    let FinishError::Store(error) = error else { panic!("{error:?}") };
    assert_eq!(error.problem, "it is a folder");
    store.begin(pending(1)).expect_err("a folder");
    assert_eq!(store.content(), before);
    store.forget().expect_err("a folder");
    assert_eq!(store.content(), StoredCertificates::default(), "forgotten in memory");
    store.begin(pending(0)).expect_err("a folder");
    // When the disk works again, the device requests another certificate.
    fs::remove_dir(&path).expect("removed");
    store.begin(pending(0)).expect("stored");
    store.finish(PAIRS[0].chain.clone(), UnixSeconds(1)).expect("stored");
    assert_eq!(after_start(&path), [Some(0), None, None]);
    assert_eq!(names(folder.path()), ["device.json"]);
}

#[test]
fn the_store_belongs_to_the_device_and_not_to_its_credentials() {
    for (host, id, credentials, difference) in [
        (DPS, "dev-1", vec![key(7)], None),
        (DPS, "dev-2", vec![key(1)], Some("registration id")),
        ("localhost", "dev-1", vec![key(1)], Some("DPS host")),
    ] {
        let (folder, path) = folder();
        fs::write(&path, certificate_file()).expect("written");
        let bound = binding_of(host, "0ne00123ABC", id, &credentials);
        let (_, found, warning) = CertificateStore::open(&path, bound);
        assert_eq!(found.current.is_some(), difference.is_none(), "{id}");
        assert_eq!(
            warning.map(|it| it.reason),
            difference.map(|difference| SetAsideReason::Foreign { difference }),
            "{id}"
        );
        let name = if difference.is_some() { "device.json.foreign" } else { "device.json" };
        assert_eq!(names(folder.path()), [name]);
    }
}

#[test]
fn a_key_with_the_chain_of_another_key_is_never_used() {
    let mut value: serde_json::Value = serde_json::from_slice(&certificate_file()).expect("JSON");
    value.as_object_mut().expect("an object").remove("sha256");
    value["current"]["privateKey"] = value["pending"]["privateKey"].clone();
    let text = value.to_string();
    let (_folder, path) = folder();
    fs::write(&path, seal(&text.as_bytes()[..text.len() - 1])).expect("written");
    let (_, found, warning) = open(&path);
    assert_eq!(found, StoredCertificates::default());
    let message = warning.expect("a warning").to_string();
    assert!(message.contains("the private key does not belong to the certificate"), "{message}");
}

#[test]
fn a_newer_minor_version_loses_nothing_but_the_details_of_a_request() {
    let mut value: serde_json::Value = serde_json::from_slice(&certificate_file()).expect("JSON");
    value.as_object_mut().expect("an object").remove("sha256");
    value["version"] = "1.2".into();
    value["future"] = serde_json::json!([1]);
    value["current"]["serial"] = "ab".into();
    let text = value.to_string();
    let (_folder, path) = folder();
    fs::write(&path, seal(&text.as_bytes()[..text.len() - 1])).expect("written");
    let mut store = open(&path).0;
    store.finish(PAIRS[1].chain.clone(), UnixSeconds(9)).expect("stored");
    let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    assert_eq!((&value["version"], &value["future"]), (&"1.2".into(), &serde_json::json!([1])));
    assert_eq!((&value["previous"]["serial"], value["current"].get("serial")), (&"ab".into(), None));
}

#[test]
fn debug_and_messages_do_not_contain_the_key() {
    let (_folder, path) = folder();
    fs::write(&path, certificate_file()).expect("written");
    let (store, found, _) = open(&path);
    let error = CertificateStore::open(&path, binding()).0.finish(PAIRS[2].chain.clone(), UnixSeconds(1));
    let text = format!("{store:?} {found:?} {:?}", error.expect_err("another key"));
    for pair in &PAIRS[..2] {
        for line in pair.key.lines().filter(|it| !it.starts_with('-')) {
            assert!(!text.contains(line), "{text}");
        }
    }
}

#[test]
fn the_store_is_beside_the_cache() {
    assert_eq!(CertificateStore::beside(Path::new("a/device.json")), Path::new("a/device.json.certificate"));
}
