//! What is unanswered on this connection, what is to be acknowledged, when to ping, when to give up.
//! Pure: the time is an argument.

use std::num::NonZeroU16;
use std::time::Duration;

use hubward_proto::ProtoError;
use hubward_transport::{Lock, Tag};
use tokio::time::Instant;

use crate::ack_line::{AckLine, Arrival};
use crate::questions::{About, Questions};
use crate::tag_set::TagSet;

/// After so many times the silence that ends a connection, a question or subscription is no sign of
/// anything any more: the peer was heard meanwhile, or the connection would be over.
const GIVEN_UP: u32 = 2;

/// The largest tag. Packet ids above it are the session's own, for SUBSCRIBE, so that a subscription
/// never takes the id of a message.
pub const TAG_MAX: u16 = 0xfeff;

/// The first of the session's own packet ids.
const FIRST_OWN: u16 = TAG_MAX + 1;

/// What there is to do about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask again then, or when something was sent or heard.
    Wait(Instant),
    /// Send a PINGREQ, then ask again.
    Ping,
    /// The peer was silent for too long.
    Dead { after: Duration },
}

/// The bookkeeping of one connection whose login was accepted.
#[derive(Debug)]
pub(crate) struct Core {
    keep_alive: Duration,
    silence: Duration,
    /// The messages without their PUBACK.
    tags: TagSet,
    /// Subscriptions without their SUBACK, the oldest first. No more than there are own ids.
    subscriptions: Vec<Subscription>,
    next_own: u16,
    questions: Questions,
    line: AckLine,
    last_sent: Instant,
    last_heard: Instant,
    /// Since when something has been unanswered without a break.
    busy_since: Option<Instant>,
    /// When the ping went out that nothing has followed yet.
    pinged: Option<Instant>,
}

#[derive(Debug)]
struct Subscription {
    id: u16,
    tag: Tag,
    asked: Instant,
}

impl Core {
    pub(crate) fn new(keep_alive: Duration, silence: Duration, now: Instant) -> Self {
        Self {
            keep_alive,
            silence,
            tags: TagSet::default(),
            subscriptions: Vec::new(),
            next_own: FIRST_OWN,
            questions: Questions::default(),
            line: AckLine::default(),
            last_sent: now,
            last_heard: now,
            busy_since: None,
            pinged: None,
        }
    }

    /// A message is about to go out under `tag`.
    ///
    /// # Errors
    /// If the tag is above [`TAG_MAX`], or something under it is unanswered on this connection
    /// (MQTT-2.3.1-2).
    pub(crate) fn on_publish(&mut self, tag: Tag) -> Result<(), ProtoError> {
        self.check(tag)?;
        if self.questions.contains(tag) || !self.tags.insert(tag.0.get()) {
            return Err(in_use(tag));
        }
        Ok(())
    }

    /// Takes back [`Core::on_publish`] for a message that could not be encoded.
    pub(crate) fn on_not_sent(&mut self, tag: Tag) {
        self.tags.remove(tag.0.get());
    }

    /// A SUBSCRIBE is about to go out for `tag`; under this packet id. If all are taken, the oldest one
    /// is used again, unless it may still be answered.
    ///
    /// # Errors
    /// As for [`Core::on_publish`], or if no packet id is left.
    pub(crate) fn on_subscribe(&mut self, tag: Tag, now: Instant) -> Result<u16, ProtoError> {
        self.forget_old(tag, now);
        self.check(tag)?;
        if self.questions.contains(tag) || self.tags.contains(tag.0.get()) {
            return Err(in_use(tag));
        }
        let free = |id: &u16| self.subscriptions.iter().all(|it| it.id != *id);
        let id = match (self.next_own..=u16::MAX).chain(FIRST_OWN..self.next_own).find(free) {
            Some(id) => {
                self.next_own = if id == u16::MAX { FIRST_OWN } else { id + 1 };
                id
            }
            None if self.subscriptions.first().is_some_and(|it| !self.is_fresh(it.asked, now)) => {
                self.subscriptions.remove(0).id
            }
            None => return Err(ProtoError::Unexpected("too many unanswered subscriptions".into())),
        };
        self.subscriptions.push(Subscription { id, tag, asked: now });
        Ok(id)
    }

    /// Takes back [`Core::on_subscribe`] for a packet that could not be encoded.
    pub(crate) fn on_not_subscribed(&mut self, tag: Tag) {
        self.subscriptions.retain(|it| it.tag != tag);
    }

    /// A question about the twin is about to go out for `tag`; with this request id. An unanswered one
    /// under the same tag is forgotten.
    ///
    /// # Errors
    /// If the tag is above [`TAG_MAX`], or a message or subscription under it is unanswered.
    pub(crate) fn on_question(&mut self, tag: Tag, about: About, now: Instant) -> Result<String, ProtoError> {
        self.forget_old(tag, now);
        self.check(tag)?;
        if self.tags.contains(tag.0.get()) {
            return Err(in_use(tag));
        }
        Ok(self.questions.ask(tag, about, now))
    }

    /// Takes back [`Core::on_question`] for a packet that could not be encoded.
    pub(crate) fn on_not_asked(&mut self, tag: Tag) {
        self.questions.forget(tag);
    }

    /// An answer about the twin has come: whose, or `None` if it answers nothing that is open.
    pub(crate) fn on_answer(&mut self, request_id: &str) -> Option<(Tag, About)> {
        self.questions.answered(request_id)
    }

    /// A message has come that wants an acknowledgement.
    pub(crate) fn on_arrival(&mut self, id: NonZeroU16, dup: bool) -> Arrival {
        self.line.on_arrival(id, dup)
    }

    /// A message is done with. `false` if it was before, or never came.
    pub(crate) fn settle(&mut self, lock: Lock) -> bool {
        self.line.settle(lock)
    }

    /// Nobody has a message any more, and it is not settled. `false` if nobody had it.
    pub(crate) fn leave(&mut self, lock: Lock) -> bool {
        self.line.leave(lock)
    }

    /// Whether acknowledgements have begun to wait for a message that was left.
    pub(crate) fn begins_to_wait(&mut self) -> bool {
        self.line.begins_to_wait()
    }

    /// The next packet id to acknowledge.
    pub(crate) fn next_ack(&mut self) -> Option<NonZeroU16> {
        self.line.next_ack()
    }

    /// A PUBACK has come: the tag it answers, or `None` for one that answers nothing.
    pub(crate) fn on_puback(&mut self, id: NonZeroU16) -> Option<Tag> {
        self.tags.remove(id.get()).then_some(Tag(id))
    }

    /// A SUBACK has come: whose subscription it answers, or `None` for one that answers nothing.
    pub(crate) fn on_suback(&mut self, id: u16) -> Option<Tag> {
        let at = self.subscriptions.iter().position(|it| it.id == id)?;
        Some(self.subscriptions.remove(at).tag)
    }

    /// Bytes went out.
    pub(crate) const fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Bytes came in, whatever they were.
    pub(crate) const fn on_heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = None;
    }

    /// Whether the message under `tag` is unanswered.
    pub(crate) fn is_unanswered(&self, tag: Tag) -> bool {
        self.tags.contains(tag.0.get())
    }

    /// What to do now. [`Step::Ping`] counts as sent.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let busy = !self.tags.is_empty()
            || self.subscriptions.last().is_some_and(|it| self.is_fresh(it.asked, now))
            || self.questions.newest().is_some_and(|it| self.is_fresh(it, now));
        self.busy_since = busy.then(|| self.busy_since.unwrap_or(now));
        let half = self.silence / 2;
        // When half of the patience for an answer is gone.
        let uneasy = self.busy_since.map(|since| since.max(self.last_heard) + half);
        match self.pinged {
            None => {
                let idle = self.last_sent + self.keep_alive;
                let due = uneasy.map_or(idle, |it| it.min(idle));
                if now < due {
                    return Step::Wait(due);
                }
                self.pinged = Some(now);
                self.last_sent = now;
                Step::Ping
            }
            // Counted from the ping, not from the last byte: after a suspend the peer gets its chance.
            Some(pinged) => {
                let idle = (pinged + self.keep_alive / 2, self.keep_alive * 3 / 2);
                let busy = uneasy.map_or(idle, |it| (it.max(pinged) + half, self.silence));
                let (dead, after) = idle.min(busy);
                if now < dead { Step::Wait(dead) } else { Step::Dead { after } }
            }
        }
    }

    /// What holds for every tag. A subscription's is looked for here, since it keeps no tag taken on
    /// the wire.
    fn check(&self, tag: Tag) -> Result<(), ProtoError> {
        if tag.0.get() > TAG_MAX {
            return Err(ProtoError::Unexpected(format!("tag {} is above {TAG_MAX}", tag.0)));
        }
        if self.subscriptions.iter().any(|it| it.tag == tag) {
            return Err(in_use(tag));
        }
        Ok(())
    }

    /// Whether what was asked then may still be answered.
    fn is_fresh(&self, asked: Instant, now: Instant) -> bool {
        now.saturating_duration_since(asked) < self.silence * GIVEN_UP
    }

    /// A tag that comes around again after that long has no subscription any more.
    fn forget_old(&mut self, tag: Tag, now: Instant) {
        let patience = self.silence * GIVEN_UP;
        self.subscriptions.retain(|it| it.tag != tag || now.saturating_duration_since(it.asked) < patience);
    }
}

fn in_use(tag: Tag) -> ProtoError {
    ProtoError::Unexpected(format!("tag {} is in use on this connection", tag.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KEEP_ALIVE: Duration = Duration::from_secs(60);
    const SILENCE: Duration = Duration::from_secs(20);

    /// A core with a clock that starts at 0.
    struct Watch {
        core: Core,
        start: Instant,
    }

    impl Watch {
        fn new(keep_alive: Duration) -> Self {
            let start = Instant::now();
            Self { core: Core::new(keep_alive, SILENCE, start), start }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        /// Every step until the connection is dead or `end` is reached, with the second it came.
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
            self.core.on_heard(self.at(second));
            assert_eq!(self.core.on_puback(tag(id).0), Some(tag(id)));
            self.core.step(self.at(second));
        }
    }

    fn tag(id: u16) -> Tag {
        Tag(NonZeroU16::new(id).expect("not zero"))
    }

    #[test]
    fn an_idle_connection_is_pinged_and_given_up_after_half_a_keep_alive_more() {
        assert_eq!(Watch::new(KEEP_ALIVE).run(0, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn a_pong_starts_the_keep_alive_again() {
        let mut watch = Watch::new(KEEP_ALIVE);
        assert_eq!(watch.run(0, 60), [(60, "ping")]);
        watch.core.on_heard(watch.at(61));
        assert_eq!(watch.run(61, 500), [(120, "ping"), (150, "dead")]);
    }

    #[test]
    fn hearing_alone_is_not_sending() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.core.on_heard(watch.at(59));
        assert_eq!(watch.run(59, 70), [(60, "ping")], "the server counts what we send");
    }

    #[test]
    fn silence_while_something_is_unanswered_is_noticed_within_20_seconds() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.publish(1, 50);
        assert_eq!(watch.run(50, 500), [(60, "ping"), (70, "dead")]);
    }

    #[test]
    fn silence_counts_from_the_question_not_from_the_last_word() {
        let mut watch = Watch::new(Duration::from_secs(1000));
        watch.publish(1, 500);
        assert_eq!(watch.run(500, 2000), [(510, "ping"), (520, "dead")]);
    }

    #[test]
    fn a_slow_service_that_answers_pings_lives() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.publish(1, 0);
        for second in [10, 20, 30] {
            assert_eq!(watch.run(second - 10, second), [(second, "ping")]);
            watch.core.on_heard(watch.at(second));
        }
        watch.puback(1, 31);
        assert_eq!(watch.run(31, 500), [(90, "ping"), (120, "dead")], "60 s after the last ping");
    }

    #[test]
    fn a_question_after_an_unanswered_ping_gets_its_own_time() {
        let mut watch = Watch::new(KEEP_ALIVE);
        assert_eq!(watch.run(0, 60), [(60, "ping")]);
        watch.publish(1, 65);
        assert_eq!(watch.run(65, 500), [(85, "dead")]);
    }

    #[test]
    fn after_a_suspend_the_peer_is_asked_before_it_is_given_up() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.publish(1, 0);
        assert_eq!(watch.run(5000, 9000), [(5000, "ping"), (5010, "dead")]);
    }

    #[test]
    fn a_subscription_counts_as_unanswered() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.core.on_subscribe(tag(1), watch.at(0)).expect("an id");
        assert_eq!(watch.run(0, 500), [(10, "ping"), (20, "dead")]);
    }

    #[test]
    fn what_is_never_answered_keeps_a_connection_busy_for_a_while_only() {
        for subscribes in [true, false] {
            let mut watch = Watch::new(KEEP_ALIVE);
            let start = watch.at(0);
            if subscribes {
                watch.core.on_subscribe(tag(1), start).expect("an id");
            } else {
                watch.core.on_question(tag(1), About::Twin, start).expect("a free tag");
            }
            watch.core.on_sent(start);
            for second in [10, 20, 30, 40] {
                assert_eq!(watch.run(second - 10, second), [(second, "ping")].repeat(usize::from(second < 40)));
                watch.core.on_heard(watch.at(second));
            }
            assert_eq!(watch.run(40, 500), [(90, "ping"), (120, "dead")], "60 s after the last ping");
        }
        // What is asked later has its own time.
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.core.on_question(tag(1), About::Twin, watch.at(0)).expect("a free tag");
        watch.core.on_question(tag(2), About::Twin, watch.at(35)).expect("a free tag");
        watch.core.on_sent(watch.at(35));
        watch.core.on_heard(watch.at(35));
        assert_eq!(watch.run(35, 500), [(45, "ping"), (55, "dead")]);
    }

    #[test]
    fn subscriptions_that_nobody_answers_do_not_use_up_the_ids() {
        let mut watch = Watch::new(KEEP_ALIVE);
        for round in 0..1000_u16 {
            let now = watch.at(u64::from(round) * 30);
            let id = watch.core.on_subscribe(tag(1 + round), now).expect("an id");
            assert_eq!(id, FIRST_OWN + round % 256, "in turn");
        }
        assert_eq!(watch.core.subscriptions.len(), 256);
        assert_eq!(watch.core.on_suback(FIRST_OWN), Some(tag(1 + 768)), "of the latest that has this id");
        // A tag that has come around is free again.
        watch.core.on_subscribe(tag(1000), watch.at(30 * 999 + 39)).expect_err("in use");
        watch.core.on_subscribe(tag(1000), watch.at(30 * 999 + 40)).expect("an id");
        watch.core.on_question(tag(999), About::Twin, watch.at(30 * 999 + 40)).expect("free");
    }

    #[test]
    fn a_question_about_the_twin_counts_as_unanswered_until_its_answer() {
        let mut watch = Watch::new(KEEP_ALIVE);
        watch.core.on_question(tag(1), About::Twin, watch.at(0)).expect("a free tag");
        assert_eq!(watch.run(0, 500), [(10, "ping"), (20, "dead")]);

        let mut watch = Watch::new(KEEP_ALIVE);
        let id = watch.core.on_question(tag(1), About::Twin, watch.at(0)).expect("a free tag");
        watch.core.on_sent(watch.at(0));
        assert_eq!(watch.run(0, 9), []);
        watch.core.on_heard(watch.at(9));
        assert_eq!(watch.core.on_answer(&id), Some((tag(1), About::Twin)));
        assert_eq!(watch.run(9, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn what_the_program_has_not_settled_is_no_sign_of_a_dead_link() {
        let mut watch = Watch::new(KEEP_ALIVE);
        assert!(matches!(watch.core.on_arrival(tag(1).0, false), Arrival::New(_)));
        assert_eq!(watch.run(0, 500), [(60, "ping"), (90, "dead")]);
    }

    #[test]
    fn several_subscriptions_are_answered_in_any_order_each_once() {
        let Watch { mut core, start } = Watch::new(KEEP_ALIVE);
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
        core.on_not_subscribed(tag(1));
        core.on_publish(tag(1)).expect("free again");
    }

    #[test]
    fn a_tag_belongs_to_one_thing_at_a_time() {
        let Watch { mut core, start } = Watch::new(KEEP_ALIVE);
        core.on_publish(tag(1)).expect("free");
        core.on_subscribe(tag(2), start).expect("free");
        core.on_question(tag(3), About::Twin, start).expect("free");
        for id in [1, 2, 3] {
            assert!(core.on_publish(tag(id)).is_err(), "{id}");
            assert!(core.on_subscribe(tag(id), start).is_err(), "{id}");
            // A question may take the place of one that was given up.
            assert_eq!(core.on_question(tag(id), About::Reported, start).is_ok(), id == 3, "{id}");
        }
        // A PUBACK answers neither a subscription nor a question.
        assert_eq!((core.on_puback(tag(2).0), core.on_puback(tag(3).0)), (None, None));
        core.on_not_asked(tag(3));
        core.on_publish(tag(3)).expect("free again");
        assert!(core.on_subscribe(tag(TAG_MAX + 1), start).is_err());
        assert!(core.on_question(tag(TAG_MAX + 1), About::Twin, start).is_err());
    }

    #[test]
    fn tags_are_answered_once_in_any_order() {
        let mut core = Watch::new(KEEP_ALIVE).core;
        for id in [1, 64, 65, 1000, TAG_MAX] {
            core.on_publish(tag(id)).expect("free");
            assert!(core.on_publish(tag(id)).is_err(), "{id} is in use");
        }
        for (id, known) in [(1000, true), (1000, false), (2, false), (64, true), (TAG_MAX, true), (u16::MAX, false)] {
            assert_eq!(core.on_puback(tag(id).0), known.then(|| tag(id)), "{id}");
        }
        assert!(core.is_unanswered(tag(1)) && core.is_unanswered(tag(65)));
        core.on_not_sent(tag(1));
        core.on_publish(tag(1000)).expect("free again");
        assert!(!core.is_unanswered(tag(1)));
    }

    #[test]
    fn subscriptions_have_ids_that_no_tag_has() {
        let Watch { mut core, start } = Watch::new(KEEP_ALIVE);
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
