//! The outcomes of messages to devices, for senders that requested feedback.

use std::time::SystemTime;

use hubward_proto::limits::CLOUD_TO_DEVICE_LOCK;
use serde::{Deserialize, Serialize};

use super::Table;
use super::c2d::{RemovedMessage, later};
use super::outcome::Outcome;
use crate::state::clock::timestamp;
use crate::state::wire_id;

/// Maximum number of records in one response.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback".
const BATCH: usize = 64;

/// Maximum number of records that a hub keeps.
const MAX: usize = 10_000;

/// The outcome of one message.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FeedbackRecord {
    /// The message id.
    pub original_message_id: String,
    /// When the outcome was recorded: UTC with seven fractional digits.
    pub enqueued_time_utc: String,
    /// The outcome.
    pub status_code: Outcome,
    /// The outcome again, as text.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, and one trace of 2015.
    pub description: String,
    /// The device id.
    pub device_id: String,
    /// The module id, if the message was for a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Distinguishes devices that had the same id at different times.
    pub device_generation_id: String,
}

/// The feedback records of one hub. If there are too many, the oldest record is dropped.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    /// The keys are a counter as 16 hexadecimal digits.
    records: Table<FeedbackRecord>,
    batch: Option<Batch>,
}

/// A batch of feedback records that a service client has received. The client has neither completed nor abandoned it
/// yet.
#[derive(Debug)]
struct Batch {
    token: String,
    /// The keys of the records in this batch.
    numbers: Vec<String>,
    until: SystemTime,
}

impl Feedback {
    /// Adds a record if the sender requested feedback for this outcome.
    pub(crate) fn note(&mut self, client_id: &str, generation_id: &str, removed: RemovedMessage) {
        let RemovedMessage { post, outcome, at } = removed;
        let message_id = &post.message_id;
        tracing::debug!(client_id, message_id, ?outcome, "a message to a device has left the queue");
        if !post.ack.is_some_and(|it| it.wants(outcome)) {
            return;
        }
        let (device_id, module_id) = match client_id.split_once('/') {
            Some((device, module)) => (device, Some(module.to_owned())),
            None => (client_id, None),
        };
        if self.records.len() >= MAX {
            self.records.pop_first();
        }
        let newest = self.records.last_key_value().and_then(|(number, _)| u64::from_str_radix(number, 16).ok());
        let number = format!("{:016x}", newest.map_or(0, |it| it + 1));
        let record = FeedbackRecord {
            original_message_id: message_id.clone(),
            enqueued_time_utc: timestamp(at),
            status_code: outcome,
            description: outcome.as_str().to_owned(),
            device_id: device_id.to_owned(),
            module_id,
            device_generation_id: generation_id.to_owned(),
        };
        self.records.insert(number, record);
    }

    /// Returns the oldest records as a batch. The returned token completes or abandons the batch.
    ///
    /// Returns `None` if there are no records, or while another batch is locked. A batch is locked until the service
    /// client completes or abandons it, or until its lock expires.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback": one batch at a time, under a lock
    /// of one minute. `[guess]`: a locked batch delays the next batch.
    pub(crate) fn take(&mut self, now: SystemTime) -> Option<(String, Vec<FeedbackRecord>)> {
        if self.records.is_empty() || self.batch.as_ref().is_some_and(|it| it.until > now) {
            return None;
        }
        let token = wire_id::guid();
        let numbers = self.records.keys().take(BATCH).cloned().collect();
        let records = self.records.values().take(BATCH).cloned().collect();
        self.batch = Some(Batch { token: token.clone(), numbers, until: later(now, CLOUD_TO_DEVICE_LOCK) });
        Some((token, records))
    }

    /// Completes or abandons the batch that has this token. If the batch is completed, its records are deleted. If it
    /// is abandoned, the next request can get its records. Returns whether the token was valid.
    pub(crate) fn complete_or_abandon(&mut self, token: &str, complete: bool, now: SystemTime) -> bool {
        let Some(batch) = self.batch.take_if(|it| it.token == token && it.until > now) else { return false };
        if complete {
            for number in batch.numbers {
                self.records.remove(&number);
            }
        }
        true
    }

    /// Deletes the feedback records of a device or module. Called when the device or module is deleted.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback"; no public trace shows this.
    pub(crate) fn forget(&mut self, device_id: &str, module_id: Option<&str>) {
        let of_it = |it: &FeedbackRecord| it.device_id == device_id && it.module_id.as_deref() == module_id;
        let numbers: Vec<String> =
            self.records.iter().filter(|(_, it)| of_it(it)).map(|(number, _)| number.clone()).collect();
        for number in numbers {
            self.records.remove(&number);
        }
    }

    pub(crate) fn all(&self) -> Vec<FeedbackRecord> {
        self.records.values().cloned().collect()
    }

    /// Deletes all records and the current batch. New records may reuse the numbers of deleted records.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.batch = None;
    }

    pub(crate) const fn table_mut(&mut self) -> &mut Table<FeedbackRecord> {
        &mut self.records
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::c2d::Post;
    use super::super::outcome::Ack;
    use super::*;

    fn removed(ack: Option<Ack>, outcome: Outcome) -> RemovedMessage {
        let post = Post { topic: String::new(), body: "".into(), message_id: "m1".into(), ack, input: None };
        RemovedMessage { post: Arc::new(post), outcome, at: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn records_only_requested_outcomes() {
        for (ack, success, expired) in [
            (None, 0, 0),
            (Some(Ack::None), 0, 0),
            (Some(Ack::Positive), 1, 0),
            (Some(Ack::Negative), 0, 1),
            (Some(Ack::Full), 1, 1),
        ] {
            let count = |outcome| {
                let mut feedback = Feedback::default();
                feedback.note("d1", "7", removed(ack, outcome));
                feedback.all().len()
            };
            assert_eq!((count(Outcome::Success), count(Outcome::Expired)), (success, expired), "{ack:?}");
            assert_eq!(count(Outcome::DeliveryCountExceeded), expired, "{ack:?}");
            assert_eq!(count(Outcome::Purged), expired, "{ack:?}");
        }
    }

    #[test]
    fn a_service_receives_records_until_it_has_completed_them() {
        let now = SystemTime::UNIX_EPOCH;
        let minute = CLOUD_TO_DEVICE_LOCK;
        let mut feedback = Feedback::default();
        assert_eq!(feedback.take(now), None);
        for _ in 0..=BATCH {
            feedback.note("d1", "7", removed(Some(Ack::Full), Outcome::Success));
        }
        let (first, records) = feedback.take(now).expect("records");
        assert_eq!((records.len(), feedback.take(now)), (BATCH, None));
        assert!(!feedback.complete_or_abandon("other", true, now) && feedback.complete_or_abandon(&first, false, now));
        assert!(!feedback.complete_or_abandon(&first, true, now), "abandoned already");
        let (second, _) = feedback.take(now).expect("the same once more");
        assert!(!feedback.complete_or_abandon(&second, true, now + minute), "too late");
        let (third, _) = feedback.take(now + minute).expect("and again");
        assert!(feedback.complete_or_abandon(&third, true, now + minute));
        assert_eq!(feedback.take(now).map(|it| it.1.len()), Some(1));
        assert_eq!(feedback.all().len(), 1);
    }

    #[test]
    fn a_batch_of_deleted_records_neither_blocks_nor_completes_new_ones() {
        let now = SystemTime::UNIX_EPOCH;
        let mut feedback = Feedback::default();
        feedback.note("d1", "7", removed(Some(Ack::Full), Outcome::Success));
        let (old, _) = feedback.take(now).expect("a record");
        feedback.clear();
        feedback.note("d2", "8", removed(Some(Ack::Full), Outcome::Success));
        assert!(!feedback.complete_or_abandon(&old, true, now));
        let (_, records) = feedback.take(now).expect("at once");
        assert_eq!(records[0].device_id, "d2");
    }

    #[test]
    fn records_have_the_service_format_and_are_bounded() {
        let mut feedback = Feedback::default();
        for _ in 0..=MAX {
            feedback.note("d1/m1", "7", removed(Some(Ack::Full), Outcome::DeliveryCountExceeded));
        }
        let records = feedback.all();
        assert_eq!(records.len(), MAX);
        assert_eq!(
            serde_json::to_value(&records[0]).expect("JSON"),
            serde_json::json!({
                "originalMessageId": "m1",
                "enqueuedTimeUtc": "1970-01-01T00:00:00.0000000Z",
                "statusCode": "DeliveryCountExceeded",
                "description": "DeliveryCountExceeded",
                "deviceId": "d1",
                "moduleId": "m1",
                "deviceGenerationId": "7",
            })
        );
    }
}
