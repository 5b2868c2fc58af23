//! `device-identity renew-key`, `module-identity renew-key`: replaces keys, for example after other people have read
//! them.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::member_path::set;
use super::shared::{EtagArgs, ShowKeys};
use crate::failure::Failure;
use crate::keys::new_key;

/// The change of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Renewal {
    /// Generate a new primary key.
    Primary,
    /// Generate a new secondary key.
    Secondary,
    /// Generate two new keys.
    Both,
    /// Swap the two keys.
    Swap,
}

#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    /// Key to generate; `swap` swaps the two keys.
    #[arg(long, visible_alias = "kt", value_name = "WHICH", ignore_case = true)]
    key_type: Renewal,
    #[command(flatten)]
    pub(super) etag: EtagArgs,
    #[command(flatten)]
    pub(super) keys: ShowKeys,
}

impl RenewArgs {
    /// Replaces or swaps the keys in the JSON of an identity. Returns an error if the identity has no symmetric keys.
    pub(super) fn apply(&self, identity: &mut Value) -> Result<(), Failure> {
        let keys = &identity["authentication"]["symmetricKey"];
        let (primary, secondary) = match (keys["primaryKey"].as_str(), keys["secondaryKey"].as_str()) {
            (Some(primary), Some(secondary)) => (primary.to_owned(), secondary.to_owned()),
            _ => {
                return Err(Failure::usage(
                    "the identity has no symmetric keys to renew, because it authenticates in \
                                           another way",
                ));
            }
        };
        let (primary, secondary) = match self.key_type {
            Renewal::Primary => (new_key()?, secondary),
            Renewal::Secondary => (primary, new_key()?),
            Renewal::Both => (new_key()?, new_key()?),
            Renewal::Swap => (secondary, primary),
        };
        set(identity, "authentication.symmetricKey", json!({ "primaryKey": primary, "secondaryKey": secondary }))
    }
}
