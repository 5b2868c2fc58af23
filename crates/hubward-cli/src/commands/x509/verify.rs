//! `hubward x509 verify`: shows the certificates of a file, and reports every problem.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use hubward::RegistrationId;
use hubward_x509::{Certificate, CertificateError, CertificateSigner};
use serde_json::json;

use super::args::refused;
use super::describe::{aligned, lines, members};
use crate::certificate_args::passphrase;
use crate::commands::sas::now;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Output};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// PEM file with the certificates: the device first, then its issuers.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File with the private key that must belong to the first certificate.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with the passphrase of the key; `-` reads standard input.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    key_passphrase_file: Option<PathBuf>,
    /// PEM file with the authorities that DPS or the hub knows.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Registration ID that the common name must match.
    #[arg(long, value_name = "ID", visible_alias = "rid")]
    registration_id: Option<RegistrationId>,
}

/// A problem, and the advice for it.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    message: String,
    advice: String,
}

impl From<CertificateError> for Problem {
    fn from(error: CertificateError) -> Self {
        Self { message: error.to_string(), advice: error.advice().to_owned() }
    }
}

pub(super) async fn run(args: &VerifyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let passphrase = passphrase(args.key_passphrase_file.as_deref())?;
    let chain = Certificate::chain_from_file(&args.file).map_err(|it| refused("FILE", "", &it))?;
    let authorities = args.ca_file.as_ref().map(Certificate::chain_from_file).transpose();
    let authorities = authorities.map_err(|it| refused("--ca-file", "", &it))?;
    let now = now();
    let mut problems = of_chain(&chain, now);
    if let Some(file) = &args.key_file {
        problems.extend(of_key(&chain[0], file, passphrase.as_ref().map(|it| it.as_str())));
    }
    if let Some(id) = &args.registration_id {
        problems.extend(chain[0].check_registration_id(id.as_str()).err().map(Problem::from));
    }
    if let Some(authorities) = &authorities {
        problems.extend(of_authorities(&chain, authorities, now));
    }
    show(&chain, &problems, output).await;
    let Some(first) = problems.first() else {
        if output.is_text() {
            output.line(&format!("\nno problem found ({})", checked(args))).await;
        } else {
            output.tell(&Event::Facts(&json!({ "certificates": chain.len(), "problems": 0 }))).await;
        }
        return Ok(ExitCode::Ok);
    };
    let message = match problems.len() {
        1 => first.message.clone(),
        number => format!("{number} problems; the first one: {}", first.message),
    };
    Err(Failure::usage(message).hint(first.advice.clone()))
}

/// The checks that the command has made, for people.
fn checked(args: &VerifyArgs) -> String {
    let parts = [
        (true, "dates and signatures"),
        (args.key_file.is_some(), "key"),
        (args.registration_id.is_some(), "registration ID"),
        (args.ca_file.is_some(), "authorities"),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|(is_checked, _)| *is_checked).map(|(_, name)| name).collect();
    format!("checked: {}", parts.join(", "))
}

/// The problems of the certificates themselves.
fn of_chain(chain: &[Certificate], now: SystemTime) -> Vec<Problem> {
    let (mut problems, leaf) = (Vec::new(), &chain[0]);
    if leaf.version() != 3 {
        let subject = leaf.subject_name().to_owned();
        problems.push(CertificateError::OldVersion { subject, version: leaf.version() }.into());
    }
    problems.extend(chain.iter().filter_map(|it| it.check_dates(now).err()).map(Problem::from));
    problems.extend(chain.windows(2).filter_map(|it| Certificate::check_links(it).err()).map(Problem::from));
    let issuers = chain.iter().skip(1).filter(|it| !it.is_authority());
    problems.extend(issuers.map(|it| Problem {
        message: format!("the certificate `{}` is not an authority (CA), but follows in the chain", it.subject_name()),
        advice: "the chain must contain the device's certificate and the authorities that issued it".to_owned(),
    }));
    problems
}

fn of_key(leaf: &Certificate, file: &Path, passphrase: Option<&str>) -> Option<Problem> {
    match CertificateSigner::from_file(file, passphrase) {
        Ok(key) if key.public_key() == leaf.public_key() => None,
        Ok(_) => Some(CertificateError::KeyMismatch { subject: leaf.subject_name().to_owned() }.into()),
        Err(error) => {
            let failure = refused("--key-file", "--key-passphrase-file", &error);
            let advice = failure.hint.clone().unwrap_or_default();
            Some(Problem { message: failure.messages[0].clone(), advice })
        }
    }
}

/// Checks that a service with these authorities accepts the chain: the chain contains one of the authorities, or one of
/// the authorities has issued a certificate of the chain. The authority must be a CA certificate and valid at `now`. It
/// must not be the certificate of the device.
fn of_authorities(chain: &[Certificate], authorities: &[Certificate], now: SystemTime) -> Option<Problem> {
    let (leaf, last) = (&chain[0], &chain[chain.len() - 1]);
    if authorities.contains(leaf) {
        return Some(Problem {
            message: format!("--ca-file contains the first certificate itself, `{}`", leaf.subject_name()),
            advice: "name the file of the authority that issued this certificate".to_owned(),
        });
    }
    let mut first_problem = None;
    for authority in authorities {
        if !chain.iter().any(|it| it == authority || it.is_issued_by(authority)) {
            continue;
        }
        match of_authority(authority, now) {
            None => return None,
            problem => first_problem = first_problem.or(problem),
        }
    }
    first_problem.or_else(|| {
        Some(Problem {
            message: format!("--ca-file contains no issuer of the chain; it ends with `{}`", last.subject_name()),
            advice: format!("add the certificate of `{}` to the chain, or to --ca-file", last.issuer_name()),
        })
    })
}

/// Why a service does not accept this authority. A certificate of version 1 or 2 has no extension that says that it is
/// one.
fn of_authority(authority: &Certificate, now: SystemTime) -> Option<Problem> {
    if !authority.is_authority() && authority.version() >= 3 {
        return Some(Problem {
            message: format!("--ca-file: the certificate `{}` is not an authority (CA)", authority.subject_name()),
            advice: "the certificate needs the extension `basic constraints` with `CA:TRUE`".to_owned(),
        });
    }
    let error = authority.check_dates(now).err()?;
    Some(Problem { message: format!("--ca-file: {error}"), advice: error.advice().to_owned() })
}

/// Prints the certificates and the problems.
async fn show(chain: &[Certificate], problems: &[Problem], output: &Output) {
    if !output.is_text() {
        for (at, certificate) in chain.iter().enumerate() {
            output.tell(&Event::Certificate { position: at + 1, certificate: &members(certificate) }).await;
        }
        for Problem { message, advice } in problems {
            output.tell(&Event::Problem { message, advice }).await;
        }
        return;
    }
    let mut text: Vec<String> = Vec::new();
    for (at, certificate) in chain.iter().enumerate() {
        text.push(format!("{}. {}\n{}", at + 1, certificate.subject_name(), aligned(lines(certificate))));
    }
    if !problems.is_empty() {
        text.push(String::new());
    }
    for Problem { message, advice } in problems {
        text.push(format!("problem: {message}\n  advice: {advice}"));
    }
    output.line(&text.join("\n")).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Content, Curve, Issuer, Key, Role, Validity, issue};

    fn content(common_name: &str, role: Role, validity: Validity) -> Content<'_> {
        Content { common_name, role, validity, alternative_names: &[] }
    }

    fn authority(name: &str, validity: Validity) -> Issuer {
        let key = Key::generate(Curve::P384).expect("a key");
        let certificate = issue(&content(name, Role::Authority, validity), &key, None).expect("an authority");
        Issuer::new(vec![certificate], key).expect("an issuer")
    }

    #[test]
    fn every_problem_of_a_chain_is_reported() {
        let now = now();
        let validity = Validity::days(now, 10);
        let (root, other) = (authority("root", validity), authority("other", validity));
        let key = Key::generate(Curve::P256).expect("a key");
        let leaf = issue(&content("dev-1", Role::Device, validity), &key, Some(&root)).expect("a leaf");
        let (root, other) = (root.chain()[0].clone(), other.chain()[0].clone());
        let late = now + crate::lab::days_long(11);
        for (chain, now, expected) in [
            (vec![leaf.clone()], now, &[][..]),
            (vec![leaf.clone(), root.clone()], now, &[]),
            (vec![leaf.clone()], late, &["expired"]),
            (vec![leaf.clone(), root.clone()], late, &["expired", "expired"]),
            (vec![leaf.clone(), other.clone()], now, &["the chain is broken"]),
            (vec![leaf.clone(), leaf.clone()], now, &["the chain is broken", "is not an authority"]),
        ] {
            let problems = of_chain(&chain, now);
            assert_eq!(problems.len(), expected.len(), "{chain:?}: {problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.message.contains(expected), "{chain:?}: {problem:?}");
            }
        }
        let old = authority("old", Validity { not_before: now, not_after: now + crate::lab::days_long(1) });
        let of_old = issue(&content("dev-1", Role::Device, validity), &key, Some(&old)).expect("a leaf");
        let no_authority = issue(&content("dev-2", Role::Device, validity), &key, None).expect("a certificate");
        let old = old.chain()[0].clone();
        let two_days = now + crate::lab::days_long(2);
        for (chain, authorities, expected) in [
            (vec![leaf.clone()], vec![root.clone()], None),
            (vec![leaf.clone(), root.clone()], vec![root.clone()], None),
            (vec![leaf.clone()], vec![other.clone()], Some("--ca-file contains no issuer")),
            (vec![leaf.clone()], vec![other, root.clone()], None),
            (vec![leaf.clone()], vec![leaf.clone()], Some("--ca-file contains the first certificate itself")),
            (vec![leaf.clone(), root.clone()], vec![root, leaf.clone()], Some("--ca-file contains the first")),
            (
                vec![leaf, no_authority.clone()],
                vec![no_authority],
                Some("--ca-file: the certificate `CN=dev-2` is not an authority (CA)"),
            ),
            (vec![of_old], vec![old], Some("--ca-file: the certificate `CN=old` expired at")),
        ] {
            let problem = of_authorities(&chain, &authorities, two_days);
            match expected {
                None => assert_eq!(problem, None, "{chain:?} {authorities:?}"),
                Some(text) => assert!(
                    problem.as_ref().is_some_and(|it| it.message.starts_with(text)),
                    "{chain:?} {authorities:?}: {problem:?}"
                ),
            }
        }
    }
}
