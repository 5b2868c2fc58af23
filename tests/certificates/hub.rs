//! The table of logins at a hub, without DPS: devices and modules with each kind of authentication.

use std::fmt::Write as _;
use std::time::Duration;

use hubward::{SharedKey, TransportKind};
use hubward_emulator::{Emulator, EventKind};
use hubward_tests::command::Invocation;
use hubward_tests::pki::{Authority, Identity, Validity};
use hubward_tests::report::{Endpoint, Expected, SUCCESS};
use serde_json::Value;
use tempfile::TempDir;

use super::scene::{INTERMEDIATE, ROOT};
use super::{DEVICE, ForbiddenPort, HUB, LOCAL, check_hint, run_cells};

const MODULE: &str = "mod-1";

/// The hub refuses the login with a certificate.
const REFUSED: Expected = Expected {
    exit_code: 5,
    stage: Some("hub-login"),
    endpoint: Endpoint::Hub,
    fault: "credential",
    hint: "the hub does not accept the certificate",
    message: "CONNACK 5",
    ..SUCCESS
};

/// The hub refuses the login with a token.
const KEY_REFUSED: Expected = Expected { hint: "was its key changed or replaced by a certificate", ..REFUSED };

const LOGINS: &[Login] = &[
    // ---- selfSigned: the thumbprint decides ----
    accepted("thumbprint", |scene| scene.add_self_signed()),
    accepted("secondary thumbprint, SHA-1, in lower case", |scene| {
        let other = Identity::self_signed(DEVICE, Validity::Now).leaf().sha1_thumbprint();
        let ours = scene.device.leaf().sha1_thumbprint().to_ascii_lowercase();
        scene.emulator.add_self_signed_device(HUB, DEVICE, &other, Some(&ours)).expect("valid thumbprints");
    }),
    // Neither the common name nor the issuer matters.
    accepted("thumbprint of a certificate with another name and no issuer", |scene| {
        scene.device = Identity::self_signed("press", Validity::Now);
        scene.add_self_signed();
    }),
    refused(
        "another thumbprint",
        |scene| {
            scene.add_self_signed();
            scene.device = scene.intermediate.device(DEVICE, Validity::Now);
        },
        "none of the thumbprints",
    ),
    refused(
        "thumbprint, expired for the hub only",
        |scene| {
            scene.device = scene.intermediate.device(DEVICE, Validity::OneMoreHour);
            scene.add_self_signed();
            scene.emulator.clock_ahead(Duration::from_secs(2 * 60 * 60));
        },
        "has expired",
    ),
    offline(
        "thumbprint, expired",
        |scene| {
            scene.device = scene.intermediate.device(DEVICE, Validity::Expired);
            scene.add_self_signed();
        },
        "expired at",
    ),
    offline(
        "thumbprint, not yet valid",
        |scene| {
            scene.device = scene.intermediate.device(DEVICE, Validity::NotYet);
            scene.add_self_signed();
        },
        "is not valid before",
    ),
    // ---- certificateAuthority: the issuer and the common name decide ----
    accepted("authority", |scene| scene.add_ca_signed()),
    accepted("intermediate authority of the hub, leaf alone", |scene| {
        scene.emulator.add_authority(INTERMEDIATE, &scene.intermediate.pem(), true).expect("a valid authority");
        scene.device = scene.device.clone().with_issuers([]);
        scene.add_ca_signed();
    }),
    refused(
        "authority, chain without intermediate",
        |scene| {
            scene.device = scene.device.clone().with_issuers([]);
            scene.add_ca_signed();
        },
        "no CA certificate of the hub has issued",
    ),
    refused(
        "authority with the same names",
        |scene| {
            scene.device = Authority::root(ROOT).intermediate(INTERMEDIATE).device(DEVICE, Validity::Now);
            scene.add_ca_signed();
        },
        "no CA certificate of the hub has issued",
    ),
    refused(
        "unverified authority",
        |scene| {
            scene.emulator.add_authority(ROOT, &scene.root.pem(), false).expect("a valid authority");
            scene.add_ca_signed();
        },
        "the CA certificate is not verified",
    ),
    refused(
        "authority, common name of another device",
        |scene| {
            scene.device = scene.intermediate.device("dev-2", Validity::Now);
            scene.add_ca_signed();
        },
        "the common name of the certificate is not the id",
    ),
    // Device ids are case-sensitive, and registration ids are not.
    refused(
        "authority, common name in another letter case",
        |scene| {
            scene.device = scene.intermediate.device("DEV-1", Validity::Now);
            scene.add_ca_signed();
        },
        "the common name of the certificate is not the id",
    ),
    refused(
        "authority, expired for the hub only",
        |scene| {
            scene.device = scene.intermediate.device(DEVICE, Validity::OneMoreHour);
            scene.add_ca_signed();
            scene.emulator.clock_ahead(Duration::from_secs(2 * 60 * 60));
        },
        "has expired",
    ),
    offline(
        "authority, expired",
        |scene| {
            scene.device = scene.intermediate.device(DEVICE, Validity::Expired);
            scene.add_ca_signed();
        },
        "expired at",
    ),
    // ---- Keys and certificates ----
    refused(
        "device with keys, certificate presented",
        |scene| {
            scene.emulator.add_device(HUB, DEVICE).expect("a valid id");
        },
        "the identity has keys",
    ),
    Login {
        expected: KEY_REFUSED,
        ..refused(
            "thumbprint, but a key is used",
            |scene| {
                scene.key = Some(scene.emulator.add_device(HUB, DEVICE).expect("a valid id"));
                scene.add_self_signed();
            },
            "the identity has a certificate",
        )
    },
    Login {
        expected: KEY_REFUSED,
        ..refused(
            "authority, but a key is used",
            |scene| {
                scene.key = Some(scene.emulator.add_device(HUB, DEVICE).expect("a valid id"));
                scene.add_ca_signed();
            },
            "the identity has a certificate",
        )
    },
    // ---- The identity ----
    refused(
        "disabled device",
        |scene| {
            scene.add_self_signed();
            assert!(scene.emulator.set_device_enabled(HUB, DEVICE, false), "the device exists");
        },
        "the device is disabled",
    ),
    refused("unknown device", |_| {}, "no device of this id"),
    // ---- Modules ----
    accepted("module with a thumbprint, of a device with keys", |scene| {
        scene.is_module = true;
        scene.emulator.add_device(HUB, DEVICE).expect("a valid id");
        scene.device = Identity::self_signed("dev-1/mod-1", Validity::Now);
        scene.add_self_signed_module();
    }),
    accepted("module of an authority", |scene| {
        scene.is_module = true;
        scene.device = scene.intermediate.device("dev-1/mod-1", Validity::Now);
        scene.add_ca_signed();
        scene.emulator.add_ca_signed_module(HUB, DEVICE, MODULE).expect("valid ids");
    }),
    accepted("module with a key, of a device with a certificate", |scene| {
        scene.is_module = true;
        scene.add_self_signed();
        scene.key = Some(scene.emulator.add_module(HUB, DEVICE, MODULE).expect("valid ids"));
    }),
    refused(
        "module with a thumbprint, certificate of its device",
        |scene| {
            scene.is_module = true;
            scene.add_self_signed();
            let module = Identity::self_signed("dev-1/mod-1", Validity::Now).leaf().sha256_thumbprint();
            let added = scene.emulator.add_self_signed_module(HUB, DEVICE, MODULE, &module, None);
            added.expect("valid ids");
        },
        "none of the thumbprints",
    ),
    refused(
        "module of an authority, certificate of its device",
        |scene| {
            scene.is_module = true;
            scene.add_ca_signed();
            scene.emulator.add_ca_signed_module(HUB, DEVICE, MODULE).expect("valid ids");
        },
        "the common name of the certificate is not the id",
    ),
    Login {
        expected: KEY_REFUSED,
        ..refused(
            "module with a thumbprint, but a key is used",
            |scene| {
                scene.is_module = true;
                scene.add_self_signed();
                scene.key = Some(scene.emulator.add_module(HUB, DEVICE, MODULE).expect("valid ids"));
                scene.add_self_signed_module();
            },
            "the identity has a certificate",
        )
    },
];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Login {
    name: &'static str,
    /// Registers the device at the hub. Before, the device presents its certificate and that of the intermediate
    /// authority, and the hub has the root authority.
    arrange: fn(&mut Scene),
    expected: Expected,
    /// A part of the reason in the emulator's journal. Empty if the hub accepts the login, or if there is none.
    journal: &'static str,
}

struct Scene {
    emulator: Emulator,
    root: Authority,
    intermediate: Authority,
    /// What the device presents if it has no key.
    device: Identity,
    key: Option<SharedKey>,
    is_module: bool,
    folder: TempDir,
}

const fn accepted(name: &'static str, arrange: fn(&mut Scene)) -> Login {
    Login { name, arrange, expected: SUCCESS, journal: "" }
}

const fn refused(name: &'static str, arrange: fn(&mut Scene), journal: &'static str) -> Login {
    Login { name, arrange, expected: REFUSED, journal }
}

const fn offline(name: &'static str, arrange: fn(&mut Scene), message: &'static str) -> Login {
    Login { name, arrange, expected: Expected { message, ..LOCAL }, journal: "" }
}

impl Scene {
    async fn new() -> Self {
        let emulator = Emulator::builder().hubs([HUB]).start().await.expect("the emulator starts");
        let root = Authority::root(ROOT);
        let intermediate = root.intermediate(INTERMEDIATE);
        let device = intermediate.device(DEVICE, Validity::Now);
        emulator.add_authority(ROOT, &root.pem(), true).expect("a valid authority");
        let folder = tempfile::tempdir().expect("a folder");
        Self { emulator, root, intermediate, device, key: None, is_module: false, folder }
    }

    /// Adds the device, or changes its authentication: it has the thumbprint of the certificate.
    fn add_self_signed(&self) {
        let thumbprint = self.device.leaf().sha256_thumbprint();
        self.emulator.add_self_signed_device(HUB, DEVICE, &thumbprint, None).expect("a valid thumbprint");
    }

    /// Like [`add_self_signed`](Self::add_self_signed), for the module.
    fn add_self_signed_module(&self) {
        let thumbprint = self.device.leaf().sha256_thumbprint();
        let added = self.emulator.add_self_signed_module(HUB, DEVICE, MODULE, &thumbprint, None);
        added.expect("a valid thumbprint");
    }

    /// Adds the device, or changes its authentication: an authority of the hub has issued its certificate.
    fn add_ca_signed(&self) {
        self.emulator.add_ca_signed_device(HUB, DEVICE).expect("a valid id");
    }

    /// Sends a message with the real program, which gets these options too.
    async fn run(&self, kind: TransportKind, more: &[String]) -> Result<Value, String> {
        let ready = self.emulator.ready();
        let (chain, key) = self.device.write(self.folder.path());
        let mut variables = ready.x509_vars(DEVICE, &chain, &key);
        variables.retain(|(name, _)| !name.starts_with("PROVISIONING_"));
        let module = if self.is_module { format!(";ModuleId={MODULE}") } else { String::new() };
        let secret = match &self.key {
            None => "x509=true".to_owned(),
            Some(key) => {
                variables.retain(|(name, _)| !name.starts_with("X509_"));
                format!("SharedAccessKey={}", key.expose_base64().as_str())
            }
        };
        let text = format!("HostName={HUB};DeviceId={DEVICE}{module};{secret}");
        variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", text));
        let fixed = ["device", "send", "21.5", "--output", "json", "--transport", kind.as_str()];
        let ran = Invocation::hubward(fixed).args(more.iter().map(String::as_str)).vars(&variables).run().await;
        ran.last().map_err(|problem| format!("{problem}\n{}", ran.stderr_text()))
    }

    /// Lists what is wrong in the emulator. `reason` is empty if the hub accepted the login, or if there was none.
    fn check(&self, expected: Expected, reason: &str) -> String {
        let mut problems = String::new();
        let log = self.emulator.telemetry(HUB).expect("a hub").all();
        let stamps = log.last().map(|it| it.stamps()).unwrap_or_default();
        let (id, kind) =
            (if self.is_module { MODULE } else { DEVICE }, if self.key.is_some() { "sas" } else { "x509" });
        let method = format!(r#""type":"{kind}""#);
        let fits = stamps.iter().any(|(_, it)| it == id) && stamps.iter().any(|(_, it)| it.contains(&method));
        let count = if expected.stage.is_none() { 1 } else { 0 };
        if log.len() != count || (count == 1 && !fits) {
            let _ = writeln!(problems, "    expected {count} messages of {id} with {method}, got {stamps:?}");
        }
        let events = self.emulator.events().all();
        let reasons: Vec<_> = events.iter().filter(|it| it.kind == EventKind::Refused).map(|it| &it.message).collect();
        let holds = if reason.is_empty() { reasons.is_empty() } else { reasons.iter().any(|it| it.contains(reason)) };
        if !holds {
            let _ = writeln!(problems, "    expected the reason `{reason}` in the journal, got {reasons:?}");
        }
        problems
    }
}

impl Login {
    async fn check(self, kind: TransportKind) -> Result<(), String> {
        let mut scene = Scene::new().await;
        (self.arrange)(&mut scene);
        let is_offline = self.expected.stage == LOCAL.stage;
        let port = ForbiddenPort::open();
        let last = scene.run(kind, &if is_offline { port.arguments().to_vec() } else { Vec::new() }).await?;
        let mut problems = self.expected.compare(kind, &last) + &port.check();
        if scene.key.is_none() {
            problems += &check_hint(&last);
        }
        problems += &scene.check(self.expected, self.journal);
        if problems.is_empty() { Ok(()) } else { Err(format!("{problems}    {last}")) }
    }
}

async fn run_column(kind: TransportKind) {
    run_cells(LOGINS.iter().map(|it| (format!("{} over {kind}", it.name), it.check(kind)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_judges_certificates_over_mqtt() {
    run_column(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_judges_certificates_over_mqtt_ws() {
    run_column(TransportKind::MqttWs).await;
}

#[test]
fn each_login_has_a_unique_name() {
    let mut names = std::collections::BTreeSet::new();
    for login in LOGINS {
        assert!(!login.name.is_empty() && names.insert(login.name), "{:?}: empty or not unique", login.name);
    }
}
