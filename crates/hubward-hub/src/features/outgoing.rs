//! The messages that the features give to the connection.

use hubward_transport::{Reply, Tag, Upstream};

/// A message from the features to the connection.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A request that the hub answers under the tag.
    Request(Tag, Upstream),
    /// A reply to a call or message that came over this connection.
    Reply(Reply),
}
