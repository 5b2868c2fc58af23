//! The table of cases at DPS: what happens to a device with a certificate, for each kind of enrollment.

use std::time::Duration;

use hubward::TransportKind;
use hubward_tests::pki::{Authority, Validity};
use hubward_tests::report::{Endpoint, Expected, SUCCESS};

use super::scene::{Client, Enrollment, GROUP, INTERMEDIATE, OTHER_GROUP, OTHER_HUB, ROOT, Scene};
use super::{DEVICE, HUB, LOCAL, check_hint, run_cells};

/// The service refuses the registration.
const REFUSED: Expected = Expected {
    exit_code: 5,
    stage: Some("dps-register"),
    endpoint: Endpoint::Dps,
    fault: "credential",
    service_code: Some(401_002),
    tracking_id: Some(true),
    ..SUCCESS
};

const NOT_FOUND: Expected =
    Expected { hint: "no enrollment knows this certificate", message: "CA certificate not found.", ..REFUSED };

const OTHER_CERTIFICATE: Expected = Expected {
    hint: "the individual enrollment of this device has another certificate",
    message: "Invalid certificate.",
    ..REFUSED
};

const SIGNING_CERTIFICATE: Expected = Expected {
    hint: "the chain must begin with the device's own certificate",
    message: "Signing certificate info did not match chain elements",
    ..REFUSED
};

const UNAUTHORIZED: Expected =
    Expected { hint: "check the certificate: it may have expired", message: "Unauthorized", ..REFUSED };

/// The registration record reports an error. It has no tracking ID.
const NOT_ASSIGNED: Expected =
    Expected { exit_code: 6, stage: Some("dps-assign"), endpoint: Endpoint::Dps, fault: "service", ..SUCCESS };

const DISABLED: Expected = Expected { hint: "enable the enrollment", message: "disabled", ..NOT_ASSIGNED };

const CASES: &[Case] = &[
    // ---- Assigned ----
    Case {
        name: "assigned",
        arrange: |_| {},
        again: None,
        individual: assigned("the leaf equals the certificate of the enrollment"),
        by_intermediate: assigned("the group has the certificate of the leaf's issuer"),
        by_root: assigned("the device presents every certificate up to the one that the group names"),
    },
    Case {
        again: Some(|scene| {
            scene.enroll(OTHER_HUB);
            scene.hub = OTHER_HUB;
        }),
        ..each(
            "moved",
            |_| {},
            assigned("a changed enrollment moves the device, and its identity keeps the thumbprint"),
        )
    },
    Case {
        again: Some(|scene| {
            let old = scene.device.leaf().to_pem();
            scene.device = scene.intermediate.device(DEVICE, Validity::Now);
            if scene.enrollment == Enrollment::Individual {
                let (individual, new) = (scene.emulator.enrollment(DEVICE), scene.device.leaf().to_pem());
                individual.create_with_certificates(&old, Some(&new)).expect("a valid enrollment");
            }
        }),
        ..each(
            "renewed",
            |_| {},
            assigned("the identity gets the thumbprint of the new certificate, which may be the secondary one"),
        )
    },
    each(
        "common name in another letter case",
        |scene| {
            scene.device = scene.intermediate.device("DEV-1", Validity::Now);
            scene.enroll(HUB);
        },
        assigned("letter case does not matter in registration ids"),
    ),
    // ---- Not assigned ----
    each(
        "disabled",
        |scene| scene.disable(),
        refused(DISABLED, "the enrollment is disabled", "the certificate fits, but the enrollment admits no device"),
    ),
    Case {
        name: "disabled, beside another group",
        arrange: |scene| {
            // The device presents its whole chain, and the other group has the other authority of it.
            let issuers = [&scene.intermediate, &scene.root].map(|it| it.certificate().clone());
            scene.device = scene.device.clone().with_issuers(issuers);
            let by_root = scene.enrollment == Enrollment::ByRoot;
            let other = if by_root { scene.intermediate.pem() } else { scene.root.pem() };
            let group = scene.emulator.enrollment_group(OTHER_GROUP).hubs([HUB]);
            group.create_with_certificates(&other, None).expect("a valid group");
            scene.disable();
            if by_root {
                scene.group = OTHER_GROUP;
            }
        },
        again: None,
        individual: refused(DISABLED, "the enrollment is disabled", "an individual enrollment excludes every group"),
        by_intermediate: refused(
            DISABLED,
            "the enrollment is disabled",
            "the nearest issuer decides, even if disabled",
        ),
        by_root: assigned("the group of the nearest issuer decides, and this one is enabled"),
    },
    each(
        "failed",
        |scene| scene.enroll("unlinked.example"),
        refused(
            Expected { service_code: Some(400_208), hint: "link a hub", ..NOT_ASSIGNED },
            "the enrollment names no linked hub",
            "the certificate fits, but DPS has no hub for the device",
        ),
    ),
    // ---- Other certificates ----
    Case {
        name: "other leaf",
        arrange: |scene| scene.device = scene.intermediate.device(DEVICE, Validity::Now),
        again: None,
        individual: refused(
            OTHER_CERTIFICATE,
            "another certificate than",
            "an individual enrollment knows only its own certificates, and the issuer does not matter",
        ),
        by_intermediate: assigned("a group knows only the issuer: every leaf of it with this common name is right"),
        by_root: assigned("a group knows only the issuer: every leaf of it with this common name is right"),
    },
    Case {
        name: "leaf of an authority with the same names",
        arrange: |scene| {
            scene.device = Authority::root(ROOT).intermediate(INTERMEDIATE).device(DEVICE, Validity::Now);
        },
        again: None,
        individual: refused(OTHER_CERTIFICATE, "another certificate than", "the leaf differs from the enrolled one"),
        by_intermediate: refused(NOT_FOUND, "no group has a certificate that issued", "the name alone proves nothing"),
        by_root: refused(NOT_FOUND, "no group has a certificate that issued", "the name alone proves nothing"),
    },
    Case {
        name: "signing certificate itself",
        arrange: |scene| {
            let by_root = scene.enrollment == Enrollment::ByRoot;
            let (name, authority) = if by_root { (ROOT, &scene.root) } else { (INTERMEDIATE, &scene.intermediate) };
            scene.registration_id = name;
            scene.device = authority.as_device();
        },
        again: None,
        individual: refused(
            NOT_FOUND,
            "no group has a certificate that issued",
            "this registration id has no individual enrollment, and there is no group",
        ),
        by_intermediate: refused(
            SIGNING_CERTIFICATE,
            "presents the certificate of the group `line-7` itself",
            "the certificate of a group identifies an authority, and no device",
        ),
        by_root: refused(
            SIGNING_CERTIFICATE,
            "presents the certificate of the group `line-7` itself",
            "the certificate of a group identifies an authority, and no device",
        ),
    },
    // ---- Dates ----
    each(
        "expired",
        |scene| {
            scene.renew(Validity::Expired);
            scene.client = Client::OfflineProgram;
        },
        offline("renew the certificate", "expired at", "the program reads the dates before it connects"),
    ),
    each(
        "expired, for the service only",
        |scene| {
            scene.renew(Validity::OneMoreHour);
            scene.emulator.clock_ahead(Duration::from_secs(2 * 60 * 60));
        },
        refused(
            Expected { hint: "this machine's clock is ", ..UNAUTHORIZED },
            "expired at",
            "the clock of the service decides, also if the leaf equals the enrolled one",
        ),
    ),
    each(
        "not yet valid",
        |scene| {
            scene.renew(Validity::NotYet);
            scene.client = Client::OfflineProgram;
        },
        offline("check the clock", "is not valid before", "the program reads the dates before it connects"),
    ),
    each(
        "not yet valid, unchecked",
        |scene| {
            scene.renew(Validity::NotYet);
            scene.client = Client::Unchecked;
        },
        refused(UNAUTHORIZED, "is not valid before", "the service reads the dates too"),
    ),
    // ---- Common name ----
    each(
        "common name of another device",
        |scene| {
            scene.device = scene.intermediate.device("dev-2", Validity::Now);
            scene.enroll(HUB);
            scene.client = Client::OfflineProgram;
        },
        offline(
            "--registration-id",
            "the common name of the certificate is `dev-2`, but it must be `dev-1`",
            "the program compares the common name with the registration id before it connects",
        ),
    ),
    each(
        "common name of another device, unchecked",
        |scene| {
            scene.device = scene.intermediate.device("dev-2", Validity::Now);
            scene.enroll(HUB);
            scene.client = Client::Unchecked;
        },
        refused(
            UNAUTHORIZED,
            "the common name of the certificate is `dev-2`",
            "a device cannot register as another one, even if the enrollment has its certificate",
        ),
    ),
    // ---- Chain ----
    Case {
        name: "chain without intermediate",
        arrange: |scene| scene.device = scene.device.clone().with_issuers([]),
        again: None,
        individual: assigned("only the leaf counts, and not its issuer"),
        by_intermediate: assigned("the group has the certificate of the leaf's issuer, so it need not be presented"),
        by_root: refused(
            NOT_FOUND,
            "no group has a certificate that issued",
            "DPS does not know the intermediate authority, so nothing leads from the leaf to the root",
        ),
    },
    each(
        "chain with a gap",
        |scene| {
            scene.device = scene.device.clone().with_issuers([scene.root.certificate().clone()]);
            scene.client = Client::OfflineProgram;
        },
        refused(
            Expected { stage: Some("arguments"), message: "the chain is broken", ..LOCAL },
            "",
            "the program reads the chain before it connects",
        ),
    ),
    Case {
        name: "unverified authority",
        arrange: |scene| {
            // The authorities lose their proof of possession. A group by intermediate names its authority too.
            let authorities = [(ROOT, scene.root.pem()), (INTERMEDIATE, scene.intermediate.pem())];
            for (name, certificate) in authorities {
                scene.emulator.add_authority(name, &certificate, false).expect("a valid authority");
            }
            if scene.enrollment == Enrollment::ByIntermediate {
                let group = scene.emulator.enrollment_group(GROUP);
                group.create_with_authorities(INTERMEDIATE, None).expect("a valid group");
            }
        },
        again: None,
        individual: assigned("only the leaf counts, and not its issuer"),
        by_intermediate: refused(
            NOT_FOUND,
            "the CA certificate of the group `line-7` is not verified",
            "nobody has proved to have the key of the authority",
        ),
        by_root: refused(
            NOT_FOUND,
            "the CA certificate of the group `line-7` is not verified",
            "nobody has proved to have the key of the authority",
        ),
    },
];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// Prepares the emulator and the device. Before, the device is enrolled, and DPS would assign it.
    arrange: fn(&mut Scene),
    /// Prepares a second registration, after the first one has succeeded.
    again: Option<fn(&mut Scene)>,
    individual: Outcome,
    by_intermediate: Outcome,
    by_root: Outcome,
}

/// What happens to a device, and why.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    expected: Expected,
    /// A part of the reason in the emulator's journal. Empty if the device is assigned, or if it does not connect.
    journal: &'static str,
    why: &'static str,
}

const fn assigned(why: &'static str) -> Outcome {
    Outcome { expected: SUCCESS, journal: "", why }
}

const fn refused(expected: Expected, journal: &'static str, why: &'static str) -> Outcome {
    Outcome { expected, journal, why }
}

const fn offline(hint: &'static str, message: &'static str, why: &'static str) -> Outcome {
    Outcome { expected: Expected { hint, message, ..LOCAL }, journal: "", why }
}

/// The same outcome for each kind of enrollment.
const fn each(name: &'static str, arrange: fn(&mut Scene), outcome: Outcome) -> Case {
    Case { name, arrange, again: None, individual: outcome, by_intermediate: outcome, by_root: outcome }
}

/// Runs all cells with one transport.
async fn run_column(kind: TransportKind) {
    let cells = CASES.iter().flat_map(move |case| Enrollment::ALL.map(|it| (case, it)));
    let name = |case: &Case, enrollment| format!("{} ({enrollment:?}) over {kind}", case.name);
    run_cells(cells.map(|(case, it)| (name(case, it), case.check(it, kind)))).await;
}

impl Case {
    async fn check(self, enrollment: Enrollment, kind: TransportKind) -> Result<(), String> {
        let mut scene = Scene::new(enrollment, kind).await;
        (self.arrange)(&mut scene);
        let mut last = scene.run().await?;
        let Outcome { expected, journal, .. } = self.outcome(enrollment);
        if let Some(again) = self.again {
            let problems = SUCCESS.compare(kind, &last) + &scene.check_assigned(&last);
            if !problems.is_empty() {
                return Err(format!("  at the first registration\n{problems}    {last}"));
            }
            again(&mut scene);
            last = scene.run().await?;
        }
        let mut problems = expected.compare(kind, &last) + &check_hint(&last);
        problems += &match expected.stage {
            None => scene.check_assigned(&last),
            Some(_) => scene.check_refused(journal),
        };
        if problems.is_empty() { Ok(()) } else { Err(format!("{problems}    {last}")) }
    }

    const fn outcome(&self, enrollment: Enrollment) -> Outcome {
        match enrollment {
            Enrollment::Individual => self.individual,
            Enrollment::ByIntermediate => self.by_intermediate,
            Enrollment::ByRoot => self.by_root,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_enrollment_judges_certificates_over_https() {
    run_column(TransportKind::Https).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_enrollment_judges_certificates_over_mqtt() {
    run_column(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_enrollment_judges_certificates_over_mqtt_ws() {
    run_column(TransportKind::MqttWs).await;
}

#[test]
fn each_case_has_a_unique_name_and_each_outcome_a_reason() {
    let mut names = std::collections::BTreeSet::new();
    for case in CASES {
        assert!(!case.name.is_empty() && names.insert(case.name), "{:?}: the name is empty or not unique", case.name);
        for outcome in Enrollment::ALL.map(|it| case.outcome(it)) {
            assert!(outcome.why.len() > 20, "{}: an outcome without a reason", case.name);
        }
    }
}
