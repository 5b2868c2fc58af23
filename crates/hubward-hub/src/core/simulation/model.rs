//! The state of the simulated hub and of the connection to it, and the types of their planned events.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use hubward_transport::{Feature, Tag};
use tokio::time::Instant;

/// A planned event of the peer or the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    Opened,
    Fails(Failure),
    Ready,
    /// A message reaches the peer.
    Arrives(usize, Tag),
    Acknowledged(Tag),
    /// A request reaches the peer and is answered.
    Response(Tag, Request),
    /// Desired properties have changed.
    Desired(u64),
    Disconnected,
    Renewed,
    /// The provider has decided.
    Decided(Decision),
}

/// A decision of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decision {
    Stay(Duration),
    /// The client moves, to another hub if the first member is true, and waits.
    Move(bool, Duration),
    End,
}

/// How an attempt or a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Unreachable,
    Tls,
    Upgrade,
    NoToken,
    Connack(u8),
    Cut(Option<ErrorKind>),
    Silence,
}

/// A request of the client, and whether the hub grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    Subscribe(Feature, bool),
    Twin,
}

/// The hub's memory.
#[derive(Debug, Default)]
pub(super) struct Hub {
    /// The version of the desired properties.
    pub(super) desired: u64,
    pub(super) was_connected: bool,
    /// Number of accepted connections that were cut. The client may take each of these cuts for a takeover.
    pub(super) cuts: u32,
    /// The features to which the client has subscribed at least once.
    pub(super) subscribed: BTreeSet<Feature>,
}

impl Hub {
    pub(super) fn is_followed(&self) -> bool {
        self.subscribed.contains(&Feature::Desired) && self.subscribed.contains(&Feature::TwinResponses)
    }
}

/// One connection, with both ends.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) open: bool,
    /// The time at which the message that the client sent last arrives at the hub. A stream keeps its order, so the
    /// next message arrives no earlier. `last_event` is the same for events from the hub.
    pub(super) last_arrival: Option<Instant>,
    pub(super) last_event: Option<Instant>,
    /// Number of messages sent and not yet arrived.
    pub(super) on_the_way: usize,
    pub(super) unacknowledged: BTreeMap<Tag, usize>,
    pub(super) requested: BTreeMap<Tag, (Feature, Instant)>,
    pub(super) granted: BTreeSet<Feature>,
    /// The last repeated message, and whether a new one was sent.
    pub(super) last_again: Option<usize>,
    pub(super) sent_new: bool,
    pub(super) disconnecting: bool,
    pub(super) renewing: bool,
    /// Nothing arrives any more, in either direction.
    pub(super) dead: bool,
    /// The peer answers pings and nothing else.
    pub(super) mute: bool,
}
