//! The twin: the twin requests of the program, and the desired properties that the client follows.

use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use hubward_proto::hub::Twin;
use hubward_transport::{Feature, ProtoError, Refusal, Tag};
use tokio::time::Instant;

use super::desired::Desired;
use super::outgoing::Outgoing;
use super::subscriptions::Subscriptions;
use super::tags::RequestTags;
use super::twin_requests::{Requester, TwinFailure, TwinRequest, TwinRequests, TwinResponse};
use crate::incoming::Incoming;
use crate::{CloseReason, HubOptions};

/// The twin state of one client.
#[derive(Debug)]
pub(crate) struct Twins {
    rng: Rng,
    requests: TwinRequests,
    desired: Desired,
    incoming: Arc<Incoming>,
}

impl Twins {
    pub(crate) fn new(options: &HubOptions, incoming: Arc<Incoming>) -> Self {
        Self {
            rng: options.seed.map_or_else(Rng::new, Rng::with_seed),
            requests: TwinRequests::new(options.twin_timeout),
            desired: Desired::new(incoming.clone()),
            incoming,
        }
    }

    pub(crate) fn request(&mut self, request: TwinRequest) {
        self.requests.push(request);
    }

    /// Starts to follow the desired properties.
    pub(crate) const fn follow(&mut self) {
        self.desired.follow();
    }

    /// Handles a change of the subscriptions: the hub may have granted or refused one.
    pub(crate) fn on_subscriptions(&mut self, subscriptions: &Subscriptions) {
        if subscriptions.is_active(Feature::TwinResponses) {
            self.requests.set_refusal(None);
        } else if let Some(refusal) = subscriptions.refusal(Feature::TwinResponses) {
            self.requests.set_refusal(Some(refusal));
        }
        if subscriptions.is_active(Feature::TwinResponses) && subscriptions.is_active(Feature::Desired) {
            self.desired.on_subscribed();
        }
    }

    pub(crate) fn on_lost(&mut self) {
        self.requests.on_lost();
        self.desired.on_lost();
    }

    /// Handles a move to another hub, after the end of the connection.
    pub(crate) fn on_moved(&mut self) {
        self.desired.on_moved();
    }

    pub(crate) fn on_twin(&mut self, now: Instant, tag: Tag, body: &[u8]) {
        let Some(requester) = self.requests.on_response(tag) else { return late(tag) };
        let twin = Twin::parse(body);
        match requester {
            Requester::Client => self.desired.on_fetched(now, &mut self.rng, twin.map(|it| it.desired)),
            Requester::Program => {
                if let Ok(twin) = &twin {
                    self.desired.on_seen(&twin.desired);
                }
                self.requests.finish(twin.map(|it| TwinResponse::Twin(Box::new(it))).map_err(TwinFailure::Unreadable));
            }
        }
    }

    pub(crate) fn on_reported(&mut self, now: Instant, tag: Tag, version: Option<u64>) {
        match self.requests.on_response(tag) {
            Some(Requester::Program) => self.requests.finish(Ok(TwinResponse::Reported(version))),
            Some(Requester::Client) => self.desired.on_failed(now, &mut self.rng, None),
            None => late(tag),
        }
    }

    pub(crate) fn on_desired(&mut self, now: Instant, body: &Bytes) {
        self.desired.on_notice(now, &mut self.rng, body);
    }

    /// Handles the refusal of a twin request. Returns `true` if the tag belongs to a twin request.
    pub(crate) fn on_refused(&mut self, now: Instant, tag: Tag, refusal: &Refusal) -> bool {
        let requester = self.requests.on_response(tag);
        match requester {
            Some(Requester::Program) => self.requests.refused(now, &mut self.rng, refusal),
            Some(Requester::Client) => {
                let limit = &self.incoming.warnings.unreadable_twin;
                limit.log(|| tracing::warn!(%refusal, "cannot fetch the twin; trying again"));
                self.desired.on_failed(now, &mut self.rng, refusal.retry_after);
            }
            None => {}
        }
        requester.is_some()
    }

    /// Handles a twin request that the connection could not send. Returns `true` if the tag belongs to a twin request.
    pub(crate) fn on_unsendable(&mut self, now: Instant, tag: Tag, problem: &ProtoError) -> bool {
        let requester = self.requests.on_response(tag);
        match requester {
            Some(Requester::Program) => self.requests.unsendable(problem.clone()),
            Some(Requester::Client) => {
                let limit = &self.incoming.warnings.unreadable_twin;
                limit.log(|| tracing::warn!(%problem, "cannot fetch the twin over this connection"));
                self.desired.on_failed(now, &mut self.rng, None);
            }
            None => {}
        }
        requester.is_some()
    }

    pub(crate) fn on_time(&mut self, now: Instant) {
        if self.requests.on_time(now) == Some(Requester::Client) {
            self.desired.on_failed(now, &mut self.rng, None);
        }
        self.desired.on_time(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.requests.next_deadline(), self.desired.next_deadline()].into_iter().flatten().min()
    }

    /// Returns the next request for the connection.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        tags: &mut RequestTags,
        subscriptions: &Subscriptions,
    ) -> Option<Outgoing> {
        if !subscriptions.is_active(Feature::TwinResponses) {
            return None;
        }
        let (requester, tag, what) = self.requests.next(now, tags, self.desired.is_due())?;
        if requester == Requester::Client {
            self.desired.on_requested(now);
        }
        Some(Outgoing::Request(tag, what))
    }

    /// Whether the hub owes no response.
    pub(crate) const fn is_idle(&self) -> bool {
        self.requests.is_idle()
    }

    /// Whether no caller waits for a response.
    pub(crate) fn is_flushed(&self) -> bool {
        self.requests.is_flushed()
    }

    /// Whether the newest desired properties changed since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.desired.has_changed()
    }

    /// Returns how the hub violated the protocol. A second call returns `None`.
    pub(crate) const fn broken(&mut self) -> Option<ProtoError> {
        self.desired.broken()
    }

    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.requests.end(reason);
    }
}

fn late(tag: Tag) {
    tracing::debug!(?tag, "a response to a twin request came too late");
}
