//! What the cloud wants of the device: always the newest state as a whole, whatever was missed.
//!
//! On every connection the twin is fetched once changes are announced, so that nothing falls between
//! the two; notices that come meanwhile wait for it. From then on each notice has to continue the
//! state by one version, or the twin is fetched again.
//!
//! Everything is bounded in bytes: the state by [`Latest`](crate::latest::Latest), the notices that wait by
//! [`KEPT_BYTES`]. A notice that would make the state too large makes the client fetch the twin once; if
//! that does not help, the hub breaks the protocol.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hubward_proto::hub::Properties;
use hubward_transport::ProtoError;
use tokio::time::Instant;

use super::twin_requests::wait;
use crate::incoming::Incoming;
use crate::latest::{JSON_MAX, check_json};

/// Notices that wait for a fetched twin. More than come within a round trip; if more do, the twin is
/// simply fetched again.
const KEPT: usize = 32;

/// Most bytes of the notices that wait, as JSON.
const KEPT_BYTES: usize = JSON_MAX;

/// The least time between two fetches that were caused by notices.
const SPACING: Duration = Duration::from_secs(1);

/// How far apart two answers with an older version must be to be believed.
const DOUBT: Duration = Duration::from_secs(5);

/// The desired properties of one client.
#[derive(Debug)]
pub(crate) struct Desired {
    /// Holds the newest state, which receivers read there.
    incoming: Arc<Incoming>,
    followed: bool,
    /// The number of the state that was told last.
    told: u64,
    phase: Phase,
    /// Notices of this connection that wait for a fetched twin.
    kept: Vec<Notice>,
    /// Whether one was lost since the twin was asked for.
    missed: bool,
    /// Fetches in a row that did not lead to a whole state.
    failures: u32,
    /// When the twin was asked for, on this connection.
    asked_at: Option<Instant>,
    /// Since when the hub says an older version than we know, on this connection.
    older_since: Option<Instant>,
    /// Whether a notice of this connection exceeded the bounds, so that the client fetched the twin.
    overgrown: bool,
    /// How the hub broke the protocol on this connection, until the driver takes it.
    broken: Option<ProtoError>,
}

/// A change, and its bytes as JSON.
#[derive(Debug)]
struct Notice {
    change: Properties,
    bytes: usize,
}

/// How far this connection has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Changes are not announced.
    #[default]
    Off,
    /// To be fetched then.
    Resting(Instant),
    /// To be fetched.
    Due,
    /// Asked for.
    Fetching,
    /// Each notice continues the state.
    Live,
}

impl Desired {
    pub(crate) fn new(incoming: Arc<Incoming>) -> Self {
        Self {
            incoming,
            followed: false,
            told: 0,
            phase: Phase::default(),
            kept: Vec::new(),
            missed: false,
            failures: 0,
            asked_at: None,
            older_since: None,
            overgrown: false,
            broken: None,
        }
    }

    /// From now on somebody wants to know.
    pub(crate) const fn follow(&mut self) {
        self.followed = true;
    }

    /// This connection announces changes from now on.
    pub(crate) fn on_watched(&mut self) {
        if self.phase == Phase::Off {
            self.phase = Phase::Due;
        }
    }

    /// The connection is over.
    pub(crate) fn on_lost(&mut self) {
        self.phase = Phase::Off;
        self.kept = Vec::new();
        (self.missed, self.failures, self.asked_at, self.older_since) = (false, 0, None, None);
        (self.overgrown, self.broken) = (false, None);
    }

    /// Whether the twin is to be fetched.
    pub(crate) fn is_due(&self) -> bool {
        self.phase == Phase::Due
    }

    /// The twin was asked for.
    pub(crate) fn on_asked(&mut self, now: Instant) {
        self.phase = Phase::Fetching;
        (self.missed, self.asked_at) = (false, Some(now));
    }

    /// Time has come to [`Desired::next_deadline`], or anywhere.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Resting(until) if until <= now) {
            self.phase = Phase::Due;
        }
    }

    /// When to call [`Desired::on_time`] at the latest.
    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting(until) => Some(until),
            _ => None,
        }
    }

    /// Whether the newest state changed since the last call.
    pub(crate) fn has_news(&mut self) -> bool {
        let number = self.incoming.latest.number();
        std::mem::replace(&mut self.told, number) != number
    }

    /// How the hub broke the protocol on this connection, once: it must end.
    pub(crate) const fn broken(&mut self) -> Option<ProtoError> {
        self.broken.take()
    }

    /// The twin could not be fetched.
    pub(crate) fn on_failed(&mut self, now: Instant, rng: &mut Rng, asked: Option<Duration>) {
        if self.phase == Phase::Fetching {
            self.again(now, rng, asked);
        }
    }

    /// The twin that was fetched.
    pub(crate) fn on_fetched(&mut self, now: Instant, rng: &mut Rng, fetched: Result<Properties, ProtoError>) {
        if self.phase != Phase::Fetching {
            return;
        }
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(problem) => {
                let limit = &self.incoming.warnings.unreadable_twin;
                limit.log(|| tracing::warn!(%problem, "the twin cannot be read; it is fetched again"));
                return self.again(now, rng, None);
            }
        };
        if let Some(known) = self.incoming.latest.version()
            && fetched.version < known
        {
            let since = *self.older_since.get_or_insert(now);
            if self.asked_at.is_none_or(|it| it < since + DOUBT) {
                tracing::debug!(known, fetched = fetched.version, "an older twin; asking again");
                self.phase = Phase::Resting(since + DOUBT);
                return self.hurry(now);
            }
            tracing::info!(known, fetched = fetched.version, "the twin was made anew");
        }
        self.older_since = None;
        match self.incoming.latest.replace(fetched) {
            Ok(()) => self.catch_up(now, rng),
            // The twin itself is too large.
            Err(problem) => self.break_off(problem),
        }
    }

    /// A twin that somebody else asked for; it may be newer.
    pub(crate) fn on_seen(&mut self, seen: &Properties) {
        let latest = &self.incoming.latest;
        if self.followed
            && latest.version().is_none_or(|it| it < seen.version)
            // One that is too large is for the program to judge, which asked for it.
            && latest.replace(seen.clone()).is_ok()
        {
            self.older_since = None;
        }
    }

    /// A notice of a change.
    pub(crate) fn on_notice(&mut self, now: Instant, rng: &mut Rng, body: &[u8]) {
        if !self.followed {
            // A session that the hub kept may still announce them.
            return tracing::debug!("desired properties have changed; nobody follows them");
        }
        if let Err(problem) = check_json(body.len()) {
            let was_live = self.phase == Phase::Live;
            return self.outgrow(now, problem, was_live);
        }
        match Properties::parse_patch(body) {
            Ok(change) => self.keep(Notice { change, bytes: body.len() }),
            Err(problem) => {
                self.incoming.warnings.unreadable_change.log(|| {
                    tracing::warn!(%problem, "a change of desired properties cannot be read; the twin is fetched");
                });
                self.missed = true;
                if self.phase == Phase::Live {
                    self.again(now, rng, None);
                }
                return;
            }
        }
        if self.phase == Phase::Live {
            self.catch_up(now, rng);
        } else {
            self.hurry(now);
        }
    }

    /// While an older twin is in doubt, a notice that is newer than what is known is not kept waiting for
    /// the end of the doubt: the twin is asked for sooner. It is not merged into what is known, since
    /// the twin may have been made anew: that would be a state that never was.
    fn hurry(&mut self, now: Instant) {
        let known = self.incoming.latest.version();
        let (Phase::Resting(until), Some(_), Some(known)) = (self.phase, self.older_since, known) else { return };
        if self.kept.iter().any(|it| it.change.version > known) {
            let next = self.asked_at.map_or(now, |it| it + SPACING).max(now);
            self.phase = if next > now { Phase::Resting(until.min(next)) } else { Phase::Due };
        }
    }

    fn keep(&mut self, notice: Notice) {
        let bytes: usize = self.kept.iter().map(|it| it.bytes).sum();
        if self.kept.len() >= KEPT || bytes + notice.bytes > KEPT_BYTES {
            self.kept.clear();
            self.missed = true;
        }
        self.kept.push(notice);
    }

    /// Continues the state with the notices that waited for it.
    fn catch_up(&mut self, now: Instant, rng: &mut Rng) {
        let latest = &self.incoming.latest;
        let Some(mut known) = latest.version() else { return };
        self.kept.sort_by_key(|it| it.change.version);
        let mut gap = Vec::new();
        let mut problem = None;
        for notice in self.kept.drain(..) {
            match notice.change.version.cmp(&known.saturating_add(1)) {
                Ordering::Less => {}
                Ordering::Equal => match latest.merge(&notice.change) {
                    Ok(()) => known = notice.change.version,
                    Err(it) => {
                        problem = Some(it);
                        break;
                    }
                },
                Ordering::Greater => gap.push(notice),
            }
        }
        if let Some(problem) = problem {
            return self.outgrow(now, problem, true);
        }
        let was_live = self.phase == Phase::Live;
        self.kept = gap;
        if self.kept.is_empty() && !self.missed {
            (self.phase, self.failures) = (Phase::Live, 0);
        } else if was_live {
            tracing::debug!("a change of desired properties was missed; the twin is fetched");
            self.fetch_soon(now);
        } else {
            self.again(now, rng, None);
        }
    }

    fn fetch_soon(&mut self, now: Instant) {
        let next = self.asked_at.map_or(now, |it| it + SPACING);
        self.phase = if next > now { Phase::Resting(next) } else { Phase::Due };
    }

    /// A notice would make the state too large. The first time on a connection, the twin is fetched: it
    /// says what the hub really has. `idle` says that it is not to be fetched anyway.
    fn outgrow(&mut self, now: Instant, problem: ProtoError, idle: bool) {
        if std::mem::replace(&mut self.overgrown, true) {
            return self.break_off(problem);
        }
        tracing::debug!(%problem, "a change of desired properties goes too far; the twin is fetched");
        self.kept.clear();
        self.missed = true;
        if idle {
            self.fetch_soon(now);
        }
    }

    fn break_off(&mut self, problem: ProtoError) {
        self.broken.get_or_insert(problem);
        // Nothing more of this connection counts.
        self.phase = Phase::Off;
        self.kept.clear();
    }

    fn again(&mut self, now: Instant, rng: &mut Rng, asked: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Resting(now + wait(rng, self.failures, asked));
    }
}
