//! The settings of enrollments and groups: the arguments of `create` and `update`, and the JSON that they produce.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hubward::SharedKey;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::credential_policy::PolicyArgs;
use super::kind::Kind;
use crate::failure::Failure;
use crate::input;
use crate::keys::{Secret, from_file_or_text};

/// How devices authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AttestationType {
    /// With a shared key.
    #[value(name = "symmetrickey", alias = "symmetricKey")]
    SymmetricKey,
    /// With a certificate.
    X509,
    /// With a TPM (not supported yet).
    Tpm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Enabled,
    Disabled,
}

/// Action of DPS when a device registers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reprovision {
    /// Select the hub again, and migrate the twin.
    #[value(name = "reprovisionandmigratedata")]
    MigrateData,
    /// Select the hub again, and reset the twin.
    #[value(name = "reprovisionandresetdata")]
    ResetData,
    /// Keep the device at its hub.
    Never,
}

/// How DPS selects a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Allocation {
    /// Distribute devices evenly over the hubs.
    Hashed,
    /// Always use the hub that the enrollment names.
    Static,
    /// Use the hub with the lowest latency.
    #[value(name = "geolatency", alias = "geoLatency")]
    GeoLatency,
    /// Let a webhook select the hub.
    Custom,
}

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// File with the primary key: base64 of 16 to 64 bytes; `-` reads standard input.
    #[arg(long, value_name = "FILE", visible_alias = "pk-file", conflicts_with = "primary_key")]
    primary_key_file: Option<PathBuf>,
    /// Primary key; visible to other users of this machine: prefer a file.
    #[arg(long, value_name = "BASE64", visible_alias = "pk")]
    primary_key: Option<Secret>,
    /// File with the secondary key; `-` reads standard input.
    #[arg(long, value_name = "FILE", visible_alias = "sk-file", conflicts_with = "secondary_key")]
    secondary_key_file: Option<PathBuf>,
    /// Secondary key; visible to other users of this machine: prefer a file.
    #[arg(long, value_name = "BASE64", visible_alias = "sk")]
    secondary_key: Option<Secret>,
    /// Whether devices may register.
    #[arg(long, value_name = "STATUS", visible_alias = "ps", ignore_case = true)]
    provisioning_status: Option<Status>,
    /// Action of DPS when a device registers again.
    #[arg(long, value_name = "POLICY", visible_alias = "rp", ignore_case = true)]
    reprovision_policy: Option<Reprovision>,
    /// How DPS selects a hub.
    #[arg(long, value_name = "POLICY", visible_alias = "ap", ignore_case = true)]
    allocation_policy: Option<Allocation>,
    #[command(flatten)]
    credential_policy: PolicyArgs,
    /// Host names of the hubs to select from [default: all hubs of the DPS]
    ///
    /// Separate several names with spaces or commas.
    #[arg(long, value_name = "HOST", visible_alias = "ih", aliases = ["iot-hub-host-name", "hn"], num_args = 1..)]
    iot_hubs: Vec<String>,
    /// Initial tags of a device's twin, JSON; `@FILE` reads a file.
    #[arg(long, value_name = "JSON", visible_alias = "tags")]
    initial_twin_tags: Option<String>,
    /// Initial desired properties of a device's twin, JSON; `@FILE` reads a file.
    #[arg(long, value_name = "JSON", visible_alias = "props")]
    initial_twin_properties: Option<String>,
    /// Whether the device is an IoT Edge device.
    #[arg(long, value_name = "BOOL", visible_alias = "ee", num_args = 0..=1, default_missing_value = "true")]
    edge_enabled: Option<bool>,
    /// Webhook of a custom allocation.
    #[arg(long, value_name = "URL", visible_alias = "wh", requires = "api_version")]
    webhook_url: Option<String>,
    /// API version that DPS sends to the webhook.
    #[arg(long, value_name = "VERSION", visible_alias = "av", requires = "webhook_url")]
    api_version: Option<String>,
    /// Option of `az` for TPMs. The program refuses it.
    #[arg(long, alias = "ek", num_args = 0..=1, default_missing_value = "", hide = true)]
    endorsement_key: Vec<String>,
}

/// The keys from the arguments. Each key may be absent.
pub(super) struct Keys {
    primary: Option<Zeroizing<String>>,
    secondary: Option<Zeroizing<String>>,
}

impl Keys {
    /// Returns the attestation of a new enrollment. If no keys are given, the service generates them. Returns an error
    /// if only one key is given.
    pub(super) fn attestation(&self) -> Result<Value, Failure> {
        match (&self.primary, &self.secondary) {
            (Some(primary), Some(secondary)) => Ok(attestation(primary, secondary)),
            (None, None) => Ok(json!({ "type": "symmetricKey" })),
            _ => Err(Failure::usage("only one of the two keys is given").hint(
                "give both, --primary-key-file and --secondary-key-file, or neither to let the service generate them",
            )),
        }
    }

    /// Returns the attestation with the keys from the arguments. `primary` and `secondary` are the current keys. A
    /// current key stays if no argument replaces it.
    pub(super) fn over(&self, primary: &str, secondary: &str) -> Value {
        let first = self.primary.as_ref().map_or(primary, |it| it.as_str());
        attestation(first, self.secondary.as_ref().map_or(secondary, |it| it.as_str()))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.primary.is_none() && self.secondary.is_none()
    }
}

fn attestation(primary: &str, secondary: &str) -> Value {
    json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } })
}

impl SettingsArgs {
    /// Returns an error if the arguments select a TPM.
    pub(super) fn no_tpm(&self, attestation: Option<AttestationType>, kind: Kind) -> Result<(), Failure> {
        if attestation != Some(AttestationType::Tpm) && self.endorsement_key.is_empty() {
            return Ok(());
        }
        Err(Failure::unsupported("hubward does not support enrollments with a TPM")
            .hint(format!("in Azure, use `az iot dps {} create` or `update`", kind.command())))
    }

    /// Whether standard input holds a key.
    pub(super) fn reads_stdin(&self) -> bool {
        [&self.primary_key_file, &self.secondary_key_file].into_iter().flatten().any(|it| it.as_os_str() == "-")
    }

    /// Reads the keys from the arguments.
    pub(super) fn keys(&self) -> Result<Keys, Failure> {
        let one = |flag: &'static str, file: &Option<PathBuf>, text| -> Result<_, Failure> {
            let Some(text) = from_file_or_text("key", flag, file.as_deref(), text)? else { return Ok(None) };
            let key = SharedKey::from_base64(&text).map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
            Ok(Some(key.expose_base64()))
        };
        Ok(Keys {
            primary: one("--primary-key", &self.primary_key_file, self.primary_key.as_ref())?,
            secondary: one("--secondary-key", &self.secondary_key_file, self.secondary_key.as_ref())?,
        })
    }

    /// Writes the given settings, except the keys, into the JSON of the service.
    pub(super) fn apply(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Some(status) = self.provisioning_status {
            let status = if status == Status::Enabled { "enabled" } else { "disabled" };
            body.insert("provisioningStatus".into(), json!(status));
        }
        if let Some(policy) = self.reprovision_policy {
            let update = policy != Reprovision::Never;
            let migrate = policy == Reprovision::MigrateData;
            let policy = json!({ "updateHubAssignment": update, "migrateDeviceData": migrate });
            body.insert("reprovisionPolicy".into(), policy);
        }
        if let Some(policy) = self.allocation_policy {
            let word = match policy {
                Allocation::Hashed => "hashed",
                Allocation::Static => "static",
                Allocation::GeoLatency => "geoLatency",
                Allocation::Custom => "custom",
            };
            body.insert("allocationPolicy".into(), json!(word));
        }
        let hubs = self.iot_hubs.iter().flat_map(|it| it.split(|it: char| it == ',' || it.is_whitespace()));
        let hubs: Vec<&str> = hubs.filter(|it| !it.is_empty()).collect();
        if !self.iot_hubs.is_empty() {
            body.insert("iotHubs".into(), json!(hubs));
        }
        self.credential_policy.apply(body);
        if let Some(edge) = self.edge_enabled {
            body.insert("capabilities".into(), json!({ "iotEdge": edge }));
        }
        if let (Some(url), Some(version)) = (&self.webhook_url, &self.api_version) {
            body.insert("customAllocationDefinition".into(), json!({ "webhookUrl": url, "apiVersion": version }));
        }
        self.apply_twin(body)
    }

    fn apply_twin(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        let tags = self.initial_twin_tags.as_deref().map(|it| object("--initial-twin-tags", it)).transpose()?;
        let desired = self.initial_twin_properties.as_deref();
        let desired = desired.map(|it| object("--initial-twin-properties", it)).transpose()?;
        if tags.is_none() && desired.is_none() {
            return Ok(());
        }
        let mut twin = body.get("initialTwin").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        if let Some(tags) = tags {
            twin["tags"] = tags;
        }
        if let Some(desired) = desired {
            // The service wraps the properties in `desired`. Accept this form too.
            let desired = if has_only_desired(&desired) { desired["desired"].clone() } else { desired };
            twin["properties"] = json!({ "desired": desired });
        }
        body.insert("initialTwin".into(), twin);
        Ok(())
    }
}

/// Returns whether the value is `{"desired": {…}}`, with no other member.
fn has_only_desired(value: &Value) -> bool {
    value.as_object().is_some_and(|it| it.len() == 1) && value["desired"].is_object()
}

/// Parses a JSON object.
pub(super) fn object(flag: &str, text: &str) -> Result<Value, Failure> {
    let value = input::json(flag, text)?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::usage(format!("{flag} must be a JSON object")).hint("write '{\"name\": value}', or @FILE"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    fn applied(before: Value, arguments: &[&str]) -> Result<Value, Failure> {
        let cli = Cli::parse_from(std::iter::once("create").chain(arguments.iter().copied()));
        let Value::Object(mut body) = before else { panic!("an object") };
        cli.settings.apply(&mut body).map(|()| body.into())
    }

    #[test]
    fn each_argument_is_a_member_of_the_services_json() {
        for (arguments, expected) in [
            (&["--provisioning-status", "Disabled"][..], json!({"provisioningStatus": "disabled"})),
            (
                &["--rp", "reprovisionandresetdata"],
                json!({"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": false}}),
            ),
            (
                &["--rp", "never"],
                json!({"reprovisionPolicy": {"updateHubAssignment": false, "migrateDeviceData": false}}),
            ),
            (
                &["--reprovision-policy", "reprovisionandmigratedata"],
                json!({"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true}}),
            ),
            (&["--allocation-policy", "geoLatency"], json!({"allocationPolicy": "geoLatency"})),
            (&["--iot-hubs", "a", "b"], json!({"iotHubs": ["a", "b"]})),
            (&["--ih", "a,b"], json!({"iotHubs": ["a", "b"]})),
            (&["--ih", "a  b, c"], json!({"iotHubs": ["a", "b", "c"]})),
            (&["--hn", "a"], json!({"iotHubs": ["a"]})),
            (&["--edge-enabled"], json!({"capabilities": {"iotEdge": true}})),
            (&["--ee", "false"], json!({"capabilities": {"iotEdge": false}})),
            (
                &["--tags", r#"{"site":"a"}"#, "--props", r#"{"interval":3}"#],
                json!({"initialTwin": {"tags": {"site": "a"}, "properties": {"desired": {"interval": 3}}}}),
            ),
            (&["--props", r#"{"desired":{"n":1}}"#], json!({"initialTwin": {"properties": {"desired": {"n": 1}}}})),
        ] {
            assert_eq!(applied(json!({}), arguments).expect("valid"), expected, "{arguments:?}");
        }
    }

    #[test]
    fn settings_that_are_not_given_stay() {
        let before =
            json!({"iotHubs": ["a"], "initialTwin": {"tags": {"site": "a"}, "properties": {"desired": {"n": 1}}}});
        let after = applied(before, &["--initial-twin-tags", r#"{"floor":2}"#]).expect("valid");
        let twin = json!({"tags": {"floor": 2}, "properties": {"desired": {"n": 1}}});
        assert_eq!(after, json!({"iotHubs": ["a"], "initialTwin": twin}));
        assert!(applied(json!({}), &["--tags", "[1]"]).is_err());
    }
}
