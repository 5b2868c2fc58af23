//! Environment variables that this program reads itself. The façade reads further variables.

/// The variable that holds the login of a DPS policy. Source: `[sdk]` samples of the service SDKs.
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) const DPS_LOGIN: &str = "PROVISIONING_CONNECTION_STRING";
/// The variable that holds the login of a policy of a hub. Source: `[sdk]` samples of the service SDKs.
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) const HUB_LOGIN: &str = "IOTHUB_CONNECTION_STRING";
/// The variable that holds the URL of an emulator's admin port.
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) const EMULATOR_ADMIN: &str = "HUBWARD_EMULATOR_ADMIN";

/// Returns the value of an environment variable. Returns `None` if the variable is not set or is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.trim().is_empty())
}
