//! What the cloud wants of the device: always the newest state as a whole, whatever was missed.
//!
//! On every connection the twin is fetched once changes are announced, so that nothing falls between
//! the two; notices that come meanwhile wait for it. From then on each notice has to continue the
//! state by one version, or the twin is fetched again.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hubward_proto::hub::{Properties, twin};
use hubward_transport::ProtoError;
use tokio::time::Instant;

use super::twin_requests::wait;

/// Notices that wait for a fetched twin. More than come within a round trip; if more do, the twin is
/// simply fetched again.
const KEPT: usize = 32;

/// The least time between two fetches that were caused by notices.
const SPACING: Duration = Duration::from_secs(1);

/// How far apart two answers with an older version must be to be believed.
const DOUBT: Duration = Duration::from_secs(5);

/// The desired properties of one client.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    followed: bool,
    known: Option<Arc<Properties>>,
    /// Whether `known` has changed and nobody was told.
    news: bool,
    phase: Phase,
    /// Notices of this connection that wait for a fetched twin.
    kept: Vec<Properties>,
    /// Whether one was lost since the twin was asked for.
    missed: bool,
    /// Fetches in a row that did not lead to a whole state.
    failures: u32,
    /// When the twin was asked for, on this connection.
    asked_at: Option<Instant>,
    /// Since when the hub says an older version than we know, on this connection.
    older_since: Option<Instant>,
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

    /// The newest state, if it changed since the last call.
    pub(crate) fn news(&mut self) -> Option<Arc<Properties>> {
        if std::mem::take(&mut self.news) { self.known.clone() } else { None }
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
                tracing::warn!(%problem, "the twin cannot be read; it is fetched again");
                return self.again(now, rng, None);
            }
        };
        if let Some(known) = &self.known
            && fetched.version < known.version
        {
            let since = *self.older_since.get_or_insert(now);
            if self.asked_at.is_none_or(|it| it < since + DOUBT) {
                tracing::debug!(known = known.version, fetched = fetched.version, "an older twin; asking again");
                self.phase = Phase::Resting(since + DOUBT);
                return self.hurry(now);
            }
            tracing::info!(known = known.version, fetched = fetched.version, "the twin was made anew");
        }
        self.older_since = None;
        self.set(fetched);
        self.catch_up(now, rng);
    }

    /// A twin that somebody else asked for; it may be newer.
    pub(crate) fn on_seen(&mut self, seen: &Properties) {
        if self.followed && self.known.as_ref().is_none_or(|it| it.version < seen.version) {
            self.older_since = None;
            self.set(seen.clone());
        }
    }

    /// A notice of a change.
    pub(crate) fn on_notice(&mut self, now: Instant, rng: &mut Rng, body: &[u8]) {
        if !self.followed {
            // A session that the hub kept may still announce them.
            return tracing::debug!("desired properties have changed; nobody follows them");
        }
        match Properties::parse_patch(body) {
            Ok(notice) => self.keep(notice),
            Err(problem) => {
                tracing::warn!(%problem, "a change of desired properties cannot be read; the twin is fetched");
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
        let (Phase::Resting(until), Some(_), Some(known)) = (self.phase, self.older_since, &self.known) else { return };
        if self.kept.iter().any(|it| it.version > known.version) {
            let next = self.asked_at.map_or(now, |it| it + SPACING).max(now);
            self.phase = if next > now { Phase::Resting(until.min(next)) } else { Phase::Due };
        }
    }

    fn keep(&mut self, notice: Properties) {
        if self.kept.len() >= KEPT {
            self.kept.clear();
            self.missed = true;
        }
        self.kept.push(notice);
    }

    /// Continues the state with the notices that waited for it.
    fn catch_up(&mut self, now: Instant, rng: &mut Rng) {
        let Some(known) = &mut self.known else { return };
        self.kept.sort_by_key(|it| it.version);
        let mut gap = Vec::new();
        for notice in self.kept.drain(..) {
            match notice.version.cmp(&known.version.saturating_add(1)) {
                Ordering::Less => {}
                Ordering::Equal => {
                    // Readers keep what they were given.
                    let state = Arc::make_mut(known);
                    twin::merge(&mut state.values, &notice.values);
                    state.version = notice.version;
                    self.news = true;
                }
                Ordering::Greater => gap.push(notice),
            }
        }
        let was_live = self.phase == Phase::Live;
        self.kept = gap;
        if self.kept.is_empty() && !self.missed {
            (self.phase, self.failures) = (Phase::Live, 0);
        } else if was_live {
            tracing::debug!("a change of desired properties was missed; the twin is fetched");
            let next = self.asked_at.map_or(now, |it| it + SPACING);
            self.phase = if next > now { Phase::Resting(next) } else { Phase::Due };
        } else {
            self.again(now, rng, None);
        }
    }

    fn again(&mut self, now: Instant, rng: &mut Rng, asked: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Resting(now + wait(rng, self.failures, asked));
    }

    fn set(&mut self, state: Properties) {
        if self.known.as_deref() != Some(&state) {
            self.known = Some(Arc::new(state));
            self.news = true;
        }
    }
}
