//! Data that the hub sends to the program. The handles, the receivers and the task share it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::counts::Counters;
use crate::inbox::MessageInbox;
use crate::latest::Latest;
use crate::method::{Handler, Handlers};
use crate::warnings::Warnings;
use crate::{CloseReason, HubOptions};

/// Method handlers, received messages and the newest desired properties.
pub(crate) struct Incoming {
    /// `None` after the client has ended.
    ///
    /// A handler may own a handle of the client, and this handle owns this `Incoming`. If the handlers stayed here
    /// after the end, this cycle would never be freed.
    handlers: Mutex<Option<Handlers>>,
    inbox: Mutex<MessageInbox>,
    pub(crate) latest: Latest,
    pub(crate) counters: Counters,
    pub(crate) warnings: Warnings,
    /// Wakes the task. The channel holds one signal. This is enough, because the task then does all pending work.
    task_waker: mpsc::Sender<()>,
}

impl Incoming {
    /// Returns the value and the receiving end of the wake-up signal.
    pub(crate) fn new(options: &HubOptions) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (task_waker, task_wakes) = mpsc::channel(1);
        let incoming = Self {
            handlers: Mutex::new(Some(Handlers::default())),
            inbox: Mutex::new(MessageInbox::new(options.receive_queue)),
            latest: Latest::default(),
            counters: Counters::default(),
            warnings: Warnings::default(),
            task_waker,
        };
        (Arc::new(incoming), task_wakes)
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, MessageInbox> {
        // A poisoned lock is usable: no code panics while it holds the lock, and no thread sees a half-made change.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task, which then checks the inbox.
    pub(crate) fn wake_task(&self) {
        // If the channel is full, a signal is pending already, and the task is about to check the inbox.
        let _full = self.task_waker.try_send(());
    }

    /// Registers the handler of a method. If `name` is `None`, the handler serves every method that has no handler of
    /// its own.
    pub(crate) fn serve(&self, name: Option<String>, handler: Handler) {
        let mut handlers = self.handlers();
        let replaced = match &mut *handlers {
            Some(handlers) => handlers.insert(name, handler),
            None => Some(handler),
        };
        // Release the mutex before the old handler is dropped, because dropping a handler may run any code.
        drop(handlers);
        drop(replaced);
    }

    /// Returns the handler of a method.
    pub(crate) fn handler(&self, name: &str) -> Option<Handler> {
        self.handlers().as_ref().and_then(|it| it.find(name))
    }

    /// The client has ended.
    pub(crate) fn end(&self, reason: &CloseReason) {
        let handlers = self.handlers().take();
        drop(handlers);
        let wake_ups = self.inbox().end(reason, &self.counters);
        wake_ups.send();
        self.warnings.finish();
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use hubward_proto::hub::PropertyBag;
    use hubward_transport::{Delivery, Disposition, Downstream, IncomingMessage, Lock};
    use tokio::time::Instant;

    use super::*;
    use crate::features::{Features, Outgoing};

    /// A waker that uses the inbox when it is woken. It checks that the code that wakes it has released the mutex of
    /// the inbox.
    struct CheckingProgram {
        incoming: Arc<Incoming>,
        checks: AtomicUsize,
    }

    impl Wake for CheckingProgram {
        fn wake(self: Arc<Self>) {
            assert!(self.incoming.inbox.try_lock().is_ok(), "the lock must be free, or the program deadlocks");
            self.checks.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_program_can_use_the_inbox_as_soon_as_it_is_woken() {
        let (options, now) = (HubOptions::default(), Instant::now());
        let (incoming, _task_wakes) = Incoming::new(&options);
        let program = Arc::new(CheckingProgram { incoming: incoming.clone(), checks: AtomicUsize::new(0) });
        let waker = Waker::from(program.clone());
        let mut features = Features::new(&options, incoming.clone());
        features.on_connection(now, Some(1));
        assert!(matches!(incoming.inbox().take_or_wait(&waker), (None, None)));
        for lock in [1, 2].map(Lock) {
            let message = IncomingMessage::new("", PropertyBag::default());
            features.on_event(now, Downstream::Message(Box::new(Delivery { lock: Some(lock), message })));
            incoming.inbox().take().expect("a message");
        }
        assert_eq!(program.checks.load(Ordering::Relaxed), 1);
        let settle = |lock| incoming.inbox().settle(1, lock, Disposition::Complete, &incoming.counters);
        let mut result = pin!(settle(Lock(1)).expect("the same connection"));
        assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let Some(Outgoing::Reply(reply)) = features.next(now, false) else { panic!("a settlement") };
        features.on_reply(&reply, true);
        assert_eq!(program.checks.load(Ordering::Relaxed), 2);

        let mut result = pin!(settle(Lock(2)).expect("the same connection"));
        assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        features.on_connection(now, None);
        assert_eq!(program.checks.load(Ordering::Relaxed), 3);
        assert!(matches!(incoming.inbox().take_or_wait(&waker), (None, None)));
        features.end(&CloseReason::Requested);
        assert_eq!(program.checks.load(Ordering::Relaxed), 4);
    }
}
