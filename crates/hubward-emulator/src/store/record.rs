//! What DPS remembers of registrations: records that stay, operations that are asked about.

use std::collections::{HashMap, VecDeque};

use hubward_proto::dps::RegistrationState;

use super::Table;

/// The registration of one device. Stays when its enrollment is deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) state: RegistrationState,
    /// Name of the group it came through; `None` for an individual enrollment.
    pub(crate) group: Option<String>,
    /// The payload of the last registration.
    pub(crate) received_payload: Option<serde_json::Value>,
    /// Where the device is, also after a registration that failed.
    pub(crate) assigned: Option<Assigned>,
}

/// The hub that a device has been assigned to, and its id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) hub: String,
    pub(crate) device_id: String,
}

/// A registration that somebody asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Whose, in lower case.
    pub(crate) registration: String,
    /// How many more polls are answered with `assigning`.
    pub(crate) polls_left: u32,
}

/// Operations by id, the oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_id: HashMap<String, Operation>,
    oldest_first: VecDeque<String>,
}

impl Operations {
    pub(crate) fn insert(&mut self, id: String, operation: Operation) {
        while self.oldest_first.len() >= MOST {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
        self.oldest_first.push_back(id.clone());
        self.by_id.insert(id, operation);
    }

    /// The operation of this id, if it is this device's.
    pub(crate) fn of(&mut self, id: &str, registration: &str) -> Option<&mut Operation> {
        self.by_id.get_mut(id).filter(|it| it.registration == registration)
    }
}

/// Records by registration id in lower case.
pub(crate) type Records = Table<Record>;

/// Most operations that are remembered, so that a busy client cannot fill the memory.
const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_bounded_and_belong_to_somebody() {
        let mut operations = Operations::default();
        let operation = Operation { registration: "d1".into(), polls_left: 1 };
        for number in 0..=MOST {
            operations.insert(number.to_string(), operation.clone());
        }
        assert_eq!(operations.by_id.len(), MOST);
        assert_eq!(operations.of("0", "d1"), None);
        assert!(operations.of("1", "d1").is_some());
        assert_eq!(operations.of("1", "d2"), None);
    }
}
