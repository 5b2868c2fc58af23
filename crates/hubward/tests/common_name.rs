//! Checks the warning about a common name that is not the id of the device or module.
//!
//! This file has only one test. The tests of one program run on several threads, and a second test would change which
//! log events the first one captures.

mod captured;

use captured::Captured;
use hubward::{ClientCertificate, HubSettings};
use rcgen::{CertificateParams, DnType, KeyPair};

fn certificate(name: &str) -> (ClientCertificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    let chain = params.self_signed(&key).expect("a certificate").pem();
    let certificate = ClientCertificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None);
    (certificate.expect("a pair"), key)
}

#[test]
fn another_common_name_than_the_id_is_a_warning() {
    let captured = Captured::default();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let (device, module) = ("HostName=h;DeviceId=d1;x509=true", "HostName=h;DeviceId=d1;ModuleId=m1;x509=true");
    for (text, name, warns) in [
        (device, "d1", false),
        (device, "D1", false),
        (device, "d2", true),
        (device, "d1/m1", true),
        (module, "d1/m1", false),
        (module, "d1", true),
    ] {
        let (certificate, key) = certificate(name);
        let settings = HubSettings::from_connection_string(text).expect("a device").credential(certificate);
        settings.build_hub_transport().expect("the hub decides");
        let log = captured.take();
        let id = settings.identity.client_id();
        let warning = format!("the common name of the certificate is not `{id}`");
        assert_eq!(log.contains(&warning), warns, "{text}, {name}: {log}");
        assert_eq!(log.contains("WARN"), warns, "{text}, {name}: {log}");
        let pem = key.serialize_pem();
        assert!(pem.lines().filter(|it| !it.contains("-----")).all(|it| !log.contains(it)), "{log}");
    }
}
