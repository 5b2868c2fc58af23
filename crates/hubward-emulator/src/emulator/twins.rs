//! What a test does with twins from the side of the cloud.

use serde_json::Value;

use super::Emulator;
use crate::hub::{TwinProblem, update_twin};
use crate::store::{Change, TwinView, twin_view};

/// A module is named `{device}/{module}`.
impl Emulator {
    /// The twin of a device or module, as the service shows it; `None` if there is no such one.
    #[must_use]
    pub fn twin(&self, hub: &str, device_id: &str) -> Option<TwinView> {
        self.shared.store.read(|state| twin_view(state, hub, device_id))
    }

    /// Merges a patch into desired properties: `null` removes, what is not named stays. A device that
    /// is connected and has subscribed is told. Gives the new version.
    ///
    /// # Errors
    /// [`TwinProblem`]; nothing has changed then.
    pub fn patch_desired(&self, hub: &str, device_id: &str, patch: Value) -> Result<u64, TwinProblem> {
        let change = Change::Merge(object(patch, "desired")?);
        update_twin(&self.shared, hub, device_id, None, Some(&change), always)
    }

    /// Replaces all desired properties, as a `PUT` of the service does. A device that is connected and
    /// has subscribed is told all of them, and `null` for what is gone. Gives the new version.
    ///
    /// # Errors
    /// [`TwinProblem`]; nothing has changed then.
    pub fn replace_desired(&self, hub: &str, device_id: &str, desired: Value) -> Result<u64, TwinProblem> {
        let change = Change::Replace(object(desired, "desired")?);
        update_twin(&self.shared, hub, device_id, None, Some(&change), always)
    }

    /// Merges a patch into the tags, which the device does not see. Gives the twin's new version.
    ///
    /// # Errors
    /// [`TwinProblem`]; nothing has changed then.
    pub fn patch_tags(&self, hub: &str, device_id: &str, patch: Value) -> Result<u64, TwinProblem> {
        let change = Change::Merge(object(patch, "tags")?);
        update_twin(&self.shared, hub, device_id, Some(&change), None, always)?;
        let version = self.twin(hub, device_id).map(|it| it.version);
        version.ok_or_else(|| TwinProblem::NotFound { hub: hub.to_owned(), id: device_id.to_owned() })
    }
}

/// Whatever the etag.
fn always(_: &str) -> Result<(), TwinProblem> {
    Ok(())
}

fn object(value: Value, part: &'static str) -> Result<serde_json::Map<String, Value>, TwinProblem> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(TwinProblem::NotAnObject { part }),
    }
}
