//! Arguments and helpers that several `hub` commands share.

use clap::Args;
use hubward_service::{Call, RawValue};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Column};

/// Selects a device.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// ID of the device.
    #[arg(long, short, value_name = "ID")]
    pub(super) device_id: String,
}

/// Selects a module of a device.
#[derive(Debug, Args)]
pub(super) struct ModuleArgs {
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// ID of the module.
    #[arg(long, short, value_name = "ID")]
    pub(super) module_id: String,
}

impl ModuleArgs {
    /// The IDs of the device and the module.
    pub(super) fn ids(&self) -> (&str, &str) {
        (&self.device.device_id, &self.module_id)
    }
}

/// The ETag that must match.
#[derive(Debug, Args)]
pub(super) struct EtagArgs {
    /// Proceed only if the ETag still matches; `*` matches any.
    #[arg(long, short, value_name = "ETAG")]
    pub(super) etag: Option<String>,
}

impl EtagArgs {
    /// Sets the ETag of the request, if `--etag` is given.
    pub(super) fn on<T>(&self, call: Call<T>) -> Call<T> {
        match &self.etag {
            Some(etag) => call.if_match(etag),
            None => call,
        }
    }
}

/// Parses the JSON of an identity, and applies `change` to it. Returns the changed JSON and the ETag for the write.
///
/// The ETag is the one from `--etag`. Without `--etag`, it is the ETag in the JSON. If the JSON contains no ETag, it is
/// `*`, which matches any ETag.
pub(super) fn edited(
    what: &str,
    read: &RawValue,
    etag: &EtagArgs,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<(Value, String), Failure> {
    let mut identity: Value =
        serde_json::from_str(read.get()).map_err(|error| Failure::usage(format!("{what} is not JSON: {error}")))?;
    change(&mut identity)?;
    let etag = etag.etag.as_deref().or_else(|| identity["etag"].as_str()).unwrap_or("*").to_owned();
    Ok((identity, etag))
}

/// Whether text output contains keys.
#[derive(Debug, Args)]
pub(super) struct ShowKeys {
    /// Show the keys in text; JSON always contains them.
    #[arg(long)]
    pub(super) show_keys: bool,
}

/// Sends a request for one record, and returns the service's answer.
pub(super) async fn one<T: DeserializeOwned + Send + 'static>(
    call: Call<T>,
    columns: &[Column],
    reveal: bool,
) -> Result<Answer, Failure> {
    let body: Box<RawValue> = call.verbatim().await?;
    Answer::of(body.get(), columns, reveal)
}

/// Returns the JSON object in an argument. If the argument is `@FILE`, returns the JSON object in the file.
pub(super) fn object(flag: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    match input::json(flag, text)? {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::usage(format!("{flag} must be a JSON object")).hint("write '{\"name\": value}'")),
    }
}
