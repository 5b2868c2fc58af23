//! Everything between a device and its hub besides telemetry: what is watched, the twin, direct
//! methods, messages from the cloud. As pure as the core: the driver says what happened and when,
//! and puts on the connection what [`Features::next`] hands out.
//!
//! A feature forgets nothing when a connection ends: what is wanted is asked for again on the next
//! one. What belongs to one connection only (calls, locks) dies with it.

mod calls;
mod desired;
mod inbox;
mod tags;
pub(crate) mod twin_requests;
#[cfg(test)]
mod twin_simulation;
mod twins;
mod watches;

use std::sync::Arc;

use hubward_transport::{Downstream, Feature, ProtoError, Reply, Tag, Upstream};
use tokio::time::Instant;

use self::calls::Calls;
pub(crate) use self::calls::{Answer, Job, is_json_or_empty};
pub(crate) use self::inbox::{MessageInbox, Taken, Unsettled};
pub(crate) use self::tags::{RequestTags, is_request};
use self::twins::Twins;
pub(crate) use self::watches::Watches;
use crate::incoming::Incoming;
use crate::warnings::Warnings;
use crate::{CloseReason, HubOptions};

/// What a program asks for, besides telemetry. New kinds go here, and into [`Features::on_command`].
#[derive(Debug)]
pub(crate) enum Wish {
    /// Asks about the twin, or reports.
    Twin(twin_requests::Question),
}

/// What is to be put on the connection.
#[derive(Debug)]
pub(crate) enum Out {
    /// Something the hub answers under the tag.
    Ask(Tag, Upstream),
    /// A reply to something that came over this connection.
    Reply(Reply),
}

/// All features of one client.
#[derive(Debug)]
pub(crate) struct Features {
    /// The connection that is up, by the number of its attempt.
    up: Option<u64>,
    tags: RequestTags,
    watches: Watches,
    twins: Twins,
    calls: Calls,
    /// Holds the received messages, which receivers take from there.
    incoming: Arc<Incoming>,
}

impl Features {
    pub(crate) fn new(options: &HubOptions, incoming: Arc<Incoming>) -> Self {
        Self {
            up: None,
            tags: RequestTags::default(),
            watches: Watches::default(),
            twins: Twins::new(options, incoming.clone()),
            calls: Calls::new(incoming.clone(), options.method_calls),
            incoming,
        }
    }

    /// Watches a feature from now on.
    pub(crate) fn want(&mut self, feature: Feature) {
        self.watches.want(feature);
        if feature == Feature::Desired {
            self.twins.follow();
        }
    }

    /// Takes what a program asks for.
    pub(crate) fn on_command(&mut self, wish: Wish) {
        match wish {
            Wish::Twin(question) => self.twins.ask(question),
        }
    }

    /// Says which connection is up, if any. Called after everything that may change that.
    pub(crate) fn on_connection(&mut self, now: Instant, up: Option<u64>) {
        if self.up == up {
            return;
        }
        if self.up.take().is_some() {
            self.watches.on_lost();
            self.twins.on_lost();
            self.calls.on_lost();
            let tidings = self.incoming.inbox().on_lost(&self.incoming.counters);
            tidings.tell();
        }
        if let Some(connection) = up {
            self.up = up;
            self.watches.on_ready(now);
            self.incoming.inbox().on_ready(connection);
        }
    }

    /// Takes what the connection told. Only events that are not the core's.
    pub(crate) fn on_event(&mut self, now: Instant, event: Downstream) {
        match event {
            Downstream::Done(tag) if self.watches.on_done(tag) => self.twins.on_watches(&self.watches),
            Downstream::Refused(tag, refusal) if self.watches.on_refused(now, tag, &refusal) => {
                self.twins.on_watches(&self.watches);
            }
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
            Downstream::Left => self.incoming.counters.add(|it| it.messages_left += 1),
            Downstream::Unreadable(Some(call)) => self.calls.on_unreadable(call),
            Downstream::Unreadable(None) => self.incoming.counters.add(|it| it.unreadable += 1),
            other => tracing::debug!(?other, "not asked for"),
        }
    }

    /// Calls that a handler is to work on, each in a task of its own; the caller empties it.
    pub(crate) const fn jobs(&mut self) -> &mut Vec<Job> {
        self.calls.jobs()
    }

    /// The task of a job says how it went.
    pub(crate) fn on_answer(&mut self, answer: Answer) {
        self.calls.on_answer(self.up, answer);
    }

    /// The connection took the reply that [`Features::next`] handed out, or did not.
    pub(crate) fn on_reply(&mut self, reply: &Reply, taken: bool) {
        match reply {
            Reply::Method { .. } => self.calls.on_reply(taken),
            _ => {
                let tidings = self.incoming.inbox().on_reply(taken, &self.incoming.counters);
                tidings.tell();
            }
        }
    }

    /// The connection could not take what [`Features::next`] handed out under this tag.
    pub(crate) fn on_unsendable(&mut self, now: Instant, tag: Tag, problem: ProtoError) {
        if !self.watches.on_unsendable(now, tag, &problem) {
            self.twins.on_unsendable(now, tag, &problem);
        }
    }

    /// Time has come to [`Features::next_deadline`], or anywhere.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.watches.on_time(now);
        self.twins.on_time(now);
    }

    /// When to call [`Features::on_time`] at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.watches.next_deadline(), self.twins.next_deadline()].into_iter().flatten().min()
    }

    /// What goes on the connection next; `asks` says that new questions may be asked, not only
    /// replies given. Called until there is nothing.
    pub(crate) fn next(&mut self, now: Instant, asks: bool) -> Option<Out> {
        self.up?;
        if let Some(reply) = self.calls.next().or_else(|| self.incoming.inbox().next()) {
            return Some(Out::Reply(reply));
        }
        if !asks {
            return None;
        }
        self.watches.next(now, &mut self.tags).or_else(|| self.twins.next(now, &mut self.tags, &self.watches))
    }

    /// Whether the newest desired properties changed since the last call.
    pub(crate) fn has_news(&mut self) -> bool {
        self.twins.has_news()
    }

    /// The newest desired properties, if they changed since the last call.
    #[cfg(test)]
    pub(crate) fn news(&mut self) -> Option<Arc<hubward_proto::hub::Properties>> {
        self.incoming.latest.newer_than(0).filter(|_| self.twins.has_news()).map(|(_, latest)| latest)
    }

    /// How the hub broke the protocol on the connection that is up, once: it must end.
    pub(crate) const fn broken(&mut self) -> Option<ProtoError> {
        self.twins.broken()
    }

    /// The limits of this client's warnings.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.incoming.warnings
    }

    /// Whether a planned reconnect would break nothing now: no question without its answer, no call
    /// being worked on, no message in the program's hands.
    pub(crate) fn is_idle(&self) -> bool {
        self.twins.is_idle() && self.calls.is_idle() && self.incoming.inbox().is_idle()
    }

    /// Whether nothing is left that an orderly end should wait for.
    pub(crate) fn is_flushed(&self) -> bool {
        self.twins.is_flushed() && self.calls.is_flushed() && self.incoming.inbox().is_flushed()
    }

    /// The client has ended: everybody who waits is told.
    pub(crate) fn end(&mut self, reason: &CloseReason) {
        self.calls.on_lost();
        self.twins.end(reason);
        self.incoming.end(reason);
    }
}
