//! An emulator with an enrollment, a device with a certificate, and the command that connects the device.

use std::fmt::Write as _;

use hubward::TransportKind;
use hubward_emulator::{Emulator, EventKind};
use hubward_tests::command::Invocation;
use hubward_tests::pki::{Authority, Identity, Validity};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{DEVICE, ForbiddenPort, HUB, unchecked};

/// The hub to which a device moves.
pub(super) const OTHER_HUB: &str = "other.example";

/// The enrollment group of the device.
pub(super) const GROUP: &str = "line-7";

/// A second enrollment group.
pub(super) const OTHER_GROUP: &str = "line-8";

/// The name of the intermediate authority, in its certificate and in DPS.
pub(super) const INTERMEDIATE: &str = "plant";

/// The name of the root authority, in its certificate and in DPS.
pub(super) const ROOT: &str = "company";

/// How DPS knows the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enrollment {
    /// An individual enrollment with the certificate of the device.
    Individual,
    /// A group with the certificate of the intermediate authority, which is a part of the enrollment
    /// (`signingCertificates`).
    ByIntermediate,
    /// A group with the name of the root authority, whose certificate DPS has (`caReferences`).
    ByRoot,
}

/// The client that registers the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// The real program. It must succeed, or the service must refuse it.
    Program,
    /// The real program. It must not connect to any server.
    OfflineProgram,
    /// The library, without the checks of the certificate before it connects.
    Unchecked,
}

pub(super) struct Scene {
    pub(super) enrollment: Enrollment,
    pub(super) emulator: Emulator,
    pub(super) root: Authority,
    pub(super) intermediate: Authority,
    /// What the device presents.
    pub(super) device: Identity,
    pub(super) client: Client,
    pub(super) registration_id: &'static str,
    /// The hub that DPS must assign.
    pub(super) hub: &'static str,
    /// The group that DPS must name, unless the enrollment is individual.
    pub(super) group: &'static str,
    kind: TransportKind,
    folder: TempDir,
}

impl Enrollment {
    pub(super) const ALL: [Self; 3] = [Self::Individual, Self::ByIntermediate, Self::ByRoot];
}

impl Scene {
    /// Starts an emulator in which the device is enrolled at its hub. The device presents its certificate and that of
    /// the intermediate authority.
    pub(super) async fn new(enrollment: Enrollment, kind: TransportKind) -> Self {
        let emulator = Emulator::builder().hubs([HUB, OTHER_HUB]).start().await.expect("the emulator starts");
        let root = Authority::root(ROOT);
        let intermediate = root.intermediate(INTERMEDIATE);
        let device = intermediate.device(DEVICE, Validity::Now);
        emulator.add_authority(ROOT, &root.pem(), true).expect("a valid authority");
        let folder = tempfile::tempdir().expect("a folder");
        let scene = Self {
            enrollment,
            emulator,
            root,
            intermediate,
            device,
            client: Client::Program,
            registration_id: DEVICE,
            hub: HUB,
            group: GROUP,
            kind,
            folder,
        };
        scene.enroll(HUB);
        scene
    }

    /// Creates the enrollment, or updates it: its devices belong to this hub. An individual enrollment gets the
    /// certificate that the device presents now.
    pub(super) fn enroll(&self, hub: &str) {
        let group = self.emulator.enrollment_group(GROUP).hubs([hub]);
        let created = match self.enrollment {
            Enrollment::Individual => {
                let individual = self.emulator.enrollment(DEVICE).hubs([hub]);
                individual.create_with_certificates(&self.device.leaf().to_pem(), None)
            }
            Enrollment::ByIntermediate => group.create_with_certificates(&self.intermediate.pem(), None),
            Enrollment::ByRoot => group.create_with_authorities(ROOT, None),
        };
        created.expect("a valid enrollment");
    }

    pub(super) fn disable(&self) {
        let disabled = match self.enrollment {
            Enrollment::Individual => self.emulator.disable(DEVICE),
            Enrollment::ByIntermediate | Enrollment::ByRoot => self.emulator.disable_group(GROUP),
        };
        disabled.expect("it is enrolled");
    }

    /// Gives the device a certificate of the intermediate authority with another validity, and enrolls it with it.
    pub(super) fn renew(&mut self, validity: Validity) {
        self.device = self.intermediate.device(DEVICE, validity);
        self.enroll(HUB);
    }

    /// Registers the device, and sends a message to its hub if DPS assigns one. Returns the last line of the output.
    pub(super) async fn run(&self) -> Result<Value, String> {
        match self.client {
            Client::Program => self.run_program(&[]).await,
            Client::OfflineProgram => self.run_offline().await,
            Client::Unchecked => {
                Ok(unchecked::register(&self.emulator, self.kind, &self.device, self.registration_id).await)
            }
        }
    }

    /// Runs the program, and checks that it opens no connection.
    async fn run_offline(&self) -> Result<Value, String> {
        let port = ForbiddenPort::open();
        let last = self.run_program(&port.arguments()).await?;
        let problems = port.check();
        if problems.is_empty() { Ok(last) } else { Err(format!("{problems}    {last}")) }
    }

    async fn run_program(&self, more: &[String]) -> Result<Value, String> {
        let (chain, key) = self.device.write(self.folder.path());
        let variables = self.emulator.ready().x509_vars(self.registration_id, &chain, &key);
        let fixed = ["provision", "--messages", "1", "--output", "json", "--transport", self.kind.as_str()];
        let ran = Invocation::hubward(fixed).args(more.iter().map(String::as_str)).vars(&variables).run().await;
        ran.last().map_err(|problem| format!("{problem}\n{}", ran.stderr_text()))
    }

    /// Lists what is wrong in the emulator after the device was assigned to its hub and sent a message.
    pub(super) fn check_assigned(&self, last: &Value) -> String {
        let mut problems = String::new();
        let mut must = |what: &str, found: Value, expected: Value| {
            if found != expected {
                let _ = writeln!(problems, "    expected {what} {expected}, got {found}");
            }
        };
        must("the hub", last["assignedHub"].clone(), json!(self.hub));
        for hub in [HUB, OTHER_HUB] {
            let identity = self.emulator.device(hub, DEVICE).map(|it| (it.authentication_type, it.x509_thumbprint));
            let thumbprint = self.device.leaf().sha256_thumbprint();
            let thumbprints = json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint });
            let expected = if hub == self.hub { json!(["selfSigned", thumbprints]) } else { json!(null) };
            must(&format!("the identity at {hub}"), json!(identity), expected);
        }
        let record = self.emulator.registration(DEVICE).and_then(|it| it.x509);
        let expected = match self.enrollment {
            Enrollment::Individual => json!({}),
            Enrollment::ByIntermediate | Enrollment::ByRoot => json!({ "enrollmentGroupId": self.group }),
        };
        must("`x509` in the registration record", json!(record), expected);
        let log = self.emulator.telemetry(self.hub).expect("a hub").all();
        let method = log.last().map(|it| it.stamps()).unwrap_or_default();
        let by_certificate = method.iter().any(|(_, value)| value.contains(r#""type":"x509""#));
        must(&format!("a message of a device with a certificate ({method:?})"), json!(by_certificate), json!(true));
        problems
    }

    /// Lists what is wrong in the emulator after the device was refused. `reason` is a part of the reason in the
    /// journal. If it is empty, the emulator must not have noticed the device.
    pub(super) fn check_refused(&self, reason: &str) -> String {
        let mut problems = String::new();
        for hub in [HUB, OTHER_HUB] {
            if self.emulator.device(hub, DEVICE).is_some() {
                let _ = writeln!(problems, "    expected no identity at {hub}");
            }
        }
        let events = self.emulator.events().all();
        let (mut reasons, mut is_noticed) = (Vec::new(), false);
        for event in &events {
            match event.kind {
                EventKind::Refused | EventKind::RegistrationFailed => reasons.push(&event.message),
                EventKind::Registered | EventKind::HandshakeFailed | EventKind::Connected => is_noticed = true,
                _ => {}
            }
        }
        let holds = match reason {
            "" => reasons.is_empty() && !is_noticed,
            reason => reasons.iter().any(|it| it.contains(reason)) && !is_noticed,
        };
        if !holds {
            let lines: Vec<_> = events.iter().map(ToString::to_string).collect();
            let _ = writeln!(problems, "    expected the reason `{reason}` in the journal, got {lines:?}");
        }
        problems
    }
}

/// If the program did not check the certificate, the check of `run_offline` would have to see its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_scene_notices_a_connection_of_the_program() {
    for kind in TransportKind::ALL {
        let scene = Scene::new(Enrollment::Individual, kind).await;
        let problem = scene.run_offline().await.expect_err("a valid certificate, so the program connects");
        assert!(problem.contains("expected no connection"), "{kind}: {problem}");
    }
}
