//! What is unanswered on this connection, when to ping, when to give up. Pure: the time is an
//! argument.

use std::num::NonZeroU16;
use std::time::Duration;

use hubward_proto::ProtoError;
use hubward_transport::Tag;
use tokio::time::Instant;

/// The largest tag. Packet ids above it are the session's own, for SUBSCRIBE, so that a subscription
/// never takes the id of a message.
pub const TAG_MAX: u16 = 0xfeff;

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
    tags: TagSet,
    subscribing: Option<u16>,
    next_own: u16,
    last_sent: Instant,
    last_heard: Instant,
    /// Since when something has been unanswered without a break.
    busy_since: Option<Instant>,
    /// When the ping went out that nothing has followed yet.
    pinged: Option<Instant>,
}

impl Core {
    pub(crate) fn new(keep_alive: Duration, silence: Duration, now: Instant) -> Self {
        Self {
            keep_alive,
            silence,
            tags: TagSet::default(),
            subscribing: None,
            next_own: TAG_MAX + 1,
            last_sent: now,
            last_heard: now,
            busy_since: None,
            pinged: None,
        }
    }

    /// A message is about to go out under `tag`.
    ///
    /// # Errors
    /// If the tag is above [`TAG_MAX`], or its message is unanswered on this connection
    /// (MQTT-2.3.1-2).
    pub(crate) fn on_publish(&mut self, tag: Tag) -> Result<(), ProtoError> {
        let id = tag.0.get();
        if id > TAG_MAX {
            return Err(ProtoError::Unexpected(format!("tag {id} is above {TAG_MAX}")));
        }
        if !self.tags.insert(id) {
            return Err(ProtoError::Unexpected(format!("tag {id} is in use on this connection")));
        }
        Ok(())
    }

    /// Takes back [`Core::on_publish`] for a message that could not be encoded.
    pub(crate) fn on_not_sent(&mut self, tag: Tag) {
        self.tags.remove(tag.0.get());
    }

    /// A SUBSCRIBE is about to go out; under this packet id.
    pub(crate) fn on_subscribe(&mut self) -> u16 {
        let id = self.next_own;
        self.next_own = if id == u16::MAX { TAG_MAX + 1 } else { id + 1 };
        self.subscribing = Some(id);
        id
    }

    /// A PUBACK has come: the tag it answers, or `None` for one that answers nothing.
    pub(crate) fn on_puback(&mut self, id: NonZeroU16) -> Option<Tag> {
        self.tags.remove(id.get()).then_some(Tag(id))
    }

    /// A SUBACK has come; whether it answers the last SUBSCRIBE.
    pub(crate) fn on_suback(&mut self, id: u16) -> bool {
        let known = self.subscribing == Some(id);
        if known {
            self.subscribing = None;
        }
        known
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

    /// Whether `tag` is unanswered.
    pub(crate) fn is_unanswered(&self, tag: Tag) -> bool {
        self.tags.contains(tag.0.get())
    }

    /// What to do now. [`Step::Ping`] counts as sent.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let busy = !self.tags.is_empty() || self.subscribing.is_some();
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
}

/// A set of packet ids: a bit for each, as many words as the highest one needs.
#[derive(Debug, Default)]
struct TagSet {
    words: Vec<u64>,
    count: usize,
}

impl TagSet {
    fn insert(&mut self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    fn remove(&mut self, id: u16) -> bool {
        let was = self.contains(id);
        if was {
            let (word, bit) = Self::place(id);
            self.words[word] &= !bit;
            self.count -= 1;
        }
        was
    }

    fn contains(&self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|it| it & bit != 0)
    }

    const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn place(id: u16) -> (usize, u64) {
        (usize::from(id / 64), 1 << (id % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let id = watch.core.on_subscribe();
        assert_eq!(watch.run(0, 500), [(10, "ping"), (20, "dead")]);
        assert!(!watch.core.on_suback(id - 1));
        assert!(watch.core.on_suback(id));
        assert!(!watch.core.on_suback(id), "only once");
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
        let mut core = Watch::new(KEEP_ALIVE).core;
        assert!(core.on_publish(tag(TAG_MAX + 1)).is_err());
        for _ in 0..1000 {
            assert!(core.on_subscribe() > TAG_MAX);
        }
    }
}
