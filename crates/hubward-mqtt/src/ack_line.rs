//! The line in which received messages wait for their acknowledgement. Pure.
//!
//! PUBACKs leave in the order in which the messages came (MQTT-4.6.0-2), so one that is settled waits
//! until everything that came before it is settled too. Microsoft's gateway closes a connection that
//! breaks this rule.
//!
//! Source: MQTT 3.1.1, section 4.6; `[sdk]` azure-iot-protocol-gateway, RequestAckPairProcessor.cs.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use hubward_transport::Lock;

/// Most messages in the line: far more than a hub has under way to one device, and a bound on what a
/// hostile hub makes the client remember.
///
/// The line remembers 4 bytes of each. The messages themselves belong to the caller, which has to bound
/// their bytes: it [leaves](AckLine::leave) what it cannot keep, and the hub sends that again.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md lets 50 messages wait for a device.
pub(crate) const LINE_MAX: usize = 4096;

/// What becomes of a message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It stands in the line under this lock. If it was there before, somebody left it, and gets it
    /// again.
    New(Lock),
    /// It stands in the line already, and the peer has sent it once more. Somebody has it, or it is
    /// settled.
    Again,
    /// The line was full, now or once before: this connection acknowledges nothing that comes from
    /// now on, since a gap would break the order. The hub delivers it again on the next connection.
    Left,
}

/// The messages of one connection whose PUBACK has not left yet, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct AckLine {
    places: VecDeque<Place>,
    /// The lock of the first place.
    first: u64,
    /// How many places are left.
    left: usize,
    /// Whether it was said that a settled one waits behind a left one.
    told: bool,
    /// Whether a message was turned away.
    cut: bool,
}

#[derive(Debug)]
struct Place {
    id: NonZeroU16,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Somebody has the message.
    Held,
    /// Nobody has it: it is told again if it comes again.
    Left,
    Settled,
}

impl AckLine {
    /// A message has come that wants an acknowledgement.
    ///
    /// A packet id belongs to one message until its PUBACK (MQTT-2.3.1-4). With DUP an id in the line
    /// is that message once more: in its old place, if it was left there. Without DUP the peer breaks
    /// the rule: then both are messages, and the id is acknowledged when both are settled, so that
    /// nothing is acknowledged unread.
    pub(crate) fn on_arrival(&mut self, id: NonZeroU16, dup: bool) -> Arrival {
        if dup && self.places.iter().any(|it| it.id == id) {
            let left = |it: &Place| it.id == id && it.standing == Standing::Left;
            let Some(at) = self.places.iter().position(left) else { return Arrival::Again };
            self.places[at].standing = Standing::Held;
            self.left -= 1;
            self.told &= self.left > 0;
            return Arrival::New(Lock(self.first + at as u64));
        }
        self.cut |= self.places.len() >= LINE_MAX;
        if self.cut {
            return Arrival::Left;
        }
        let lock = Lock(self.first + self.places.len() as u64);
        self.places.push_back(Place { id, standing: Standing::Held });
        Arrival::New(lock)
    }

    /// A message is done with. `false` if it was before, or never came.
    pub(crate) fn settle(&mut self, lock: Lock) -> bool {
        self.put_down(lock, Standing::Settled)
    }

    /// Nobody has a message any more, and it is not settled. `false` if nobody had it.
    pub(crate) fn leave(&mut self, lock: Lock) -> bool {
        let was_held = self.put_down(lock, Standing::Left);
        self.left += usize::from(was_held);
        was_held
    }

    /// Whether settled messages have begun to wait for one that was left. Said once until nothing is
    /// left any more.
    pub(crate) fn begins_to_wait(&mut self) -> bool {
        if self.left == 0 || self.told {
            return false;
        }
        let mut behind = self.places.iter().skip_while(|it| it.standing != Standing::Left);
        self.told = behind.any(|it| it.standing == Standing::Settled);
        self.told
    }

    /// Only what somebody holds can be put down.
    fn put_down(&mut self, lock: Lock, standing: Standing) -> bool {
        let place = lock.0.checked_sub(self.first).and_then(|it| usize::try_from(it).ok());
        let place = place.and_then(|it| self.places.get_mut(it)).filter(|it| it.standing == Standing::Held);
        if let Some(place) = place {
            place.standing = standing;
            return true;
        }
        false
    }

    /// The next packet id to acknowledge, if nothing before it is in the way.
    pub(crate) fn next_ack(&mut self) -> Option<NonZeroU16> {
        loop {
            let Place { id, .. } = self.places.pop_front_if(|it| it.standing == Standing::Settled)?;
            self.first += 1;
            // If the id came twice, the second message answers for both.
            if self.places.iter().all(|it| it.id != id) {
                return Some(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> NonZeroU16 {
        NonZeroU16::new(id).expect("not zero")
    }

    fn arrive(line: &mut AckLine, number: u16) -> Lock {
        match line.on_arrival(id(number), false) {
            Arrival::New(lock) => lock,
            other => panic!("{number}: {other:?}"),
        }
    }

    fn acks(line: &mut AckLine) -> Vec<u16> {
        std::iter::from_fn(|| line.next_ack()).map(NonZeroU16::get).collect()
    }

    #[test]
    fn acknowledgements_leave_in_the_order_of_arrival_whatever_the_order_of_settling() {
        // Of the ids 7, 8, 9: which is settled, and which may leave then.
        for steps in [
            [(0, &[7][..]), (1, &[8]), (2, &[9])],
            [(2, &[]), (1, &[]), (0, &[7, 8, 9])],
            [(1, &[]), (0, &[7, 8]), (2, &[9])],
            [(0, &[7]), (2, &[]), (1, &[8, 9])],
        ] {
            let mut line = AckLine::default();
            let locks = [7, 8, 9].map(|it| arrive(&mut line, it));
            for (which, expected) in steps {
                assert!(line.settle(locks[which]), "{steps:?}");
                assert_eq!(acks(&mut line), expected, "{steps:?}");
            }
        }
    }

    #[test]
    fn a_lock_is_good_for_once_and_only_if_it_was_given() {
        let mut line = AckLine::default();
        let (first, second) = (arrive(&mut line, 1), arrive(&mut line, 2));
        assert!(line.settle(second) && !line.settle(second), "while it waits");
        assert!(line.settle(first) && !line.settle(first));
        assert_eq!(acks(&mut line), [1, 2]);
        for gone in [first, second, Lock(2), Lock(u64::MAX)] {
            assert!(!line.settle(gone), "{gone:?}");
        }
        assert_ne!(arrive(&mut line, 1), first, "a lock never comes back");
    }

    #[test]
    fn an_id_in_the_line_with_dup_is_the_same_message() {
        let mut line = AckLine::default();
        let first = arrive(&mut line, 1);
        assert_eq!(line.on_arrival(id(1), true), Arrival::Again);
        assert!(line.settle(first));
        assert_eq!(acks(&mut line), [1]);
        // Acknowledged and sent again all the same: the acknowledgement may have crossed it.
        assert!(matches!(line.on_arrival(id(1), true), Arrival::New(_)));
    }

    #[test]
    fn a_message_that_was_left_is_told_again_in_its_old_place() {
        let mut line = AckLine::default();
        let [first, second, third] = [1, 2, 3].map(|it| arrive(&mut line, it));
        assert!(line.settle(third) && !line.begins_to_wait(), "somebody has the first one");
        assert!(line.leave(first) && !line.leave(first) && !line.settle(first), "nobody has it");
        assert!(!line.leave(third), "settled");
        assert!(line.begins_to_wait() && !line.begins_to_wait(), "said once");
        assert_eq!(line.on_arrival(id(2), true), Arrival::Again, "somebody has it");
        assert_eq!(line.on_arrival(id(3), true), Arrival::Again, "held back");
        assert_eq!(acks(&mut line), [] as [u16; 0]);

        assert_eq!(line.on_arrival(id(1), true), Arrival::New(first));
        assert_eq!(line.on_arrival(id(1), true), Arrival::Again, "somebody has it");
        assert!(line.settle(first));
        assert_eq!(acks(&mut line), [1]);
        assert!(line.leave(second) && line.begins_to_wait(), "a new one");
        assert_eq!(line.on_arrival(id(2), true), Arrival::New(second));
        assert!(line.settle(second) && !line.begins_to_wait());
        assert_eq!(acks(&mut line), [2, 3]);
        for gone in [first, second, third, Lock(3), Lock(u64::MAX)] {
            assert!(!line.leave(gone), "{gone:?}");
        }
    }

    #[test]
    fn nothing_waits_behind_one_that_was_left_last() {
        let mut line = AckLine::default();
        let [first, second] = [1, 2].map(|it| arrive(&mut line, it));
        assert!(line.settle(first) && line.leave(second) && !line.begins_to_wait());
        assert_eq!(acks(&mut line), [1]);
        // Without DUP it is another one, as the peer says.
        let other = arrive(&mut line, 2);
        assert!(line.settle(other) && line.begins_to_wait());
        assert_eq!(acks(&mut line), [] as [u16; 0]);
        assert_eq!(line.on_arrival(id(2), true), Arrival::New(second));
        assert!(line.settle(second));
        assert_eq!(acks(&mut line), [2], "once for both");
    }

    #[test]
    fn an_id_that_comes_twice_is_acknowledged_once_when_both_are_done() {
        let mut line = AckLine::default();
        let [first, other, second] = [1, 2, 1].map(|it| arrive(&mut line, it));
        assert!(line.settle(first) && line.settle(other));
        assert_eq!(acks(&mut line), [2]);
        assert!(line.settle(second));
        assert_eq!(acks(&mut line), [1]);
    }

    #[test]
    fn after_a_full_line_nothing_more_is_acknowledged_than_what_stood_in_it() {
        let mut line = AckLine::default();
        let limit = u16::try_from(LINE_MAX).expect("a small number");
        let locks: Vec<_> = (1..=limit).map(|it| arrive(&mut line, it)).collect();
        assert_eq!(line.on_arrival(id(limit + 1), false), Arrival::Left);
        assert_eq!(line.on_arrival(id(1), true), Arrival::Again);
        locks.into_iter().for_each(|it| assert!(line.settle(it)));
        assert_eq!(acks(&mut line), (1..=limit).collect::<Vec<_>>());
        assert_eq!(line.on_arrival(id(limit + 2), false), Arrival::Left, "a gap would break the order");
        assert_eq!(acks(&mut line), [] as [u16; 0]);
    }

    /// Against a list that is gone through from its beginning each time.
    #[test]
    fn any_order_of_arrivals_and_settlements_keeps_the_order() {
        for seed in 1..500_u64 {
            let mut state = seed;
            let mut dice = |sides: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % sides
            };
            let (mut line, mut came, mut left) = (AckLine::default(), Vec::new(), Vec::new());
            for number in 1..=40_u16 {
                came.push((number, arrive(&mut line, number), false));
                for _ in 0..dice(4) {
                    let which = usize::try_from(dice(came.len() as u64)).expect("small");
                    if dice(3) == 0 && line.leave(came[which].1) {
                        assert!(!came[which].2, "seed {seed}");
                        assert_eq!(line.on_arrival(id(came[which].0), true), Arrival::New(came[which].1));
                    }
                    assert_eq!(line.settle(came[which].1), !came[which].2);
                    came[which].2 = true;
                    left.extend(acks(&mut line));
                    let expected: Vec<_> = came.iter().take_while(|it| it.2).map(|it| it.0).collect();
                    assert_eq!(left, expected, "seed {seed}");
                }
            }
        }
    }
}
