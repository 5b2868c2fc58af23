//! What several commands of a hub share: who is meant, and how an answer is shown.

use clap::Args;
use hubward_service::{Call, RawValue};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Column};

/// A device.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// The device.
    #[arg(long, short, value_name = "ID")]
    pub(super) device_id: String,
}

/// A module of a device.
#[derive(Debug, Args)]
pub(super) struct ModuleArgs {
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// The module of it.
    #[arg(long, short, value_name = "ID")]
    pub(super) module_id: String,
}

impl ModuleArgs {
    /// The device and the module.
    pub(super) fn ids(&self) -> (&str, &str) {
        (&self.device.device_id, &self.module_id)
    }
}

/// Which version is meant.
#[derive(Debug, Args)]
pub(super) struct EtagArgs {
    /// Only if it has this etag; `*` is any.
    #[arg(long, short, value_name = "ETAG")]
    pub(super) etag: Option<String>,
}

impl EtagArgs {
    /// Makes a call insist on it.
    pub(super) fn on<T>(&self, call: Call<T>) -> Call<T> {
        match &self.etag {
            Some(etag) => call.if_match(etag),
            None => call,
        }
    }
}

/// The JSON of an identity that was read, changed, and the etag by which it is written: only if it is still
/// the one that was read, or has the etag that was typed.
pub(super) fn edited(
    what: &str,
    read: &RawValue,
    etag: &EtagArgs,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<(Value, String), Failure> {
    let mut identity: Value =
        serde_json::from_str(read.get()).map_err(|error| Failure::usage(format!("{what} is no JSON: {error}")))?;
    change(&mut identity)?;
    let etag = etag.etag.as_deref().or_else(|| identity["etag"].as_str()).unwrap_or("*").to_owned();
    Ok((identity, etag))
}

/// Whether keys are shown to people, too.
#[derive(Debug, Args)]
pub(super) struct ShowKeys {
    /// Show the keys in text, too; JSON always has what the service says.
    #[arg(long)]
    pub(super) show_keys: bool,
}

/// One thing as the service said it.
pub(super) async fn one<T: DeserializeOwned + Send + 'static>(
    call: Call<T>,
    columns: &[Column],
    reveal: bool,
) -> Result<Answer, Failure> {
    let body: Box<RawValue> = call.verbatim().await?;
    Answer::of(body.get(), columns, reveal)
}

/// An object that stands in an argument, or in the file it names with `@`.
pub(super) fn object(flag: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    match input::json(flag, text)? {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::usage(format!("{flag} is JSON, but no object")).hint("write '{\"name\": value}'")),
    }
}
