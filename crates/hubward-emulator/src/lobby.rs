//! Places for connections. Who has not said yet what it wants, or not shown that it may, waits in a lobby
//! that holds a bounded number, and goes when newer ones come; who has gets a seat. So connections that
//! are opened and left alone, however many and wherever they stop, keep nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::Extensions;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

/// All places of an emulator.
#[derive(Debug)]
pub(crate) struct Lobby {
    waiting: Mutex<Waiting>,
    /// Somebody has left the lobby.
    left: Notify,
    seats: Arc<Semaphore>,
    most: usize,
}

/// By a number that grows, so the oldest is the first.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    guests: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

impl Waiting {
    /// Sends the oldest ones away until there are less than so many. Gives when that can go on, if one that
    /// has just come is in the way.
    fn make_room(&mut self, most: usize) -> Option<Instant> {
        while self.guests.len() >= most {
            let until = self.guests.first_key_value().map(|(_, (since, _))| *since + GRACE)?;
            if until > Instant::now() {
                return Some(until);
            }
            self.send_away();
        }
        None
    }

    /// Sends the oldest one away.
    fn send_away(&mut self) {
        if let Some((_, (_, go))) = self.guests.pop_first() {
            // One that is just ending hears it no more.
            let _ = go.send(());
        }
    }
}

impl Lobby {
    /// With so many seats.
    pub(crate) fn new(seats: usize) -> Arc<Self> {
        let seats = seats.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            waiting: Mutex::default(),
            left: Notify::new(),
            seats: Arc::new(Semaphore::new(seats)),
            most: seats.min(MOST),
        })
    }

    /// Lets a connection in. If the lobby is full, the oldest one has to go, unless it has just come:
    /// then this waits, so that a crowd of honest ones is served one after the other.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn enter(self: &Arc<Self>) -> Guest {
        loop {
            let left = self.left.notified();
            let until = {
                let mut waiting = self.lock();
                match waiting.make_room(self.most) {
                    Some(until) => until,
                    None => return self.admit(&mut waiting),
                }
            };
            tokio::select! {
                () = left => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Sends so many away, the oldest first.
    pub(crate) fn evict(&self, count: usize) {
        let mut waiting = self.lock();
        for _ in 0..count {
            waiting.send_away();
        }
    }

    fn admit(self: &Arc<Self>, waiting: &mut Waiting) -> Guest {
        let (go, evicted) = oneshot::channel();
        waiting.next += 1;
        waiting.guests.insert(waiting.next, (Instant::now(), go));
        let place = Place { lobby: Arc::clone(self), state: Mutex::new(State::Waiting(waiting.next)) };
        Guest { place: Arc::new(place), evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) place: Arc<Place>,
    evicted: oneshot::Receiver<()>,
}

impl Guest {
    /// Returns when the connection has to go.
    pub(crate) async fn evicted(self) {
        if self.evicted.await.is_err() {
            // It is served to its end.
            std::future::pending().await
        }
    }
}

/// Where a connection is.
#[derive(Debug)]
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(u64),
    /// Keeps what could send it away.
    Seated(Option<oneshot::Sender<()>>),
}

impl Place {
    /// Takes a seat; waits for one as long as all are taken, and may be sent away meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn sit(self: &Arc<Self>) -> Option<Seat> {
        let permit = Arc::clone(&self.lobby.seats).acquire_owned().await.ok()?;
        let mut state = self.lock();
        if let State::Waiting(number) = *state {
            let (_, go) = self.lobby.lock().guests.remove(&number)?;
            *state = State::Seated(Some(go));
            self.lobby.left.notify_waiters();
        }
        drop(state);
        Some(Seat { place: Arc::clone(self), _permit: permit })
    }

    /// Goes back to the lobby, as the newest of those who wait. Those who have just come stay: then there
    /// are a few more, and nobody new is let in before they are gone.
    fn stand_up(&self) {
        let mut state = self.lock();
        let State::Seated(go) = &mut *state else { return };
        let Some(go) = go.take() else { return };
        let mut waiting = self.lobby.lock();
        let _ = waiting.make_room(self.lobby.most);
        waiting.next += 1;
        let number = waiting.next;
        waiting.guests.insert(number, (Instant::now(), go));
        *state = State::Waiting(number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let State::Waiting(number) = *self.lock() {
            self.lobby.lock().guests.remove(&number);
            self.lobby.left.notify_waiters();
        }
    }
}

/// A seat among those that are served. Dropping it puts the connection back into the lobby.
#[derive(Debug)]
pub(crate) struct Seat {
    place: Arc<Place>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.place.stand_up();
    }
}

/// A request's way to a seat, which it takes with it in its extensions: whoever answers the request knows
/// when it is complete and may be served. The seat is given back when the last clone is gone.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    place: Arc<Place>,
    seat: Arc<OnceCell<Seat>>,
}

impl Way {
    pub(crate) fn new(place: &Arc<Place>) -> Self {
        Self { place: Arc::clone(place), seat: Arc::default() }
    }

    /// As [`Place::sit`], once: who has a seat already does not wait for a second one.
    pub(crate) async fn sit(&self) {
        // Without one it was sent away.
        let _ = self.seat.get_or_try_init(|| async { self.place.sit().await.ok_or(()) }).await;
    }
}

/// Takes a seat for a request, if it is one that has a [`Way`].
pub(crate) async fn sit(extensions: &Extensions) {
    if let Some(way) = extensions.get::<Way>() {
        way.sit().await;
    }
}

/// Most connections in the lobby.
const MOST: usize = 2048;

/// How long nobody is sent away.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    async fn is_evicted(guest: Guest) -> bool {
        timeout(Duration::from_millis(1), guest.evicted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_first_and_none_before_its_time() {
        let lobby = Lobby::new(2);
        let (first, second) = (lobby.enter().await, lobby.enter().await);
        assert!(timeout(GRACE / 2, lobby.enter()).await.is_err(), "the oldest has just come");
        let third = timeout(GRACE, lobby.enter()).await.expect("a place");
        assert!(is_evicted(first).await);
        assert!(!is_evicted(second).await);
        assert!(!is_evicted(third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_makes_room_at_once() {
        let lobby = Lobby::new(1);
        let first = lobby.enter().await;
        let started = Instant::now();
        let mut entering = JoinSet::new();
        entering.spawn(async move { lobby.enter().await });
        tokio::task::yield_now().await;
        drop(first);
        entering.join_next().await.expect("a task").expect("a place");
        assert_eq!(Instant::now(), started);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_seat_stays_however_many_come() {
        let lobby = Lobby::new(3);
        let guest = lobby.enter().await;
        let seat = guest.place.sit().await.expect("a seat");
        let mut crowd = Vec::new();
        for _ in 0..50 {
            sleep(GRACE).await;
            crowd.push(lobby.enter().await);
        }
        assert_eq!(lobby.lock().guests.len(), 3);
        let place = Arc::clone(&guest.place);
        assert!(!is_evicted(guest).await);
        drop((seat, place));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_up_is_the_newest_in_the_lobby() {
        let lobby = Lobby::new(3);
        let guest = lobby.enter().await;
        let seat = guest.place.sit().await.expect("a seat");
        let others = [lobby.enter().await, lobby.enter().await, lobby.enter().await];
        sleep(GRACE).await;
        drop(seat);
        assert_eq!(lobby.lock().guests.len(), 3, "one had to go for it");
        let [first, second, third] = others;
        assert!(is_evicted(first).await);
        lobby.evict(2);
        assert!(is_evicted(second).await);
        assert!(is_evicted(third).await);
        assert!(!is_evicted(guest).await, "it was not its turn");
        assert_eq!(lobby.lock().guests.len(), 0, "it has gone by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_stays_when_somebody_stands_up() {
        let lobby = Lobby::new(2);
        let guest = lobby.enter().await;
        let seat = guest.place.sit().await.expect("a seat");
        let (second, third) = (lobby.enter().await, lobby.enter().await);
        drop(seat);
        assert!(timeout(GRACE / 2, lobby.enter()).await.is_err(), "three are too many for a fourth");
        let fourth = lobby.enter().await;
        assert_eq!(lobby.lock().guests.len(), 2);
        assert!(is_evicted(second).await && is_evicted(third).await);
        assert!(!is_evicted(fourth).await && !is_evicted(guest).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_one_seat_however_often_it_sits_down() {
        let lobby = Lobby::new(1);
        let guest = lobby.enter().await;
        let way = Way::new(&guest.place);
        for _ in 0..2 {
            timeout(GRACE, way.sit()).await.expect("the only seat is its own");
        }
        assert!(lobby.lock().guests.is_empty(), "and it keeps it");
        drop(way);
        assert_eq!(lobby.lock().guests.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_waited_for_and_who_waits_may_be_sent_away() {
        let lobby = Lobby::new(1);
        let first = lobby.enter().await;
        let seat = first.place.sit().await.expect("a seat");
        let second = lobby.enter().await;
        let place = Arc::clone(&second.place);
        assert!(timeout(GRACE * 60, place.sit()).await.is_err(), "the only one is taken");
        lobby.evict(1);
        assert!(is_evicted(second).await);
        drop((seat, first));
        assert!(place.sit().await.is_none(), "it was sent away");
    }
}
