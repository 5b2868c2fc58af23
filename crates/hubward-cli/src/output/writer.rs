//! Writes to stdout or stderr in a separate thread. If the reader stops reading, this thread blocks, but the futures of
//! a command do not.
//!
//! The queue has a limit in bytes. If the queue is full, [`Writer::queue`] waits for room, but [`Writer::offer`] drops
//! the text and counts the dropped texts. After a failed write, the thread writes nothing more.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Limit of the queue in bytes. While the queue contains fewer bytes, it accepts a text of any size.
pub(crate) const QUEUE_MAX: usize = 256 << 10;

/// Limit in bytes for frames of an animation, such as a spinner. If this number of bytes or more is waiting in the
/// queue, the writer drops a new frame.
const FRAME_MAX: usize = 1 << 10;

/// Number of bytes in one write. It is small enough for a pipe to accept all bytes at once.
///
/// The queue gets shorter only after a complete write. So a reader counts as stalled if it reads fewer bytes than this
/// within a period.
const PART: usize = 4 << 10;

/// A handle of the thread. Clones are cheap. The thread ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Shared>);

/// Why text was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The reader closed the pipe, as `| head -1` does.
    Closed,
    /// The system refused the write, with this error message.
    Failed(String),
    /// The command has ended and the reader does not read. Contains the number of bytes that were not written.
    Stalled(usize),
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread.
    queued: Condvar,
    /// Wakes the futures that wait for the thread.
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Queue {
    texts: VecDeque<Vec<u8>>,
    /// Number of bytes that are queued or being written.
    bytes: usize,
    /// Number of texts that were queued so far.
    total: u64,
    /// Number of texts that [`Writer::offer`] has dropped and that no queued line has reported yet.
    dropped: u64,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    /// Number of texts that were written and flushed.
    written: u64,
    failure: Option<WriteError>,
}

impl Writer {
    /// Starts the thread. Writes to `target` may block without a time limit.
    pub(crate) fn start(name: &str, target: impl Write + Send + 'static) -> Self {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), queued: Condvar::new(), progress: watch::Sender::default() });
        let thread = Arc::clone(&shared);
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run(target));
        if let Err(error) = started {
            shared.fail(WriteError::Failed(format!("no thread can be started: {error}")));
        }
        Self(shared)
    }

    /// Waits for room, then queues the text. Does nothing after a failed write.
    ///
    /// # Cancel safety
    /// Dropping the future before it completes queues nothing.
    pub(crate) async fn queue(&self, mut text: Vec<u8>) {
        let mut progress = self.0.progress.subscribe();
        loop {
            if progress.borrow_and_update().failure.is_some() {
                return;
            }
            match self.0.try_push(text) {
                Ok(()) => return,
                Err(refused) => text = refused,
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Queues the text if there is room. Otherwise drops the text and counts it.
    ///
    /// If earlier texts were dropped, first queues a line with their number.
    pub(crate) fn offer(&self, text: &[u8]) {
        let mut queue = self.0.queue();
        if queue.bytes >= QUEUE_MAX {
            queue.dropped = queue.dropped.saturating_add(1);
            return;
        }
        queue.push_dropped();
        queue.push(text.to_vec());
        drop(queue);
        self.0.queued.notify_one();
    }

    /// Queues a frame of an animation. If much other text is waiting, drops the frame.
    pub(crate) fn offer_frame(&self, text: &[u8]) {
        let mut queue = self.0.queue();
        if queue.bytes < FRAME_MAX {
            queue.push(text.to_vec());
            drop(queue);
            self.0.queued.notify_one();
        }
    }

    /// Queues a line with the number of dropped texts that no earlier line has reported. Queues nothing if there are
    /// none.
    pub(crate) fn tell_dropped(&self) {
        self.0.queue().push_dropped();
        self.0.queued.notify_one();
    }

    /// Waits until all texts that are already queued are written and flushed.
    ///
    /// # Errors
    /// If a write failed. Some of the queued text may have been written.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn written(&self) -> Result<(), WriteError> {
        let wanted = self.0.queue().total;
        let mut progress = self.0.progress.subscribe();
        let Ok(progress) = progress.wait_for(|it| it.written >= wanted || it.failure.is_some()).await else {
            return Err(WriteError::Failed("the writing thread has ended".to_owned()));
        };
        match &progress.failure {
            _ if progress.written >= wanted => Ok(()),
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// Waits until a write fails. Returns the reason.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn failed(&self) -> WriteError {
        let mut progress = self.0.progress.subscribe();
        match progress.wait_for(|it| it.failure.is_some()).await.map(|it| it.failure.clone()) {
            Ok(Some(failure)) => failure,
            // The sender lives in `self`.
            _ => std::future::pending().await,
        }
    }

    /// Looks at the queue once per `period`. If text is waiting and the queue has not changed since the last look,
    /// records [`WriteError::Stalled`] and returns.
    pub(crate) async fn give_up_when_stalled(&self, period: Duration) {
        let mut before = None;
        loop {
            let now = self.0.waiting();
            if let Some((bytes, _)) = now
                && now == before
            {
                return self.0.fail(WriteError::Stalled(bytes));
            }
            before = now;
            tokio::time::sleep(period).await;
        }
    }
}

impl Queue {
    fn push_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.push(format!("{dropped} lines were dropped here because stderr was not read\n").into_bytes());
        }
    }

    fn push(&mut self, text: Vec<u8>) {
        self.bytes += text.len();
        self.total += 1;
        self.texts.push_back(text);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of waiting bytes, and the number of all texts queued so far. Returns `None` if no bytes wait.
    fn waiting(&self) -> Option<(usize, u64)> {
        let queue = self.queue();
        (queue.bytes > 0).then_some((queue.bytes, queue.total))
    }

    /// Queues the text. If there is no room, returns the text as an error.
    fn try_push(&self, text: Vec<u8>) -> Result<(), Vec<u8>> {
        let mut queue = self.queue();
        if queue.bytes >= QUEUE_MAX {
            return Err(text);
        }
        queue.push(text);
        drop(queue);
        self.queued.notify_one();
        Ok(())
    }

    /// Records a failure. Keeps the first failure if one is already recorded.
    fn fail(&self, failure: WriteError) {
        self.progress.send_if_modified(|it| {
            let is_first = it.failure.is_none();
            it.failure.get_or_insert(failure);
            is_first
        });
    }

    fn run(&self, mut target: impl Write) {
        loop {
            let (text, count) = self.next();
            for part in text.chunks(PART) {
                if let Err(error) = write(&mut target, part) {
                    return self.fail(error.into());
                }
                self.queue().bytes -= part.len();
            }
            self.progress.send_modify(|it| it.written += count);
        }
    }

    /// Waits until a text is queued. Returns all queued texts, joined, and their number.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut queue = self.queue();
        loop {
            if let Some(mut all) = queue.texts.pop_front() {
                let mut count = 1;
                while let Some(more) = queue.texts.pop_front() {
                    all.extend_from_slice(&more);
                    count += 1;
                }
                return (all, count);
            }
            queue = self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes and flushes the whole text. Retries if another program has made the descriptor non-blocking.
fn write(target: &mut impl Write, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match target.write(text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => text = &text[taken..],
            Err(error) => retry_later(error)?,
        }
    }
    loop {
        match target.flush() {
            Ok(()) => return Ok(()),
            Err(error) => retry_later(error)?,
        }
    }
}

fn retry_later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            std::thread::sleep(Duration::from_millis(10));
            Ok(())
        }
        _ => Err(error),
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error.to_string()) }
    }
}

/// Returns stdout without the buffer of the standard library. With this buffer, a write could succeed although the text
/// never reaches the reader.
pub(crate) fn stdout() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        if let Ok(descriptor) = io::stdout().as_fd().try_clone_to_owned() {
            return Box::new(std::fs::File::from(descriptor));
        }
    }
    // On Windows, use stdout of the standard library: the console needs UTF-16, and the standard library converts the
    // text.
    Box::new(io::stdout())
}

/// Returns stderr. The standard library has no buffer for it.
pub(crate) fn stderr() -> Box<dyn Write + Send> {
    Box::new(io::stderr())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A target for tests. Each write waits until the test sends an order. The order contains the result of the write.
    struct Reader {
        orders: mpsc::Receiver<io::Result<()>>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.orders.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))?;
            let _ = self.taken.send(text.to_vec());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer() -> (Writer, mpsc::Sender<io::Result<()>>, mpsc::Receiver<Vec<u8>>) {
        let ((order, orders), (taken, took)) = (mpsc::channel(), mpsc::channel());
        (Writer::start("test", Reader { orders, taken }), order, took)
    }

    #[tokio::test]
    async fn written_means_that_the_target_took_it() {
        let (writer, order, took) = writer();
        writer.queue(b"one".to_vec()).await;
        let written = writer.written();
        tokio::pin!(written);
        assert!(tokio::time::timeout(Duration::ZERO, &mut written).await.is_err());
        order.send(Ok(())).expect("the thread waits");
        assert_eq!(written.await, Ok(()));
        assert_eq!(took.recv().expect("it was written"), b"one");
    }

    #[tokio::test]
    async fn the_first_failed_write_is_final() {
        let (writer, order, _took) = writer();
        writer.queue(b"one".to_vec()).await;
        order.send(Err(io::Error::other("no space"))).expect("the thread waits");
        let failure = WriteError::Failed("no space".to_owned());
        assert_eq!(writer.written().await, Err(failure.clone()));
        writer.queue(vec![0; 2 * QUEUE_MAX]).await;
        writer.queue(b"more".to_vec()).await;
        assert_eq!((writer.written().await, writer.failed().await), (Err(failure.clone()), failure));
    }

    #[tokio::test]
    async fn a_closed_pipe_has_a_name_of_its_own() {
        let (writer, order, _took) = writer();
        writer.queue(b"one".to_vec()).await;
        drop(order);
        assert_eq!(writer.failed().await, WriteError::Closed);
    }

    #[tokio::test]
    async fn a_full_queue_waits_and_offers_are_counted() {
        let (writer, order, took) = writer();
        writer.queue(vec![b'a'; QUEUE_MAX]).await;
        let more = writer.queue(b"more".to_vec());
        tokio::pin!(more);
        assert!(tokio::time::timeout(Duration::ZERO, &mut more).await.is_err());
        writer.offer(b"dropped");
        writer.offer(b"dropped");
        for _ in 0..=QUEUE_MAX / PART {
            order.send(Ok(())).expect("the thread waits");
        }
        more.await;
        writer.written().await.expect("both");
        writer.offer(b"last");
        for _ in 0..2 {
            order.send(Ok(())).expect("the thread waits");
        }
        writer.written().await.expect("all");
        let text: Vec<u8> = took.try_iter().skip(QUEUE_MAX / PART).flatten().collect();
        let text = String::from_utf8(text).expect("text");
        assert!(text.starts_with("more2 lines were dropped") && text.ends_with("last"), "{text}");
    }

    #[tokio::test]
    async fn a_stalled_reader_is_given_up() {
        let (writer, _order, _took) = writer();
        writer.queue(b"one".to_vec()).await;
        writer.give_up_when_stalled(Duration::from_millis(5)).await;
        assert_eq!(writer.written().await, Err(WriteError::Stalled(3)));
    }
}
