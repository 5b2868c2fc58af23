//! What only enrollment groups have.

use std::collections::BTreeMap;

use hubward_proto::service::{EnrollmentGroup, EnrollmentSettings};

use super::kind::Kind;
use crate::dps::Refusal;
use crate::store::{Entry, State};

impl Kind for EnrollmentGroup {
    /// Source: `[guess]` from `[issue]` MicrosoftDocs/azure-docs 57082: seen for something else than an
    /// individual enrollment.
    const MISSING: (u32, &'static str) = (404_202, "The enrollment group was not found.");

    fn entries(state: &State) -> &BTreeMap<String, Entry<Self>> {
        &state.groups
    }

    fn entries_mut(state: &mut State) -> &mut BTreeMap<String, Entry<Self>> {
        &mut state.groups
    }

    fn settings(&self) -> &EnrollmentSettings {
        &self.settings
    }

    fn check(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn with_registration(self, _: &State) -> Self {
        self
    }
}
