//! Acknowledgements and publishes to a device that a scripted fault delays.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

/// Maximum delay: a year. No connection lasts longer, and adding a year to an `Instant` does not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Maximum number of held acknowledgements: the number of packet ids that a client can use.
const PUBACKS: usize = 65_535;

/// Maximum number of delayed publishes.
const DRAFTS: usize = 1000;

/// The reason for a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishKind {
    /// The response to a twin request.
    Answer,
    /// A change of desired properties.
    Notice,
    /// A call of a direct method.
    Call,
    /// The answer to a certificate request, or its result.
    Credential,
}

/// A publish whose quality of service has not been decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) kind: PublishKind,
    pub(super) topic: String,
    pub(super) body: Bytes,
}

/// The delayed packets of a connection.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// The held acknowledgements in the order of sending. Each acknowledgement waits until all earlier ones are sent.
    pubacks: VecDeque<(Instant, u16)>,
    drafts: BTreeMap<(Instant, u64), Draft>,
    count: u64,
}

impl Delayed {
    /// Holds an acknowledgement for `time`, and until all earlier acknowledgements are sent. The order of
    /// acknowledgements must not change.
    ///
    /// Returns the packet id as an error in two cases: the acknowledgement can be sent at once, or too many
    /// acknowledgements are held. The caller must then send the acknowledgement.
    ///
    /// Source: MQTT 3.1.1, section 4.6 (4.6.0-2).
    pub(super) fn hold(&mut self, packet_id: u16, time: Option<Duration>) -> Result<(), u16> {
        if (time.is_none() && self.pubacks.is_empty()) || self.pubacks.len() >= PUBACKS {
            return Err(packet_id);
        }
        self.pubacks.push_back((due_in(time.unwrap_or_default()), packet_id));
        Ok(())
    }

    /// Delays a publish. If too many publishes are delayed, drops this publish, as a bad network would.
    pub(super) fn delay(&mut self, draft: Draft, time: Duration) {
        if self.drafts.len() < DRAFTS {
            self.count += 1;
            self.drafts.insert((due_in(time), self.count), draft);
        }
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let draft = self.drafts.keys().next().map(|(due, _)| *due);
        self.pubacks.front().map(|(due, _)| *due).into_iter().chain(draft).min()
    }

    /// The next acknowledgement, if it is due.
    pub(super) fn puback(&mut self) -> Option<u16> {
        self.pubacks.front().filter(|(due, _)| *due <= Instant::now())?;
        self.pubacks.pop_front().map(|(_, id)| id)
    }

    /// The next publish, if it is due.
    pub(super) fn draft(&mut self) -> Option<Draft> {
        let entry = self.drafts.first_entry().filter(|it| it.key().0 <= Instant::now())?;
        Some(entry.remove())
    }
}

/// Returns the current time plus `time`, but adds at most [`LONGEST`].
fn due_in(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn acknowledgements_keep_their_order() {
        let mut delayed = Delayed::default();
        assert_eq!(delayed.hold(1, None), Err(1), "nothing to wait for");
        assert_eq!(delayed.due(), None);
        let start = Instant::now();
        for (id, time) in [(2, Some(5 * SECOND)), (3, None), (4, Some(SECOND))] {
            assert_eq!(delayed.hold(id, time), Ok(()));
        }
        assert_eq!((delayed.due(), delayed.puback()), (Some(start + 5 * SECOND), None));
        tokio::time::advance(5 * SECOND).await;
        let ids: Vec<_> = std::iter::from_fn(|| delayed.puback()).collect();
        assert_eq!(ids, [2, 3, 4]);
        assert_eq!(delayed.hold(5, None), Err(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_time_is_accepted() {
        let mut delayed = Delayed::default();
        assert_eq!(delayed.hold(1, Some(Duration::MAX)), Ok(()));
        delayed.delay(Draft { kind: PublishKind::Notice, topic: String::new(), body: Bytes::new() }, Duration::MAX);
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!((delayed.puback(), delayed.draft()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_publishes_overtake_each_other() {
        let mut delayed = Delayed::default();
        let draft = |topic: &str| Draft { kind: PublishKind::Notice, topic: topic.into(), body: Bytes::new() };
        delayed.delay(draft("slow"), 5 * SECOND);
        delayed.delay(draft("quick"), SECOND);
        assert_eq!(delayed.draft(), None);
        tokio::time::sleep_until(delayed.due().expect("one")).await;
        assert_eq!(delayed.draft(), Some(draft("quick")));
        assert_eq!(delayed.draft(), None);
        tokio::time::sleep_until(delayed.due().expect("one")).await;
        assert_eq!((delayed.draft(), delayed.due()), (Some(draft("slow")), None));
    }
}
