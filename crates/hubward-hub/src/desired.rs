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
    /// # Errors
    /// [`Unsupported`] if the protocol has no place for twins.
    pub fn desired(&self) -> Result<DesiredProperties, Unsupported> {
        self.check(Feature::Desired)?;
        self.want(Feature::TwinAnswers);
        self.want(Feature::Desired);
        Ok(DesiredProperties { news: self.shared.desired.subscribe(), seen: 0, shared: self.shared.clone() })
    }
}

/// A receiver of the desired properties; [`HubClient::desired`] makes one.
///
/// It does not keep the client alive.
pub struct DesiredProperties {
    shared: Arc<Shared>,
    news: watch::Receiver<News>,
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
            {
                let news = self.news.borrow_and_update();
                if let Some(latest) = &news.latest
                    && news.number != self.seen
                {
                    self.seen = news.number;
                    return Ok((**latest).clone());
                }
                if news.closed {
                    return Err(self.shared.reason());
                }
            }
            if self.news.changed().await.is_err() {
                // The sender lives in `shared`.
                return Err(self.shared.reason());
            }
        }
    }

    /// The newest state that is known; `None` before the first. Does not wait, and
    /// [`DesiredProperties::changed`] hands it out all the same.
    #[must_use]
    pub fn latest(&self) -> Option<Properties> {
        self.news.borrow().latest.as_deref().cloned()
    }
}

impl Clone for DesiredProperties {
    /// A receiver that has seen what this one has.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), news: self.news.clone(), seen: self.seen }
    }
}

impl fmt::Debug for DesiredProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.news.borrow().latest.as_ref().map(|it| it.version);
        f.debug_struct("DesiredProperties").field("version", &version).finish_non_exhaustive()
    }
}

/// What the task tells the receivers.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) latest: Option<Arc<Properties>>,
    /// Counts the states.
    pub(crate) number: u64,
    pub(crate) closed: bool,
}

impl News {
    pub(crate) fn next(&mut self, latest: Arc<Properties>) {
        self.latest = Some(latest);
        self.number += 1;
    }

    pub(crate) const fn close(&mut self) {
        self.closed = true;
    }
}
