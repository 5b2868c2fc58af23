//! Passes the questions of the core to the provider, and its decisions to the core.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Driver, ROUNDS};
use crate::core::{Link, Move, Question, TargetSetup, TokenKind};
use crate::deadline::later;
use crate::shared::TargetSnapshot;
use crate::{CloseReason, HubDecision, HubEvent, HubProvider, HubTarget};

/// Where a client gets its hub from.
#[derive(Debug)]
pub(crate) enum HubSource {
    Target(Box<HubTarget>),
    Provider(Box<dyn HubProvider>),
}

/// Owns the provider.
pub(super) struct Supervisor {
    work: Work,
    /// The target of a move that the core has not made yet, and whether it is at another hub.
    next: Option<Box<(HubTarget, bool)>>,
    /// The number of moves that the driver has made.
    moves: u64,
}

/// A running decision. It returns the provider, too.
type Decision = Pin<Box<dyn Future<Output = (Box<dyn HubProvider>, HubDecision)> + Send>>;

enum Work {
    Idle(Box<dyn HubProvider>),
    Deciding(Decision),
    /// The driver starts or polls a decision. If the provider panics, this stays.
    Busy,
}

impl Supervisor {
    pub(super) const fn new(provider: Box<dyn HubProvider>) -> Self {
        Self { work: Work::Idle(provider), next: None, moves: 0 }
    }
}

impl Driver {
    /// Asks the provider, and does what it decides. Returns `true` if anything changed.
    pub(super) fn drive_provider(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for round in 0..ROUNDS {
            self.follow_move(now);
            let event = self.take_event();
            let Some(supervisor) = &mut self.supervisor else { return false };
            let mut decision: Decision = match (std::mem::replace(&mut supervisor.work, Work::Busy), event) {
                (Work::Idle(mut provider), Some(event)) => Box::pin(async move {
                    let decision = provider.decide(event).await;
                    (provider, decision)
                }),
                (Work::Deciding(decision), _) => decision,
                (idle, _) => {
                    supervisor.work = idle;
                    return round > 0;
                }
            };
            match decision.as_mut().poll(cx) {
                Poll::Pending => {
                    supervisor.work = Work::Deciding(decision);
                    self.core.on_deciding();
                    return round > 0;
                }
                Poll::Ready((provider, decision)) => {
                    supervisor.work = Work::Idle(provider);
                    self.on_decision(now, decision);
                }
            }
        }
        true
    }

    /// Takes the next event for the provider, if the provider is idle.
    fn take_event(&mut self) -> Option<HubEvent> {
        let supervisor = self.supervisor.as_ref()?;
        if !matches!(supervisor.work, Work::Idle(_)) || self.core.link() == Link::Ended {
            return None;
        }
        match self.core.take_question() {
            Some(Question::NoTarget) => Some(HubEvent::Started),
            Some(Question::Accepted) => Some(HubEvent::Accepted),
            Some(Question::Failed(failure)) => Some(HubEvent::Failed(failure)),
            None => self.shared.asks_provider.swap(false, Ordering::SeqCst).then_some(HubEvent::Requested),
        }
    }

    fn on_decision(&mut self, now: Instant, decision: HubDecision) {
        match decision {
            HubDecision::Stay { at_least } => self.core.on_stay(now, at_least),
            HubDecision::Connect { target, at_least } => {
                let is_elsewhere = self.target.as_ref().is_none_or(|it| it.login.identity != target.login.identity);
                let setup = setup_of(&TargetSnapshot::of(&target), TokenKind::of(&target.credential));
                if let Some(supervisor) = &mut self.supervisor {
                    supervisor.next = Some(Box::new((*target, is_elsewhere)));
                }
                let to = Move { target: setup, is_elsewhere, not_before: later(now, at_least) };
                self.core.on_target(now, to);
            }
            HubDecision::End(error) => self.core.on_provider_end(now, CloseReason::Provider(error)),
        }
    }

    /// If the core has moved, uses the new target.
    pub(super) fn follow_move(&mut self, now: Instant) {
        let Some(supervisor) = &mut self.supervisor else { return };
        if supervisor.moves == self.core.moves() {
            return;
        }
        supervisor.moves = self.core.moves();
        let Some((target, is_elsewhere)) = supervisor.next.take().map(|it| *it) else { return };
        self.drop_link();
        self.features.on_connection(now, self.core.up());
        if is_elsewhere {
            self.features.on_moved();
        }
        (self.renewal, self.age) = (None, None);
        self.shared.set_target(TargetSnapshot::of(&target));
        self.target = Some(target);
    }
}

/// The properties of the first target that the core uses.
pub(super) fn setup(source: &HubSource, snapshot: &TargetSnapshot) -> TargetSetup {
    let token = match source {
        HubSource::Target(target) => TokenKind::of(&target.credential),
        // The client makes no attempt before it has a target.
        HubSource::Provider(_) => TokenKind::Absent,
    };
    setup_of(snapshot, token)
}

fn setup_of(snapshot: &TargetSnapshot, token: TokenKind) -> TargetSetup {
    TargetSetup { endpoint: Arc::clone(&snapshot.endpoint), token, renew_in_place: snapshot.abilities.renew_in_place }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("next", &self.next).finish_non_exhaustive()
    }
}
