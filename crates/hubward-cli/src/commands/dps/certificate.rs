//! `dps certificate …`: the CA certificates that a DPS knows, named as in `az iot dps certificate`.
//!
//! In Azure, these requests go to Azure Resource Manager, which hubward does not use. The emulator has them at its
//! admin port, for its DPS and its hubs together.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hubward_service::model::{CaCertificate, CaCertificateProof};
use hubward_service::{AdminPort, RawValue, ServiceError};
use serde_json::Value;

use super::Context;
use crate::certificate_file::CertificateFile;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Answer, Column};
use crate::service_reach::absent;
use crate::shell::Shell;

/// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Subject", "/properties/subject"),
    ("Verified", "/properties/isVerified"),
    ("Expiry", "/properties/expiry"),
    ("Thumbprint", "/properties/thumbprint"),
    ("Etag", "/etag"),
];

/// The columns of `generate-verification-code`.
const CODE_COLUMNS: &[Column] =
    &[("Name", "/name"), ("VerificationCode", "/properties/verificationCode"), ("Etag", "/etag")];

#[derive(Debug, Subcommand)]
pub(super) enum CertificateCommand {
    /// Upload a CA certificate.
    ///
    /// The DPS trusts the certificate after a proof that you have its private key: see
    /// `generate-verification-code` and `verify`. With --verified, it trusts the certificate at once.
    #[command(after_help = "Examples:
  hubward dps certificate create --certificate-name root --path root.pem --emulator
  hubward dps certificate create --certificate-name root --path root.pem --verified")]
    Create(CreateArgs),
    /// List the CA certificates.
    #[command(after_help = "Example:\n  hubward dps certificate list --output table")]
    List,
    /// Show a CA certificate.
    #[command(after_help = "Example:\n  hubward dps certificate show --certificate-name root")]
    Show(NameArgs),
    /// Generate the code for the proof that you have the private key of a CA certificate.
    #[command(after_help = "Example:
  hubward dps certificate generate-verification-code --certificate-name root \\
      --query properties.verificationCode --output tsv")]
    GenerateVerificationCode(VersionArgs),
    /// Prove that you have the private key of a CA certificate.
    ///
    /// The proof is a certificate whose common name (CN) is the verification code, signed with that key.
    #[command(after_help = "Example:
  hubward dps certificate verify --certificate-name root --path proof.pem")]
    Verify(VerifyArgs),
    /// Delete a CA certificate.
    #[command(after_help = "Example:\n  hubward dps certificate delete --certificate-name root")]
    Delete(VersionArgs),
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Name of the CA certificate.
    #[arg(long, short = 'n', value_name = "NAME", visible_alias = "name")]
    certificate_name: String,
    /// Host name of the instance, or its first part.
    ///
    /// In these commands, `-n` is the name of the certificate, as in `az`. This argument replaces the global one with
    /// the same ID, whose short form is `-n`.
    #[arg(id = "host", long = "host", value_name = "NAME", alias = "dps-name", help_heading = "Login")]
    _host: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    file: PathArgs,
    /// Trust the certificate without a proof.
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    verified: Option<bool>,
}

#[derive(Debug, Args)]
struct PathArgs {
    /// File with the certificate; PEM or DER.
    #[arg(long, short, value_name = "FILE")]
    path: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Proceed only if the ETag still matches [default: `*`, which matches any]
    #[arg(long, short, value_name = "ETAG", default_value = "*", hide_default_value = true)]
    etag: String,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    file: PathArgs,
}

pub(super) async fn run(command: &CertificateCommand, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let answer = match command {
        CertificateCommand::Create(args) => {
            let file = args.file.read()?;
            let upload = CaCertificate::new(file.to_base64(), args.verified.unwrap_or_default());
            let call = context.admin().await?.upload_certificate(&args.name.certificate_name, &upload);
            let made = call.verbatim().await.map_err(|it| existing(it, &args.name.certificate_name))?;
            one(&made)?.and(&args.next())
        }
        CertificateCommand::List => list(&context.admin().await?).await?,
        CertificateCommand::Show(args) => {
            one(&context.admin().await?.certificate(&args.certificate_name).verbatim().await.map_err(failed)?)?
        }
        CertificateCommand::GenerateVerificationCode(args) => generate_code(args, &context.admin().await?).await?,
        CertificateCommand::Verify(VerifyArgs { version, file }) => {
            let proof = CaCertificateProof::new(file.read()?.to_base64());
            let name = &version.name.certificate_name;
            let call = context.admin().await?.verify_certificate(name, &proof, &version.etag);
            one(&call.verbatim().await.map_err(failed)?)?
        }
        CertificateCommand::Delete(args) => {
            let name = &args.name.certificate_name;
            context.admin().await?.delete_certificate(name, &args.etag).await.map_err(failed)?;
            Answer::done(format!("deleted the CA certificate {name}"))
        }
    };
    context.output.answer(&answer).await
}

/// The answer is `{"value": […]}`, as in `az`. Table and text show the items of this list.
async fn list(admin: &AdminPort) -> Result<Answer, Failure> {
    let body = admin.certificates().verbatim().await.map_err(failed)?;
    let parsed: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let rows = parsed["value"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Answer::with_rows(body.get(), rows, COLUMNS))
}

async fn generate_code(args: &VersionArgs, admin: &AdminPort) -> Result<Answer, Failure> {
    let name = &args.name.certificate_name;
    let body = admin.generate_verification_code(name, &args.etag).verbatim().await.map_err(failed)?;
    let parsed: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let code = parsed["properties"]["verificationCode"].as_str().unwrap_or_default();
    let shell = Shell::here();
    let next = [
        String::new(),
        shell.comment("create a certificate with this code as its common name (CN), signed by this authority:"),
        format!("hubward x509 prove --code {code} --issuer-cert CERT --issuer-key KEY --cert-out proof.pem"),
        format!("hubward dps certificate verify --certificate-name {} --path proof.pem", shell.word(name)),
    ];
    Ok(Answer::of(body.get(), CODE_COLUMNS, false)?.and(&next.join("\n")))
}

fn one(body: &RawValue) -> Result<Answer, Failure> {
    Answer::of(body.get(), COLUMNS, false)
}

/// The failure of a request to the emulator.
fn failed(error: ServiceError) -> Failure {
    absent(error.into())
}

/// The failure of an upload. An existing certificate cannot be replaced with these commands.
fn existing(error: ServiceError, name: &str) -> Failure {
    let exists = error.refused().is_some_and(|it| it.status == 409);
    let failure = failed(error);
    if !exists {
        return failure;
    }
    let name = Shell::here().word(name);
    failure.hint(format!("choose another name, or first: hubward dps certificate delete --certificate-name {name}"))
}

impl PathArgs {
    fn read(&self) -> Result<CertificateFile, Failure> {
        CertificateFile::read("--path", &self.path)
    }
}

impl CreateArgs {
    /// What text mode prints after an upload.
    fn next(&self) -> String {
        if self.verified == Some(true) {
            return String::new();
        }
        let shell = Shell::here();
        let name = shell.word(&self.name.certificate_name);
        let comment = shell.comment("devices can use it after a proof that you have its private key:");
        format!("\n{comment}\nhubward dps certificate generate-verification-code --certificate-name {name}")
    }
}
