//! `Debug` and `Display` of public types: what ends up in somebody's log one day.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use hubward::sas::{ConnectionString, SasToken, UnixSeconds};
use hubward::{Credential, HubSettings, Message, Settings, SharedKey};
use hubward_emulator::{Emulator, Fault, Point, Seed};
use hubward_tests::cloud::{Cloud, HUB, settings};

use super::scanner::Scanner;

/// Collects what things look like, then scans it.
struct Gallery {
    scanner: Scanner,
    seen: usize,
}

impl Gallery {
    fn show(&mut self, name: &str, thing: &(impl Debug + ?Sized)) {
        for text in [format!("{thing:?}"), format!("{thing:#?}")] {
            self.scan(name, &text);
        }
    }

    /// An error, with its causes.
    fn fail(&mut self, name: &str, error: &(impl Error + 'static)) {
        self.show(name, error);
        let mut cause: Option<&dyn Error> = Some(error);
        while let Some(error) = cause {
            self.scan(name, &error.to_string());
            cause = error.source();
        }
    }

    fn scan(&mut self, name: &str, text: &str) {
        assert!(!text.is_empty(), "{name}");
        let found = self.scanner.find(text.as_bytes());
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
        self.seen += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_public_type_shows_one() {
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
    let mut gallery = Gallery { scanner, seen: 0 };

    gallery.show("SharedKey", device.primary_key());
    let token = SasToken::sign(device.primary_key(), "localhost/devices/dev-1", UnixSeconds(1_900_000_000), None);
    gallery.show("SasToken", &token);
    gallery.show("Credential of a key", &Credential::SharedKey(device.primary_key().clone()));
    gallery.show("Credential of a token", &Credential::Token(token));

    let text =
        format!("HostName=localhost;DeviceId=dev-1;SharedAccessKey={}", device.primary_key().expose_base64().as_str());
    gallery.show("ConnectionString", &ConnectionString::parse(&text).expect("a connection string"));
    gallery.show("HubSettings", &HubSettings::from_connection_string(&text).expect("a device"));
    for broken in [
        text.replace(";SharedAccessKey", " SharedAccessKey"),
        text.replace("=localhost", "=https://localhost"),
        text.replace("SharedAccessKey=", "SharedAccessKey=.,"),
        format!("{text};SharedAccessSignature={text}"),
        format!("{text};GatewayHostName={text}"),
    ] {
        gallery.fail("DeviceStringError", &HubSettings::from_connection_string(&broken).expect_err("it is broken"));
    }

    let good = settings(&device.vars());
    gallery.show("Settings", &good);
    gallery.show("Register", &good.registration_request());
    for kind in hubward::TransportKind::ALL {
        let settings = good.clone().transport(kind);
        gallery.show("a transport to DPS", &settings.build_dps_transport().expect("a transport"));
        let at_hub = HubSettings::from_connection_string(&text).expect("a device").transport(kind);
        if let Ok(transport) = at_hub.build_hub_transport() {
            gallery.show("a transport to the hub", &transport);
        }
        gallery.show("Provisioner", &settings.provisioner().expect("a provisioner"));
    }

    let assignment = good.provision().await.expect("it is enrolled");
    gallery.show("Assignment", &assignment);
    let hub = good.hub_settings(&assignment).spawn().expect("a client");
    hub.connected().await.expect("a login");
    gallery.show("HubClient", &hub);
    gallery.show("ConnectionState", &*hub.state().borrow());
    gallery.show("HubLogin", hub.login());
    let receipt = hub.enqueue(Message::new("x")).await.expect("room");
    gallery.show("Receipt", &receipt);
    receipt.await.expect("acknowledged");

    service_side(&mut gallery, &cloud, &given).await;

    gallery.show("Emulator", emulator);
    gallery.show("Builder", &builder);
    gallery.show("Seed", &seed);
    gallery.show("Enrollment", &device);
    gallery.show("EnrollmentBuilder", &emulator.enrollment("x").keys(&given, &given));
    gallery.show("EnrollmentGroup", &group);
    gallery.show("EnrollmentGroupBuilder", &emulator.enrollment_group("x").keys(&given, &given));
    gallery.show("Ready", &emulator.ready());
    gallery.show("DeviceView", &emulator.devices());
    gallery.show("RegistrationState", &emulator.registration("dev-1"));
    gallery.show("TelemetryLog", &emulator.telemetry("localhost").map(|it| it.all()));

    // ---- Errors, of things that hold a key ----
    let wrong = |name: &str, value: &str| {
        let mut variables = device.vars();
        variables.iter_mut().filter(|(it, _)| *it == name).for_each(|(_, it)| *it = value.to_owned());
        Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))
    };
    let cut_off = &given_text[1..];
    gallery.fail("SettingsError", &wrong("PROVISIONING_SYMMETRIC_KEY", cut_off).expect_err("no base64"));
    gallery.fail("KeyError", &SharedKey::from_base64(cut_off).expect_err("no base64"));
    let mut stranger = good.clone();
    stranger.credential = Credential::SharedKey(given.clone());
    gallery.fail("ConnectError: DPS refuses", &stranger.clone().connect().await.expect_err("a wrong key"));
    let bad_seed = format!(r#"{{"enrollments": "{}"}}"#, given_text.as_str());
    gallery.fail("SeedError", &Seed::from_json(&bad_seed).expect_err("no seed"));
    let weak = SharedKey::from_bytes(&given.expose_bytes()[..5]);
    if let Err(error) = &weak {
        gallery.fail("KeyError: short", error);
    }
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("fits");
    gallery.fail("ConnectError: the hub refuses", &good.clone().connect().await.expect_err("refused"));
    emulator.clear_faults();
    emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("fits");
    let impatient = hub.clone().send_deadline(Some(Duration::from_millis(100)));
    gallery.fail("SendError", &impatient.send(Message::new("x")).await.expect_err("no acknowledgement"));
    gallery.fail("CloseError", &{
        let _unanswered = hub.enqueue(Message::new("x")).await.expect("room");
        hub.close(Duration::ZERO).await.expect_err("unanswered")
    });
    assert!(gallery.seen > 60, "only {} texts", gallery.seen);
}

/// What an operator's program holds: logins, clients, calls with keys in their bodies, refusals.
async fn service_side(gallery: &mut Gallery, cloud: &Cloud, given: &SharedKey) {
    use hubward_service::model::{Authentication, Device, SymmetricKeys};
    use hubward_service::{AdminPort, DialOverride, HubService, ServiceLogin, ServiceOptions, TlsSettings};

    let rules = DialOverride::parse_list(&format!(":443:{}", cloud.emulator.https_addr())).expect("a rule");
    let options = ServiceOptions::new().tls(TlsSettings::new().ca_file(cloud.emulator.ca_file())).dial_overrides(rules);
    gallery.show("ServiceOptions", &options);
    let text = cloud.emulator.hub_connection_string(HUB).expect("the hub that every emulator has");
    let good = ServiceLogin::from_connection_string(&text).expect("a login");
    let wrong = ServiceLogin::policy(HUB, "iothubowner", given.clone()).expect("a login");
    let base64 = given.expose_base64();
    let bearer = ServiceLogin::bearer(HUB, &base64).expect("a login");
    let keys = SymmetricKeys { primary_key: base64.to_string(), secondary_key: base64.to_string() };
    let mut device = Device::new("by-service");
    device.authentication = Some(Authentication::sas(Some(keys)));
    gallery.show("Device", &device);
    for login in [good, wrong, bearer] {
        gallery.show("ServiceLogin", &login);
        let hub = HubService::new(login, &options).expect("a CA file");
        gallery.show("Call", &hub.create_device(&device));
        gallery.show("Pager", &hub.query("SELECT * FROM devices"));
        match hub.create_device(&device).await {
            Ok(made) => gallery.show("Device", &made),
            Err(error) => gallery.fail("ServiceError", &error),
        }
        gallery.show("HubService", &hub);
    }
    let admin = AdminPort::new(&cloud.emulator.ready().admin, &ServiceOptions::new()).expect("a URL");
    gallery.show("AdminPort", &admin);
    let broken = text.replace("SharedAccessKey=", "SharedAccessKey=!");
    gallery.fail("LoginError", &ServiceLogin::from_connection_string(&broken).expect_err("it is broken"));
}
