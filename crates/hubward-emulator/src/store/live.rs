//! Who is connected, and the wire by which a connection is told to end.

use std::collections::HashMap;

use tokio::sync::oneshot;

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
}

/// At most one connection of each identity.
#[derive(Debug, Default)]
pub(crate) struct Live {
    next: u64,
    connections: HashMap<Key, (u64, oneshot::Sender<Why>)>,
}

impl Live {
    /// Notes a new connection and tells an older one of the same identity to end. The receiver
    /// hears when the new one has to.
    pub(crate) fn begin(&mut self, key: Key) -> (u64, oneshot::Receiver<Why>) {
        self.close(&key, Why::TakenOver);
        self.next += 1;
        let (end, ended) = oneshot::channel();
        self.connections.insert(key, (self.next, end));
        (self.next, ended)
    }

    /// Forgets a connection that has ended, unless a newer one has taken its place.
    pub(crate) fn end(&mut self, key: &Key, number: u64) {
        if self.connections.get(key).is_some_and(|(it, _)| *it == number) {
            self.connections.remove(key);
        }
    }

    /// Tells the connection of an identity to end, if there is one.
    pub(crate) fn close(&mut self, key: &Key, why: Why) {
        if let Some((_, end)) = self.connections.remove(key) {
            // A connection that is just ending hears it no more.
            let _ = end.send(why);
        }
    }

    pub(crate) fn is_live(&self, key: &Key) -> bool {
        self.connections.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newer_connection_wins() {
        let mut live = Live::default();
        let key = Key::Hub("hub".into(), "d1".into());
        let (first, ended) = live.begin(key.clone());
        let (second, mut still) = live.begin(key.clone());
        assert_eq!(ended.await, Ok(Why::TakenOver));
        live.end(&key, first);
        assert!(live.is_live(&key), "the end of the old one is not the end of the new one");
        assert!(still.try_recv().is_err());
        live.end(&key, second);
        assert!(!live.is_live(&key));
    }
}
