//! Settings with a certificate: the environment, connection strings, and the checks before the device connects.

use std::fs;
use std::path::{Path, PathBuf};

use hubward::error::{CertificateError, SettingsError, SetupError};
use hubward::{
    ClientCertificate, ConnectError, Credential, Fault, HubIdentity, HubSettings, Settings, SharedKey, TransportKind,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEY_STRING: &str = "HostName=hub.example;DeviceId=dev-1;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
const X509_STRING: &str = "HostName=hub.example;DeviceId=dev-1;x509=true";

/// The first and the last year of a certificate that is valid now.
const ALWAYS: (i32, i32) = (2000, 2100);

/// A certificate and its key, as PEM.
struct Pair {
    chain: String,
    key: String,
}

impl Pair {
    /// A certificate that is issued by a CA of the same chain. Its common name is `name`, if any.
    fn new(name: Option<&str>, years: (i32, i32)) -> Self {
        let [ca_key, key] = [(); 2].map(|()| KeyPair::generate().expect("a key"));
        let mut ca = params(Some("CA"), ALWAYS);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = ca.self_signed(&ca_key).expect("a CA").pem();
        let leaf = params(name, years).signed_by(&key, &Issuer::new(ca, ca_key)).expect("a leaf").pem();
        Self { chain: leaf + &root, key: key.serialize_pem() }
    }

    fn read(&self) -> ClientCertificate {
        ClientCertificate::from_pem(self.chain.as_bytes(), self.key.as_bytes(), None).expect("a pair")
    }

    fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (chain, key) = (folder.join("dev-1.pem"), folder.join("dev-1.key"));
        fs::write(&chain, &self.chain).expect("a file");
        fs::write(&key, &self.key).expect("a file");
        (chain, key)
    }

    /// Checks that `text` contains no line of the private key.
    fn assert_hidden_in(&self, text: &str) {
        for line in self.key.lines().filter(|it| !it.contains("-----")) {
            assert!(!text.contains(line), "{text}");
        }
    }
}

fn params(name: Option<&str>, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    } else {
        params.distinguished_name.push(DnType::OrganizationName, "Example");
    }
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    params
}

fn settings(registration_id: &str, credential: impl Into<Credential>) -> Settings {
    let (scope, id) = ("0ne1".parse().expect("a scope"), registration_id.parse().expect("an id"));
    Settings::new("dps.example", scope, id, credential)
}

fn identity(device: &str) -> HubIdentity {
    HubIdentity::new("hub.example".parse().expect("a host"), device.parse().expect("an id"))
}

/// Reads the settings of a device at DPS, with `more` in addition to the required variables.
fn read_dps(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut variables = vec![
        ("PROVISIONING_HOST", "dps.example"),
        ("PROVISIONING_IDSCOPE", "0ne1"),
        ("PROVISIONING_REGISTRATION_ID", "dev-1"),
    ];
    variables.extend(more);
    Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
}

fn read_hub(variables: &[(&str, &str)]) -> Result<HubSettings, SettingsError> {
    HubSettings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn the_environment_has_a_key_or_a_certificate() {
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::new(Some("dev-1"), ALWAYS));
    let (chain, key) = pair.write(folder.path());
    let (chain, key) = (chain.to_str().expect("text"), key.to_str().expect("text"));
    let both = [("X509_CERT_FILE", chain), ("X509_KEY_FILE", key)];

    let settings = read_dps(&both).expect("settings");
    assert_eq!(settings.credential.certificate(), Some(&pair.read()));
    pair.assert_hidden_in(&format!("{settings:?} {settings:#?}"));
    settings.build_dps_transport().expect("a valid certificate");
    let hub = read_hub(&[("IOTHUB_DEVICE_CONNECTION_STRING", X509_STRING), both[0], both[1]]).expect("settings");
    assert_eq!(hub.credential.certificate(), Some(&pair.read()));
    pair.assert_hidden_in(&format!("{hub:?} {hub:#?}"));
    hub.build_hub_transport().expect("a valid certificate");

    let string = |it| ("IOTHUB_DEVICE_CONNECTION_STRING", it);
    let hint = "\n\nHint: set these environment variables, or build the settings with `new`";
    for (what, error, expected) in [
        (
            "neither",
            read_dps(&[]).expect_err("no credential"),
            format!("not set: PROVISIONING_SYMMETRIC_KEY (or X509_CERT_FILE and X509_KEY_FILE){hint}"),
        ),
        (
            "both",
            read_dps(&[("PROVISIONING_SYMMETRIC_KEY", KEY), both[0], both[1]]).expect_err("two credentials"),
            "X509_CERT_FILE: PROVISIONING_SYMMETRIC_KEY is also set; a device has either a key or a certificate"
                .to_owned(),
        ),
        ("no key file", read_dps(&both[..1]).expect_err("no key"), format!("not set: X509_KEY_FILE{hint}")),
        ("no certificate", read_dps(&both[1..]).expect_err("no leaf"), format!("not set: X509_CERT_FILE{hint}")),
        (
            "only a passphrase",
            read_dps(&[("X509_PASS_PHRASE", "hush")]).expect_err("no credential"),
            format!("not set: PROVISIONING_SYMMETRIC_KEY (or X509_CERT_FILE and X509_KEY_FILE){hint}"),
        ),
        (
            "no certificate for the hub",
            read_hub(&[string(X509_STRING)]).expect_err("no certificate"),
            format!("not set: X509_CERT_FILE, X509_KEY_FILE{hint}"),
        ),
        (
            "no key file for the hub",
            read_hub(&[string(X509_STRING), both[0]]).expect_err("no key"),
            format!("not set: X509_KEY_FILE{hint}"),
        ),
        (
            "a key and a certificate for the hub",
            read_hub(&[string(KEY_STRING), both[0], both[1]]).expect_err("two credentials"),
            "X509_CERT_FILE: IOTHUB_DEVICE_CONNECTION_STRING has a key or token; write `x509=true` instead".to_owned(),
        ),
    ] {
        assert_eq!(format!("{error:?}"), expected, "{what}");
    }
}

#[test]
fn an_unusable_file_names_its_variable_and_the_advice() {
    let (folder, pair) = (tempfile::tempdir().expect("a folder"), Pair::new(Some("dev-1"), ALWAYS));
    let (chain, key) = pair.write(folder.path());
    let other = folder.path().join("other.key");
    fs::write(&other, Pair::new(Some("dev-2"), ALWAYS).key).expect("a file");
    let encrypted = folder.path().join("encrypted.key");
    let der = KeyPair::from_pem(&pair.key).expect("a key").serialize_der();
    fs::write(&encrypted, hubward_x509::encrypted_pem(&der, "hush").expect("a key").as_bytes()).expect("a file");
    let missing = folder.path().join("missing");
    let [der_file, large] = ["key.der", "large.key"].map(|it| folder.path().join(it));
    fs::write(&der_file, &der).expect("a file");
    fs::write(&large, vec![b'x'; hubward_x509::FILE_MAX + 1]).expect("a file");
    for (chain, key, variable, advice) in [
        (&chain, &der_file, "X509_KEY_FILE", "use a PEM file"),
        (&chain, &large, "X509_KEY_FILE", "use a PEM file"),
        (&der_file, &key, "X509_CERT_FILE", "use a PEM file"),
        (&large, &large, "X509_CERT_FILE", "use a PEM file"),
        (&missing, &missing, "X509_CERT_FILE", "check the path"),
        (&missing, &key, "X509_CERT_FILE", "check the path"),
        (&chain, &missing, "X509_KEY_FILE", "check the path"),
        (&key, &key, "X509_CERT_FILE", "use a PEM file with `-----BEGIN CERTIFICATE-----`"),
        (&chain, &chain, "X509_KEY_FILE", "use an EC key"),
        (&chain, &other, "X509_KEY_FILE", "use the private key with which"),
        (&chain, &encrypted, "X509_PASS_PHRASE", "give the passphrase"),
    ] {
        let (chain, key) = (chain.to_str().expect("text"), key.to_str().expect("text"));
        let files = [("X509_CERT_FILE", chain), ("X509_KEY_FILE", key)];
        let error = read_dps(&files).expect_err(advice);
        let [problem] = error.problems() else { panic!("{error}") };
        assert_eq!(problem.variable, variable, "{error}");
        assert!(problem.invalid.as_ref().is_some_and(|it| it.contains(&format!("; {advice}"))), "{error}");
        pair.assert_hidden_in(&format!("{error:?} {:?}", error.problems()));
    }
}

#[test]
fn a_certificate_for_dps_is_checked_before_the_device_connects() {
    let long = "d".repeat(65);
    for (what, name, years, id, expected) in [
        ("the registration id", Some("dev-1"), ALWAYS, "dev-1", None),
        ("in other letter case", Some("DEV-1"), ALWAYS, "dev-1", None),
        ("expired", Some("dev-1"), (2000, 2001), "dev-1", Some("expired at")),
        ("not yet valid", Some("dev-1"), (2099, 2100), "dev-1", Some("is not valid before")),
        ("another name", Some("dev-2"), ALWAYS, "dev-1", Some("is `dev-2`, but it must be `dev-1`")),
        ("no name", None, ALWAYS, "dev-1", Some("has no common name")),
        ("a long name", Some(long.as_str()), ALWAYS, &long, Some("has 65 characters")),
    ] {
        for kind in TransportKind::ALL {
            let pair = Pair::new(name, years);
            let built = settings(id, pair.read()).transport(kind).build_dps_transport();
            let Some(expected) = expected else {
                built.unwrap_or_else(|error| panic!("{what}: {error}"));
                continue;
            };
            let error = built.expect_err(what);
            assert!(error.to_string().contains(expected), "{what}: {error}");
            let SetupError::Certificate(cause) = &error else { panic!("{what}: {error:?}") };
            let diagnosis = error.diagnosis();
            assert_eq!(diagnosis.hint.as_deref(), Some(cause.advice()), "{what}");
            assert_eq!((diagnosis.stage.to_string().as_str(), diagnosis.fault), ("settings", Fault::Credential));
            pair.assert_hidden_in(&format!("{error:?} {error:#?}"));
        }
    }
}

#[test]
fn a_certificate_for_a_hub_needs_valid_dates_only() {
    for (what, name, years, is_usable) in [
        ("the device id", "dev-1", ALWAYS, true),
        ("another name, for a device with thumbprints", "dev-2", ALWAYS, true),
        ("expired", "dev-1", (2000, 2001), false),
        ("not yet valid", "dev-1", (2099, 2100), false),
    ] {
        let settings = HubSettings::new(identity("dev-1"), Pair::new(Some(name), years).read());
        match settings.build_hub_transport() {
            Ok(_) => assert!(is_usable, "{what}"),
            Err(error) => assert!(!is_usable && matches!(error, SetupError::Certificate(_)), "{what}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_connection_string_with_x509_needs_a_certificate_before_it_connects() {
    let settings = || HubSettings::from_connection_string(X509_STRING).expect("a device");
    for error in
        [settings().connect().await.expect_err("no certificate"), { settings().spawn().expect_err("no certificate") }]
    {
        let ConnectError::Setup(SetupError::NoCertificate) = &error else { panic!("{error:?}") };
        let hint = error.diagnosis().hint.expect("a hint");
        assert!(hint.contains("HubSettings::credential") && hint.contains("X509_CERT_FILE"), "{hint}");
        assert_eq!(error.fault(), Fault::Request);
    }
    let pair = Pair::new(Some("dev-1"), ALWAYS);
    let with_certificate = settings().credential(pair.read());
    assert_eq!(with_certificate.credential.certificate(), Some(&pair.read()));
    with_certificate.build_hub_transport().expect("a valid certificate");
    let module = format!("{X509_STRING};ModuleId=mod1");
    let module = HubSettings::from_connection_string(&module).expect("a module").credential(pair.read());
    assert_eq!(module.identity.client_id(), "dev-1/mod1");
    module.build_hub_transport().expect("a valid certificate");
}

#[tokio::test]
async fn an_expired_certificate_ends_connect_at_once() {
    let expired = Pair::new(Some("dev-1"), (2000, 2001)).read();
    let error = settings("dev-1", expired).connect().await.expect_err("expired");
    assert!(
        matches!(&error, ConnectError::Setup(SetupError::Certificate(CertificateError::Expired { .. }))),
        "{error}"
    );
    let text = format!("{error:?}");
    assert!(text.ends_with("\n\nHint: renew the certificate, and check the clock of this machine"), "{text}");
}

#[test]
fn settings_accept_every_kind_of_credential() {
    let key = SharedKey::from_base64(KEY).expect("a key");
    let by_key = settings("dev-1", key.clone());
    assert!(matches!(by_key.credential, Credential::SharedKey(_)));
    let by_certificate = by_key.credential(Pair::new(Some("dev-1"), ALWAYS).read());
    assert!(matches!(by_certificate.credential, Credential::Certificate(_)));
    let hub = HubSettings::new(identity("dev-1"), Credential::SharedKey(key));
    assert!(matches!(hub.credential, Credential::SharedKey(_)));
}
