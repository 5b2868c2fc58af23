//! Following the desired properties.

use std::fmt;
use std::sync::Arc;

use hubward_proto::hub::Properties;
use hubward_transport::Feature;
use tokio::sync::watch;

use crate::shared::Shared;
use crate::{CloseReason, HubClient, Unsupported};

impl HubClient {
    /// Returns a receiver of the desired properties. The receiver returns the current state as soon as the client knows
    /// it, and then each newer state. Each state is complete.
    ///
    /// On the first call, the client subscribes to changes and reads the twin. It then follows the changes until it
    /// ends. After a reconnect, the client reads the changes that happened while it was not connected.
    ///
    /// The program can have any number of receivers. A slow receiver delays neither other receivers nor the client.
    ///
    /// Versions do not go backwards, with one exception: if a twin is deleted and created again, its version counts
    /// from the beginning.
    ///
    /// The client accepts an older version only if the hub has returned an older version twice on the same connection,
    /// at least five seconds apart. A single older response may come from a copy that lags behind.
    ///
    /// This is the client's own rule: the service documents no rule for this case.
    ///
    /// # Size limits
    /// The client keeps at most 64 KiB of desired properties, counted as a hub counts them. This limit is twice the
    /// size that a hub accepts. As JSON, the properties may have at most 128 KiB.
    ///
    /// If a change makes the properties exceed a limit, the client's copy may be wrong. The client therefore reads the
    /// whole twin once.
    ///
    /// If this twin exceeds a limit too, or if a later change on the same connection exceeds a limit, the hub violates
    /// the protocol:
    ///
    /// * The client then ends the connection and connects again with growing waits. Until then, messages to the hub
    ///   wait in the queue.
    /// * [`ConnectionState::Disconnected`](crate::ConnectionState::Disconnected) gives the reason
    ///   ([`ProtoError::TooLarge`](hubward_transport::ProtoError::TooLarge)).
    /// * Receivers keep the last state within the limits.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol does not support twins.
    pub fn desired(&self) -> Result<DesiredProperties, Unsupported> {
        self.check(Feature::Desired)?;
        self.subscribe(Feature::TwinResponses);
        self.subscribe(Feature::Desired);
        Ok(DesiredProperties { ended: self.shared.desired.subscribe(), seen: 0, shared: self.shared.clone() })
    }
}

/// A receiver of the desired properties; [`HubClient::desired`] makes one.
///
/// A receiver does not keep the client alive.
pub struct DesiredProperties {
    shared: Arc<Shared>,
    /// Signals each newer state. The value is `true` after the client has ended.
    ended: watch::Receiver<bool>,
    /// The number of the last state that this receiver returned.
    seen: u64,
}

impl DesiredProperties {
    /// Returns the current state if this receiver has not returned it yet; otherwise waits for a newer state.
    ///
    /// A slow receiver may miss intermediate states. It misses no change, because each state contains all earlier
    /// changes.
    ///
    /// # Errors
    /// The reason why the client ended. Before this error, the receiver returns the last known state.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Result<Properties, CloseReason> {
        loop {
            // First mark the value as seen, and then read the state. If a new state arrives between the two steps, it
            // is not marked as seen, so the next call still notices it.
            let ended = *self.ended.borrow_and_update();
            if let Some((number, latest)) = self.shared.incoming.latest.newer_than(self.seen) {
                self.seen = number;
                return Ok(Arc::unwrap_or_clone(latest));
            }
            if ended {
                return Err(self.shared.reason());
            }
            if self.ended.changed().await.is_err() {
                // Unreachable: the sender lives in `shared`, which this receiver keeps alive.
                return Err(self.shared.reason());
            }
        }
    }

    /// Returns the newest known state without waiting; `None` before the first state. This call does not mark the state
    /// as returned: [`DesiredProperties::changed`] can still return it.
    #[must_use]
    pub fn latest(&self) -> Option<Properties> {
        let (_, latest) = self.shared.incoming.latest.newer_than(0)?;
        Some(Arc::unwrap_or_clone(latest))
    }
}

impl Clone for DesiredProperties {
    /// Returns a second receiver at the same position: it does not return a state that this receiver has already
    /// returned. After that, the two receivers are independent.
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
