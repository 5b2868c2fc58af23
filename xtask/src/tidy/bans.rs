//! Checks the crates in `Cargo.lock`. Finds crates that are banned, are too old, or come from git. Also finds two or
//! more versions of a crate for which `SINGLE` allows only one version.
//!
//! Also finds crates on which `proto` and `sas` must not depend.
//!
//! `deny.toml` has the same rules. This check also works without cargo-deny.

use std::collections::BTreeSet;

use super::lockfile::Locked;
use super::packages::Package;

/// Banned crates, each with the reason.
const BANNED: [(&str, &str); 5] = [
    ("openssl-sys", "TLS is rustls with ring"),
    ("native-tls", "TLS is rustls with ring"),
    ("aws-lc-sys", "the one crypto provider is ring"),
    ("aws-lc-rs", "the one crypto provider is ring"),
    ("rustls-pemfile", "PEM is read with rustls::pki_types::pem"),
];

/// Crates that must have only one version in the lockfile.
const SINGLE: [&str; 4] = ["rustls", "tokio-rustls", "tungstenite", "tokio-tungstenite"];

/// Minimum versions: older ones have known vulnerabilities.
const AT_LEAST: [(&str, (u64, u64)); 1] = [("rustls-webpki", (0, 103))];

/// Crates that use a runtime, a socket or a clock. `hubward-proto`, `hubward-sas` and `hubward-x509` must not
/// depend on them, directly or through other crates.
const IMPURE: [&str; 4] = ["tokio", "hyper", "rumqttc", "rustls"];

/// Checks the lockfile and the manifests.
pub(super) fn check(packages: &[Package], locked: &[Locked]) -> Vec<String> {
    let mut findings = Vec::new();
    for Locked { name, version, source, .. } in locked {
        if let Some((_, reason)) = BANNED.iter().find(|(it, _)| it == name) {
            findings.push(format!(
                "{name} {version} is in Cargo.lock, but {reason}; find the crate that depends on it with \
                 `cargo tree --target all --invert {name}` and turn off that feature"
            ));
        }
        if let Some((_, least)) = AT_LEAST.iter().find(|(it, _)| it == name)
            && major_minor(version) < *least
        {
            findings.push(format!(
                "{name} {version} has known vulnerabilities; find the crate that depends on it with `cargo tree \
                 --target all --invert {name}@{version}` and use a release that needs {}.{} or newer",
                least.0, least.1
            ));
        }
        if source.as_ref().is_some_and(|it| it.starts_with("git+")) {
            findings.push(format!("{name} {version} comes from a git repository; use a released version"));
        }
    }
    for name in SINGLE {
        let versions: Vec<&str> = locked.iter().filter(|it| it.name == name).map(|it| it.version.as_str()).collect();
        if versions.len() > 1 {
            findings.push(format!(
                "{name} is in Cargo.lock in the versions {}; change the versions of the crates that depend on it until \
                 only one is left",
                versions.join(" and ")
            ));
        }
    }
    for name in ["hubward-proto", "hubward-sas", "hubward-x509"] {
        let reached = reached(name, packages, locked);
        // `hubward-x509` gives its keys to rustls, which does no I/O by itself.
        let is_allowed = |it: &str| name == "hubward-x509" && it == "rustls";
        for impure in IMPURE.iter().filter(|it| reached.contains(**it) && !is_allowed(it)) {
            findings.push(format!(
                "{name} reaches {impure}, but it must not use a runtime, a socket or a clock; remove the dependency \
                 that pulls it in"
            ));
        }
    }
    findings
}

/// Returns every package on which `name` depends, directly or through other packages. Follows normal dependencies and
/// build dependencies.
fn reached<'a>(name: &str, packages: &'a [Package], locked: &'a [Locked]) -> BTreeSet<&'a str> {
    let direct = packages.iter().filter(|it| it.name == name).flat_map(|it| &it.dependencies);
    let mut to_visit: Vec<&str> = direct.filter(|it| !it.is_dev).map(|it| it.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = to_visit.pop() {
        if seen.insert(name) {
            let versions = locked.iter().filter(|it| it.name == name);
            to_visit.extend(versions.flat_map(|it| &it.dependencies).map(String::as_str));
        }
    }
    seen
}

fn major_minor(version: &str) -> (u64, u64) {
    let mut parts = version.split('.').map(|it| it.parse().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::packages::Dependency;
    use super::*;

    fn locked(name: &str, version: &str, dependencies: &[&str]) -> Locked {
        let dependencies = dependencies.iter().map(|it| (*it).to_owned()).collect();
        Locked { name: name.into(), version: version.into(), source: Some("registry".into()), dependencies }
    }

    fn proto(dependency: &str, is_dev: bool) -> Package {
        let dependencies = vec![Dependency { name: dependency.into(), is_dev }];
        Package { name: "hubward-proto".into(), dependencies, ..Package::default() }
    }

    #[test]
    fn finds_banned_old_duplicate_and_git_crates() {
        let from_git = Locked { source: Some("git+somewhere".into()), ..locked("bytes", "1.0.0", &[]) };
        for (lockfile, expected) in [
            (vec![locked("openssl-sys", "0.9.1", &[])], "openssl-sys 0.9.1 is in Cargo.lock"),
            (vec![locked("aws-lc-rs", "1.0.0", &[])], "the one crypto provider is ring"),
            (vec![locked("rustls-webpki", "0.102.8", &[])], "needs 0.103 or newer"),
            (vec![locked("rustls", "0.22.4", &[]), locked("rustls", "0.23.46", &[])], "0.22.4 and 0.23.46"),
            (vec![locked("tungstenite", "0.26.2", &[]), locked("tungstenite", "0.30.0", &[])], "tungstenite is in"),
            (vec![from_git], "use a released version"),
        ] {
            let findings = check(&[], &lockfile);
            assert!(findings.len() == 1 && findings[0].contains(expected), "{expected}: {findings:?}");
        }
        let fine = [locked("rustls", "0.23.46", &[]), locked("rustls-webpki", "0.103.17", &[])];
        assert_eq!(check(&[], &fine), Vec::<String>::new());
        assert_eq!(check(&[], &[locked("rustls-webpki", "1.0.0", &[])]), Vec::<String>::new());
    }

    #[test]
    fn finds_indirect_dependencies() {
        let lockfile = [locked("serde", "1.0.0", &["middle"]), locked("middle", "1.0.0", &["tokio"])];
        let findings = check(&[proto("serde", false)], &lockfile);
        assert!(findings.len() == 1 && findings[0].starts_with("hubward-proto reaches tokio"), "{findings:?}");
        assert_eq!(check(&[proto("serde", true)], &lockfile), Vec::<String>::new(), "tests may");
    }
}
