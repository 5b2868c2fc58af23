//! `dps enrollment update`, `dps enrollment-group update`: reads the record, changes it, and writes it if the ETag
//! still matches.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use super::certificate_args::{AuthorityArgs, CertificateArgs, RemoveArgs};
use super::kind::Kind;
use super::settings::{SettingsArgs, object};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Answer;

#[derive(Debug, Args)]
pub(super) struct UpdateEnrollment {
    /// Registration ID of the device.
    #[arg(long, value_name = "ID", visible_alias = "eid")]
    enrollment_id: String,
    /// ID of the device at its hub.
    #[arg(long, value_name = "ID", visible_alias = "did")]
    device_id: Option<String>,
    /// Information about the device for operators, JSON; `@FILE` reads a file.
    #[arg(long, value_name = "JSON", visible_alias = "info", alias = "device-info")]
    device_information: Option<String>,
    #[command(flatten)]
    common: UpdateArgs,
}

#[derive(Debug, Args)]
pub(super) struct UpdateGroup {
    /// Name of the group.
    #[arg(long, value_name = "ID", visible_aliases = ["eid", "group-id", "gid"])]
    enrollment_id: String,
    #[command(flatten)]
    authorities: AuthorityArgs,
    #[command(flatten)]
    common: UpdateArgs,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    #[command(flatten)]
    certificates: CertificateArgs,
    #[command(flatten)]
    remove: RemoveArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Update only if the ETag still matches; `*` matches any [default: the ETag just read]
    #[arg(long, short, value_name = "ETAG")]
    etag: Option<String>,
    /// Show the keys in text, table and tsv; JSON always contains them.
    #[arg(long, visible_alias = "keys")]
    show_keys: bool,
}

pub(super) async fn enrollment(args: &UpdateEnrollment, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let mut changes = Map::new();
    if let Some(device_id) = &args.device_id {
        changes.insert("deviceId".into(), json!(device_id));
    }
    if let Some(information) = &args.device_information {
        changes.insert("optionalDeviceInformation".into(), object("--device-information", information)?);
    }
    let authorities = AuthorityArgs::default();
    update(Kind::Individual, &args.enrollment_id, changes, &args.common, &authorities, context).await
}

pub(super) async fn group(args: &UpdateGroup, context: &Context<'_>) -> Result<ExitCode, Failure> {
    update(Kind::Group, &args.enrollment_id, Map::new(), &args.common, &args.authorities, context).await
}

async fn update(
    kind: Kind,
    id: &str,
    changes: Map<String, Value>,
    args: &UpdateArgs,
    authorities: &AuthorityArgs,
    context: &Context<'_>,
) -> Result<ExitCode, Failure> {
    args.settings.no_tpm(None, kind)?;
    context.one_stdin(args.settings.reads_stdin())?;
    let keys = args.settings.keys()?;
    let certificates = args.certificates.read(authorities)?;
    let changes_certificates = !certificates.is_empty() || !args.remove.is_empty();
    // Refuse wrong arguments before the first request.
    let mut all_changes = changes.clone();
    args.settings.apply(&mut all_changes)?;
    if all_changes.is_empty() && keys.is_empty() && !changes_certificates {
        return Err(Failure::usage("no change is given")
            .hint("add a setting, such as --provisioning-status disabled; --help lists all settings"));
    }

    let dps = context.dps().await?;
    let read = kind.read(&dps, id).await?;
    let mut body: Map<String, Value> = serde_json::from_str(read.get()).map_err(|error| not_an_enrollment(&error))?;
    let has_keys = body.get("attestation").is_some_and(|it| it["type"] == "symmetricKey");
    if has_keys {
        // The service returns the enrollment without its keys. No document says whether an update without keys keeps
        // the old keys. To be safe, read the keys and send them again.
        let attestation = kind.attestation(&dps, id).await?;
        let now = attestation.symmetric_key.unwrap_or_default();
        body.insert("attestation".into(), keys.over(&now.primary_key, &now.secondary_key));
    } else if !keys.is_empty() {
        return Err(Failure::usage(format!("{id} has no symmetric keys to change")));
    }
    if changes_certificates {
        let x509 = body.get("attestation").filter(|it| it["type"] == "x509").map(|it| it["x509"].clone());
        let x509 = x509.ok_or_else(|| Failure::usage(format!("{id} has no certificates to change")))?;
        let x509 = members(x509).map_err(|error| not_an_enrollment(&error))?;
        body.insert("attestation".into(), certificates.over(x509, &args.remove, kind)?);
        if kind == Kind::Individual {
            certificates.warn_about_other_name(id);
        }
    }
    body.extend(changes);
    args.settings.apply(&mut body)?;
    let seen = body.get("etag").and_then(Value::as_str).map(str::to_owned);
    let etag = args.etag.clone().or(seen).unwrap_or_else(|| "*".to_owned());
    for read_only in ["etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "registrationState"] {
        body.remove(read_only);
    }
    let written = kind.write(&dps, id, &body.into(), Some(&etag)).await?;
    let answer = Answer::of(written.get(), kind.columns_for(args.show_keys), args.show_keys)?;
    context.output.answer(&answer).await
}

/// The members of a JSON object. `null` is an object without members.
fn members(value: Value) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_value::<Option<_>>(value).map(Option::unwrap_or_default)
}

fn not_an_enrollment(error: &serde_json::Error) -> Failure {
    let message = format!("the service's answer is not an enrollment: {error}");
    Failure::new(ExitCode::Protocol, "service-answer", hubward::Fault::Peer.to_string(), message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_whose_certificates_are_no_object_is_refused() {
        for (value, is_object) in [(json!({"a": 1}), true), (json!({}), true), (json!(null), true)]
            .into_iter()
            .chain([json!("text"), json!([]), json!(1), json!(true)].map(|it| (it, false)))
        {
            let read = members(value.clone());
            assert_eq!(read.is_ok(), is_object, "{value}");
            if let Err(error) = read {
                assert!(not_an_enrollment(&error).messages[0].contains("is not an enrollment"), "{error}");
            }
        }
    }
}
