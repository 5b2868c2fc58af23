//! `hubward x509 new-ca` and `new-intermediate`: create the authorities of a lab.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{FolderArgs, IssuerArgs, KeyArgs, ValidityArgs, common_name};
use super::written::{self, Files};
use crate::commands::sas::now;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::lab::{Content, Role, issue};
use crate::output::Output;
use crate::shell::Shell;

/// The default validity of an authority, in days.
const DAYS: u32 = 3650;

#[derive(Debug, Args)]
pub(crate) struct NewCaArgs {
    /// Common name (CN) of the authority.
    #[arg(long, short, value_name = "NAME", value_parser = common_name)]
    name: String,
    #[command(flatten)]
    validity: ValidityArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// File for the certificate [default: NAME.pem]
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NewIntermediateArgs {
    /// Common name (CN) of the authority.
    #[arg(long, short, value_name = "NAME", value_parser = common_name)]
    name: String,
    #[command(flatten)]
    issuer: IssuerArgs,
    #[command(flatten)]
    validity: ValidityArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// File for the certificate [default: NAME.pem]
    ///
    /// The file contains the new certificate, then the intermediate authorities above it, but not the root.
    /// `new-device` copies these certificates into the chain of the device.
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(super) async fn new_ca(args: &NewCaArgs, output: &Output) -> Result<ExitCode, Failure> {
    let content = content(&args.name, &args.validity)?;
    let inputs = args.key.inputs();
    let files = Files::choose(&args.name, "pem", args.cert_out.as_deref(), Some(&args.key), &args.folder, &inputs)?;
    let key = args.key.key()?;
    let chain = [issue(&content, &key, None)?];
    let next = next(&files.main, files.key(&args.key));
    written::finish("root authority", &chain, &files, (&key, &args.key), &next, output).await
}

pub(super) async fn new_intermediate(args: &NewIntermediateArgs, output: &Output) -> Result<ExitCode, Failure> {
    let content = content(&args.name, &args.validity)?;
    let inputs = [args.issuer.inputs(), args.key.inputs()].concat();
    let files = Files::choose(&args.name, "pem", args.cert_out.as_deref(), Some(&args.key), &args.folder, &inputs)?;
    let (issuer, key) = (args.issuer.issuer()?, args.key.key()?);
    let mut chain = vec![issue(&content, &key, Some(&issuer))?];
    chain.extend(issuer.chain().iter().filter(|it| !it.is_self_signed()).cloned());
    let next = next(&files.main, files.key(&args.key));
    written::finish("intermediate authority", &chain, &files, (&key, &args.key), &next, output).await
}

fn content<'a>(name: &'a str, validity: &ValidityArgs) -> Result<Content<'a>, Failure> {
    let validity = validity.validity(now(), DAYS)?;
    Ok(Content { common_name: name, role: Role::Authority, validity, alternative_names: &[] })
}

/// The commands that use the new authority.
fn next(certificate: &Path, key: Option<&Path>) -> Vec<String> {
    let shell = Shell::here();
    let word = |it: &Path| shell.word(&it.display().to_string());
    let Some(key) = key else { return Vec::new() };
    let (certificate, key) = (word(certificate), word(key));
    vec![
        shell.comment("a certificate for a device:"),
        format!("hubward x509 new-device --name pump-1 --issuer-cert {certificate} --issuer-key {key}"),
        shell.comment("an enrollment group for all devices of this authority:"),
        format!("hubward dps enrollment-group create --enrollment-id GROUP --certificate-path {certificate}"),
    ]
}
