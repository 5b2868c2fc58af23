//! `dps enrollment create`, `dps enrollment-group create`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use super::certificate_args::{AuthorityArgs, CertificateArgs, Certificates};
use super::kind::Kind;
use super::next;
use super::settings::{AttestationType, SettingsArgs, object};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Answer;

#[derive(Debug, Args)]
pub(super) struct CreateEnrollment {
    /// Registration ID of the device.
    #[arg(long, value_name = "ID", visible_alias = "eid")]
    enrollment_id: String,
    /// ID of the device at its hub [default: the enrollment ID]
    #[arg(long, value_name = "ID", visible_alias = "did")]
    device_id: Option<String>,
    /// Information about the device for operators, JSON; `@FILE` reads a file.
    #[arg(long, value_name = "JSON", visible_alias = "info", alias = "device-info")]
    device_information: Option<String>,
    #[command(flatten)]
    common: CreateArgs,
}

#[derive(Debug, Args)]
pub(super) struct CreateGroup {
    /// Name of the group.
    #[arg(long, value_name = "ID", visible_aliases = ["eid", "group-id", "gid"])]
    enrollment_id: String,
    #[command(flatten)]
    authorities: AuthorityArgs,
    #[command(flatten)]
    common: CreateArgs,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// How devices authenticate [default: symmetrickey; x509 if a certificate is given]
    #[arg(long, value_name = "TYPE", visible_alias = "at", ignore_case = true)]
    attestation_type: Option<AttestationType>,
    #[command(flatten)]
    certificates: CertificateArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Show the keys in text, table and tsv; JSON always contains them.
    #[arg(long, visible_alias = "keys")]
    show_keys: bool,
}

pub(super) async fn enrollment(args: &CreateEnrollment, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let mut body = Map::new();
    body.insert(Kind::Individual.id_member().into(), json!(args.enrollment_id));
    if let Some(device_id) = &args.device_id {
        body.insert("deviceId".into(), json!(device_id));
    }
    if let Some(information) = &args.device_information {
        body.insert("optionalDeviceInformation".into(), object("--device-information", information)?);
    }
    let authorities = AuthorityArgs::default();
    create(Kind::Individual, &args.enrollment_id, body, &args.common, &authorities, context).await
}

pub(super) async fn group(args: &CreateGroup, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let mut body = Map::new();
    body.insert(Kind::Group.id_member().into(), json!(args.enrollment_id));
    create(Kind::Group, &args.enrollment_id, body, &args.common, &args.authorities, context).await
}

async fn create(
    kind: Kind,
    id: &str,
    mut body: Map<String, Value>,
    args: &CreateArgs,
    authorities: &AuthorityArgs,
    context: &Context<'_>,
) -> Result<ExitCode, Failure> {
    args.settings.no_tpm(args.attestation_type, kind)?;
    context.one_stdin(args.settings.reads_stdin())?;
    let (keys, certificates) = (args.settings.keys()?, args.certificates.read(authorities)?);
    let is_x509 = args.attestation_type.map_or(!certificates.is_empty(), |it| it == AttestationType::X509);
    let attestation = match (is_x509, keys.is_empty(), certificates.is_empty()) {
        (true, true, false) => certificates.attestation(kind)?,
        (true, true, true) => return Err(Certificates::missing(kind)),
        (true, false, _) => return Err(Failure::usage("an enrollment with certificates has no keys")),
        (false, _, false) => return Err(Failure::usage("a certificate needs --attestation-type x509")),
        (false, _, true) => keys.attestation()?,
    };
    if kind == Kind::Individual {
        certificates.warn_about_other_name(id);
    }
    body.insert("attestation".into(), attestation);
    args.settings.apply(&mut body)?;
    let reached = context.reach().await?;
    let made = kind.write(&reached.service, id, &body.into(), None).await?;
    let answer = Answer::of(made.get(), kind.columns_for(args.show_keys), args.show_keys)?;
    let next = next::steps(kind, id, made.get(), &reached, context.login, args.show_keys, &certificates)?;
    context.output.answer(&answer.and(&next)).await
}
