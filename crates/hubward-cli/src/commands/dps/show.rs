//! `dps enrollment show` and `list`, `dps enrollment-group show` and `list`.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::kind::Kind;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input::TopArgs;
use crate::output::{self, Answer};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// ID of the enrollment or group.
    #[arg(long, value_name = "ID", visible_alias = "eid", aliases = ["group-id", "gid"])]
    enrollment_id: String,
    /// Show the keys too; JSON then contains them in `attestation.symmetricKey`.
    #[arg(long, visible_alias = "keys")]
    show_keys: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    top: TopArgs,
}

pub(super) async fn show(kind: Kind, args: &ShowArgs, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let dps = context.dps().await?;
    let id = args.enrollment_id.as_str();
    let read = kind.read(&dps, id).await?;
    let columns = kind.columns_for(args.show_keys);
    let answer = if args.show_keys {
        let attestation = kind.attestation(&dps, id).await?;
        Answer::of(with_attestation(read.get(), &json!(attestation)), columns, true)?
    } else {
        Answer::of(read.get(), columns, false)?
    };
    context.output.answer(&answer).await
}

/// Inserts the attestation into the enrollment, as `az` does. Returns the body unchanged if it is not a JSON object.
fn with_attestation(body: &str, attestation: &Value) -> String {
    match serde_json::from_str(body) {
        Ok(Value::Object(mut body)) => {
            body.insert("attestation".into(), attestation.clone());
            Value::from(body).to_string()
        }
        _ => body.to_owned(),
    }
}

pub(super) async fn list(kind: Kind, args: &ListArgs, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let top = args.top.limit()?;
    let all = kind.all(&context.dps().await?, top).await?;
    context.output.answer(&Answer::of(output::list(&all), kind.columns_for(false), false)?).await
}
