//! Following what the cloud wants of the device.

use std::fmt;
use std::sync::Arc;

use hubward_proto::hub::Properties;
use hubward_transport::Feature;
use tokio::sync::watch;

use crate::client::Shared;
use crate::{CloseReason, HubClient, Unsupported};

impl HubClient {
    /// Follows the desired properties: first the current state, as soon as it is known, then each
    /// newer one, as a whole.
    ///
    /// The first call asks the hub to announce changes and reads the twin; the client goes on with
    /// that for as long as it lives. What changed while there was no connection is read after the
    /// reconnect, without being asked. There may be any number of receivers; none of them holds up
    /// anything.
    ///
    /// Versions never go backwards, with one exception: a twin that was deleted and made anew counts
    /// from the beginning. It is believed when the hub says an older version twice on the same
    /// connection, at least 5 s apart. (That rule is ours: the service says nothing about it, and a
    /// single answer may come from a copy that lags behind.)
    ///
    /// # How large they can be
    /// The client keeps at most 64 KiB of desired properties as a hub counts them, which is twice what a
    /// hub takes, and at most 128 KiB as JSON. If a change goes beyond that, the client reads the twin once
    /// to see whether the hub really has so much. If the twin is too large as well, or a later change on the
    /// same connection goes beyond again, the hub breaks the protocol: the client ends the connection, and
    /// [`ConnectionState::Disconnected`](crate::ConnectionState::Disconnected) gives the reason
    /// ([`ProtoError::TooLarge`](hubward_transport::ProtoError::TooLarge)). It connects again with growing
    /// waits. Messages wait meanwhile, as during any loss of a connection, and receivers keep the last
    /// state within the bounds.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol has no place for twins.
    pub fn desired(&self) -> Result<DesiredProperties, Unsupported> {
        self.check(Feature::Desired)?;
        self.want(Feature::TwinAnswers);
        self.want(Feature::Desired);
        Ok(DesiredProperties { ended: self.shared.desired.subscribe(), seen: 0, shared: self.shared.clone() })
    }
}

/// A receiver of the desired properties; [`HubClient::desired`] makes one.
///
/// It does not keep the client alive.
pub struct DesiredProperties {
    shared: Arc<Shared>,
    /// Changes with each newer state, and when the client has ended.
    ended: watch::Receiver<bool>,
    /// The number of the state that was handed out last.
    seen: u64,
}

impl DesiredProperties {
    /// The current state if it was not handed out yet, otherwise waits for a newer one. Whoever is
    /// slow skips states, never changes: each holds everything before it.
    ///
    /// # Errors
    /// Why the client ended. What was known before is handed out first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Result<Properties, CloseReason> {
        loop {
            // Before the state is looked at: what comes in between changes it again.
            let ended = *self.ended.borrow_and_update();
            if let Some((number, latest)) = self.shared.incoming.latest.newer_than(self.seen) {
                self.seen = number;
                return Ok(Arc::unwrap_or_clone(latest));
            }
            if ended {
                return Err(self.shared.reason());
            }
            if self.ended.changed().await.is_err() {
                // The sender lives in `shared`.
                return Err(self.shared.reason());
            }
        }
    }

    /// The newest state that is known; `None` before the first. Does not wait, and
    /// [`DesiredProperties::changed`] hands it out all the same.
    #[must_use]
    pub fn latest(&self) -> Option<Properties> {
        let (_, latest) = self.shared.incoming.latest.newer_than(0)?;
        Some(Arc::unwrap_or_clone(latest))
    }
}

impl Clone for DesiredProperties {
    /// A receiver that has seen what this one has.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), ended: self.ended.clone(), seen: self.seen }
    }
}

impl fmt::Debug for DesiredProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.shared.incoming.latest.version();
        f.debug_struct("DesiredProperties").field("version", &version).finish_non_exhaustive()
    }
}
