//! Server-sent events and JSON lines.
//!
//! A stream reads the next entry of the log only when the client takes more data. The emulator therefore queues no
//! entries for a slow client.
//!
//! The log can drop entries before a slow client reads them. A stream of server-sent events then contains an event
//! `skipped` with the number of dropped entries. JSON lines do not show the gap.
//!
//! Source: the WHATWG's HTML standard, "Server-sent events".

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use crate::doors::http::Chunks;

/// Time between two comments (`: still here`) on an idle stream. A comment shows the client, and the proxies before the
/// emulator, that the connection is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Approximate size of a chunk, in bytes.
const CHUNK: usize = 16 * 1024;

/// Number of entries that the stream reads before its task yields.
const AT_ONCE: u32 = 256;

/// A reader of a log.
pub(in crate::doors::admin) trait Feed: Send + 'static {
    /// Waits for the next entry. Returns the number of the entry, and the entry as a line of JSON. If the client's
    /// filter does not select the entry, returns `None` in place of the line. Cancel safe.
    fn next(&mut self) -> impl Future<Output = (u64, Option<String>)> + Send;

    /// Number of entries that the log dropped before this feed read them.
    fn skipped(&self) -> u64;
}

/// The body of a response that sends a feed.
pub(in crate::doors::admin) struct Stream<F: Feed> {
    state: State<F>,
}

enum State<F> {
    Idle(Box<Live<F>>),
    Busy(Step<F>),
    Ended,
}

/// A future that produces the next chunk.
type Step<F> = Pin<Box<dyn Future<Output = (Option<Bytes>, Box<Live<F>>)> + Send>>;

struct Live<F> {
    feed: F,
    shape: Shape,
    /// Becomes true when the emulator shuts down.
    closing: watch::Receiver<bool>,
    /// The number of skipped entries that the client already knows.
    skipped_sent: u64,
    /// Text before the first entry.
    preamble: Option<String>,
    /// Counts toward the maximum number of streams.
    _permit: OwnedSemaphorePermit,
}

/// The format of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doors::admin) enum Shape {
    /// Server-sent events. The stream ends only when the emulator shuts down or the client leaves.
    Events,
    /// JSON lines, one for each entry. `end` is the number of the last entry plus one.
    Lines { end: u64 },
}

impl<F: Feed> Stream<F> {
    /// Creates a stream. `restarted` is true if the emulator has restarted since the client last read the log. The
    /// stream then reports the restart to the client.
    pub(in crate::doors::admin) fn new(
        feed: F,
        shape: Shape,
        restarted: bool,
        closing: watch::Receiver<bool>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        // The stream sends the preamble at once. The preamble tells the client that the stream is connected.
        let preamble = match (shape, restarted) {
            (Shape::Events, false) => Some("retry: 1000\n\n".to_owned()),
            (Shape::Events, true) => Some("retry: 1000\n\nevent: restarted\ndata: {\"next\":0}\n\n".to_owned()),
            (Shape::Lines { .. }, _) => None,
        };
        Self { state: State::Idle(Box::new(Live { feed, shape, closing, skipped_sent: 0, preamble, _permit: permit })) }
    }
}

impl<F: Feed> Chunks for Stream<F> {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Idle(mut live) => {
                    self.state = State::Busy(Box::pin(async move { (live.chunk().await, live) }));
                }
                State::Busy(mut step) => {
                    let Poll::Ready((chunk, live)) = step.as_mut().poll(cx) else {
                        self.state = State::Busy(step);
                        return Poll::Pending;
                    };
                    if chunk.is_some() {
                        self.state = State::Idle(live);
                    }
                    return Poll::Ready(chunk);
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl<F: Feed> Live<F> {
    /// Waits for the next chunk; `None` at the end.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut text = self.preamble.take().unwrap_or_default();
        let mut read = 0;
        // Set the time of the next comment before the loop. If the loop set it, each entry that the filter does not
        // select would delay the comment.
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let entry = match self.shape {
                // If the chunk already has text, add only entries that exist now. Do not wait for new entries, because
                // this would delay the text.
                _ if !text.is_empty() => now(self.feed.next()).await,
                Shape::Lines { .. } => now(self.feed.next()).await,
                Shape::Events => Some(tokio::select! {
                    biased;
                    _ = self.closing.wait_for(|it| *it) => return None,
                    () = sleep_until(heartbeat) => return Some(Bytes::from_static(b": still here\n\n")),
                    entry = self.feed.next() => entry,
                }),
            };
            let Some((number, entry)) = entry else { break };
            self.write(&mut text, number, entry);
            if let Shape::Lines { end } = self.shape
                && number + 1 >= end
            {
                self.shape = Shape::Lines { end: 0 };
                break;
            }
            read += 1;
            if read % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            if text.len() >= CHUNK {
                break;
            }
        }
        (!text.is_empty()).then(|| text.into())
    }

    fn write(&mut self, text: &mut String, number: u64, entry: Option<String>) {
        match self.shape {
            Shape::Lines { end } => {
                if let Some(entry) = entry.filter(|_| number < end) {
                    // Writing to a `String` cannot fail.
                    let _ = writeln!(text, "{entry}");
                }
            }
            Shape::Events => {
                let skipped = self.feed.skipped();
                if skipped > self.skipped_sent {
                    let gap = json!({ "skipped": skipped - self.skipped_sent, "next": number });
                    let _ = write!(text, "event: skipped\ndata: {gap}\n\n");
                    self.skipped_sent = skipped;
                }
                if let Some(entry) = entry {
                    let _ = write!(text, "id: {number}\ndata: {entry}\n\n");
                }
            }
        }
    }
}

/// The output of a future if it is ready.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// A feed whose log gets one entry each second. The filter of the feed selects none of the entries.
    struct Unselected(u64);

    impl Feed for Unselected {
        async fn next(&mut self) -> (u64, Option<String>) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0 += 1;
            (self.0, None)
        }

        fn skipped(&self) -> u64 {
            0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_are_sent_even_while_the_filter_skips_entries() {
        let (closing, watched) = watch::channel(false);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        let mut stream = Stream::new(Unselected(0), Shape::Events, false, watched, permit);
        let mut chunk = async || std::future::poll_fn(|cx| stream.poll_chunk(cx)).await.expect("another chunk");
        assert_eq!(&chunk().await[..], b"retry: 1000\n\n");
        let started = Instant::now();
        for beat in 1..4 {
            assert_eq!(&chunk().await[..], b": still here\n\n");
            assert_eq!(started.elapsed(), HEARTBEAT * beat);
        }
        drop(closing);
    }
}
