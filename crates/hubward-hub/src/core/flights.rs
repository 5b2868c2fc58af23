//! Stores the messages that were written and are not acknowledged yet, in numbered slots. The number of a message's
//! slot determines the message's tag on the wire. A message keeps its tag across connections.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use hubward_transport::Tag;
use tokio::time::Instant;

/// A message in flight.
#[derive(Debug)]
struct Flight<T> {
    /// The message. `None` if its receipt was resolved without an acknowledgement, for example at its deadline. The tag
    /// then stays in use, because the hub may still acknowledge it on this connection.
    message: Option<T>,
    deadline: Option<Instant>,
    /// The message's position in the order of first transmissions.
    order: u64,
    /// When the message was given to this connection. `None` while the message waits to be sent again.
    sent_at: Option<Instant>,
    /// Whether a connection to the present hub has sent the message. If not, only an earlier hub may have it.
    is_at_hub: bool,
    /// Whether a connection to another hub may have sent the message.
    was_moved: bool,
}

#[derive(Debug)]
pub(crate) struct Flights<T> {
    window: u16,
    slots: Vec<Option<Flight<T>>>,
    /// Free slots. The slot that was freed first is used first, so each tag is reused as late as possible.
    ///
    /// A repeated acknowledgement of an old message therefore rarely has the tag of a newer message.
    free: VecDeque<u16>,
    /// Slots to send again on this connection, in order.
    again: VecDeque<u16>,
    taken: usize,
    unresolved: usize,
    sent: u64,
}

/// The slot of a tag.
const fn slot(tag: Tag) -> usize {
    tag.0.get() as usize - 1
}

fn tag(slot: u16) -> Tag {
    Tag(NonZeroU16::MIN.saturating_add(slot))
}

impl<T> Flights<T> {
    pub(crate) const fn new(window: u16) -> Self {
        Self {
            window,
            slots: Vec::new(),
            free: VecDeque::new(),
            again: VecDeque::new(),
            taken: 0,
            unresolved: 0,
            sent: 0,
        }
    }

    /// The number of tags in use.
    pub(crate) const fn len(&self) -> usize {
        self.taken
    }

    /// The number of unresolved receipts.
    pub(crate) const fn unresolved(&self) -> usize {
        self.unresolved
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.taken >= self.window as usize
    }

    /// Adds a message that is sent for the first time, and returns the tag for it. The message takes a slot that was
    /// never used. If there is none, it takes the slot that was freed first.
    pub(crate) fn insert(&mut self, message: T, deadline: Option<Instant>, now: Instant) -> Tag {
        debug_assert!(!self.is_full());
        let flight = Flight {
            message: Some(message),
            deadline,
            order: self.sent,
            sent_at: Some(now),
            is_at_hub: true,
            was_moved: false,
        };
        self.sent += 1;
        self.taken += 1;
        self.unresolved += 1;
        let untouched = u16::try_from(self.slots.len()).ok().filter(|it| *it < self.window);
        match untouched.or_else(|| self.free.pop_front()) {
            Some(at) if usize::from(at) < self.slots.len() => {
                self.slots[usize::from(at)] = Some(flight);
                tag(at)
            }
            at => {
                self.slots.push(Some(flight));
                tag(at.unwrap_or_default())
            }
        }
    }

    /// Returns the tag of the next message to send again, and whether an earlier connection to this hub has sent it. An
    /// earlier connection sent this message, and the current connection has not sent it yet.
    pub(crate) fn next_again(&mut self, now: Instant) -> Option<(Tag, bool)> {
        while let Some(at) = self.again.pop_front() {
            if let Some(flight) = &mut self.slots[usize::from(at)] {
                flight.sent_at = Some(now);
                return Some((tag(at), std::mem::replace(&mut flight.is_at_hub, true)));
            }
        }
        None
    }

    /// Handles a move to another hub, when no connection is left. Messages whose receipts are unresolved come first at
    /// the new hub, in the order of their first transmissions. They get new tags, because the new hub does not know the
    /// old ones.
    pub(crate) fn moved(&mut self) {
        self.lost();
        let order = std::mem::take(&mut self.again);
        let mut old = std::mem::take(&mut self.slots);
        let flights = order.into_iter().filter_map(|at| old.get_mut(usize::from(at))?.take());
        self.slots = flights.map(|it| Some(Flight { is_at_hub: false, was_moved: true, ..it })).collect();
        self.again = (0..self.window).take(self.slots.len()).collect();
        self.free = VecDeque::new();
        self.taken = self.slots.len();
    }

    /// Whether another hub may have the message under a tag.
    pub(crate) fn was_moved(&self, tag: Tag) -> bool {
        self.slots.get(slot(tag)).is_some_and(|it| it.as_ref().is_some_and(|it| it.was_moved))
    }

    /// The message under a tag, if its receipt is unresolved.
    pub(crate) fn message(&self, tag: Tag) -> Option<&T> {
        self.slots.get(slot(tag))?.as_ref()?.message.as_ref()
    }

    /// Frees a tag that the hub has acknowledged. Returns the message, if its receipt is unresolved, and the time at
    /// which this connection sent the message.
    ///
    /// Returns `None` if this connection sent no message under the tag.
    pub(crate) fn acknowledged(&mut self, tag: Tag) -> Option<(Option<T>, Instant)> {
        let place = self.slots.get_mut(slot(tag))?;
        let sent_at = place.as_ref()?.sent_at?;
        let flight = place.take()?;
        self.taken -= 1;
        self.unresolved -= usize::from(flight.message.is_some());
        self.free.push_back(tag.0.get() - 1);
        Some((flight.message, sent_at))
    }

    /// Handles the end of the connection. Messages whose receipts are unresolved keep their tags. The next connection
    /// sends these messages again, in the order of their first transmissions. All other tags are freed.
    pub(crate) fn lost(&mut self) {
        self.again.clear();
        let mut order = Vec::with_capacity(self.unresolved);
        for (at, place) in (0..).zip(&mut self.slots) {
            match place {
                Some(Flight { message: Some(_), order: place_in_order, sent_at, .. }) => {
                    *sent_at = None;
                    order.push((*place_in_order, at));
                }
                Some(_) => {
                    *place = None;
                    self.taken -= 1;
                    self.free.push_back(at);
                }
                None => {}
            }
        }
        order.sort_unstable();
        self.again.extend(order.into_iter().map(|(_, at)| at));
    }

    /// Returns when this connection sent its oldest unacknowledged message; `None` if there is no such message.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.slots.iter().flatten().filter_map(|it| it.sent_at).min()
    }

    /// Removes each message whose deadline has passed, and calls `gone` with it. Returns the earliest deadline of the
    /// remaining messages.
    pub(crate) fn expire(&mut self, now: Instant, mut gone: impl FnMut(T)) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for (at, place) in (0..).zip(&mut self.slots) {
            let Some(flight) = place else { continue };
            let Some(deadline) = flight.deadline.filter(|_| flight.message.is_some()) else { continue };
            if deadline > now {
                earliest = Some(earliest.map_or(deadline, |it| it.min(deadline)));
                continue;
            }
            if let Some(message) = flight.message.take() {
                self.unresolved -= 1;
                gone(message);
            }
            if flight.sent_at.is_none() {
                // This connection has not sent the message, so no acknowledgement can arrive for its tag. Free the tag.
                // `next_again` skips the empty slot.
                *place = None;
                self.taken -= 1;
                self.free.push_back(at);
            }
        }
        earliest
    }

    /// Removes all messages, in order.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.lost();
        let all = std::mem::take(&mut self.again);
        self.taken = 0;
        self.unresolved = 0;
        all.into_iter().filter_map(|at| self.slots[usize::from(at)].take()?.message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::now()
    }

    fn tags(flights: &mut Flights<u32>) -> Vec<u16> {
        std::iter::from_fn(|| flights.next_again(now())).map(|(tag, _)| tag.0.get()).collect()
    }

    #[test]
    fn a_tag_is_reused_as_late_as_possible() {
        let mut flights = Flights::new(3);
        let mut used = Vec::new();
        for message in 0..7 {
            let tag = flights.insert(message, None, now());
            used.push(tag.0.get());
            assert_eq!(flights.acknowledged(tag).and_then(|it| it.0), Some(message));
            assert!(flights.acknowledged(tag).is_none(), "an answer counts once");
        }
        assert_eq!(used, [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!((flights.len(), flights.unresolved()), (0, 0));
    }

    #[test]
    fn unacknowledged_messages_are_sent_again_in_the_order_of_first_transmission() {
        let mut flights = Flights::new(4);
        let first: Vec<_> = (0..4).map(|it| flights.insert(it, None, now())).collect();
        flights.acknowledged(first[1]);
        flights.acknowledged(first[0]);
        // Takes the tag of message 1, which was freed first.
        assert_eq!(flights.insert(4, None, now()).0.get(), 2);
        flights.lost();
        assert!(flights.acknowledged(first[2]).is_none(), "this connection was not given it yet");
        assert_eq!(tags(&mut flights), [3, 4, 2]);
        assert_eq!(flights.acknowledged(first[2]).and_then(|it| it.0), Some(2));
        flights.lost();
        assert_eq!(flights.drain(), [3, 4]);
        assert_eq!((flights.len(), flights.unresolved()), (0, 0));
    }

    #[test]
    fn after_a_move_unacknowledged_messages_come_first_with_new_tags_and_without_dup() {
        let mut flights = Flights::new(4);
        let tags: Vec<_> = (0..4).map(|it| flights.insert(it, None, now())).collect();
        flights.acknowledged(tags[0]);
        flights.acknowledged(tags[1]);
        // This message takes the tag of message 0.
        assert_eq!(flights.insert(4, None, now()).0.get(), 1);
        flights.lost();
        let again = |flights: &mut Flights<u32>| -> Vec<_> {
            let next = std::iter::from_fn(|| flights.next_again(now()));
            next.map(|(tag, dup)| (tag.0.get(), dup)).collect::<Vec<_>>()
        };
        assert_eq!(again(&mut flights), [(3, true), (4, true), (1, true)]);
        flights.moved();
        assert_eq!(flights.message(Tag(NonZeroU16::MIN)), Some(&2));
        assert_eq!(again(&mut flights), [(1, false), (2, false), (3, false)]);
        assert!((1..=3).all(|it| flights.was_moved(tag(it - 1))));
        let new = flights.insert(5, None, now());
        assert_eq!((new.0.get(), flights.was_moved(new), flights.is_full()), (4, false, true));
        flights.lost();
        assert_eq!(again(&mut flights), [(1, true), (2, true), (3, true), (4, true)], "the hub may know them now");
        assert_eq!(flights.drain(), [2, 3, 4, 5]);
        assert_eq!((flights.len(), flights.unresolved()), (0, 0));
    }

    #[test]
    fn an_expired_message_keeps_its_tag_until_its_acknowledgement_or_the_end_of_the_connection() {
        let soon = now();
        let later = soon + std::time::Duration::from_secs(1);
        let mut flights = Flights::new(2);
        let expired = flights.insert(0, Some(soon), soon);
        flights.insert(1, Some(later), soon);
        let mut gone = Vec::new();
        assert_eq!(flights.expire(soon, |it| gone.push(it)), Some(later));
        assert_eq!(gone, [0]);
        assert!(flights.is_full(), "the tag may still be answered");
        assert_eq!(flights.acknowledged(expired).map(|it| it.0), Some(None));
        flights.lost();
        // After the loss, the message waits to be sent again. Meanwhile no acknowledgement can arrive for its tag, so
        // the expiry resolves the message and also frees the tag.
        assert_eq!(flights.expire(later, |it| gone.push(it)), None);
        assert_eq!((gone, flights.len()), (vec![0, 1], 0));
        assert!(tags(&mut flights).is_empty());
    }
}
