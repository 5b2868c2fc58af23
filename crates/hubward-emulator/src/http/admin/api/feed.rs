//! Server-sent events and JSON lines: a log read while it is sent. Nothing is queued for a client: one
//! that does not read is told what it has missed when it reads again.
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

use crate::http::Chunks;

/// A log that is read from somewhere on.
pub(in crate::http::admin) trait Feed: Send + 'static {
    /// The next entry, when there is one: its number, and itself as a line of JSON unless it is to be
    /// left out. Cancel safe.
    fn next(&mut self) -> impl Future<Output = (u64, Option<String>)> + Send;

    /// How many entries were gone before they could be read.
    fn skipped(&self) -> u64;
}

/// A feed on its way to a client.
pub(in crate::http::admin) struct Stream<F: Feed> {
    state: State<F>,
}

enum State<F> {
    Idle(Box<Live<F>>),
    Busy(Step<F>),
    Ended,
}

/// On its way to the next chunk.
type Step<F> = Pin<Box<dyn Future<Output = (Option<Bytes>, Box<Live<F>>)> + Send>>;

struct Live<F> {
    feed: F,
    shape: Shape,
    /// Becomes true when the emulator ends.
    closing: watch::Receiver<bool>,
    /// What the client was told of [`Feed::skipped`].
    told: u64,
    /// What is sent before all else.
    greeting: Option<String>,
    /// A place among the streams.
    _permit: OwnedSemaphorePermit,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::admin) enum Shape {
    /// Server-sent events, for ever.
    Events,
    /// One line each, up to this number, as far as they are there.
    Lines { end: u64 },
}

impl<F: Feed> Stream<F> {
    /// `restarted`: the log is another one than the client knows.
    pub(in crate::http::admin) fn new(
        feed: F,
        shape: Shape,
        restarted: bool,
        closing: watch::Receiver<bool>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        // So that the client sees at once that it is connected.
        let greeting = match (shape, restarted) {
            (Shape::Events, false) => Some("retry: 1000\n\n".to_owned()),
            (Shape::Events, true) => Some("retry: 1000\n\nevent: restarted\ndata: {\"next\":0}\n\n".to_owned()),
            (Shape::Lines { .. }, _) => None,
        };
        Self { state: State::Idle(Box::new(Live { feed, shape, closing, told: 0, greeting, _permit: permit })) }
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
    /// Waits until there is something to send; `None` at the end.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut text = self.greeting.take().unwrap_or_default();
        let mut looked_at = 0;
        // Not from each entry that is looked at: the client may want none of them.
        let beat = Instant::now() + BEAT;
        loop {
            let entry = match self.shape {
                // All that is there already goes along.
                _ if !text.is_empty() => now(self.feed.next()).await,
                Shape::Lines { .. } => now(self.feed.next()).await,
                Shape::Events => Some(tokio::select! {
                    biased;
                    _ = self.closing.wait_for(|it| *it) => return None,
                    () = sleep_until(beat) => return Some(Bytes::from_static(b": still here\n\n")),
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
            looked_at += 1;
            if looked_at % AT_ONCE == 0 {
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
                    // A String takes all that is written.
                    let _ = writeln!(text, "{entry}");
                }
            }
            Shape::Events => {
                let skipped = self.feed.skipped();
                if skipped > self.told {
                    let gap = json!({ "skipped": skipped - self.told, "next": number });
                    let _ = write!(text, "event: skipped\ndata: {gap}\n\n");
                    self.told = skipped;
                }
                if let Some(entry) = entry {
                    let _ = write!(text, "id: {number}\ndata: {entry}\n\n");
                }
            }
        }
    }
}

/// What a future gives without waiting.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// How often a client hears something, so that it and whatever is in between know that the line is up.
const BEAT: Duration = Duration::from_secs(15);

/// About how many bytes are made at a time.
const CHUNK: usize = 16 * 1024;

/// How many entries are looked at without a pause.
const AT_ONCE: u32 = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// An entry each second that the client does not want.
    struct Foreign(u64);

    impl Feed for Foreign {
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
    async fn a_client_hears_that_the_line_is_up_also_while_others_are_told_something() {
        let (closing, watched) = watch::channel(false);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        let mut stream = Stream::new(Foreign(0), Shape::Events, false, watched, permit);
        let mut chunk = async || std::future::poll_fn(|cx| stream.poll_chunk(cx)).await.expect("it goes on");
        assert_eq!(&chunk().await[..], b"retry: 1000\n\n");
        let started = Instant::now();
        for beat in 1..4 {
            assert_eq!(&chunk().await[..], b": still here\n\n");
            assert_eq!(started.elapsed(), BEAT * beat);
        }
        drop(closing);
    }
}
