//! What a test does with twins from the side of the cloud.

use serde_json::Value;

use super::Emulator;
use crate::hub::{TwinProblem, change_twin, note_twin_update};
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
        self.change_twin(hub, device_id, None, Some(&change)).map(|(version, _)| version)
    }

    /// Replaces all desired properties, as a `PUT` of the service does. A device that is connected and
    /// has subscribed is told all of them, and `null` for what is gone. Gives the new version.
    ///
    /// # Errors
    /// [`TwinProblem`]; nothing has changed then.
    pub fn replace_desired(&self, hub: &str, device_id: &str, desired: Value) -> Result<u64, TwinProblem> {
        let change = Change::Replace(object(desired, "desired")?);
        self.change_twin(hub, device_id, None, Some(&change)).map(|(version, _)| version)
    }

    /// Merges a patch into the tags, which the device does not see. Gives the twin's new version.
    ///
    /// # Errors
    /// [`TwinProblem`]; nothing has changed then.
    pub fn patch_tags(&self, hub: &str, device_id: &str, patch: Value) -> Result<u64, TwinProblem> {
        let change = Change::Merge(object(patch, "tags")?);
        self.change_twin(hub, device_id, Some(&change), None).map(|(_, version)| version)
    }

    /// Gives the versions of the desired properties and of the twin.
    fn change_twin(
        &self,
        hub: &str,
        device_id: &str,
        tags: Option<&Change>,
        desired: Option<&Change>,
    ) -> Result<(u64, u64), TwinProblem> {
        let now = self.shared.clock.now();
        let (version, whole) = self.shared.store.change(|state| {
            let version = change_twin(state, hub, device_id, tags, desired, now, |_| Ok::<(), TwinProblem>(()))?;
            Ok::<_, TwinProblem>((version, state.device(hub, device_id).map_or(0, |it| it.twin.version())))
        })?;
        note_twin_update(&self.shared, hub, device_id, version);
        Ok((version, whole))
    }
}

fn object(value: Value, part: &'static str) -> Result<serde_json::Map<String, Value>, TwinProblem> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(TwinProblem::NotAnObject { part }),
    }
}
