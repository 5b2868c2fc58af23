//! Follows the desired properties. Receivers always get the newest complete state, even if the client missed changes.
//!
//! On every connection, the client first subscribes to changes and then fetches the twin. In this order, it misses no
//! change. If changes arrive before the twin, the client keeps them until the twin arrives.
//!
//! After the twin has arrived, the version of each change must be one greater than the version of the state. If a
//! version is missing, the client fetches the twin again.
//!
//! Memory has two limits in bytes: [`Latest`](crate::latest::Latest) limits the state, and [`WAITING_BYTES_MAX`] limits
//! the waiting changes.
//!
//! If a change would make the state too large, its copy may be wrong. The client therefore fetches
//! the whole twin.
//!
//! The hub violates the protocol if this twin is too large, or if a second change on the same connection would make the
//! state too large. The client then ends the connection.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hubward_proto::hub::Properties;
use hubward_transport::ProtoError;
use tokio::time::Instant;

use super::retry_wait::retry_wait;
use crate::incoming::Incoming;
use crate::latest::{JSON_MAX, check_json};

/// Maximum number of changes that wait for a fetched twin. Usually, fewer changes arrive within a round trip. If more
/// changes arrive, the client drops the waiting changes and later fetches the twin again.
const WAITING_MAX: usize = 32;

/// Maximum number of bytes of waiting changes, as JSON.
const WAITING_BYTES_MAX: usize = JSON_MAX;

/// Minimum time between two fetches that changes caused.
const SPACING: Duration = Duration::from_secs(1);

/// How long the client waits before it confirms an older twin.
///
/// A fetched twin may be older than the known state. Either the hub read it from a copy that lags behind, or the twin
/// was deleted and created again. So the client waits for this time and fetches the twin again. If this twin is older
/// too, the client accepts it as a new twin.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// The desired properties of one client.
#[derive(Debug)]
pub(crate) struct Desired {
    /// Contains the newest state. Receivers read the state there.
    incoming: Arc<Incoming>,
    followed: bool,
    /// The number of the newest state at the last call of [`Desired::has_changed`].
    announced: u64,
    phase: Phase,
    /// Changes of this connection that wait for a fetched twin.
    waiting: Vec<Notice>,
    /// Whether a change was dropped since the twin was requested.
    missed: bool,
    /// Number of fetches in a row that did not lead to a complete state.
    failures: u32,
    /// When the twin was requested, on this connection.
    requested_at: Option<Instant>,
    /// When the hub first returned a twin older than the known state, on this connection. `None` again after the client
    /// has accepted a twin.
    older_since: Option<Instant>,
    /// `true` after the first change on this connection that exceeded a limit. After this change, the client fetches
    /// the twin. A second such change ends the connection.
    was_too_large: bool,
    /// How the hub violated the protocol on this connection. The driver takes this value.
    broken: Option<ProtoError>,
}

/// A change, and its size as JSON.
#[derive(Debug)]
struct Notice {
    change: Properties,
    bytes: usize,
}

/// The progress on this connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The hub does not send changes yet.
    #[default]
    Off,
    /// The twin must be fetched at that moment.
    FetchAt(Instant),
    /// The twin must be fetched now.
    FetchNow,
    /// The twin is requested.
    Fetching,
    /// Each change continues the state.
    Live,
}

impl Desired {
    pub(crate) fn new(incoming: Arc<Incoming>) -> Self {
        Self {
            incoming,
            followed: false,
            announced: 0,
            phase: Phase::default(),
            waiting: Vec::new(),
            missed: false,
            failures: 0,
            requested_at: None,
            older_since: None,
            was_too_large: false,
            broken: None,
        }
    }

    /// Starts to follow the desired properties.
    pub(crate) const fn follow(&mut self) {
        self.followed = true;
    }

    /// Handles the grant of the subscription: this connection delivers changes from now on.
    pub(crate) fn on_subscribed(&mut self) {
        if self.phase == Phase::Off {
            self.phase = Phase::FetchNow;
        }
    }

    /// Handles the end of the connection.
    pub(crate) fn on_lost(&mut self) {
        self.phase = Phase::Off;
        self.waiting = Vec::new();
        (self.missed, self.failures, self.requested_at, self.older_since) = (false, 0, None, None);
        (self.was_too_large, self.broken) = (false, None);
    }

    /// Handles a move to another hub, after the end of the connection. The versions of the new hub start over.
    pub(crate) fn on_moved(&mut self) {
        self.on_lost();
        self.incoming.latest.on_moved();
    }

    /// Whether the twin must be fetched now.
    pub(crate) fn is_due(&self) -> bool {
        self.phase == Phase::FetchNow
    }

    /// Records that the twin was requested.
    pub(crate) fn on_requested(&mut self, now: Instant) {
        self.phase = Phase::Fetching;
        (self.missed, self.requested_at) = (false, Some(now));
    }

    /// Handles timers that are due; may be called before [`Desired::next_deadline`].
    pub(crate) fn on_time(&mut self, now: Instant) {
        if matches!(self.phase, Phase::FetchAt(until) if until <= now) {
            self.phase = Phase::FetchNow;
        }
    }

    /// The latest moment for the next call of [`Desired::on_time`].
    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::FetchAt(until) => Some(until),
            _ => None,
        }
    }

    /// Whether the newest state changed since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        let number = self.incoming.latest.number();
        std::mem::replace(&mut self.announced, number) != number
    }

    /// Returns how the hub violated the protocol on this connection; `None` if it did not. After a violation, the
    /// driver must end the connection. This method returns each violation only once.
    pub(crate) const fn broken(&mut self) -> Option<ProtoError> {
        self.broken.take()
    }

    /// Handles a fetch of the twin that failed.
    pub(crate) fn on_failed(&mut self, now: Instant, rng: &mut Rng, requested: Option<Duration>) {
        if self.phase == Phase::Fetching {
            self.retry_later(now, rng, requested);
        }
    }

    /// Handles the response to a fetch.
    pub(crate) fn on_fetched(&mut self, now: Instant, rng: &mut Rng, fetched: Result<Properties, ProtoError>) {
        if self.phase != Phase::Fetching {
            return;
        }
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(problem) => {
                let limit = &self.incoming.warnings.unreadable_twin;
                limit.log(|| tracing::warn!(%problem, "cannot read the twin; fetching it again"));
                return self.retry_later(now, rng, None);
            }
        };
        if let Some(known) = self.incoming.latest.version()
            && fetched.version < known
        {
            let since = *self.older_since.get_or_insert(now);
            if self.requested_at.is_none_or(|it| it < since + CONFIRM_AFTER) {
                tracing::debug!(known, fetched = fetched.version, "the twin has an older version; fetching it again");
                self.phase = Phase::FetchAt(since + CONFIRM_AFTER);
                return self.fetch_sooner(now);
            }
            tracing::info!(known, fetched = fetched.version, "the twin was created again");
        }
        self.older_since = None;
        match self.incoming.latest.replace(fetched) {
            Ok(()) => self.catch_up(now, rng),
            // The twin itself is too large.
            Err(problem) => self.fail_connection(problem),
        }
    }

    /// Handles a twin that the program requested. If the twin is newer than the known state, it becomes the known
    /// state.
    pub(crate) fn on_seen(&mut self, seen: &Properties) {
        let latest = &self.incoming.latest;
        if self.followed
            && latest.version().is_none_or(|it| it < seen.version)
            // A twin that is too large does not replace the known state. The program still gets the twin that it
            // requested.
            && latest.replace(seen.clone()).is_ok()
        {
            self.older_since = None;
        }
    }

    /// Handles a change.
    pub(crate) fn on_notice(&mut self, now: Instant, rng: &mut Rng, body: &[u8]) {
        if !self.followed {
            // A session that the hub kept may still deliver changes.
            return tracing::debug!("ignored a change of desired properties, since the program does not follow them");
        }
        if let Err(problem) = check_json(body.len()) {
            let was_live = self.phase == Phase::Live;
            return self.on_too_large(now, problem, was_live);
        }
        match Properties::parse_patch(body) {
            Ok(change) => self.keep(Notice { change, bytes: body.len() }),
            Err(problem) => {
                self.incoming.warnings.unreadable_change.log(|| {
                    tracing::warn!(%problem, "cannot read a change of desired properties; fetching the twin");
                });
                self.missed = true;
                if self.phase == Phase::Live {
                    self.retry_later(now, rng, None);
                }
                return;
            }
        }
        if self.phase == Phase::Live {
            self.catch_up(now, rng);
        } else {
            self.fetch_sooner(now);
        }
    }

    /// If the hub returned an older twin and then sent a change that is newer than the known state, fetches the twin
    /// sooner than planned.
    ///
    /// The client does not merge this change into the known state. The older twin may mean that the twin was created
    /// again. The change then belongs to the new twin, and merging it into the old state would give a state that never
    /// existed.
    fn fetch_sooner(&mut self, now: Instant) {
        let known = self.incoming.latest.version();
        let (Phase::FetchAt(until), Some(_), Some(known)) = (self.phase, self.older_since, known) else { return };
        if self.waiting.iter().any(|it| it.change.version > known) {
            let next = self.requested_at.map_or(now, |it| it + SPACING).max(now);
            self.phase = if next > now { Phase::FetchAt(until.min(next)) } else { Phase::FetchNow };
        }
    }

    fn keep(&mut self, notice: Notice) {
        let bytes: usize = self.waiting.iter().map(|it| it.bytes).sum();
        if self.waiting.len() >= WAITING_MAX || bytes + notice.bytes > WAITING_BYTES_MAX {
            self.waiting.clear();
            self.missed = true;
        }
        self.waiting.push(notice);
    }

    /// Continues the state with the waiting changes.
    fn catch_up(&mut self, now: Instant, rng: &mut Rng) {
        let latest = &self.incoming.latest;
        let Some(mut known) = latest.version() else { return };
        self.waiting.sort_by_key(|it| it.change.version);
        let mut gap = Vec::new();
        let mut problem = None;
        for notice in self.waiting.drain(..) {
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
            return self.on_too_large(now, problem, true);
        }
        let was_live = self.phase == Phase::Live;
        self.waiting = gap;
        if self.waiting.is_empty() && !self.missed {
            (self.phase, self.failures) = (Phase::Live, 0);
        } else if was_live {
            tracing::debug!("a change of desired properties was missed; fetching the twin");
            self.fetch_soon(now);
        } else {
            self.retry_later(now, rng, None);
        }
    }

    fn fetch_soon(&mut self, now: Instant) {
        let next = self.requested_at.map_or(now, |it| it + SPACING);
        self.phase = if next > now { Phase::FetchAt(next) } else { Phase::FetchNow };
    }

    /// Handles a change that would make the state too large. The first time on a connection, the client's copy may be
    /// wrong, so the client fetches the whole twin. The second time, the client ends the connection.
    ///
    /// Set `idle` to `true` if no fetch is planned or running.
    fn on_too_large(&mut self, now: Instant, problem: ProtoError, idle: bool) {
        if std::mem::replace(&mut self.was_too_large, true) {
            return self.fail_connection(problem);
        }
        tracing::debug!(%problem, "a change would make the desired properties too large; fetching the twin");
        self.waiting.clear();
        self.missed = true;
        if idle {
            self.fetch_soon(now);
        }
    }

    fn fail_connection(&mut self, problem: ProtoError) {
        self.broken.get_or_insert(problem);
        // The client ignores the rest of this connection.
        self.phase = Phase::Off;
        self.waiting.clear();
    }

    fn retry_later(&mut self, now: Instant, rng: &mut Rng, requested: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::FetchAt(now + retry_wait(rng, self.failures, requested));
    }
}
