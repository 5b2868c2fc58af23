//! The telemetry log of a hub. Messages are in the order of arrival. A reader can start at any offset.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use hubward_proto::hub::Message;
use tokio::sync::watch;

/// Maximum memory of a log, in bytes. A thousand connected devices need about as much memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// One message as a hub received it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telemetry {
    /// The offset in the hub's log, counted from 0.
    pub offset: u64,
    /// The device that sent the message.
    pub device_id: String,
    /// The module that sent the message; `None` if the device itself sent it.
    pub module_id: Option<String>,
    /// When the hub received the message: UTC with seven fractional digits.
    pub enqueued_time: String,
    /// The body and the properties. A publish with RETAIN has the additional property `mqtt-retain`. A will has the
    /// additional property `iothub-MessageType`.
    pub message: Message,
    /// Whether the publish had the DUP flag. With this flag, the client may have sent the same message earlier.
    pub duplicate: bool,
    /// Quality of service of the publish: 0 or 1.
    pub qos: u8,
    pub(crate) origin: Arc<Origin>,
}

/// The properties of a sender that the hub adds to each message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) device_id: String,
    pub(crate) module_id: Option<String>,
    pub(crate) generation_id: String,
    /// The scope of the key that signed the token, or of the certificate. It is `device`, `module` or `hub`.
    pub(crate) scope: &'static str,
    /// Whether the sender authenticated with a certificate.
    pub(crate) has_certificate: bool,
    /// The model id from the user name.
    pub(crate) model_id: Option<String>,
}

impl Telemetry {
    /// Creates a message for the log. Copies the body. Without the copy, the body would keep the whole input buffer of
    /// the connection in memory.
    pub(crate) fn new(origin: &Arc<Origin>, enqueued_time: String, mut message: Message) -> Self {
        message.body = Bytes::copy_from_slice(&message.body);
        Self {
            offset: 0,
            device_id: origin.device_id.clone(),
            module_id: origin.module_id.clone(),
            enqueued_time,
            message,
            duplicate: false,
            qos: 1,
            origin: Arc::clone(origin),
        }
    }

    /// Returns the system properties that the hub adds. The names are those of the service, such as
    /// `iothub-connection-device-id`. If the device has a model id, the result includes `dt-dataschema`.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-messages-construct.md, "System Properties of D2C IoT Hub
    /// messages".
    #[must_use]
    pub fn stamps(&self) -> Vec<(&'static str, String)> {
        let Origin { device_id, module_id, generation_id, scope, has_certificate, model_id } = &*self.origin;
        let kind = if *has_certificate { "x509" } else { "sas" };
        let method = format!(r#"{{"scope":"{scope}","type":"{kind}","issuer":"iothub"}}"#);
        let stamps = [
            ("iothub-connection-device-id", Some(device_id.clone())),
            ("iothub-connection-module-id", module_id.clone()),
            ("iothub-connection-auth-method", Some(method)),
            ("iothub-connection-auth-generation-id", Some(generation_id.clone())),
            ("iothub-enqueuedtime", Some(self.enqueued_time.clone())),
            ("iothub-message-source", Some("Telemetry".to_owned())),
            ("dt-dataschema", model_id.clone()),
        ];
        stamps.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.message.body
    }

    /// The body as text. Invalid UTF-8 becomes the replacement character.
    #[must_use]
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    /// An application property; `Some(None)` if it has no value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Option<&str>> {
        self.message.properties().find_map(|(it, value)| (it == name).then_some(value))
    }
}

/// The telemetry log of one hub. Cheap to clone.
///
/// The log keeps the newest messages. Their number and their size are limited; see
/// [`Builder::telemetry_retention`](crate::Builder::telemetry_retention).
#[derive(Clone)]
pub struct TelemetryLog {
    inner: Arc<Inner>,
}

struct Inner {
    kept: Mutex<Kept>,
    /// Number of messages that were appended since the creation of the log. If the log is on disk, a message counts
    /// only after it is on disk.
    total: watch::Sender<u64>,
    max: usize,
    /// The log on disk, if there is one.
    disk: OnceLock<Box<dyn LogWriter>>,
}

/// Writes a log to disk.
pub(crate) trait LogWriter: Send + Sync {
    /// Queues a message to be written. `gone_before` is `Some` if the log no longer keeps the messages before this
    /// offset. Then also queues the deletion of these messages.
    ///
    /// Updates `total` after the message and the deletion are on disk. The log calls this method in the order of the
    /// offsets.
    fn append(&self, telemetry: &Telemetry, total: &watch::Sender<u64>, gone_before: Option<u64>);

    /// Queues the deletion of all messages before `first`.
    fn forget_before(&self, first: u64);
}

#[derive(Default)]
struct Kept {
    /// Offset of the first of `messages`.
    first: u64,
    messages: VecDeque<Arc<Telemetry>>,
    bytes: usize,
}

impl TelemetryLog {
    pub(crate) fn new(max: usize) -> Self {
        let (kept, total, disk) = (Mutex::default(), watch::Sender::new(0), OnceLock::new());
        Self { inner: Arc::new(Inner { kept, total, max: max.max(1), disk }) }
    }

    /// Returns how many messages the hub has received, including messages that the log has dropped. With a data
    /// directory, the count starts at the creation of the directory.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.inner.total.borrow()
    }

    /// All messages that the log still has.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Telemetry>> {
        self.from(0)
    }

    /// Returns the message at `offset` and all later messages. The result does not contain messages that the log has
    /// dropped.
    #[must_use]
    pub fn from(&self, offset: u64) -> Vec<Arc<Telemetry>> {
        let kept = self.kept();
        let skip = usize::try_from(offset.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        // Return only messages that are on disk.
        let seen = usize::try_from(self.total().saturating_sub(kept.first)).unwrap_or(usize::MAX);
        kept.messages.iter().take(seen).skip(skip).cloned().collect()
    }

    /// Waits until [`TelemetryLog::total`] is at least `count`, without a time limit. Then returns all messages that
    /// are still in the log.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, count: u64) -> Vec<Arc<Telemetry>> {
        let mut total = self.inner.total.subscribe();
        // `self` owns the sender, so the channel cannot be closed.
        let _ = total.wait_for(|it| *it >= count).await;
        self.all()
    }

    /// Returns a reader that starts at `offset` and then waits for new messages.
    #[must_use]
    pub fn subscribe(&self, offset: u64) -> TelemetryReader {
        TelemetryReader { log: self.clone(), next: offset, skipped: 0 }
    }

    /// Appends a message and sets its offset.
    pub(crate) fn append(&self, telemetry: Telemetry) {
        self.append_if(telemetry, || true);
    }

    /// Appends a message if `condition` returns true. Returns whether the message was appended.
    ///
    /// Calls `condition` while it holds the log's lock, so [`Self::empty`] cannot run between the condition and the
    /// append.
    pub(crate) fn append_if(&self, mut telemetry: Telemetry, condition: impl FnOnce() -> bool) -> bool {
        let mut kept = self.kept();
        if !condition() {
            return false;
        }
        let first = kept.first;
        telemetry.offset = kept.next();
        let telemetry = Arc::new(telemetry);
        kept.push(Arc::clone(&telemetry), self.inner.max);
        // The lock is held here, so totals are published in order.
        match self.inner.disk.get() {
            None => {
                self.inner.total.send_replace(telemetry.offset + 1);
            }
            Some(disk) => disk.append(&telemetry, &self.inner.total, (kept.first > first).then_some(kept.first)),
        }
        true
    }

    /// Adds a message that was read from disk. The caller must add messages in the order of the offsets.
    pub(crate) fn restore(&self, telemetry: Telemetry) {
        let mut kept = self.kept();
        if kept.messages.is_empty() {
            kept.first = telemetry.offset;
        }
        self.inner.total.send_replace(telemetry.offset + 1);
        kept.push(Arc::new(telemetry), self.inner.max);
    }

    /// If the log is empty, makes sure that the offset of the next message is at least `offset`.
    pub(crate) fn continue_at(&self, offset: u64) {
        let mut kept = self.kept();
        if kept.messages.is_empty() && kept.first < offset {
            kept.first = offset;
            self.inner.total.send_replace(offset);
        }
    }

    /// Removes every message. While the caller holds the returned value, no message can be appended.
    pub(crate) fn empty(&self) -> Emptied<'_> {
        let mut kept = self.kept();
        kept.first = kept.next();
        kept.messages.clear();
        kept.bytes = 0;
        Emptied { kept }
    }

    /// Starts to write messages to disk. Deletes the messages on disk that the log no longer keeps.
    pub(crate) fn write_to(&self, disk: impl LogWriter + 'static) {
        disk.forget_before(self.kept().first);
        // Called once, before the log is shared.
        let _ = self.inner.disk.set(Box::new(disk));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock of a log that has just been emptied.
pub(crate) struct Emptied<'a> {
    kept: MutexGuard<'a, Kept>,
}

impl Emptied<'_> {
    /// The offset of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.kept.next()
    }
}

impl Kept {
    /// The offset of the next message.
    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    fn push(&mut self, telemetry: Arc<Telemetry>, max: usize) {
        self.bytes += weight(&telemetry);
        self.messages.push_back(telemetry);
        while self.messages.len() > max || (self.bytes > MAX_BYTES && self.messages.len() > 1) {
            if let Some(oldest) = self.messages.pop_front() {
                self.bytes -= weight(&oldest);
                self.first += 1;
            }
        }
    }
}

impl fmt::Debug for TelemetryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLog").field("total", &self.total()).finish_non_exhaustive()
    }
}

/// Reads a telemetry log message by message.
#[derive(Debug, Clone)]
pub struct TelemetryReader {
    log: TelemetryLog,
    next: u64,
    skipped: u64,
}

impl TelemetryReader {
    /// Waits for the next message and returns it. If the log has dropped messages, skips these messages and counts them
    /// in [`TelemetryReader::skipped`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Arc<Telemetry> {
        let mut total = self.log.inner.total.subscribe();
        loop {
            {
                let kept = self.log.kept();
                self.skipped += kept.first.saturating_sub(self.next);
                self.next = self.next.max(kept.first);
                let at = usize::try_from(self.next - kept.first).unwrap_or(usize::MAX);
                let is_there = self.next < self.log.total();
                if let Some(telemetry) = kept.messages.get(at).filter(|_| is_there) {
                    self.next += 1;
                    return Arc::clone(telemetry);
                }
            }
            let wanted = self.next;
            // `self` owns the sender, so the channel cannot be closed.
            let _ = total.wait_for(|it| *it > wanted).await;
        }
    }

    /// How many messages the log dropped before this reader could read them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Returns the approximate memory of a message, in bytes. The constant is an estimate for the allocations of strings
/// and lists.
fn weight(telemetry: &Telemetry) -> usize {
    size_of::<Telemetry>() + telemetry.device_id.len() + telemetry.message.size() + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(body: &str) -> Telemetry {
        let message = Message::new(body.to_owned()).property("a", "1").flag("b");
        Telemetry::new(&Arc::default(), "2024-01-02T03:04:05.0000000Z".into(), message)
    }

    fn bodies(messages: &[Arc<Telemetry>]) -> Vec<(u64, String)> {
        messages.iter().map(|it| (it.offset, it.body_text())).collect()
    }

    #[test]
    fn a_message_keeps_nothing_else_of_what_was_read() {
        let read = Bytes::from(vec![b'x'; 8192]);
        let telemetry = Telemetry::new(&Arc::default(), String::new(), Message::new(read.slice(..4)));
        assert!(read.is_unique());
        assert_eq!(telemetry.body(), b"xxxx");
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_last_one_comes() {
        let log = TelemetryLog::new(10);
        let waiter = tokio::spawn({
            let log = log.clone();
            async move { log.wait_for(2).await }
        });
        log.append(telemetry("a"));
        log.append(telemetry("b"));
        let messages = waiter.await.expect("no panic");
        assert_eq!(bodies(&messages), [(0, "a".into()), (1, "b".into())]);
        assert_eq!(messages[0].property("a"), Some(Some("1")));
        assert_eq!((messages[0].property("b"), messages[0].property("c")), (Some(None), None));
        assert_eq!(bodies(&log.from(1)), [(1, "b".into())]);
    }

    #[test]
    fn the_hub_says_who_sent_a_message() {
        let origin = |module: Option<&str>, scope, model: Option<&str>| Origin {
            device_id: "d1".into(),
            module_id: module.map(str::to_owned),
            generation_id: "638400000000000000".into(),
            scope,
            has_certificate: false,
            model_id: model.map(str::to_owned),
        };
        let stamps = |origin| {
            let telemetry = Telemetry { origin: Arc::new(origin), ..telemetry("a") };
            telemetry.stamps().into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            stamps(origin(None, "device", Some("dtmi:com:example:Thermostat;1"))),
            [
                "iothub-connection-device-id: d1",
                r#"iothub-connection-auth-method: {"scope":"device","type":"sas","issuer":"iothub"}"#,
                "iothub-connection-auth-generation-id: 638400000000000000",
                "iothub-enqueuedtime: 2024-01-02T03:04:05.0000000Z",
                "iothub-message-source: Telemetry",
                "dt-dataschema: dtmi:com:example:Thermostat;1",
            ]
        );
        let module = stamps(origin(Some("m1"), "module", None));
        assert_eq!(module[1], "iothub-connection-module-id: m1");
        assert_eq!(module[2], r#"iothub-connection-auth-method: {"scope":"module","type":"sas","issuer":"iothub"}"#);
        assert_eq!(module.len(), 6);
    }

    #[tokio::test]
    async fn the_oldest_messages_are_dropped_first_and_readers_count_them() {
        let log = TelemetryLog::new(2);
        let mut reader = log.subscribe(0);
        for body in ["a", "b", "c"] {
            log.append(telemetry(body));
        }
        assert_eq!(log.total(), 3);
        assert_eq!(bodies(&log.all()), [(1, "b".into()), (2, "c".into())]);
        assert_eq!(reader.next().await.body_text(), "b");
        assert_eq!(reader.skipped(), 1);
        assert_eq!(reader.next().await.body_text(), "c");
        let (next, ()) = tokio::join!(reader.next(), async { log.append(telemetry("d")) });
        assert_eq!(next.body_text(), "d");
    }
}
