//! The protocol state of one connection: unanswered requests and pending acknowledgements. Also decides when to ping
//! and when to give up. Pure: the caller passes the time as an argument.

use std::num::NonZeroU16;
use std::time::Duration;

use hubward_proto::ProtoError;
use hubward_transport::{Lock, Tag};
use tokio::time::Instant;

use crate::ack_queue::{AckQueue, Arrival};
use crate::tag_set::TagSet;
use crate::twin_requests::{TwinRequestKind, TwinRequests};

/// A subscription or twin request without an answer becomes stale after the duration `silence`, multiplied by this
/// factor. The connection is busy while it waits for an answer, and then tolerates less silence of the peer. It does
/// not wait for the answer to a stale request.
///
/// A request becomes stale only if the peer is alive but does not answer the request: if the peer were silent, the
/// connection would have ended by then.
const STALE_FACTOR: u32 = 2;

/// The largest tag. The session uses the packet ids above this tag for SUBSCRIBE. A subscription and a message
/// therefore never have the same packet id.
pub const TAG_MAX: u16 = 0xfeff;

/// The first packet id of subscriptions.
const FIRST_SUBSCRIBE_ID: u16 = TAG_MAX + 1;

/// The next step that the clock requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Call [`Core::step`] again at this time. If bytes are sent or received earlier, call it then.
    Wait(Instant),
    /// Send a PINGREQ, then call [`Core::step`] again.
    Ping,
    /// The connection is dead: the peer sent nothing for `after`.
    Dead { after: Duration },
}

/// The protocol state of one connection whose login was accepted.
#[derive(Debug)]
pub(crate) struct Core {
    keep_alive: Duration,
    silence: Duration,
    /// The tags of messages that wait for their PUBACK.
    tags: TagSet,
    /// Subscriptions that wait for their SUBACK, the oldest first; at most one per subscription id.
    subscriptions: Vec<Subscription>,
    next_subscribe_id: u16,
    twin_requests: TwinRequests,
    ack_queue: AckQueue,
    last_sent: Instant,
    last_received: Instant,
    /// The start of the current period in which at least one request is unanswered.
    busy_since: Option<Instant>,
    /// When the last ping was sent. `None` if bytes arrived after this ping.
    pinged: Option<Instant>,
}

#[derive(Debug)]
struct Subscription {
    id: u16,
    tag: Tag,
    sent_at: Instant,
}

impl Core {
    pub(crate) fn new(keep_alive: Duration, silence: Duration, now: Instant) -> Self {
        Self {
            keep_alive,
            silence,
            tags: TagSet::default(),
            subscriptions: Vec::new(),
            next_subscribe_id: FIRST_SUBSCRIBE_ID,
            twin_requests: TwinRequests::default(),
            ack_queue: AckQueue::default(),
            last_sent: now,
            last_received: now,
            busy_since: None,
            pinged: None,
        }
    }

    /// Records that a message is about to be sent under `tag`.
    ///
    /// # Errors
    /// If the tag is above [`TAG_MAX`], or if a message, subscription or twin request under this tag is unanswered on
    /// this connection (MQTT-2.3.1-2).
    pub(crate) fn on_publish(&mut self, tag: Tag) -> Result<(), ProtoError> {
        self.check(tag)?;
        if self.twin_requests.contains(tag) || !self.tags.insert(tag.0.get()) {
            return Err(in_use(tag));
        }
        Ok(())
    }

    /// Reverts [`Core::on_publish`] for a message that could not be encoded.
    pub(crate) fn on_publish_not_sent(&mut self, tag: Tag) {
        self.tags.remove(tag.0.get());
    }

    /// Records that a SUBSCRIBE is about to be sent under `tag`, and returns its packet id.
    ///
    /// If all packet ids are in use and the oldest subscription is stale, this function reuses the id of the oldest
    /// subscription.
    ///
    /// # Errors
    /// As for [`Core::on_publish`], or if no packet id is free.
    pub(crate) fn on_subscribe(&mut self, tag: Tag, now: Instant) -> Result<u16, ProtoError> {
        self.remove_stale(tag, now);
        self.check(tag)?;
        if self.twin_requests.contains(tag) || self.tags.contains(tag.0.get()) {
            return Err(in_use(tag));
        }
        let free = |id: &u16| self.subscriptions.iter().all(|it| it.id != *id);
        let id = match (self.next_subscribe_id..=u16::MAX).chain(FIRST_SUBSCRIBE_ID..self.next_subscribe_id).find(free)
        {
            Some(id) => {
                self.next_subscribe_id = if id == u16::MAX { FIRST_SUBSCRIBE_ID } else { id + 1 };
                id
            }
            None if self.subscriptions.first().is_some_and(|it| !self.is_fresh(it.sent_at, now)) => {
                self.subscriptions.remove(0).id
            }
            None => return Err(ProtoError::Unexpected("too many unanswered subscriptions".into())),
        };
        self.subscriptions.push(Subscription { id, tag, sent_at: now });
        Ok(id)
    }

    /// Reverts [`Core::on_subscribe`] for a packet that could not be encoded.
    pub(crate) fn on_subscribe_not_sent(&mut self, tag: Tag) {
        self.subscriptions.retain(|it| it.tag != tag);
    }

    /// Records that a twin request is about to be sent under `tag`, and returns its request id. Replaces an
    /// unanswered twin request under the same tag.
    ///
    /// # Errors
    /// If the tag is above [`TAG_MAX`], or if a message or subscription under this tag is unanswered.
    pub(crate) fn on_twin_request(
        &mut self,
        tag: Tag,
        kind: TwinRequestKind,
        now: Instant,
    ) -> Result<String, ProtoError> {
        self.remove_stale(tag, now);
        self.check(tag)?;
        if self.tags.contains(tag.0.get()) {
            return Err(in_use(tag));
        }
        Ok(self.twin_requests.add(tag, kind, now))
    }

    /// Reverts [`Core::on_twin_request`] for a packet that could not be encoded.
    pub(crate) fn on_twin_request_not_sent(&mut self, tag: Tag) {
        self.twin_requests.remove(tag);
    }

    /// Records a twin response. Returns the request that it answers, or `None` if no such request is open.
    pub(crate) fn on_twin_response(&mut self, request_id: &str) -> Option<(Tag, TwinRequestKind)> {
        self.twin_requests.take_answered(request_id)
    }

    /// Records a received message that needs an acknowledgement.
    pub(crate) fn on_arrival(&mut self, id: NonZeroU16, dup: bool) -> Arrival {
        self.ack_queue.on_arrival(id, dup)
    }

    /// Settles a message; see [`AckQueue::settle`].
    pub(crate) fn settle(&mut self, lock: Lock) -> bool {
        self.ack_queue.settle(lock)
    }

    /// Marks a message as handled by the connection itself; see [`AckQueue::consume`].
    pub(crate) fn consume(&mut self, lock: Lock) -> bool {
        self.ack_queue.consume(lock)
    }

    /// The number of settled messages whose acknowledgement waits; see [`AckQueue::held_back`].
    pub(crate) fn held_back(&self) -> usize {
        self.ack_queue.held_back()
    }

    /// Marks a message as dropped without settlement; see [`AckQueue::on_dropped`].
    pub(crate) fn on_dropped(&mut self, lock: Lock) -> bool {
        self.ack_queue.on_dropped(lock)
    }

    /// Returns whether acknowledgements start to wait behind a dropped message; see
    /// [`AckQueue::starts_to_block`].
    pub(crate) fn starts_to_block(&mut self) -> bool {
        self.ack_queue.starts_to_block()
    }

    /// Returns the next packet id to acknowledge.
    pub(crate) fn next_ack(&mut self) -> Option<NonZeroU16> {
        self.ack_queue.next_ack()
    }

    /// Records a PUBACK. Returns the tag of the acknowledged message, or `None` if no message has this packet id.
    pub(crate) fn on_puback(&mut self, id: NonZeroU16) -> Option<Tag> {
        self.tags.remove(id.get()).then_some(Tag(id))
    }

    /// Records a SUBACK. Returns the tag of the answered subscription, or `None` if no subscription has this packet id.
    pub(crate) fn on_suback(&mut self, id: u16) -> Option<Tag> {
        let at = self.subscriptions.iter().position(|it| it.id == id)?;
        Some(self.subscriptions.remove(at).tag)
    }

    /// Records the time at which bytes were sent.
    pub(crate) const fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Records the time at which bytes were received. Their content does not matter.
    pub(crate) const fn on_received(&mut self, now: Instant) {
        self.last_received = now;
        self.pinged = None;
    }

    /// Returns whether the message under `tag` waits for its PUBACK.
    pub(crate) fn is_unanswered(&self, tag: Tag) -> bool {
        self.tags.contains(tag.0.get())
    }

    /// Returns the next step. If the step is [`Step::Ping`], [`Core`] counts the ping as sent.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let busy = !self.tags.is_empty()
            || self.subscriptions.last().is_some_and(|it| self.is_fresh(it.sent_at, now))
            || self.twin_requests.newest().is_some_and(|it| self.is_fresh(it, now));
        self.busy_since = busy.then(|| self.busy_since.unwrap_or(now));
        let half = self.silence / 2;
        // Take the later of two times: the last received byte, and the start of the busy period. An answer is due when
        // half of the duration `silence` has passed since that time.
        let answer_due = self.busy_since.map(|since| since.max(self.last_received) + half);
        match self.pinged {
            None => {
                let idle = self.last_sent + self.keep_alive;
                let due = answer_due.map_or(idle, |it| it.min(idle));
                if now < due {
                    return Step::Wait(due);
                }
                self.pinged = Some(now);
                self.last_sent = now;
                Step::Ping
            }
            // Count the time from the ping, not from the last received byte. If this machine was suspended between the
            // two, the limit may otherwise have passed before the peer can answer the ping.
            Some(pinged) => {
                let idle = (pinged + self.keep_alive / 2, self.keep_alive * 3 / 2);
                let busy = answer_due.map_or(idle, |it| (it.max(pinged) + half, self.silence));
                let (dead, after) = idle.min(busy);
                if now < dead { Step::Wait(dead) } else { Step::Dead { after } }
            }
        }
    }

    /// Checks two rules for all kinds of requests: the tag is at most [`TAG_MAX`], and no unanswered subscription has
    /// this tag.
    fn check(&self, tag: Tag) -> Result<(), ProtoError> {
        if tag.0.get() > TAG_MAX {
            return Err(ProtoError::Unexpected(format!("tag {} is above {TAG_MAX}", tag.0)));
        }
        if self.subscriptions.iter().any(|it| it.tag == tag) {
            return Err(in_use(tag));
        }
        Ok(())
    }

    /// Returns whether a subscription or twin request that was sent at `sent_at` is not stale yet; see
    /// [`STALE_FACTOR`].
    fn is_fresh(&self, sent_at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(sent_at) < self.silence * STALE_FACTOR
    }

    /// Removes the subscription under `tag` if it is stale. The tag can then be used again.
    fn remove_stale(&mut self, tag: Tag, now: Instant) {
        let limit = self.silence * STALE_FACTOR;
        self.subscriptions.retain(|it| it.tag != tag || now.saturating_duration_since(it.sent_at) < limit);
    }
}

fn in_use(tag: Tag) -> ProtoError {
    ProtoError::Unexpected(format!("tag {} is already in use on this connection", tag.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KEEP_ALIVE: Duration = Duration::from_secs(60);
    const SILENCE: Duration = Duration::from_secs(20);

    /// A core with a clock that starts at 0.
    struct TestConnection {
        core: Core,
        start: Instant,
    }

    impl TestConnection {
        fn new(keep_alive: Duration) -> Self {
            let start = Instant::now();
            Self { core: Core::new(keep_alive, SILENCE, start), start }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        /// Runs the connection until it is dead or until `end`. Returns every step with the second at which it occurs.
        fn run(&mut self, from: u64, end: u64) -> Vec<(u64, &'static str)> {
            let (mut now, mut steps) = (self.at(from), Vec::new());
            while now <= self.at(end) {
                let second = (now - self.start).as_secs();
                match self.core.step(now) {
                    Step::Wait(until) => now = until,
                    Step::Ping => steps.push((second, "ping")),
                    Step::Dead { .. } => {
                        steps.push((second, "dead"));
                        break;
                    }
                }
            }
            steps
        }

        fn publish(&mut self, id: u16, second: u64) {
            self.core.on_publish(tag(id)).expect("a free tag");
            self.core.on_sent(self.at(second));
            self.core.step(self.at(second));
        }

        fn puback(&mut self, id: u16, second: u64) {
            self.core.on_received(self.at(second));
            assert_eq!(self.core.on_puback(tag(id).0), Some(tag(id)));
            self.core.step(self.at(second));
        }
    }

    fn tag(id: u16) -> Tag {
        Tag(NonZeroU16::new(id).expect("not zero"))
    }

    #[test]
    fn an_idle_connection_is_pinged_and_is_dead_half_a_keep_alive_later() {
        assert_eq!(TestConnection::new(KEEP_ALIVE).run(0, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn a_ping_response_restarts_the_keep_alive() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        assert_eq!(connection.run(0, 60), [(60, "ping")]);
        connection.core.on_received(connection.at(61));
        assert_eq!(connection.run(61, 500), [(120, "ping"), (150, "dead")]);
    }

    #[test]
    fn received_bytes_do_not_delay_the_keep_alive_ping() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.core.on_received(connection.at(59));
        assert_eq!(connection.run(59, 70), [(60, "ping")], "the server counts what we send");
    }

    #[test]
    fn silence_during_an_unanswered_request_ends_the_connection_after_20_seconds() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.publish(1, 50);
        assert_eq!(connection.run(50, 500), [(60, "ping"), (70, "dead")]);
    }

    #[test]
    fn silence_counts_from_the_request_not_from_the_last_received_byte() {
        let mut connection = TestConnection::new(Duration::from_secs(1000));
        connection.publish(1, 500);
        assert_eq!(connection.run(500, 2000), [(510, "ping"), (520, "dead")]);
    }

    #[test]
    fn a_slow_service_that_answers_pings_keeps_the_connection() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.publish(1, 0);
        for second in [10, 20, 30] {
            assert_eq!(connection.run(second - 10, second), [(second, "ping")]);
            connection.core.on_received(connection.at(second));
        }
        connection.puback(1, 31);
        assert_eq!(connection.run(31, 500), [(90, "ping"), (120, "dead")], "60 s after the last ping");
    }

    #[test]
    fn a_request_after_an_unanswered_ping_gets_the_full_silence() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        assert_eq!(connection.run(0, 60), [(60, "ping")]);
        connection.publish(1, 65);
        assert_eq!(connection.run(65, 500), [(85, "dead")]);
    }

    #[test]
    fn after_a_suspend_the_core_pings_before_it_gives_up() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.publish(1, 0);
        assert_eq!(connection.run(5000, 9000), [(5000, "ping"), (5010, "dead")]);
    }

    #[test]
    fn a_subscription_counts_as_unanswered() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.core.on_subscribe(tag(1), connection.at(0)).expect("an id");
        assert_eq!(connection.run(0, 500), [(10, "ping"), (20, "dead")]);
    }

    #[test]
    fn a_request_that_is_never_answered_keeps_a_connection_busy_for_a_limited_time() {
        for subscribes in [true, false] {
            let mut connection = TestConnection::new(KEEP_ALIVE);
            let start = connection.at(0);
            if subscribes {
                connection.core.on_subscribe(tag(1), start).expect("an id");
            } else {
                connection.core.on_twin_request(tag(1), TwinRequestKind::Get, start).expect("a free tag");
            }
            connection.core.on_sent(start);
            for second in [10, 20, 30, 40] {
                assert_eq!(connection.run(second - 10, second), [(second, "ping")].repeat(usize::from(second < 40)));
                connection.core.on_received(connection.at(second));
            }
            assert_eq!(connection.run(40, 500), [(90, "ping"), (120, "dead")], "60 s after the last ping");
        }
        // A later request has its own time limit.
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.core.on_twin_request(tag(1), TwinRequestKind::Get, connection.at(0)).expect("a free tag");
        connection.core.on_twin_request(tag(2), TwinRequestKind::Get, connection.at(35)).expect("a free tag");
        connection.core.on_sent(connection.at(35));
        connection.core.on_received(connection.at(35));
        assert_eq!(connection.run(35, 500), [(45, "ping"), (55, "dead")]);
    }

    #[test]
    fn unanswered_subscriptions_do_not_use_up_the_packet_ids() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        for round in 0..1000_u16 {
            let now = connection.at(u64::from(round) * 30);
            let id = connection.core.on_subscribe(tag(1 + round), now).expect("an id");
            assert_eq!(id, FIRST_SUBSCRIBE_ID + round % 256, "in turn");
        }
        assert_eq!(connection.core.subscriptions.len(), 256);
        assert_eq!(
            connection.core.on_suback(FIRST_SUBSCRIBE_ID),
            Some(tag(1 + 768)),
            "the latest subscription with this id"
        );
        // The tag of a stale subscription is free again.
        connection.core.on_subscribe(tag(1000), connection.at(30 * 999 + 39)).expect_err("in use");
        connection.core.on_subscribe(tag(1000), connection.at(30 * 999 + 40)).expect("an id");
        connection.core.on_twin_request(tag(999), TwinRequestKind::Get, connection.at(30 * 999 + 40)).expect("free");
    }

    #[test]
    fn a_twin_request_counts_as_unanswered_until_its_response() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        connection.core.on_twin_request(tag(1), TwinRequestKind::Get, connection.at(0)).expect("a free tag");
        assert_eq!(connection.run(0, 500), [(10, "ping"), (20, "dead")]);

        let mut connection = TestConnection::new(KEEP_ALIVE);
        let id = connection.core.on_twin_request(tag(1), TwinRequestKind::Get, connection.at(0)).expect("a free tag");
        connection.core.on_sent(connection.at(0));
        assert_eq!(connection.run(0, 9), []);
        connection.core.on_received(connection.at(9));
        assert_eq!(connection.core.on_twin_response(&id), Some((tag(1), TwinRequestKind::Get)));
        assert_eq!(connection.run(9, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn an_unsettled_message_does_not_count_as_unanswered() {
        let mut connection = TestConnection::new(KEEP_ALIVE);
        assert!(matches!(connection.core.on_arrival(tag(1).0, false), Arrival::New(_)));
        assert_eq!(connection.run(0, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn several_subscriptions_are_answered_in_any_order_each_once() {
        let TestConnection { mut core, start } = TestConnection::new(KEEP_ALIVE);
        let ids = [1, 2, 3].map(|it| core.on_subscribe(tag(it), start).expect("an id"));
        for (id, expected) in [
            (ids[1], Some(tag(2))),
            (ids[1], None),
            (ids[0] - 1, None),
            (ids[2], Some(tag(3))),
            (ids[0], Some(tag(1))),
            (ids[0], None),
        ] {
            assert_eq!(core.on_suback(id), expected, "{id}");
        }
        core.on_subscribe(tag(1), start).expect("an id");
        core.on_subscribe_not_sent(tag(1));
        core.on_publish(tag(1)).expect("free again");
    }

    #[test]
    fn a_tag_belongs_to_one_request_at_a_time() {
        let TestConnection { mut core, start } = TestConnection::new(KEEP_ALIVE);
        core.on_publish(tag(1)).expect("free");
        core.on_subscribe(tag(2), start).expect("free");
        core.on_twin_request(tag(3), TwinRequestKind::Get, start).expect("free");
        for id in [1, 2, 3] {
            assert!(core.on_publish(tag(id)).is_err(), "{id}");
            assert!(core.on_subscribe(tag(id), start).is_err(), "{id}");
            // A new twin request replaces the old one under the same tag.
            assert_eq!(core.on_twin_request(tag(id), TwinRequestKind::PatchReported, start).is_ok(), id == 3, "{id}");
        }
        // A PUBACK answers neither a subscription nor a twin request.
        assert_eq!((core.on_puback(tag(2).0), core.on_puback(tag(3).0)), (None, None));
        core.on_twin_request_not_sent(tag(3));
        core.on_publish(tag(3)).expect("free again");
        assert!(core.on_subscribe(tag(TAG_MAX + 1), start).is_err());
        assert!(core.on_twin_request(tag(TAG_MAX + 1), TwinRequestKind::Get, start).is_err());
    }

    #[test]
    fn tags_are_answered_once_in_any_order() {
        let mut core = TestConnection::new(KEEP_ALIVE).core;
        for id in [1, 64, 65, 1000, TAG_MAX] {
            core.on_publish(tag(id)).expect("free");
            assert!(core.on_publish(tag(id)).is_err(), "{id} is in use");
        }
        for (id, known) in [(1000, true), (1000, false), (2, false), (64, true), (TAG_MAX, true), (u16::MAX, false)] {
            assert_eq!(core.on_puback(tag(id).0), known.then(|| tag(id)), "{id}");
        }
        assert!(core.is_unanswered(tag(1)) && core.is_unanswered(tag(65)));
        core.on_publish_not_sent(tag(1));
        core.on_publish(tag(1000)).expect("free again");
        assert!(!core.is_unanswered(tag(1)));
    }

    #[test]
    fn subscriptions_use_packet_ids_above_all_tags() {
        let TestConnection { mut core, start } = TestConnection::new(KEEP_ALIVE);
        assert!(core.on_publish(tag(TAG_MAX + 1)).is_err());
        for _ in 0..1000 {
            let id = core.on_subscribe(tag(1), start).expect("an id");
            assert!(id > TAG_MAX);
            assert_eq!(core.on_suback(id), Some(tag(1)));
        }
        let ids: BTreeSet<_> = (1..=256).map(|it| core.on_subscribe(tag(it), start).expect("an id")).collect();
        assert_eq!(ids.len(), 256, "all of them");
        assert!(core.on_subscribe(tag(257), start).is_err(), "then there is none");
        assert_eq!(core.on_suback(0xff7f).and_then(|it| core.on_subscribe(it, start).ok()), Some(0xff7f));
    }
}
