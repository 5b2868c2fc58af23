//! Tests of `Debug` and `Display` of the public types. Applications write this text to their logs.

use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward::sas::{ConnectionString, SasToken, UnixSeconds};
use hubward::{ClientCertificate, Credential, DeviceEvent, DeviceSettings, HubSettings, Message, Settings, SharedKey};
use hubward_emulator::{Emulator, Fault, Point, Seed};
use hubward_tests::cloud::{Cloud, HUB, settings};
use hubward_tests::pki::{Identity, Validity};

use super::scanner::Scanner;

/// Scans the `Debug` and `Display` text of the values for secrets.
struct Inspector {
    scanner: Scanner,
    scanned: usize,
}

impl Inspector {
    fn check_debug(&mut self, name: &str, value: &(impl Debug + ?Sized)) {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            self.scan(name, &text);
        }
    }

    /// Checks an error and its causes.
    fn check_error(&mut self, name: &str, error: &(impl Error + 'static)) {
        self.check_debug(name, error);
        let mut cause: Option<&dyn Error> = Some(error);
        while let Some(error) = cause {
            self.scan(name, &error.to_string());
            cause = error.source();
        }
    }

    fn scan(&mut self, name: &str, text: &str) {
        assert!(!text.is_empty(), "{name}");
        self.scanner.assert_clean(name, text.as_bytes());
        self.scanned += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_public_type_prints_a_secret() {
    let given = SharedKey::generate().expect("a key");
    let given_text = given.expose_base64();
    let seed = format!(
        r#"{{"enrollments": [{{"registrationId": "seeded", "attestation": {{"type": "symmetricKey",
            "symmetricKey": {{"primaryKey": "{0}", "secondaryKey": "{0}"}}}}}}]}}"#,
        given_text.as_str()
    );
    let seed = Seed::from_json(&seed).expect("a seed");
    let builder = Emulator::builder().seed(seed.clone()).dev_keys(true);
    let cloud = Cloud::with(builder.clone()).await;
    let emulator = &cloud.emulator;
    let (device, group) = (emulator.enroll("dev-1").expect("an id"), emulator.enroll_group("g").expect("a name"));
    let at_hub = emulator.add_device("localhost", "dev-2").expect("an id");

    let scanner = Scanner::default()
        .key("the seed's key", &given)
        .key("the device's key", device.primary_key())
        .key("the device's second key", device.secondary_key())
        .key("the group's key", group.primary_key())
        .key("the group's second key", group.secondary_key())
        .key("a derived key", &group.device_key("pump-1"))
        .key("a key of the hub's", &at_hub)
        .key("the well-known key", &SharedKey::from_base64(hubward_emulator::DEV_GROUP_KEY).expect("a key"));
    let mut inspector = Inspector { scanner, scanned: 0 };

    inspector.check_debug("SharedKey", device.primary_key());
    let token = SasToken::sign(device.primary_key(), "localhost/devices/dev-1", UnixSeconds(1_900_000_000), None);
    inspector.check_debug("SasToken", &token);
    inspector.check_debug("Credential of a key", &Credential::SharedKey(device.primary_key().clone()));
    inspector.check_debug("Credential of a token", &Credential::Token(token));

    let text =
        format!("HostName=localhost;DeviceId=dev-1;SharedAccessKey={}", device.primary_key().expose_base64().as_str());
    inspector.check_debug("ConnectionString", &ConnectionString::parse(&text).expect("a connection string"));
    inspector.check_debug("HubSettings", &HubSettings::from_connection_string(&text).expect("a device"));
    for broken in [
        text.replace(";SharedAccessKey", " SharedAccessKey"),
        text.replace("=localhost", "=https://localhost"),
        text.replace("SharedAccessKey=", "SharedAccessKey=.,"),
        format!("{text};SharedAccessSignature={text}"),
        format!("{text};GatewayHostName={text}"),
    ] {
        inspector
            .check_error("DeviceStringError", &HubSettings::from_connection_string(&broken).expect_err("it is broken"));
    }

    let good = settings(&device.vars());
    inspector.check_debug("Settings", &good);
    inspector.check_debug("Register", &good.registration_request());
    for kind in hubward::TransportKind::ALL {
        let settings = good.clone().transport(kind);
        inspector.check_debug("a transport to DPS", &settings.build_dps_transport().expect("a transport"));
        inspector.check_debug("Provisioner", &settings.provisioner().expect("a provisioner"));
    }

    let assignment = good.provision().await.expect("it is enrolled");
    inspector.check_debug("Assignment", &assignment);
    let mut hub_transports = 0;
    for kind in hubward::TransportKind::ALL {
        let at_hub = good.hub_settings(&assignment).transport(kind);
        inspector.check_debug("HubSettings", &at_hub);
        if let Ok(transport) = at_hub.build_hub_transport() {
            inspector.check_debug("a transport to the hub", &transport);
            hub_transports += 1;
        }
    }
    assert_eq!(hub_transports, 2, "mqtt and mqtt-ws");
    let hub = good.hub_settings(&assignment).spawn().expect("a client");
    hub.connected().await.expect("a login");
    inspector.check_debug("HubClient", &hub);
    inspector.check_debug("ConnectionState", &*hub.state().borrow());
    inspector.check_debug("HubLogin", &hub.login());
    let receipt = hub.enqueue(Message::new("x")).await.expect("room");
    inspector.check_debug("Receipt", &receipt);
    receipt.await.expect("acknowledged");
    supervised(&mut inspector, good.clone().device().fallback(device.secondary_key().clone()), &given).await;

    service_side(&mut inspector, &cloud, &given).await;

    inspector.check_debug("Emulator", emulator);
    inspector.check_debug("Builder", &builder);
    inspector.check_debug("Seed", &seed);
    inspector.check_debug("Enrollment", &device);
    inspector.check_debug("EnrollmentBuilder", &emulator.enrollment("x").keys(&given, &given));
    inspector.check_debug("EnrollmentGroup", &group);
    inspector.check_debug("EnrollmentGroupBuilder", &emulator.enrollment_group("x").keys(&given, &given));
    inspector.check_debug("Ready", &emulator.ready());
    inspector.check_debug("DeviceView", &emulator.devices());
    inspector.check_debug("RegistrationState", &emulator.registration("dev-1"));
    inspector.check_debug("TelemetryLog", &emulator.telemetry("localhost").map(|it| it.all()));

    // ---- Errors of types that hold a key ----
    let wrong = |name: &str, value: &str| {
        let mut variables = device.vars();
        variables.iter_mut().filter(|(it, _)| *it == name).for_each(|(_, it)| *it = value.to_owned());
        Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))
    };
    let cut_off = &given_text[1..];
    inspector.check_error("SettingsError", &wrong("PROVISIONING_SYMMETRIC_KEY", cut_off).expect_err("no base64"));
    inspector.check_error("KeyError", &SharedKey::from_base64(cut_off).expect_err("no base64"));
    let mut other = good.clone();
    other.credential = Credential::SharedKey(given.clone());
    inspector.check_error("ConnectError: DPS refuses", &other.clone().connect().await.expect_err("a wrong key"));
    let bad_seed = format!(r#"{{"enrollments": "{}"}}"#, given_text.as_str());
    inspector.check_error("SeedError", &Seed::from_json(&bad_seed).expect_err("no seed"));
    let weak = SharedKey::from_bytes(&given.expose_bytes()[..5]);
    if let Err(error) = &weak {
        inspector.check_error("KeyError: short", error);
    }
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("fits");
    inspector.check_error("ConnectError: the hub refuses", &good.clone().connect().await.expect_err("refused"));
    emulator.clear_faults();
    emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("fits");
    let client = hub.clone().send_deadline(Some(Duration::from_millis(100)));
    inspector.check_error("SendError", &client.send(Message::new("x")).await.expect_err("no acknowledgement"));
    inspector.check_error("CloseError", &{
        let _unanswered = hub.enqueue(Message::new("x")).await.expect("room");
        hub.close(Duration::ZERO).await.expect_err("unanswered")
    });
    assert!(inspector.scanned > 60, "only {} texts", inspector.scanned);
}

/// The private key of a device's certificate, in each type that contains it, and in errors about its files.
#[tokio::test(flavor = "multi_thread")]
async fn no_public_type_prints_the_private_key_of_a_certificate() {
    let device = Identity::self_signed("dev-1", Validity::Now);
    let (chain, text) = (device.chain_pem(), device.key_pem().to_owned());
    // In the DER of a P-256 key, the private key has the bytes 36 to 67. In PEM, a new line begins at byte 48.
    let base64: String = text.lines().filter(|it| !it.starts_with("-----")).collect();
    let der = STANDARD.decode(base64).expect("PEM contains base64");
    let scanner = Scanner::default().bytes("the private key", &der[36..68]).bytes("its second line", &der[48..66]);
    assert!(!scanner.find(text.as_bytes()).is_empty(), "the scanner finds the key in a file");
    let mut inspector = Inspector { scanner, scanned: 0 };

    let certificate = ClientCertificate::from_pem(chain.as_bytes(), text.as_bytes(), None).expect("a pair");
    inspector.check_debug("ClientCertificate", &certificate);
    inspector.check_debug("Credential", &Credential::from(certificate.clone()));
    inspector.check_debug("TlsSettings", &hubward_dial::TlsSettings::new().client_certificate(certificate.clone()));
    let (scope, id) = ("0ne1".parse().expect("a scope"), "dev-1".parse().expect("an id"));
    let at_dps = Settings::new("dps.example", scope, id, certificate.clone());
    let at_hub = HubSettings::from_connection_string("HostName=hub.example;DeviceId=dev-1;x509=true");
    let at_hub = at_hub.expect("a device").credential(certificate);
    inspector.check_debug("Settings", &at_dps);
    inspector.check_debug("HubSettings", &at_hub);
    for kind in hubward::TransportKind::ALL {
        inspector.check_debug("Provisioner", &at_dps.clone().transport(kind).provisioner().expect("a provisioner"));
        if let Ok(transport) = at_hub.clone().transport(kind).build_hub_transport() {
            inspector.check_debug("a transport to the hub", &transport);
        }
    }

    let other = Identity::self_signed("dev-1", Validity::Now).chain_pem();
    let encrypted = text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (what, chain, text) in [
        ("the key as certificate", &text, &text),
        ("the key of another certificate", &other, &text),
        ("a truncated key", &chain, &text[..120].to_owned()),
        ("a key with another label", &chain, &text.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
        ("a key that is not encrypted", &chain, &encrypted),
    ] {
        for passphrase in [None, Some("hush")] {
            if let Err(error) = ClientCertificate::from_pem(chain.as_bytes(), text.as_bytes(), passphrase) {
                inspector.check_error(what, &error);
                inspector.check_error(what, &hubward::ConnectError::from(hubward::error::SetupError::from(error)));
            }
        }
    }
    assert!(inspector.scanned > 60, "only {} texts", inspector.scanned);
}

/// Checks the types that an operator's program uses: logins, clients, refusals, and requests whose bodies contain keys.
/// A device that keeps itself connected: its types, its events, and its cache.
async fn supervised(inspector: &mut Inspector, settings: DeviceSettings, wrong: &SharedKey) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("assignment.cache");
    let events: Arc<Mutex<Vec<DeviceEvent>>> = Arc::default();
    let heard = Arc::clone(&events);
    let settings = settings.cache(&file).on_event(move |it| heard.lock().expect("events").push(it.clone()));
    inspector.check_debug("DeviceSettings", &settings);
    inspector.check_debug("NamedCredential", &settings.fallbacks);
    let device = settings.connect().await.expect("a connected device");
    inspector.check_debug("Device", &device);
    let change = device.change_credentials([wrong.clone()]);
    inspector.check_debug("CredentialChange", &change);
    inspector.check_error("CredentialChangeError", &change.await.expect_err("a wrong key"));
    let events = std::mem::take(&mut *events.lock().expect("events"));
    assert!(events.iter().any(|it| matches!(it, DeviceEvent::CredentialsRolledBack { .. })), "{events:?}");
    for event in events {
        inspector.check_debug("DeviceEvent", &event);
        inspector.scan("the text of an event", &event.to_string());
    }
    let cache = std::fs::read_to_string(&file).expect("a cache");
    inspector.scan("the assignment cache", &cache);
}

async fn service_side(inspector: &mut Inspector, cloud: &Cloud, given: &SharedKey) {
    use hubward_service::model::{Authentication, Device, SymmetricKeys};
    use hubward_service::{AdminPort, DialOverride, HubService, ServiceLogin, ServiceOptions, TlsSettings};

    let rules = DialOverride::parse_list(&format!(":443:{}", cloud.emulator.https_addr())).expect("a rule");
    let options = ServiceOptions::new().tls(TlsSettings::new().ca_file(cloud.emulator.ca_file())).dial_overrides(rules);
    inspector.check_debug("ServiceOptions", &options);
    let text = cloud.emulator.hub_connection_string(HUB).expect("the hub that every emulator has");
    let good = ServiceLogin::from_connection_string(&text).expect("a login");
    let wrong = ServiceLogin::policy(HUB, "iothubowner", given.clone()).expect("a login");
    let base64 = given.expose_base64();
    let bearer = ServiceLogin::bearer(HUB, &base64).expect("a login");
    let keys = SymmetricKeys { primary_key: base64.to_string(), secondary_key: base64.to_string() };
    let mut device = Device::new("by-service");
    device.authentication = Some(Authentication::sas(Some(keys)));
    inspector.check_debug("Device", &device);
    for login in [good, wrong, bearer] {
        inspector.check_debug("ServiceLogin", &login);
        let hub = HubService::new(login, &options).expect("a CA file");
        inspector.check_debug("Call", &hub.create_device(&device));
        inspector.check_debug("Pager", &hub.query("SELECT * FROM devices"));
        match hub.create_device(&device).await {
            Ok(made) => inspector.check_debug("Device", &made),
            Err(error) => inspector.check_error("ServiceError", &error),
        }
        inspector.check_debug("HubService", &hub);
    }
    let admin = AdminPort::new(&cloud.emulator.ready().admin, &ServiceOptions::new()).expect("a URL");
    inspector.check_debug("AdminPort", &admin);
    let broken = text.replace("SharedAccessKey=", "SharedAccessKey=!");
    inspector.check_error("LoginError", &ServiceLogin::from_connection_string(&broken).expect_err("it is broken"));
}
