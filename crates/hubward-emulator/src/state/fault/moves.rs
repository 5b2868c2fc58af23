//! Devices that a scripted fault moved to another hub.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The new hub of each moved device. The key is the registration id in lower case. DPS assigns the new hub, even if the
/// enrollment contains another hub.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    hubs: Mutex<HashMap<String, String>>,
}

impl Moves {
    pub(crate) fn of(&self, registration: &str) -> Option<String> {
        self.hubs().get(registration).cloned()
    }

    pub(crate) fn clear(&self) {
        self.hubs().clear();
    }

    pub(crate) fn note(&self, registrations: Vec<String>, hub: &str) {
        self.hubs().extend(registrations.into_iter().map(|it| (it, hub.to_owned())));
    }

    fn hubs(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
