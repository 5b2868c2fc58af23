//! Prefixes of the topic filters that have special rules.

/// Prefix of the filters for changes of desired properties.
pub(super) const NOTICES: &str = "$iothub/twin/PATCH/properties/desired/";

/// Prefix of the filters for calls of direct methods.
pub(super) const CALLS: &str = "$iothub/methods/POST/";

/// Prefix of the filter for answers to certificate requests.
pub(super) const CREDENTIALS: &str = "$iothub/credentials/res/";
