//! Who is connected, and the wires by which a connection is told to publish something, or to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};

use super::Session;
use crate::clock::timestamp;
use crate::hub::Push;

/// Whose connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A registration id in lower case.
    Dps(String),
    /// A hub's name in lower case, and a device id.
    Hub(String, String),
}

/// Why a connection is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The same identity has connected again.
    TakenOver,
    /// The device has been disabled or deleted.
    NotAllowed,
    /// A test wants it to.
    Dropped,
}

/// What a connection hears.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Tells this connection from others of the same identity.
    pub(crate) number: u64,
    /// That it has to end.
    pub(crate) ended: oneshot::Receiver<Why>,
    /// What it is to publish.
    pub(crate) pushes: mpsc::Receiver<Push>,
    /// That a queue of the store may hold something for it.
    pub(crate) look: Arc<Notify>,
    /// Where it notes that its client does something.
    pub(crate) activity: Arc<Activity>,
}

/// When a client has last done something, and whether it still may. Outside of the store's lock, since it is
/// looked at often.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// In microseconds since 1970; 0 for never.
    at: AtomicU64,
    over: AtomicBool,
}

impl Activity {
    pub(crate) fn note(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.at.store(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the connection was told to end, be it that it has not heard so yet.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// As the service writes it, if there was any.
    pub(crate) fn shown(&self) -> Option<String> {
        let at = self.at.load(Ordering::Relaxed);
        let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(at)).filter(|_| at > 0);
        moment.map(timestamp)
    }
}

/// The other end of [`Wires`].
#[derive(Debug)]
struct Line {
    number: u64,
    end: oneshot::Sender<Why>,
    pushes: mpsc::Sender<Push>,
    look: Arc<Notify>,
    activity: Arc<Activity>,
    /// What the client has subscribed to.
    filters: Session,
}

impl Line {
    fn close(self, why: Why) {
        self.activity.over.store(true, Ordering::Relaxed);
        // A connection that is just ending hears it no more.
        let _ = self.end.send(why);
    }
}

/// At most one connection of each identity.
#[derive(Debug, Default)]
pub(crate) struct Live {
    next: u64,
    connections: HashMap<Key, Line>,
}

impl Live {
    /// Notes a new connection and tells an older one of the same identity to end.
    pub(crate) fn begin(&mut self, key: Key, filters: Session) -> Wires {
        self.close(&key, Why::TakenOver);
        self.next += 1;
        let number = self.next;
        let (end, ended) = oneshot::channel();
        let (to_push, pushes) = mpsc::channel(PUSHES);
        let (look, activity) = (Arc::new(Notify::new()), Arc::new(Activity::default()));
        self.connections.insert(
            key,
            Line { number, end, pushes: to_push, look: Arc::clone(&look), activity: Arc::clone(&activity), filters },
        );
        Wires { number, ended, pushes, look, activity }
    }

    /// Forgets a connection that has ended, unless a newer one has taken its place.
    pub(crate) fn end(&mut self, key: &Key, number: u64) {
        if self.connections.get(key).is_some_and(|it| it.number == number) {
            self.connections.remove(key);
        }
    }

    /// Notes what a connection has subscribed to, unless a newer one has taken its place.
    pub(crate) fn subscribed(&mut self, key: &Key, number: u64, filters: &Session) {
        if let Some(line) = self.connections.get_mut(key).filter(|it| it.number == number) {
            line.filters.clone_from(filters);
        }
    }

    /// What the connection of an identity has subscribed to; `None` if there is none.
    pub(crate) fn filters(&self, key: &Key) -> Option<&Session> {
        self.connections.get(key).map(|it| &it.filters)
    }

    /// When the connection of an identity has last done something.
    pub(crate) fn activity(&self, key: &Key) -> Option<String> {
        self.connections.get(key)?.activity.shown()
    }

    /// Gives the connection of an identity something to publish. It comes back if there is no
    /// connection, or one that does not take what it is given.
    pub(crate) fn push(&self, key: &Key, push: Push) -> Result<(), Push> {
        match self.connections.get(key) {
            None => Err(push),
            Some(line) => line.pushes.try_send(push).map_err(mpsc::error::TrySendError::into_inner),
        }
    }

    /// Tells the connection of an identity that a queue of the store may hold something for it.
    pub(crate) fn look(&self, key: &Key) {
        if let Some(line) = self.connections.get(key) {
            line.look.notify_one();
        }
    }

    /// Tells the connection of an identity to end; whether there was one.
    pub(crate) fn close(&mut self, key: &Key, why: Why) -> bool {
        let Some(line) = self.connections.remove(key) else { return false };
        line.close(why);
        true
    }

    /// Tells every connection to end.
    pub(crate) fn close_all(&mut self, why: Why) {
        self.connections.drain().for_each(|(_, line)| line.close(why));
    }

    /// How many devices and modules of a hub (its name in lower case) are connected.
    #[cfg(feature = "admin")]
    pub(crate) fn at_hub(&self, hub: &str) -> usize {
        self.connections.keys().filter(|it| matches!(it, Key::Hub(name, _) if name == hub)).count()
    }

    pub(crate) fn is_live(&self, key: &Key) -> bool {
        self.connections.contains_key(key)
    }
}

/// How much may wait for a connection that is busy.
const PUSHES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newer_connection_wins() {
        let mut live = Live::default();
        let key = Key::Hub("hub".into(), "d1".into());
        let first = live.begin(key.clone(), Session::default());
        let mut second = live.begin(key.clone(), Session::default());
        assert_eq!(first.ended.await, Ok(Why::TakenOver));
        live.end(&key, first.number);
        assert!(live.is_live(&key), "the end of the old one is not the end of the new one");
        assert!(second.ended.try_recv().is_err());
        live.end(&key, second.number);
        assert!(!live.is_live(&key));
    }

    #[tokio::test]
    async fn a_connection_that_takes_nothing_loses_pushes_and_holds_nobody_up() {
        let mut live = Live::default();
        let key = Key::Hub("hub".into(), "d1".into());
        let push = |version| Push::Desired { version, body: Default::default() };
        assert!(live.push(&key, push(0)).is_err(), "nobody is there");
        let mut wires = live.begin(key.clone(), Session::default());
        let taken = (0..300).filter(|it| live.push(&key, push(*it)).is_ok()).count();
        assert_eq!(taken, PUSHES);
        assert!(matches!(wires.pushes.recv().await, Some(Push::Desired { version: 0, .. })));
        live.look(&key);
        wires.look.notified().await;
        drop(wires);
        assert!(live.push(&key, push(0)).is_err(), "it is just ending");
    }
}
