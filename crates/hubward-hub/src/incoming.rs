//! What comes from the hub and is handed to the program: shared by handles, receivers and the task.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::counts::Counters;
use crate::features::MessageInbox;
use crate::method::{Handler, Handlers};
use crate::{CloseReason, HubOptions};

/// Method handlers and received messages.
pub(crate) struct Incoming {
    /// `None` once the client has ended: a handler that holds a handle would keep itself alive.
    handlers: Mutex<Option<Handlers>>,
    inbox: Mutex<MessageInbox>,
    pub(crate) counters: Counters,
    /// Wakes the task. One is enough, however much there is to look at.
    nudge: mpsc::Sender<()>,
}

impl Incoming {
    /// With the end at which the task is woken.
    pub(crate) fn new(options: &HubOptions) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (nudge, nudges) = mpsc::channel(1);
        let incoming = Self {
            handlers: Mutex::new(Some(Handlers::default())),
            inbox: Mutex::new(MessageInbox::new(options.receive_queue)),
            counters: Counters::default(),
            nudge,
        };
        (Arc::new(incoming), nudges)
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, MessageInbox> {
        // Nothing panics while it is held, and half a change cannot be seen.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the task look at the inbox.
    pub(crate) fn nudge(&self) {
        // If it is full, the task is about to look anyway.
        let _full = self.nudge.try_send(());
    }

    /// Serves a method, or all that have no handler of their own, from now on.
    pub(crate) fn serve(&self, name: Option<String>, handler: Handler) {
        let mut handlers = self.handlers();
        let replaced = match &mut *handlers {
            Some(handlers) => handlers.insert(name, handler),
            None => Some(handler),
        };
        // What a handler holds may do anything when it is dropped.
        drop(handlers);
        drop(replaced);
    }

    /// Who serves this method.
    pub(crate) fn handler(&self, name: &str) -> Option<Handler> {
        self.handlers().as_ref().and_then(|it| it.find(name))
    }

    /// The client has ended.
    pub(crate) fn end(&self, reason: &CloseReason) {
        let handlers = self.handlers().take();
        drop(handlers);
        let waker = self.inbox().end(reason, &self.counters);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn handlers(&self) -> MutexGuard<'_, Option<Handlers>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("counts", &self.counters.snapshot()).finish_non_exhaustive()
    }
}
