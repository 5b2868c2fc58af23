//! The file that remembers the hub of a device.

use std::path::PathBuf;

use hubward_dps::{Assignment, Substatus};
use hubward_proto::{DeviceId, HubHost};
use hubward_transport::UnixSeconds;

use super::{Binding, CacheError, SetAside};

/// The file that remembers the hub of a device.
#[derive(Debug)]
pub(crate) struct AssignmentCache {}

/// The content of an assignment cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedAssignment {
    /// The hub.
    pub(crate) hub: HubHost,
    /// The id of the device at this hub.
    pub(crate) device_id: DeviceId,
    /// When DPS assigned the hub, by the clock of the device.
    pub(crate) assigned_at: UnixSeconds,
    /// How the assignment changed the device's data.
    pub(crate) substatus: Option<Substatus>,
    /// The version of DPS's record.
    pub(crate) etag: Option<String>,
    /// The protocol that the hub requires; `None` is the classic one.
    pub(crate) connection_profile: Option<String>,
    /// The credential that the hub or DPS accepted last: its position in the credentials of the binding. `None` if none
    /// was accepted yet, or the device no longer has this credential.
    pub(crate) credential: Option<usize>,
}

impl CachedAssignment {
    /// Creates the content from an assignment of DPS.
    pub(crate) fn new(assignment: &Assignment, assigned_at: UnixSeconds, credential: Option<usize>) -> Self {
        let _ = (assignment, assigned_at, credential);
        todo!()
    }
}

impl AssignmentCache {
    /// Reads the file. Returns its content if it can be used, and a warning if there is a file that cannot be used.
    /// Also removes temporary files that a killed process left. Never fails.
    pub(crate) fn open(
        path: impl Into<PathBuf>,
        binding: Binding,
    ) -> (Self, Option<CachedAssignment>, Option<SetAside>) {
        let _ = (path.into(), binding);
        todo!()
    }

    /// Replaces the file. If the file already has this content, writes nothing.
    ///
    /// After a change of the device's credentials, call [`AssignmentCache::rebind`] before.
    ///
    /// # Errors
    /// [`CacheError`]. The file is unchanged.
    pub(crate) fn store(&mut self, assignment: &CachedAssignment) -> Result<(), CacheError> {
        let _ = assignment;
        todo!()
    }

    /// Sets another binding for the next [`AssignmentCache::store`], after the credentials of the device have changed.
    pub(crate) fn rebind(&mut self, binding: Binding) {
        let _ = binding;
        todo!()
    }

    /// Removes the file, if there is one.
    ///
    /// # Errors
    /// [`CacheError`]
    pub(crate) fn clear(&mut self) -> Result<(), CacheError> {
        todo!()
    }
}
