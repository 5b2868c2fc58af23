//! What the files of a device belong to: a DPS, a registration, and credentials.

use hubward_proto::{IdScope, RegistrationId};
use hubward_transport::Credential;

/// What the files of a device belong to. A file of another DPS, id scope or registration id is foreign. An assignment
/// cache is also foreign if it has no credential in common with the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {}

impl Binding {
    /// Creates a binding. `credentials` are all credentials of the device, in their order.
    pub(crate) fn new<'a>(
        dps_host: &str,
        id_scope: &IdScope,
        registration_id: &RegistrationId,
        credentials: impl IntoIterator<Item = &'a Credential>,
    ) -> Self {
        let _ = (dps_host, id_scope, registration_id, credentials.into_iter().count());
        todo!()
    }
}
