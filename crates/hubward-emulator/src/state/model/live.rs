//! The open connections, with a channel to each of them. Through this channel, other parts of the emulator can send
//! something to the client, or end the connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::state::clock::timestamp;

/// Maximum number of queued publishes for a busy connection.
const PUSHES: usize = 256;

/// The identity of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A registration id in lower case.
    Dps(String),
    /// The name of a hub in lower case, and the client id: `{device}` or `{device}/{module}`.
    Hub(String, String),
}

impl Key {
    /// Returns the key of a device or module at a hub. `hub` may have any letter case.
    pub(crate) fn hub(hub: &str, client_id: &str) -> Self {
        Self::Hub(hub.to_ascii_lowercase(), client_id.to_owned())
    }
}

/// The reason why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The same identity connected again.
    TakenOver,
    /// The device was disabled or deleted.
    NotAllowed,
    /// A test or an operator closed the connection.
    Dropped,
}

/// The subscriptions of a connected client. Contains only the subscriptions that other parts of the emulator use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions {
    /// Changes of desired properties.
    pub(crate) desired: bool,
    /// Direct methods.
    pub(crate) methods: bool,
}

/// A publish that a connection must send to its client.
#[derive(Debug)]
pub(crate) enum Push {
    /// Desired properties have changed.
    Desired {
        /// The version after the change.
        version: u64,
        /// The change, with `$version`.
        body: Bytes,
    },
    /// A direct method is called.
    Method(MethodCall),
}

/// A call of a direct method.
#[derive(Debug)]
pub(crate) struct MethodCall {
    pub(crate) name: String,
    /// JSON, or empty.
    pub(crate) payload: Bytes,
    pub(crate) outcome: MethodOutcomeSender,
}

/// Sends the outcome of a call to the caller. If this sender is dropped without a value, the caller gets the error that
/// the connection has ended.
pub(crate) type MethodOutcomeSender = oneshot::Sender<MethodOutcome>;

/// The outcome of a call that reached a connection.
#[derive(Debug)]
pub(crate) enum MethodOutcome {
    /// The device has responded.
    Response {
        /// The status that the device chose.
        status: i32,
        body: Bytes,
    },
    /// The device has unsubscribed from methods.
    NotSubscribed,
    /// Too many calls wait for the device.
    TooMany,
}

/// The receiving ends of the channels to a connection.
#[derive(Debug)]
pub(crate) struct ConnectionChannels {
    /// Distinguishes this connection from others of the same identity.
    pub(crate) number: u64,
    /// Receives the reason when the connection must end.
    pub(crate) ended: oneshot::Receiver<EndReason>,
    /// Receives the publishes for the client.
    pub(crate) pushes: mpsc::Receiver<Push>,
    /// Notified when the queue of this identity may contain a message.
    pub(crate) queue_changed: Arc<Notify>,
    /// The connection records the activity of its client here.
    pub(crate) activity: Arc<Activity>,
}

/// When a client was last active, and whether its connection must end. Other code reads these values often, so they are
/// not behind the lock of the store.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// The time in microseconds since 1970; 0 means never.
    at: AtomicU64,
    over: AtomicBool,
}

impl Activity {
    pub(crate) fn note(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.at.store(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns whether the connection must end. The result may be `true` before the connection receives the reason.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Returns the time in the service's format. Returns `None` if the client was never active.
    pub(crate) fn shown(&self) -> Option<String> {
        let at = self.at.load(Ordering::Relaxed);
        let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(at)).filter(|_| at > 0);
        moment.map(timestamp)
    }
}

/// The sending ends of [`ConnectionChannels`].
#[derive(Debug)]
struct LiveConnection {
    number: u64,
    end: oneshot::Sender<EndReason>,
    pushes: mpsc::Sender<Push>,
    queue_changed: Arc<Notify>,
    activity: Arc<Activity>,
    subscriptions: Subscriptions,
}

impl LiveConnection {
    fn close(self, why: EndReason) {
        self.activity.over.store(true, Ordering::Relaxed);
        // Ignore the error: the connection is already ending.
        let _ = self.end.send(why);
    }
}

/// The open connections, at most one for each identity.
#[derive(Debug, Default)]
pub(crate) struct Live {
    next: u64,
    connections: HashMap<Key, LiveConnection>,
}

impl Live {
    /// Adds a new connection. Tells an older connection of the same identity to end.
    pub(crate) fn begin(&mut self, key: Key, subscriptions: Subscriptions) -> ConnectionChannels {
        self.close(&key, EndReason::TakenOver);
        self.next += 1;
        let number = self.next;
        let (end, ended) = oneshot::channel();
        let (to_push, pushes) = mpsc::channel(PUSHES);
        let (queue_changed, activity) = (Arc::new(Notify::new()), Arc::new(Activity::default()));
        self.connections.insert(
            key,
            LiveConnection {
                number,
                end,
                pushes: to_push,
                queue_changed: Arc::clone(&queue_changed),
                activity: Arc::clone(&activity),
                subscriptions,
            },
        );
        ConnectionChannels { number, ended, pushes, queue_changed, activity }
    }

    /// Removes a connection that has ended. Does nothing if a newer connection has replaced it.
    pub(crate) fn end(&mut self, key: &Key, number: u64) {
        if self.connections.get(key).is_some_and(|it| it.number == number) {
            self.connections.remove(key);
        }
    }

    /// Records the subscriptions of a connection. Does nothing if a newer connection has replaced it.
    pub(crate) fn subscribed(&mut self, key: &Key, number: u64, subscriptions: Subscriptions) {
        if let Some(connection) = self.connections.get_mut(key).filter(|it| it.number == number) {
            connection.subscriptions = subscriptions;
        }
    }

    /// Returns the subscriptions of the connection of an identity. Returns `None` if the identity is not connected.
    pub(crate) fn subscriptions(&self, key: &Key) -> Option<Subscriptions> {
        self.connections.get(key).map(|it| it.subscriptions)
    }

    /// When the client of an identity was last active.
    pub(crate) fn activity(&self, key: &Key) -> Option<String> {
        self.connections.get(key)?.activity.shown()
    }

    /// Sends `push` to the connection of an identity. If the identity is not connected or the channel is full, returns
    /// `push` as the error.
    pub(crate) fn push(&self, key: &Key, push: Push) -> Result<(), Push> {
        match self.connections.get(key) {
            None => Err(push),
            Some(connection) => connection.pushes.try_send(push).map_err(mpsc::error::TrySendError::into_inner),
        }
    }

    /// Notifies the connection of an identity that the queue of this identity may contain a message.
    pub(crate) fn notify_queue(&self, key: &Key) {
        if let Some(connection) = self.connections.get(key) {
            connection.queue_changed.notify_one();
        }
    }

    /// Tells the connection of an identity to end. Returns whether the identity was connected.
    pub(crate) fn close(&mut self, key: &Key, why: EndReason) -> bool {
        let Some(connection) = self.connections.remove(key) else { return false };
        connection.close(why);
        true
    }

    /// Tells every connection to end.
    pub(crate) fn close_all(&mut self, why: EndReason) {
        self.connections.drain().for_each(|(_, connection)| connection.close(why));
    }

    /// Returns the number of connected devices and modules of a hub. `hub` is in lower case.
    #[cfg(feature = "admin")]
    pub(crate) fn at_hub(&self, hub: &str) -> usize {
        self.connections.keys().filter(|it| matches!(it, Key::Hub(name, _) if name == hub)).count()
    }

    pub(crate) fn is_live(&self, key: &Key) -> bool {
        self.connections.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_connection_replaces_an_older_one() {
        let mut live = Live::default();
        let key = Key::Hub("hub".into(), "d1".into());
        let first = live.begin(key.clone(), Subscriptions::default());
        let mut second = live.begin(key.clone(), Subscriptions::default());
        assert_eq!(first.ended.await, Ok(EndReason::TakenOver));
        live.end(&key, first.number);
        assert!(live.is_live(&key), "the end of the old one is not the end of the new one");
        assert!(second.ended.try_recv().is_err());
        live.end(&key, second.number);
        assert!(!live.is_live(&key));
    }

    #[tokio::test]
    async fn a_stalled_connection_loses_pushes_and_blocks_no_other() {
        let mut live = Live::default();
        let key = Key::Hub("hub".into(), "d1".into());
        let push = |version| Push::Desired { version, body: Default::default() };
        assert!(live.push(&key, push(0)).is_err(), "the client is not connected");
        let mut channels = live.begin(key.clone(), Subscriptions::default());
        let taken = (0..300).filter(|it| live.push(&key, push(*it)).is_ok()).count();
        assert_eq!(taken, PUSHES);
        assert!(matches!(channels.pushes.recv().await, Some(Push::Desired { version: 0, .. })));
        live.notify_queue(&key);
        channels.queue_changed.notified().await;
        drop(channels);
        assert!(live.push(&key, push(0)).is_err(), "it is just ending");
    }
}
