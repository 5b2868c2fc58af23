//! All features besides telemetry: subscriptions, the twin, direct methods, and messages from the cloud.
//!
//! Like the core, this module has no I/O and no clock. The driver reports what happened and when, and passes the items
//! of [`Features::next`] to the connection.
//!
//! When a connection ends, the client keeps unanswered requests, such as twin requests, and sends them again on the
//! next connection. Method calls and message locks belong to one connection and end with it.

mod calls;
mod certificates;
mod desired;
mod outgoing;
mod retry_wait;
mod subscriptions;
mod tags;
mod twin_requests;
#[cfg(test)]
mod twin_simulation;
mod twins;

use std::sync::Arc;

use hubward_proto::limits;
use hubward_transport::{Downstream, Feature, ProtoError, Reply, Tag};
use tokio::time::Instant;

use self::calls::Calls;
pub(crate) use self::calls::{CallResponse, Job, is_json_or_empty};
use self::certificates::Certificates;
pub(crate) use self::certificates::{CertificateCall, IssuanceFailure, IssuanceOutcome};
pub(crate) use self::outgoing::Outgoing;
use self::subscriptions::Subscriptions;
use self::tags::RequestTags;
pub(crate) use self::tags::is_request;
pub(crate) use self::twin_requests::{TwinFailure, TwinRequest, TwinRequestKind, TwinResponse};
use self::twins::Twins;
use crate::incoming::Incoming;
use crate::warnings::Warnings;
use crate::{CloseReason, HubOptions};

/// All features of one client.
#[derive(Debug)]
pub(crate) struct Features {
    /// The number of the attempt whose connection is up; `None` if no connection is up.
    up: Option<u64>,
    tags: RequestTags,
    subscriptions: Subscriptions,
    twins: Twins,
    certificates: Certificates,
    calls: Calls,
    /// Contains the received messages. Receivers take the messages from there.
    incoming: Arc<Incoming>,
}

impl Features {
    pub(crate) fn new(options: &HubOptions, incoming: Arc<Incoming>) -> Self {
        Self {
            up: None,
            tags: RequestTags::default(),
            subscriptions: Subscriptions::default(),
            twins: Twins::new(options, incoming.clone()),
            certificates: Certificates::new(limits::CERTIFICATE_ANSWER_TIMEOUT),
            calls: Calls::new(incoming.clone(), options.method_calls),
            incoming,
        }
    }

    /// Subscribes to a feature, on this and every later connection.
    pub(crate) fn subscribe(&mut self, feature: Feature) {
        self.subscriptions.subscribe(feature);
        if feature == Feature::Desired {
            self.twins.follow();
        }
    }

    /// Accepts a program's twin request.
    pub(crate) fn on_twin_request(&mut self, request: TwinRequest) {
        self.twins.request(request);
    }

    /// Accepts a program's certificate request.
    pub(crate) fn on_certificate_request(&mut self, call: CertificateCall) {
        self.certificates.push(call);
        self.subscriptions.subscribe(Feature::Certificates);
    }

    /// Updates which connection is up. `up` is the number of this connection, or `None` if no connection is up. The
    /// driver calls this method after every step that may change the connection.
    pub(crate) fn on_connection(&mut self, now: Instant, up: Option<u64>) {
        if self.up == up {
            return;
        }
        if self.up.take().is_some() {
            self.subscriptions.on_lost();
            self.twins.on_lost();
            self.certificates.on_lost();
            self.calls.on_lost();
            let wake_ups = self.incoming.inbox().on_lost(&self.incoming.counters);
            wake_ups.send();
        }
        if let Some(connection) = up {
            self.up = up;
            self.drop_unused_subscription();
            self.subscriptions.on_ready(now);
            self.incoming.inbox().on_ready(connection);
        }
    }

    /// Handles a move to another hub. No connection is up. The twin of the new hub has nothing in common with the old
    /// one.
    pub(crate) fn on_moved(&mut self) {
        self.twins.on_moved();
    }

    /// Ends the subscription to certificates if no caller waits for one, because a hub without this preview may close a
    /// connection that subscribes to it.
    fn drop_unused_subscription(&mut self) {
        if !self.certificates.is_pending() {
            self.subscriptions.forget(Feature::Certificates);
        }
    }

    /// Handles an event of the connection. The driver passes only the events that the core does not handle.
    pub(crate) fn on_event(&mut self, now: Instant, event: Downstream) {
        match event {
            Downstream::Done(tag) if self.subscriptions.on_done(tag) => {
                self.twins.on_subscriptions(&self.subscriptions)
            }
            Downstream::Refused(tag, refusal) if self.subscriptions.on_refused(now, tag, &refusal) => {
                self.twins.on_subscriptions(&self.subscriptions);
                if let Some(refusal) = self.subscriptions.refusal(Feature::Certificates) {
                    self.certificates.on_not_subscribed(refusal);
                    self.drop_unused_subscription();
                }
            }
            Downstream::Done(tag) if self.certificates.on_delivered(tag) => {}
            Downstream::Certificate(response) => self.certificates.on_response(now, *response),
            Downstream::Refused(tag, refusal) if self.twins.on_refused(now, tag, &refusal) => {}
            Downstream::Twin(tag, body) => self.twins.on_twin(now, tag, &body),
            Downstream::Reported(tag, version) => self.twins.on_reported(now, tag, version),
            Downstream::Desired(body) => self.twins.on_desired(now, &body),
            Downstream::Method(call) => self.calls.on_call(self.up, *call),
            Downstream::Message(delivery) => {
                let receiver = self.incoming.inbox().on_message(*delivery, &self.incoming.counters);
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
            }
            Downstream::MessageOverLimit => self.incoming.counters.add(|it| it.messages_over_limit += 1),
            Downstream::Unreadable(Some(call)) => self.calls.on_unreadable(call),
            Downstream::Unreadable(None) => self.incoming.counters.add(|it| it.unreadable += 1),
            other => tracing::debug!(?other, "unexpected event"),
        }
    }

    /// Returns the calls whose handlers have not started yet. The driver starts each handler in its own task and
    /// empties the list.
    pub(crate) const fn jobs(&mut self) -> &mut Vec<Job> {
        self.calls.jobs()
    }

    /// Accepts the response of a job's task.
    pub(crate) fn on_response(&mut self, response: CallResponse) {
        self.calls.on_response(self.up, response);
    }

    /// Reports whether the connection accepted the reply that [`Features::next`] returned.
    pub(crate) fn on_reply(&mut self, reply: &Reply, taken: bool) {
        match reply {
            Reply::Method { .. } => self.calls.on_reply(taken),
            _ => {
                let wake_ups = self.incoming.inbox().on_reply(taken, &self.incoming.counters);
                wake_ups.send();
            }
        }
    }

    /// The driver calls this when the connection did not accept the request that [`Features::next`] returned under
    /// `tag`.
    pub(crate) fn on_unsendable(&mut self, now: Instant, tag: Tag, problem: ProtoError) {
        if self.subscriptions.on_unsendable(now, tag, &problem) {
            if self.subscriptions.is_unsendable(Feature::Certificates) {
                self.certificates.on_not_possible(&problem);
                self.drop_unused_subscription();
            }
        } else {
            if !self.certificates.on_unsendable(tag, &problem) {
                self.twins.on_unsendable(now, tag, &problem);
            }
        }
    }

    /// Handles timers that are due; may be called before [`Features::next_deadline`].
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.subscriptions.on_time(now);
        self.twins.on_time(now);
        if self.certificates.on_time(now) && !self.subscriptions.is_active(Feature::Certificates) {
            self.subscriptions.forget(Feature::Certificates);
        }
    }

    /// The latest moment for the next call of [`Features::on_time`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadlines =
            [self.subscriptions.next_deadline(), self.twins.next_deadline(), self.certificates.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the next item for the connection. Replies come first. Requests follow only if `with_requests` is true.
    /// The driver calls this method until it returns `None`.
    pub(crate) fn next(&mut self, now: Instant, with_requests: bool) -> Option<Outgoing> {
        self.up?;
        if let Some(reply) = self.calls.next().or_else(|| self.incoming.inbox().next()) {
            return Some(Outgoing::Reply(reply));
        }
        if !with_requests {
            return None;
        }
        self.subscriptions
            .next(now, &mut self.tags)
            .or_else(|| self.twins.next(now, &mut self.tags, &self.subscriptions))
            .or_else(|| {
                let is_subscribed = self.subscriptions.is_active(Feature::Certificates);
                if is_subscribed { self.certificates.next(now, &mut self.tags) } else { None }
            })
    }

    /// Whether the newest desired properties changed since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        self.twins.has_changed()
    }

    /// The newest desired properties, if they changed since the last call.
    #[cfg(test)]
    pub(crate) fn take_newest(&mut self) -> Option<Arc<hubward_proto::hub::Properties>> {
        self.incoming.latest.newer_than(0).filter(|_| self.twins.has_changed()).map(|(_, latest)| latest)
    }

    /// Returns how the hub violated the protocol on the current connection; `None` if it did not. After a violation,
    /// the driver must end the connection. This method returns each violation only once.
    pub(crate) const fn broken(&mut self) -> Option<ProtoError> {
        self.twins.broken()
    }

    /// The limits of this client's warnings.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.incoming.warnings
    }

    /// Returns `true` if a planned reconnect is possible now: the client waits for no response to a twin request, no
    /// method call is running, and the program holds no message.
    pub(crate) fn is_idle(&self) -> bool {
        self.twins.is_idle() && self.calls.is_idle() && self.incoming.inbox().is_idle()
    }

    /// Whether everything that an orderly close waits for is done.
    pub(crate) fn is_flushed(&self) -> bool {
        self.twins.is_flushed() && self.calls.is_flushed() && self.incoming.inbox().is_flushed()
    }

    /// The client has ended: notifies every waiting caller.
    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.calls.on_lost();
        self.twins.end(reason);
        self.certificates.end(reason);
        self.incoming.end(reason);
    }
}
