//! `hubward x509 new-device`: creates the certificate and the key of a device.

use std::path::{Path, PathBuf};

use clap::Args;
use hubward::vars;
use rcgen::SanType;

use super::args::{FolderArgs, KeyArgs, OptionalIssuerArgs, ValidityArgs, alternative_name, common_name};
use super::written::{self, Files};
use crate::commands::sas::now;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::lab::{Content, Role, issue};
use crate::output::Output;
use crate::shell::Shell;

/// The default validity of a device's certificate, in days.
const DAYS: u32 = 365;

#[derive(Debug, Args)]
pub(crate) struct NewDeviceArgs {
    /// Common name (CN): the registration ID, or the device ID at a hub.
    #[arg(long, short, value_name = "ID", value_parser = common_name)]
    name: String,
    #[command(flatten)]
    issuer: OptionalIssuerArgs,
    #[command(flatten)]
    validity: ValidityArgs,
    /// Subject alternative name, a DNS name or an IP address; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = alternative_name)]
    san: Vec<SanType>,
    #[command(flatten)]
    key: KeyArgs,
    /// File for the certificate chain [default: ID.pem]
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(super) async fn run(args: &NewDeviceArgs, output: &Output) -> Result<ExitCode, Failure> {
    let validity = args.validity.validity(now(), DAYS)?;
    let inputs = [args.issuer.inputs(), args.key.inputs()].concat();
    let files = Files::choose(&args.name, "pem", args.cert_out.as_deref(), Some(&args.key), &args.folder, &inputs)?;
    let (issuer, key) = (args.issuer.issuer()?, args.key.key()?);
    let content = Content { common_name: &args.name, role: Role::Device, validity, alternative_names: &args.san };
    let mut chain = vec![issue(&content, &key, issuer.as_ref())?];
    if let Some(issuer) = &issuer {
        if chain[0].not_after() > issuer.chain()[0].not_after() {
            tracing::warn!("the certificate is valid longer than that of its issuer");
        }
        chain.extend(issuer.chain().iter().cloned());
    }
    let mut next = next(&args.name, &files.main, files.key(&args.key), args.issuer.certificate_file());
    if args.key.is_encrypted() && !next.is_empty() {
        let comment = format!("before that, set {} to the passphrase of the key", vars::PASS_PHRASE);
        next.insert(next.len() - 1, Shell::here().comment(&comment));
    }
    written::finish("device certificate", &chain, &files, (&key, &args.key), &next, output).await
}

/// The commands that enroll the device, and the variables that the device needs. Returns nothing if the common name is
/// not a registration ID.
fn next(name: &str, certificate: &Path, key: Option<&Path>, issuer: Option<&Path>) -> Vec<String> {
    let shell = Shell::here();
    let text = |it: &Path| it.display().to_string();
    let (Ok(id), Some(key)) = (hubward::RegistrationId::new(name), key) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(issuer) = issuer {
        lines.push(shell.comment("enroll all devices of this issuer:"));
        lines.push(format!(
            "hubward dps enrollment-group create --enrollment-id GROUP --certificate-path {}",
            shell.word(&text(issuer))
        ));
    }
    lines.push(shell.comment(if issuer.is_some() { "or only this device:" } else { "enroll the device:" }));
    lines.push(format!(
        "hubward dps enrollment create {} --at x509 --certificate-path {}",
        shell.word(&format!("--enrollment-id={id}")),
        shell.word(&text(certificate))
    ));
    lines.push(shell.comment("the settings of the device, beside PROVISIONING_HOST and PROVISIONING_IDSCOPE:"));
    lines.push(shell.export(vars::REGISTRATION_ID, id.as_str()));
    let absolute = |it: &Path| text(&std::path::absolute(it).unwrap_or_else(|_| it.to_owned()));
    lines.push(shell.export(vars::CERT_FILE, &absolute(certificate)));
    lines.push(shell.export(vars::KEY_FILE, &absolute(key)));
    lines.push("hubward provision --messages 10".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_depend_on_the_issuer_and_on_the_name() {
        let steps = |name, issuer| next(name, Path::new("a b.pem"), Some(Path::new("k")), issuer).join("\n");
        let with_issuer = steps("dev-1", Some(Path::new("ca.pem")));
        assert!(with_issuer.contains("enrollment-group create --enrollment-id GROUP --certificate-path ca.pem"));
        let alone = steps("dev-1", None);
        assert!(!alone.contains("enrollment-group") && alone.contains("--at x509"), "{alone}");
        if cfg!(unix) {
            assert!(alone.contains("--certificate-path 'a b.pem'"), "{alone}");
        }
        assert_eq!(steps("no registration id", None), "");
    }
}
