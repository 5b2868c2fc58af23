//! The registrations in DPS: permanent records, and operations, which devices poll.

use std::collections::VecDeque;

use hubward_proto::dps::RegistrationState;
use serde::{Deserialize, Serialize};

use super::Table;

/// Maximum number of operations. Without this limit, a client that sends many requests could fill the memory.
const MAX: usize = 100_000;

/// The registration of one device. If the enrollment is deleted, the registration remains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) state: RegistrationState,
    /// Name of the enrollment group; `None` for an individual enrollment.
    pub(crate) group: Option<String>,
    /// The payload of the last registration.
    pub(crate) received_payload: Option<serde_json::Value>,
    /// The current assignment of the device, even after a failed registration.
    pub(crate) assigned: Option<Assigned>,
    /// The certificate that DPS issued in the last registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issued: Option<Issued>,
}

/// A certificate that DPS issued to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// The operation whose result contains the certificate.
    pub(crate) operation: String,
    /// The base64 of the certificate, without its issuers.
    pub(crate) leaf: String,
}

/// The assigned hub of a device, and the device id at this hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    pub(crate) hub: String,
    pub(crate) device_id: String,
}

/// A running registration, which the device polls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// The registration id in lower case.
    pub(crate) registration: String,
    /// Number of further polls that are answered with `assigning`.
    pub(crate) polls_left: u32,
    /// Sequence number among all operations.
    #[serde(default)]
    number: u64,
}

impl Operation {
    pub(crate) const fn new(registration: String, polls_left: u32) -> Self {
        Self { registration, polls_left, number: 0 }
    }
}

/// Operations by id. If there are too many, the oldest operation is dropped.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_id: Table<Operation>,
    /// Sequence numbers and ids, the oldest first.
    oldest_first: VecDeque<(u64, String)>,
}

impl Operations {
    pub(crate) fn insert(&mut self, id: String, operation: Operation) {
        while self.oldest_first.len() >= MAX {
            if let Some((_, oldest)) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
        let number = self.oldest_first.back().map_or(0, |(newest, _)| newest + 1);
        self.oldest_first.push_back((number, id.clone()));
        self.by_id.insert(id, Operation { number, ..operation });
    }

    /// Restores an operation from disk. Operations can be restored in any order. After the last one, the caller must
    /// call [`Self::sort`].
    pub(crate) fn restore(&mut self, id: String, operation: Operation) {
        self.oldest_first.push_back((operation.number, id.clone()));
        self.by_id.insert(id, operation);
    }

    /// Sorts the restored operations.
    pub(crate) fn sort(&mut self) {
        self.oldest_first.make_contiguous().sort_unstable();
    }

    pub(crate) const fn table_mut(&mut self) -> &mut Table<Operation> {
        &mut self.by_id
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.oldest_first.clear();
    }

    /// The operation with this id, if it belongs to this device.
    pub(crate) fn of(&mut self, id: &str, registration: &str) -> Option<&mut Operation> {
        self.by_id.get_mut(id).filter(|it| it.registration == registration)
    }
}

/// Records by registration id in lower case.
pub(crate) type Records = Table<Record>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_bounded_and_belong_to_one_device() {
        let mut operations = Operations::default();
        let operation = Operation::new("d1".into(), 1);
        for number in 0..=MAX {
            operations.insert(number.to_string(), operation.clone());
        }
        assert_eq!(operations.by_id.len(), MAX);
        assert_eq!(operations.of("0", "d1"), None);
        assert!(operations.of("1", "d1").is_some());
        assert_eq!(operations.of("1", "d2"), None);
    }

    #[test]
    fn restored_operations_are_dropped_in_their_order() {
        let mut operations = Operations::default();
        for number in (0..MAX as u64).rev() {
            operations.restore(number.to_string(), Operation { number, ..Operation::new("d1".into(), 1) });
        }
        operations.sort();
        operations.insert("new".into(), Operation::new("d1".into(), 1));
        let known = ["0", "1", "new"].map(|it| operations.of(it, "d1").map(|it| it.number));
        assert_eq!(known, [None, Some(1), Some(MAX as u64)]);
    }
}
