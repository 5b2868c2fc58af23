//! Simulates the provider. It moves the client at random.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::coverage::{At, Kind};
use super::model::{Connection, Decision, Happening, Hub};
use super::world::World;
use crate::CloseReason;
use crate::core::{Move, Question, TargetSetup, TokenKind};

/// The properties of a random target.
pub(super) fn target(rng: &mut Rng) -> TargetSetup {
    let token = match rng.u8(..20) {
        0 => TokenKind::Absent,
        1 | 2 => TokenKind::Fixed,
        _ => TokenKind::Renewable,
    };
    TargetSetup { endpoint: "hub.example:8883".into(), token, renew_in_place: rng.bool() }
}

impl World<'_> {
    /// Passes the next question of the client to the provider.
    pub(super) fn ask(&mut self) {
        let has_target = self.moves > 0;
        match self.core.take_question() {
            None | Some(Question::Accepted) => {}
            Some(Question::NoTarget) => {
                assert!(!has_target, "the client has a target: {}", self.about());
                self.plan_decision(false);
            }
            Some(Question::Failed(failure)) => {
                assert!(has_target && failure.failures > 0, "{failure:?}: {}", self.about());
                self.plan_decision(true);
            }
        }
    }

    fn plan_decision(&mut self, has_target: bool) {
        assert_eq!(self.at(), At::Deciding, "{}", self.about());
        let wait = if self.rng.bool() { self.delay(2.0) } else { Duration::ZERO };
        let decision = match self.rng.u8(..40) {
            0 if self.rough > 0.0 => Decision::End,
            1..20 => Decision::Stay(wait),
            20..30 if has_target => Decision::Move(false, wait),
            _ => Decision::Move(true, wait),
        };
        self.is_deciding = true;
        if self.rng.bool() { self.decide(decision) } else { self.later(0.0, 2.0, Happening::Decided(decision)) }
    }

    /// The provider answers a question.
    pub(super) fn decide(&mut self, decision: Decision) {
        self.is_deciding = false;
        if self.at() == At::Ended {
            return;
        }
        match decision {
            Decision::Stay(wait) => self.core.on_stay(self.now, wait),
            Decision::Move(is_elsewhere, wait) => self.move_to(is_elsewhere, wait),
            Decision::End => {
                self.note(Kind::ProviderEnd);
                self.core.on_provider_end(self.now, CloseReason::Provider(Arc::new(std::io::Error::other("no hub"))));
            }
        }
    }

    /// The program has asked the provider for a move.
    pub(super) fn move_on_request(&mut self) {
        if self.at() != At::Ended && self.moves > 0 && !self.is_deciding {
            let is_elsewhere = self.rng.bool();
            self.move_to(is_elsewhere, Duration::ZERO);
        }
    }

    fn move_to(&mut self, is_elsewhere: bool, wait: Duration) {
        if !matches!(self.at(), At::Ended | At::FinalDisconnect) {
            self.note(if is_elsewhere { Kind::MoveElsewhere } else { Kind::MoveHere });
            self.is_elsewhere = is_elsewhere;
        }
        let target = target(&mut self.rng);
        self.core.on_target(self.now, Move { target, is_elsewhere, not_before: self.now + wait });
    }

    /// If the client has moved, does what a driver does: drops the connection, and forgets the old hub.
    pub(super) fn follow_move(&mut self) {
        if self.core.moves() == self.moves {
            return;
        }
        self.moves = self.core.moves();
        self.is_deciding = false;
        self.connection = Connection::default();
        self.features.on_connection(self.now, self.core.up());
        if self.is_elsewhere {
            self.features.on_moved();
            let subscribed = std::mem::take(&mut self.hub.subscribed);
            self.hub = Hub { desired: self.rng.u64(1..5), subscribed, ..Hub::default() };
            self.desired = 0;
            self.records.iter_mut().for_each(|it| it.tag = None);
        }
    }
}
