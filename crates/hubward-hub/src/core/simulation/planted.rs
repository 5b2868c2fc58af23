//! Planted bugs, to check that the simulation finds them.
//!
//! A planted bug is not in the core itself. It is in [`Subject`], a layer between the core and the simulation, and
//! changes what the simulation passes to the core, or what the core returns.

use std::ops::{Deref, DerefMut};

use hubward_transport::Tag;
use tokio::time::Instant;

use crate::core::{Core, Link, Question};
use crate::outcome::{SendFailure, SendOutcome};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A repeated message is not marked as a repetition.
    LostDup,
    /// A message that an earlier hub may have is marked as a repetition.
    DupAfterMove,
    /// The provider is not asked about a failure.
    UnaskedProvider,
    /// A message in flight is resolved at its deadline, and resolved again when its acknowledgement comes later.
    DoubleReceipt,
    /// After the end, the timer for a message deadline stays set.
    LeakedTimer,
    /// The client plans the next attempt, but reports no timer for it.
    ForgottenTimer,
}

/// The core that the simulation runs, and at most one planted bug. The methods below are those that a bug changes. All
/// other methods are the core's own, reached through `Deref`.
#[derive(Debug)]
pub(super) struct Subject {
    core: Core<usize>,
    bug: Option<Bug>,
    /// [`Bug::DoubleReceipt`]: messages in flight that were resolved at their deadline.
    expired: Vec<usize>,
    /// [`Bug::LeakedTimer`]: the last message deadline.
    deadline: Option<Instant>,
}

impl Subject {
    pub(super) const fn new(core: Core<usize>, bug: Option<Bug>) -> Self {
        Self { core, bug, expired: Vec::new(), deadline: None }
    }

    pub(super) fn enqueue(&mut self, message: usize, deadline: Option<Instant>) {
        if self.bug == Some(Bug::LeakedTimer) {
            self.deadline = self.deadline.max(deadline);
        }
        self.core.enqueue(message, deadline);
    }

    pub(super) fn next_send(&mut self, now: Instant) -> Option<(Tag, bool)> {
        let (tag, again) = self.core.next_send(now)?;
        match self.bug {
            Some(Bug::LostDup) => Some((tag, false)),
            Some(Bug::DupAfterMove) => Some((tag, again || self.core.flights.was_moved(tag))),
            _ => Some((tag, again)),
        }
    }

    pub(super) fn take_question(&mut self) -> Option<Question> {
        self.core.take_question().filter(|_| self.bug != Some(Bug::UnaskedProvider))
    }

    pub(super) fn on_done(&mut self, now: Instant, tag: Tag) {
        self.core.on_done(now, tag);
        if let Some(message) = self.expired.pop() {
            self.core.resolved().push((message, SendOutcome::Acknowledged));
        }
    }

    /// Takes the messages that [`Core::resolved`] returns.
    pub(super) fn take_resolved(&mut self) -> Vec<(usize, SendOutcome)> {
        let resolved = std::mem::take(self.core.resolved());
        if self.bug == Some(Bug::DoubleReceipt) {
            let expired = |(message, outcome): &(usize, SendOutcome)| match outcome {
                SendOutcome::Unknown(SendFailure::Deadline(_)) => Some(*message),
                _ => None,
            };
            self.expired.extend(resolved.iter().filter_map(expired));
        }
        resolved
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.core.next_deadline();
        match self.bug {
            Some(Bug::LeakedTimer) => deadline.or_else(|| self.deadline.filter(|_| self.core.link() == Link::Ended)),
            Some(Bug::ForgottenTimer) => deadline.filter(|_| self.core.link() != Link::Nothing),
            _ => deadline,
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.deadline.take_if(|it| *it <= now);
        self.core.on_time(now);
    }
}

impl Deref for Subject {
    type Target = Core<usize>;

    fn deref(&self) -> &Core<usize> {
        &self.core
    }
}

impl DerefMut for Subject {
    fn deref_mut(&mut self) -> &mut Core<usize> {
        &mut self.core
    }
}
