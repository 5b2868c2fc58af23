//! Checks the dependencies between crates ("arrows"). The manifests must match a table of allowed dependencies, and
//! the table must match `docs/architecture.md`.

use super::packages::Package;

const ARROWS: [Arrow; 15] = [
    Arrow {
        text: "cli → façade, emulator, service, fleet, x509",
        from: &["hubward-cli"],
        to: To::Only(&["hubward", "hubward-emulator", "hubward-service", "hubward-fleet", "hubward-x509"]),
    },
    Arrow {
        text: "façade → everything below it but the emulator and service",
        from: &["hubward"],
        to: To::Only(&[
            "hubward-dps",
            "hubward-hub",
            "hubward-outbox",
            "hubward-https",
            "hubward-mqtt",
            "hubward-ws",
            "hubward-transport",
            "hubward-dial",
            "hubward-proto",
            "hubward-sas",
            "hubward-x509",
        ]),
    },
    Arrow {
        text: "dps, hub → transport, proto",
        from: &["hubward-dps", "hubward-hub"],
        to: To::Only(&["hubward-transport", "hubward-proto"]),
    },
    Arrow { text: "outbox → hub", from: &["hubward-outbox"], to: To::Only(&["hubward-hub"]) },
    Arrow {
        text: "https, mqtt → transport, dial, proto",
        from: &["hubward-https", "hubward-mqtt"],
        to: To::Only(&["hubward-transport", "hubward-dial", "hubward-proto"]),
    },
    Arrow { text: "ws → dial", from: &["hubward-ws"], to: To::Only(&["hubward-dial"]) },
    Arrow {
        text: "emulator → proto, sas, x509, ws, dial",
        from: &["hubward-emulator"],
        to: To::Only(&["hubward-proto", "hubward-sas", "hubward-x509", "hubward-ws", "hubward-dial"]),
    },
    Arrow {
        text: "service → dial, proto, sas",
        from: &["hubward-service"],
        to: To::Only(&["hubward-dial", "hubward-proto", "hubward-sas"]),
    },
    Arrow { text: "fleet → façade", from: &["hubward-fleet"], to: To::Only(&["hubward"]) },
    Arrow {
        text: "transport → proto, sas, x509",
        from: &["hubward-transport"],
        to: To::Only(&["hubward-proto", "hubward-sas", "hubward-x509"]),
    },
    Arrow { text: "tests, bench → all", from: &["hubward-tests", "hubward-bench"], to: To::All },
    Arrow {
        text: "pkcs11 → transport, x509",
        from: &["hubward-pkcs11"],
        to: To::Only(&["hubward-transport", "hubward-x509"]),
    },
    Arrow { text: "dial → x509", from: &["hubward-dial"], to: To::Only(&["hubward-x509"]) },
    Arrow {
        text: "proto, sas, x509 → nothing of ours",
        from: &["hubward-proto", "hubward-sas", "hubward-x509"],
        to: To::Only(&[]),
    },
    Arrow { text: "xtask: spawns cargo, no arrows", from: &["xtask"], to: To::Only(&[]) },
];

/// The crates for devices. The unit tests of these crates must not use the emulator, and the unit tests of the emulator
/// must not use these crates.
///
/// There are two reasons:
///
/// * If device code and emulator contained the same mistake, a test that uses both would pass.
/// * With such a test, one could no longer build the device code without the emulator.
const DEVICE_SIDE: [&str; 7] = [
    "hubward-transport",
    "hubward-https",
    "hubward-mqtt",
    "hubward-dps",
    "hubward-hub",
    "hubward-outbox",
    "hubward-fleet",
];

/// One line of the table.
struct Arrow {
    /// The exact text of the line in the document.
    text: &'static str,
    from: &'static [&'static str],
    to: To,
}

enum To {
    /// The crate may depend only on these crates of the workspace.
    Only(&'static [&'static str]),
    /// The crate may depend on every crate of the workspace.
    All,
}

/// Checks every dependency between crates of the workspace.
pub(super) fn check(packages: &[Package], architecture: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for arrow in ARROWS.iter().filter(|it| !architecture.contains(it.text)) {
        findings.push(format!(
            "docs/architecture.md does not contain `{}`; make it match the table in xtask/src/tidy/arrows.rs",
            arrow.text
        ));
    }
    for package in packages {
        let name = package.name.as_str();
        let Some(arrow) = ARROWS.iter().find(|it| it.from.contains(&name)) else {
            findings.push(format!(
                "{name} is not in the table of allowed dependencies; add it to docs/architecture.md and to \
                 xtask/src/tidy/arrows.rs, with a decision note"
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|it| is_ours(&it.name, packages)) {
            let to = dependency.name.as_str();
            if dependency.is_dev {
                findings.extend(check_dev(name, to));
            } else if let To::Only(allowed) = &arrow.to
                && !allowed.contains(&to)
            {
                findings.push(format!(
                    "{name} depends on {to}, but the table allows only `{}`; remove the dependency, or change \
                     docs/architecture.md and xtask/src/tidy/arrows.rs with a decision note",
                    arrow.text
                ));
            }
        }
    }
    findings
}

fn check_dev(from: &str, to: &str) -> Option<String> {
    let is_device_side = |it: &str| DEVICE_SIDE.contains(&it);
    let both = (from == "hubward-emulator" && (is_device_side(to) || matches!(to, "hubward" | "hubward-cli")))
        || (is_device_side(from) && to == "hubward-emulator");
    both.then(|| {
        format!(
            "the tests of {from} use {to}, but device crates and emulator meet only in tests/; move those tests there"
        )
    })
}

fn is_ours(name: &str, packages: &[Package]) -> bool {
    packages.iter().any(|it| it.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::packages::Dependency;
    use super::*;

    fn package(name: &str, normal: &[&str], dev: &[&str]) -> Package {
        let dependency = |is_dev| move |name: &&str| Dependency { name: (*name).to_owned(), is_dev };
        Package {
            name: name.to_owned(),
            dependencies: normal.iter().map(dependency(false)).chain(dev.iter().map(dependency(true))).collect(),
            ..Package::default()
        }
    }

    fn check_one(package: Package) -> Vec<String> {
        // Add every other crate of the table. `check` then treats these crates as crates of the workspace.
        let others = ARROWS.iter().flat_map(|it| it.from).filter(|it| **it != package.name);
        let mut packages: Vec<Package> = others.map(|it| self::package(it, &[], &[])).collect();
        packages.push(package);
        check(&packages, &document())
    }

    fn document() -> String {
        ARROWS.iter().map(|it| it.text).collect::<Vec<_>>().join(" · ")
    }

    #[test]
    fn finds_dependencies_that_point_up_or_sideways() {
        for (from, to) in [
            ("hubward-proto", "hubward-sas"),
            ("hubward-dps", "hubward-hub"),
            ("hubward-hub", "hubward-mqtt"),
            ("hubward-mqtt", "hubward-ws"),
            ("hubward-emulator", "hubward-transport"),
            ("hubward", "hubward-emulator"),
            ("hubward-cli", "hubward-proto"),
            ("hubward-transport", "hubward-dial"),
            ("xtask", "hubward-proto"),
        ] {
            let findings = check_one(package(from, &[to], &[]));
            assert_eq!(findings.len(), 1, "{from} -> {to}: {findings:?}");
            assert!(findings[0].starts_with(&format!("{from} depends on {to}")), "{findings:?}");
        }
    }

    #[test]
    fn allows_what_the_table_allows() {
        for (from, to, dev) in [
            ("hubward-cli", ["hubward", "hubward-emulator", "serde"].as_slice(), [].as_slice()),
            ("hubward-emulator", &["hubward-ws", "hubward-dial", "tokio"], &["hubward-proto"]),
            ("hubward-tests", &["hubward-emulator", "hubward-mqtt", "hubward-cli"], &[]),
            ("hubward-mqtt", &["hubward-transport"], &["hubward-ws"]),
            ("hubward", &["hubward-https"], &["hubward-emulator"]),
        ] {
            assert_eq!(check_one(package(from, to, dev)), Vec::<String>::new(), "{from}");
        }
    }

    #[test]
    fn finds_unit_tests_that_mix_device_crates_and_emulator() {
        for (from, to) in [
            ("hubward-emulator", "hubward-hub"),
            ("hubward-emulator", "hubward"),
            ("hubward-dps", "hubward-emulator"),
            ("hubward-https", "hubward-emulator"),
        ] {
            let findings = check_one(package(from, &[], &[to]));
            assert_eq!(findings.len(), 1, "{from} -> {to}: {findings:?}");
            assert!(findings[0].contains("meet only in tests/"), "{findings:?}");
        }
    }

    #[test]
    fn finds_a_crate_or_a_document_that_does_not_match_the_table() {
        let findings = check_one(package("hubward-util", &[], &[]));
        assert!(findings.len() == 1 && findings[0].contains("hubward-util is not in the table"), "{findings:?}");
        let findings = check(&[], &document().replace("ws → dial", "ws → dial, proto"));
        assert_eq!(findings, Vec::<String>::new(), "a longer line still contains the shorter one");
        let findings = check(&[], &document().replace("outbox → hub", "outbox → proto"));
        assert!(findings.len() == 1 && findings[0].contains("`outbox → hub`"), "{findings:?}");
    }
}
