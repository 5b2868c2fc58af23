//! Methods for twins from the cloud side.

use serde_json::Value;

use super::Emulator;
use crate::services::hub::{TwinProblem, change_twin, note_twin_update};
use crate::state::model::{Change, TwinView, twin_view};

/// If the parameter `device_id` of these methods is `{device}/{module}`, it names a module.
impl Emulator {
    /// Returns the twin of a device or module as the service's JSON; `None` if it does not exist.
    #[must_use]
    pub fn twin(&self, hub: &str, device_id: &str) -> Option<TwinView> {
        self.cloud.store.read(|state| twin_view(state, hub, device_id))
    }

    /// Merges a patch into the desired properties and returns the new version of the desired properties. The value
    /// `null` removes a property. Properties that the patch does not contain do not change.
    ///
    /// If the device is connected and has subscribed to changes, the hub sends the patch to the device.
    ///
    /// # Errors
    /// [`TwinProblem`] if the twin cannot be changed. Nothing is then changed.
    pub fn patch_desired(&self, hub: &str, device_id: &str, patch: Value) -> Result<u64, TwinProblem> {
        let change = Change::Merge(object(patch, "desired")?);
        self.change_twin(hub, device_id, None, Some(&change)).map(|(version, _)| version)
    }

    /// Replaces all desired properties, as `PUT` does in the service API. Returns the new version of the desired
    /// properties.
    ///
    /// If the device is connected and has subscribed to changes, the hub sends it a notification. The notification
    /// contains all new properties, and `null` for each removed property.
    ///
    /// # Errors
    /// [`TwinProblem`] if the twin cannot be changed. Nothing is then changed.
    pub fn replace_desired(&self, hub: &str, device_id: &str, desired: Value) -> Result<u64, TwinProblem> {
        let change = Change::Replace(object(desired, "desired")?);
        self.change_twin(hub, device_id, None, Some(&change)).map(|(version, _)| version)
    }

    /// Merges a patch into the tags. Returns the new version of the twin. Devices cannot see tags.
    ///
    /// # Errors
    /// [`TwinProblem`] if the twin cannot be changed. Nothing is then changed.
    pub fn patch_tags(&self, hub: &str, device_id: &str, patch: Value) -> Result<u64, TwinProblem> {
        let change = Change::Merge(object(patch, "tags")?);
        self.change_twin(hub, device_id, Some(&change), None).map(|(_, version)| version)
    }

    /// Changes the tags and desired properties, and returns the versions of the desired properties and of the twin.
    fn change_twin(
        &self,
        hub: &str,
        device_id: &str,
        tags: Option<&Change>,
        desired: Option<&Change>,
    ) -> Result<(u64, u64), TwinProblem> {
        let now = self.cloud.clock.now();
        let (version, whole) = self.cloud.store.change(|state| {
            let version = change_twin(state, hub, device_id, tags, desired, now, |_| Ok::<(), TwinProblem>(()))?;
            Ok::<_, TwinProblem>((version, state.device(hub, device_id).map_or(0, |it| it.twin.version())))
        })?;
        note_twin_update(&self.cloud, hub, device_id, version);
        Ok((version, whole))
    }
}

fn object(value: Value, part: &'static str) -> Result<serde_json::Map<String, Value>, TwinProblem> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(TwinProblem::NotAnObject { part }),
    }
}
