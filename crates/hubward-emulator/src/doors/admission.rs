//! Admission of connections. The emulator serves a bounded number of connections at a time. Each served connection
//! holds a slot.
//!
//! A connection is pending until it has sent a complete request and has authenticated. The number of pending
//! connections is bounded too.
//!
//! If too many connections are pending, a new connection evicts the oldest pending one. Idle clients therefore cannot
//! keep other clients out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::Extensions;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

/// Maximum number of pending connections.
const MAX_PENDING: usize = 2048;

/// How long a new connection is safe from eviction.
const GRACE: Duration = Duration::from_secs(1);

/// The slots and the pending connections of a group of listeners.
#[derive(Debug)]
pub(crate) struct Admission {
    pending: Mutex<Pending>,
    /// Notified when a connection is no longer pending.
    room: Notify,
    slots: Arc<Semaphore>,
    max_pending: usize,
}

/// The pending connections by number. Each new connection gets a higher number, so the oldest connection comes first.
#[derive(Debug, Default)]
struct Pending {
    last_number: u64,
    connections: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

impl Pending {
    /// Evicts the oldest connections until fewer than `max` are left, and returns `None`.
    ///
    /// Stops at the first connection that is still within [`GRACE`], and returns the end of the grace period of this
    /// connection.
    fn make_room(&mut self, max: usize) -> Option<Instant> {
        while self.connections.len() >= max {
            let until = self.connections.first_key_value().map(|(_, (since, _))| *since + GRACE)?;
            if until > Instant::now() {
                return Some(until);
            }
            self.evict_oldest();
        }
        None
    }

    fn evict_oldest(&mut self) {
        if let Some((_, (_, evict))) = self.connections.pop_first() {
            // Fails if the connection has just ended.
            let _ = evict.send(());
        }
    }

    /// Adds a connection as the newest one and returns its number.
    fn insert(&mut self, evict: oneshot::Sender<()>) -> u64 {
        self.last_number += 1;
        self.connections.insert(self.last_number, (Instant::now(), evict));
        self.last_number
    }
}

impl Admission {
    /// Admission with `slots` slots.
    pub(crate) fn new(slots: usize) -> Arc<Self> {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            pending: Mutex::default(),
            room: Notify::new(),
            slots: Arc::new(Semaphore::new(slots)),
            max_pending: slots.min(MAX_PENDING),
        })
    }

    /// Adds a pending connection. If too many connections are pending, first evicts the oldest one.
    ///
    /// If the oldest connection is still within its grace period ([`GRACE`]), waits until this period is over, or until
    /// another connection is no longer pending.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn admit(self: &Arc<Self>) -> PendingConnection {
        loop {
            let room = self.room.notified();
            let until = {
                let mut pending = self.lock();
                match pending.make_room(self.max_pending) {
                    Some(until) => until,
                    None => return self.add(&mut pending),
                }
            };
            tokio::select! {
                () = room => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Evicts up to `count` pending connections, the oldest first.
    pub(crate) fn evict(&self, count: usize) {
        let mut pending = self.lock();
        for _ in 0..count {
            pending.evict_oldest();
        }
    }

    fn add(self: &Arc<Self>, pending: &mut Pending) -> PendingConnection {
        let (evict, evicted) = oneshot::channel();
        let state = Mutex::new(State::Pending(pending.insert(evict)));
        PendingConnection { entry: Arc::new(ConnectionEntry { admission: Arc::clone(self), state }), evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A newly accepted connection.
#[derive(Debug)]
pub(crate) struct PendingConnection {
    pub(crate) entry: Arc<ConnectionEntry>,
    evicted: oneshot::Receiver<()>,
}

impl PendingConnection {
    /// Waits until the connection is evicted. The caller must then end the connection.
    pub(crate) async fn evicted(self) {
        if self.evicted.await.is_err() {
            // The entry has been dropped, so the connection has ended.
            std::future::pending().await
        }
    }
}

/// The entry of a connection in its [`Admission`]. The connection is either pending or holds a slot.
#[derive(Debug)]
pub(crate) struct ConnectionEntry {
    admission: Arc<Admission>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Pending(u64),
    /// The connection holds a slot, so it cannot be evicted. A pending connection is evicted through the sender, so the
    /// sender is kept here for later. When the connection becomes pending again, the sender moves to
    /// [`Pending::connections`].
    Serving(Option<oneshot::Sender<()>>),
}

impl ConnectionEntry {
    /// Acquires a slot. If all slots are taken, waits for a free slot. During the wait, the connection stays pending.
    /// Returns `None` if the connection has been evicted.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn acquire_slot(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.admission.slots).acquire_owned().await.ok()?;
        let mut state = self.lock();
        if let State::Pending(number) = *state {
            let (_, evict) = self.admission.lock().connections.remove(&number)?;
            *state = State::Serving(Some(evict));
            self.admission.room.notify_waiters();
        }
        drop(state);
        Some(Slot { entry: Arc::clone(self), _permit: permit })
    }

    /// Makes the connection pending again, as the newest one. If too many connections are pending, evicts older ones,
    /// except those within [`GRACE`].
    ///
    /// Does not wait, so the number of pending connections may exceed the maximum. `admit` then waits until fewer
    /// connections are pending.
    fn release_slot(&self) {
        let mut state = self.lock();
        let State::Serving(evict) = &mut *state else { return };
        let Some(evict) = evict.take() else { return };
        let mut pending = self.admission.lock();
        let _ = pending.make_room(self.admission.max_pending);
        *state = State::Pending(pending.insert(evict));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        if let State::Pending(number) = *self.lock() {
            self.admission.lock().connections.remove(&number);
            self.admission.room.notify_waiters();
        }
    }
}

/// Permission to be served. Dropping it makes the connection pending again.
#[derive(Debug)]
pub(crate) struct Slot {
    entry: Arc<ConnectionEntry>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.entry.release_slot();
    }
}

/// The slot of an HTTP request, kept in the extensions of the request. Dropping the last clone releases the slot.
///
/// The handler acquires the slot as soon as it knows that the request is complete and allowed.
#[derive(Debug, Clone)]
pub(crate) struct RequestSlot {
    entry: Arc<ConnectionEntry>,
    slot: Arc<OnceCell<Slot>>,
}

impl RequestSlot {
    pub(crate) fn new(entry: &Arc<ConnectionEntry>) -> Self {
        Self { entry: Arc::clone(entry), slot: Arc::default() }
    }

    /// If the request has no slot yet, calls [`ConnectionEntry::acquire_slot`].
    pub(crate) async fn acquire(&self) {
        // `None`: the connection has been evicted.
        let _ = self.slot.get_or_try_init(|| async { self.entry.acquire_slot().await.ok_or(()) }).await;
    }
}

/// Acquires the slot of a request. Does nothing if `extensions` contain no [`RequestSlot`].
pub(crate) async fn acquire_slot(extensions: &Extensions) {
    if let Some(slot) = extensions.get::<RequestSlot>() {
        slot.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    async fn is_evicted(connection: PendingConnection) -> bool {
        timeout(Duration::from_millis(1), connection.evicted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn evicts_the_oldest_first_and_only_after_its_grace_period() {
        let admission = Admission::new(2);
        let (first, second) = (admission.admit().await, admission.admit().await);
        assert!(timeout(GRACE / 2, admission.admit()).await.is_err(), "the oldest is within its grace period");
        let third = timeout(GRACE, admission.admit()).await.expect("admitted");
        assert!(is_evicted(first).await);
        assert!(!is_evicted(second).await);
        assert!(!is_evicted(third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_makes_room_at_once() {
        let admission = Admission::new(1);
        let first = admission.admit().await;
        let started = Instant::now();
        let mut admitting = JoinSet::new();
        admitting.spawn(async move { admission.admit().await });
        tokio::task::yield_now().await;
        drop(first);
        admitting.join_next().await.expect("a task").expect("admitted");
        assert_eq!(Instant::now(), started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_slot_is_never_evicted() {
        let admission = Admission::new(3);
        let served = admission.admit().await;
        let slot = served.entry.acquire_slot().await.expect("a slot");
        let mut others = Vec::new();
        for _ in 0..50 {
            sleep(GRACE).await;
            others.push(admission.admit().await);
        }
        assert_eq!(admission.lock().connections.len(), 3);
        let entry = Arc::clone(&served.entry);
        assert!(!is_evicted(served).await);
        drop((slot, entry));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_releases_its_slot_becomes_the_newest_pending_one() {
        let admission = Admission::new(3);
        let served = admission.admit().await;
        let slot = served.entry.acquire_slot().await.expect("a slot");
        let others = [admission.admit().await, admission.admit().await, admission.admit().await];
        sleep(GRACE).await;
        drop(slot);
        assert_eq!(admission.lock().connections.len(), 3, "the oldest was evicted for it");
        let [first, second, third] = others;
        assert!(is_evicted(first).await);
        admission.evict(2);
        assert!(is_evicted(second).await);
        assert!(is_evicted(third).await);
        assert!(!is_evicted(served).await, "it is the newest");
        assert_eq!(admission.lock().connections.len(), 0, "its entry has been dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_slot_evicts_no_connection_within_its_grace_period() {
        let admission = Admission::new(2);
        let served = admission.admit().await;
        let slot = served.entry.acquire_slot().await.expect("a slot");
        let (second, third) = (admission.admit().await, admission.admit().await);
        drop(slot);
        assert!(timeout(GRACE / 2, admission.admit()).await.is_err(), "three pending leave no room for a fourth");
        let fourth = admission.admit().await;
        assert_eq!(admission.lock().connections.len(), 2);
        assert!(is_evicted(second).await && is_evicted(third).await);
        assert!(!is_evicted(fourth).await && !is_evicted(served).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_one_slot_however_often_it_acquires_it() {
        let admission = Admission::new(1);
        let connection = admission.admit().await;
        let slot = RequestSlot::new(&connection.entry);
        for _ in 0..2 {
            timeout(GRACE, slot.acquire()).await.expect("it has the only slot already");
        }
        assert!(admission.lock().connections.is_empty(), "it keeps the slot");
        drop(slot);
        assert_eq!(admission.lock().connections.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waits_for_a_slot_can_be_evicted() {
        let admission = Admission::new(1);
        let first = admission.admit().await;
        let slot = first.entry.acquire_slot().await.expect("a slot");
        let second = admission.admit().await;
        let entry = Arc::clone(&second.entry);
        assert!(timeout(GRACE * 60, entry.acquire_slot()).await.is_err(), "the only slot is taken");
        admission.evict(1);
        assert!(is_evicted(second).await);
        drop((slot, first));
        assert!(entry.acquire_slot().await.is_none(), "it has been evicted");
    }
}
