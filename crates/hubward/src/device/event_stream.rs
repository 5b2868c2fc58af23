//! The stream of a device's events. Each reader has a bounded buffer of its own; a device without readers needs none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::event::DeviceEvent;

/// Number of events that a reader may be behind.
const BUFFER: usize = 64;

/// The events of a device, from the call of [`Device::events`](super::Device::events) on.
///
/// A reader that is slow does not delay the device. It has a buffer of 64 events. If the buffer is full, the device
/// discards the oldest event, and the reader gets a [`DeviceEvent::Missed`] with the number of discarded events.
#[derive(Debug)]
pub struct DeviceEvents {
    reader: Arc<Reader>,
}

impl DeviceEvents {
    /// Waits for the next event. Returns `None` when the device has ended and all events are read.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<DeviceEvent> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.reader.buffer().is_ended {
                return None;
            }
            // If an event has come meanwhile, this returns at once.
            self.reader.news.notified().await;
        }
    }

    /// Returns the next event if there is one now. Does not wait.
    pub fn try_next(&mut self) -> Option<DeviceEvent> {
        let mut buffer = self.reader.buffer();
        match std::mem::take(&mut buffer.missed) {
            0 => buffer.events.pop_front(),
            count => Some(DeviceEvent::Missed { count }),
        }
    }
}

/// The device's end of all streams.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    readers: Vec<Weak<Reader>>,
    is_ended: bool,
}

#[derive(Debug, Default)]
struct Reader {
    buffer: Mutex<Buffer>,
    news: Notify,
}

#[derive(Default)]
struct Buffer {
    events: VecDeque<DeviceEvent>,
    /// Number of events that were discarded since the last read.
    missed: u64,
    is_ended: bool,
}

impl Publisher {
    /// Creates a stream of the events from now on.
    pub(crate) fn subscribe(&self) -> DeviceEvents {
        let reader = Arc::new(Reader::default());
        let mut state = self.state();
        reader.buffer().is_ended = state.is_ended;
        state.readers.push(Arc::downgrade(&reader));
        DeviceEvents { reader }
    }

    /// Passes an event to every reader.
    pub(crate) fn publish(&self, event: &DeviceEvent) {
        self.for_each(|buffer| {
            if buffer.events.len() == BUFFER {
                buffer.events.pop_front();
                buffer.missed += 1;
            }
            buffer.events.push_back(event.clone());
        });
    }

    /// Ends every stream, and every stream that is created later.
    pub(crate) fn end(&self) {
        self.state().is_ended = true;
        self.for_each(|buffer| buffer.is_ended = true);
    }

    fn for_each(&self, mut change: impl FnMut(&mut Buffer)) {
        self.state().readers.retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            change(&mut reader.buffer());
            reader.news.notify_one();
            true
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, missed, is_ended } = self;
        write!(f, "Buffer({} events, {missed} missed, ended: {is_ended})", events.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> DeviceEvent {
        DeviceEvent::Missed { count: number }
    }

    fn number(event: Option<DeviceEvent>) -> Option<u64> {
        event.map(|it| match it {
            DeviceEvent::Missed { count } => count,
            event => panic!("another event: {event}"),
        })
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_events_it_missed() {
        let publisher = Publisher::default();
        let mut slow = publisher.subscribe();
        for at in 1000..1000 + BUFFER as u64 + 3 {
            publisher.publish(&event(at));
        }
        let mut late = publisher.subscribe();
        assert_eq!(number(slow.next().await), Some(3), "the number of missed events comes first");
        assert_eq!(number(slow.next().await), Some(1003), "then the oldest event that is left");
        assert!(late.try_next().is_none(), "a stream begins with the call that creates it");
        publisher.publish(&event(7));
        assert_eq!(number(late.next().await), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_device_after_the_last_event() {
        let publisher = Arc::new(Publisher::default());
        let mut waiting = publisher.subscribe();
        let mut read = publisher.subscribe();
        let reader = tokio::spawn(async move { waiting.next().await.is_none() });
        tokio::task::yield_now().await;
        publisher.end();
        assert!(reader.await.expect("the reader ends"), "a reader that waits is woken");
        assert!(read.next().await.is_none());
        assert!(publisher.subscribe().next().await.is_none(), "a late reader does not wait for ever");
    }

    #[test]
    fn a_dropped_stream_costs_nothing() {
        let publisher = Publisher::default();
        for _ in 0..100 {
            drop(publisher.subscribe());
            publisher.publish(&event(1));
        }
        assert!(publisher.state().readers.is_empty());
    }
}
