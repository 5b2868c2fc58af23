//! The file that remembers the hub of a device.

use std::path::PathBuf;

use hubward_dps::{Assignment, Substatus};
use hubward_proto::{DeviceId, HubHost};
use hubward_transport::UnixSeconds;

use super::document::{Document, Members, invalid};
use super::private_file::PrivateFile;
use super::{Binding, CacheError, SetAside, SetAsideReason};

/// What the file is, in the file and in messages.
const CONTENT: &str = "assignment cache";

/// The file that remembers the hub of a device.
///
/// It contains no credential, only a fingerprint that does not help to guess one (see [`Binding`]).
#[derive(Debug)]
pub(crate) struct AssignmentCache {
    file: PrivateFile,
    binding: Binding,
    rest: Rest,
}

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

/// What the file contains and this version does not know.
#[derive(Debug, Default)]
pub(super) struct Rest {
    document: Document,
    binding: Members,
    assignment: Members,
    /// The identity to which the members in `assignment` belong.
    identity: Option<(HubHost, DeviceId)>,
}

impl CachedAssignment {
    /// Creates the content from an assignment of DPS.
    pub(crate) fn new(assignment: &Assignment, assigned_at: UnixSeconds, credential: Option<usize>) -> Self {
        let state = &assignment.state;
        Self {
            hub: assignment.hub.clone(),
            device_id: assignment.device_id.clone(),
            assigned_at,
            substatus: state.substatus.clone(),
            etag: state.etag.clone(),
            connection_profile: state.connection_profile.clone(),
            credential,
        }
    }

    fn identity(&self) -> (HubHost, DeviceId) {
        (self.hub.clone(), self.device_id.clone())
    }
}

impl AssignmentCache {
    /// Reads the file. Returns its content if it can be used, and a warning if there is a file that cannot be used.
    /// Also removes temporary files that a killed process left. Never fails.
    pub(crate) fn open(
        path: impl Into<PathBuf>,
        binding: Binding,
    ) -> (Self, Option<CachedAssignment>, Option<SetAside>) {
        let file = PrivateFile::new(path.into(), CONTENT);
        file.sweep();
        let read = file.read().and_then(|it| it.map(|it| parse(&it, &binding)).transpose());
        let (assignment, rest, warning) = match read {
            Ok(Some((assignment, rest))) => (Some(assignment), rest, None),
            Ok(None) => (None, Rest::default(), None),
            Err(reason) => (None, Rest::default(), Some(file.set_aside(reason))),
        };
        (Self { file, binding, rest }, assignment, warning)
    }

    /// Replaces the file. If the file already has this content, writes nothing.
    ///
    /// Keeps members of a newer minor version of the format. If the hub or the device id is another one, drops those
    /// that belonged to the old assignment.
    ///
    /// After a change of the device's credentials, call [`AssignmentCache::rebind`] before.
    ///
    /// # Errors
    /// [`CacheError`]. The file has its old or its new content.
    pub(crate) fn store(&mut self, assignment: &CachedAssignment) -> Result<(), CacheError> {
        if self.rest.identity.as_ref().is_some_and(|it| *it != assignment.identity()) {
            self.rest.assignment = Members::default();
            self.rest.identity = None;
        }
        let bytes = encode(assignment, &self.binding, &self.rest);
        // A flash memory wears out with each write.
        if matches!(self.file.read(), Ok(Some(now)) if *now == *bytes) {
            return Ok(());
        }
        self.file.replace(&bytes)
    }

    /// Sets another binding for the next [`AssignmentCache::store`], after the credentials of the device have changed.
    pub(crate) fn rebind(&mut self, binding: Binding) {
        self.binding = binding;
    }
}

pub(super) fn parse(bytes: &[u8], binding: &Binding) -> Result<(CachedAssignment, Rest), SetAsideReason> {
    let mut document = Document::parse(bytes, CONTENT)?;
    let members = document.members();
    let rest_of_binding = binding.check(members.take_object("binding"))?;
    let mut members = members.take_object("assignment").ok_or_else(|| invalid("assignment"))?;
    let id = |it: Option<String>, name| it.ok_or_else(|| invalid(name));
    let hub = HubHost::new(id(members.take_text("hub"), "hub")?).map_err(|_| invalid("hub"))?;
    let device_id = DeviceId::new(id(members.take_text("deviceId"), "deviceId")?).map_err(|_| invalid("deviceId"))?;
    let assigned_at = members.take_time("assignedAt").ok_or_else(|| invalid("assignedAt"))?;
    let assignment = CachedAssignment {
        hub,
        device_id,
        assigned_at,
        substatus: members.take_optional_text("substatus")?.map(Substatus::from),
        etag: members.take_optional_text("etag")?,
        connection_profile: members.take_optional_text("connectionProfile")?,
        credential: members.take_optional_text("credential")?.and_then(|it| binding.position(&it)),
    };
    let identity = Some(assignment.identity());
    Ok((assignment, Rest { document, binding: rest_of_binding, assignment: members, identity }))
}

pub(super) fn encode(assignment: &CachedAssignment, binding: &Binding, rest: &Rest) -> zeroize::Zeroizing<Vec<u8>> {
    let mut members = rest.assignment.clone();
    members.set_text("hub", Some(assignment.hub.to_string()));
    members.set_text("deviceId", Some(assignment.device_id.to_string()));
    members.set_time("assignedAt", assignment.assigned_at);
    members.set_text("substatus", assignment.substatus.as_ref().map(Substatus::to_string));
    members.set_text("etag", assignment.etag.clone());
    members.set_text("connectionProfile", assignment.connection_profile.clone());
    let credential = assignment.credential.and_then(|it| binding.fingerprint(it));
    members.set_text("credential", credential.map(str::to_owned));
    let mut document = rest.document.clone();
    document.members().set_object("binding", Some(binding.write(rest.binding.clone())));
    document.members().set_object("assignment", Some(members));
    document.encode(CONTENT)
}
