//! `hubward x509 new-csr`: creates a certificate request.

use std::path::PathBuf;

use clap::Args;
use rcgen::SanType;
use serde_json::json;

use super::args::{FolderArgs, KeyArgs, alternative_name, common_name};
use super::describe::aligned;
use super::written::Files;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::lab::request;
use crate::output::{Event, Output};

#[derive(Debug, Args)]
pub(crate) struct NewCsrArgs {
    /// Common name (CN) of the certificate to request.
    #[arg(long, short, value_name = "NAME", value_parser = common_name)]
    name: String,
    /// Subject alternative name, a DNS name or an IP address; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = alternative_name)]
    san: Vec<SanType>,
    #[command(flatten)]
    key: KeyArgs,
    /// File for the request [default: NAME.csr]
    #[arg(long, value_name = "FILE")]
    csr_out: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(super) async fn run(args: &NewCsrArgs, output: &Output) -> Result<ExitCode, Failure> {
    let inputs = args.key.inputs();
    let files = Files::choose(&args.name, "csr", args.csr_out.as_deref(), Some(&args.key), &args.folder, &inputs)?;
    let (key, passphrase) = (args.key.key()?, args.key.new_passphrase()?);
    let request = request(&args.name, &key, &args.san)?;
    let pem = request.pem().map_err(|error| Failure::local(error.to_string()))?.replace('\r', "");
    files.write(&pem, &key, passphrase.as_ref().map(|it| it.as_str()))?;
    let key_file = files.key(&args.key).map(|it| it.display().to_string());
    if output.is_text() {
        let mut facts = vec![("request", files.main.display().to_string())];
        facts.extend(key_file.map(|it| ("private key", it)));
        output.line(&format!("Created the certificate request CN={}\n{}", args.name, aligned(facts))).await;
    } else {
        let facts = json!({ "requestFile": files.main.display().to_string(), "keyFile": key_file, "request": pem });
        output.tell(&Event::Facts(&facts)).await;
    }
    Ok(ExitCode::Ok)
}
