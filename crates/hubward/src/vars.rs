//! The names of the variables that [`Settings::from_env`](crate::Settings::from_env) and
//! [`HubSettings::from_env`](crate::HubSettings::from_env) read.

/// The connection string of a device or module: its hub, its ids and its key.
pub const CONNECTION_STRING: &str = "IOTHUB_DEVICE_CONNECTION_STRING";
/// Host name of DPS.
pub const HOST: &str = "PROVISIONING_HOST";
/// The id scope.
pub const ID_SCOPE: &str = "PROVISIONING_IDSCOPE";
/// The registration id of the device.
pub const REGISTRATION_ID: &str = "PROVISIONING_REGISTRATION_ID";
/// The device's key, base64.
pub const SYMMETRIC_KEY: &str = "PROVISIONING_SYMMETRIC_KEY";
/// A PEM file with the device's certificate, followed by the certificates of its issuers.
pub const CERT_FILE: &str = "X509_CERT_FILE";
/// A PEM file with the private key of the device's certificate.
pub const KEY_FILE: &str = "X509_KEY_FILE";
/// The passphrase that decrypts the private key.
pub const PASS_PHRASE: &str = "X509_PASS_PHRASE";
/// `https`, `mqtt` or `mqtt-ws`.
pub const TRANSPORT: &str = "HUBWARD_TRANSPORT";
/// A PEM file of certificate authorities to trust.
pub const CA_FILE: &str = "HUBWARD_CA_FILE";
/// Addresses to connect to instead of the addresses that DNS returns.
pub const CONNECT_TO: &str = "HUBWARD_CONNECT_TO";

/// The file in which a [`Device`](crate::Device) remembers its hub.
pub const CACHE_FILE: &str = "HUBWARD_CACHE_FILE";
/// A second symmetric key of a [`Device`](crate::Device), base64.
pub const SECONDARY_KEY: &str = "HUBWARD_SECONDARY_KEY";

/// Reads an environment variable. Returns `None` if the variable is not set, is blank or is not UTF-8.
///
/// A blank variable counts as not set, because shells and container files often pass a missing value as an empty one.
#[must_use]
pub fn read(name: &str) -> Option<String> {
    non_blank(std::env::var(name).ok())
}

/// Treats a blank value as missing, as [`read`] does.
pub(crate) fn non_blank(value: Option<String>) -> Option<String> {
    value.filter(|it| !it.trim().is_empty())
}
