//! The tests of the files of a device, by subject, and what they share.

mod assignments;
mod certificates;
mod damage;
#[cfg(unix)]
mod kill;
mod steps;
#[cfg(unix)]
mod system;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use hubward_proto::{DeviceId, HubHost, IdScope, RegistrationId};
use hubward_transport::{Credential, SharedKey, UnixSeconds};
use hubward_x509::{Certificate, DeviceKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{AssignmentCache, Binding, CachedAssignment, CertificateStore, PendingKey};

const DPS: &str = "global.azure-devices-provisioning.net";

/// A few pairs that one authority issued for `dev-1`.
static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Test CA");
    let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
    let ca_certificate = Certificate::from_der(ca_certificate.der()).expect("readable");
    let pair = |_| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "dev-1");
        let leaf = params.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).expect("a certificate");
        let leaf = Certificate::from_der(leaf.der()).expect("readable");
        Pair { key: key.serialize_pem(), chain: vec![leaf, ca_certificate.clone()] }
    };
    (0..3).map(pair).collect()
});

/// A key and its certificate chain: a leaf and its authority.
struct Pair {
    key: String,
    chain: Vec<Certificate>,
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("device.json");
    (folder, path)
}

fn key(byte: u8) -> Credential {
    SharedKey::from_bytes(&[byte; 64]).expect("a key").into()
}

fn binding_of(host: &str, scope: &str, id: &str, credentials: &[Credential]) -> Binding {
    let (scope, id) = (IdScope::new(scope).expect("a scope"), RegistrationId::new(id).expect("an id"));
    Binding::new(host, &scope, &id, credentials)
}

fn binding() -> Binding {
    binding_of(DPS, "0ne00123ABC", "dev-1", &[key(1), key(2)])
}

/// An assignment whose members all contain the number.
fn assignment(number: u64) -> CachedAssignment {
    CachedAssignment {
        hub: HubHost::new(format!("hub-{number}.azure-devices.net")).expect("a host"),
        device_id: DeviceId::new(format!("dev-{number}")).expect("an id"),
        assigned_at: UnixSeconds(1_700_000_000 + number),
        substatus: Some(hubward_dps::Substatus::DeviceDataMigrated),
        etag: Some(format!("etag-{number}")),
        connection_profile: Some("classic".to_owned()),
        credential: Some(1),
    }
}

fn pending(number: usize) -> PendingKey {
    PendingKey {
        key: DeviceKey::from_pem(&PAIRS[number].key).expect("a key"),
        request_id: Some(format!("request-{number}")),
        created_at: UnixSeconds(1_700_000_000),
    }
}

/// The bytes of an assignment cache.
fn assignment_file() -> Vec<u8> {
    let (_folder, path) = folder();
    AssignmentCache::open(&path, binding()).0.store(&assignment(7)).expect("stored");
    fs::read(path).expect("a file")
}

/// The bytes of a certificate store with a current pair and a pending key.
fn certificate_file() -> Vec<u8> {
    let (_folder, path) = folder();
    let mut store = CertificateStore::open(&path, binding()).0;
    store.begin(pending(0)).expect("stored");
    store.finish(PAIRS[0].chain.clone(), UnixSeconds(1_700_000_000)).expect("stored");
    store.begin(pending(1)).expect("stored");
    fs::read(path).expect("a file")
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|it| it.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}
