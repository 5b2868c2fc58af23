//! A handle that does not keep its client alive.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use hubward_transport::Feature;
use tokio::sync::mpsc;

use crate::HubClient;
use crate::shared::{Command, Shared};

/// A handle that does not keep its client alive. Use it in method handlers and other code that the client itself
/// stores. [`HubClient::downgrade`] makes one.
#[derive(Clone)]
pub struct WeakHubClient {
    shared: Weak<Shared>,
    commands: mpsc::WeakSender<Command>,
    subscriptions: mpsc::WeakSender<Feature>,
    send_deadline: Option<Duration>,
    twin_deadline: Option<Duration>,
}

impl WeakHubClient {
    /// Returns a [`HubClient`] if another [`HubClient`] still keeps the client alive; otherwise `None`.
    #[must_use]
    pub fn upgrade(&self) -> Option<HubClient> {
        Some(HubClient {
            shared: self.shared.upgrade()?,
            commands: self.commands.upgrade()?,
            subscriptions: self.subscriptions.upgrade()?,
            send_deadline: self.send_deadline,
            twin_deadline: self.twin_deadline,
        })
    }
}

impl HubClient {
    /// Returns a handle that does not keep the client alive.
    ///
    /// A client stores its method handlers. If a handler captures a [`HubClient`], the client keeps itself alive: it
    /// does not end when the program drops all other handles. So capture a weak handle, or use
    /// [`MethodCall::hub`](crate::MethodCall::hub).
    #[must_use]
    pub fn downgrade(&self) -> WeakHubClient {
        WeakHubClient {
            shared: std::sync::Arc::downgrade(&self.shared),
            commands: self.commands.downgrade(),
            subscriptions: self.subscriptions.downgrade(),
            send_deadline: self.send_deadline,
            twin_deadline: self.twin_deadline,
        }
    }
}

impl fmt::Debug for WeakHubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakHubClient").field("alive", &(self.commands.strong_count() > 0)).finish_non_exhaustive()
    }
}
