//! `hubward x509 prove`: creates the certificate with which the owner of an authority proves that they have its key.
//!
//! Source: `[doc]` iot-dps/how-to-verify-certificates.md.

use std::path::PathBuf;

use clap::Args;

use super::args::{FolderArgs, IssuerArgs, common_name};
use super::written::{Files, report};
use crate::commands::sas::now;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::lab::{Content, Curve, Key, Role, Validity, chain_pem, issue};
use crate::new_file::{self, Access};
use crate::output::Output;
use crate::shell::Shell;

/// The validity in days. The service reads the certificate once.
const DAYS: u32 = 30;

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// Verification code that the service shows for the uploaded authority.
    #[arg(long, value_name = "CODE", value_parser = common_name)]
    code: String,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// File for the certificate [default: proof.pem]
    #[arg(long, value_name = "FILE")]
    cert_out: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(super) async fn run(args: &ProveArgs, output: &Output) -> Result<ExitCode, Failure> {
    let files = Files::choose("proof", "pem", args.cert_out.as_deref(), None, &args.folder, &args.issuer.inputs())?;
    let issuer = args.issuer.issuer()?;
    // Only the certificate is needed, so the key is dropped.
    let key = Key::generate(Curve::P256)?;
    let validity = Validity::days(now(), DAYS);
    let content = Content { common_name: &args.code, role: Role::Device, validity, alternative_names: &[] };
    let chain = [issue(&content, &key, Some(&issuer))?];
    new_file::write(&files.main, chain_pem(&chain).as_bytes(), Access::Public, args.folder.force)?;
    let file = Shell::here().word(&files.main.display().to_string());
    let next = [format!("hubward dps certificate verify --certificate-name NAME --path {file}")];
    report("proof of possession", &chain, &files.main, None, &next, output).await
}
