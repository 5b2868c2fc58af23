//! Ends the emulator together with the program that started it.
//!
//! The program connects a pipe to the standard input of the emulator, and keeps the other end of the pipe. When the
//! program ends, the operating system closes the program's end, even after SIGKILL. In the emulator, a thread that
//! reads standard input then reaches the end of the input.

use std::io::{ErrorKind, Read};

use tokio::sync::oneshot;

use crate::failure::Failure;

/// Size in bytes of the buffer into which the thread reads. The thread drops what it has read.
const BUFFER: usize = 4096;

/// The end of standard input.
pub(super) struct StdinClose(Option<oneshot::Receiver<()>>);

impl StdinClose {
    /// If `enabled`, starts a thread that reads standard input until its end. The read may block forever, so the
    /// process does not wait for this thread when it exits.
    ///
    /// # Errors
    /// If the operating system refuses to start the thread.
    pub(super) fn listen(enabled: bool) -> Result<Self, Failure> {
        if !enabled {
            return Ok(Self(None));
        }
        let (closed, heard) = oneshot::channel();
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                read_to_end(std::io::stdin().lock());
                // Ignore an error: the command has ended already.
                let _ = closed.send(());
            })
            .map_err(|error| Failure::local(format!("standard input cannot be read: {error}")))?;
        Ok(Self(Some(heard)))
    }

    /// Waits until standard input is closed. If [`listen`](Self::listen) was called with `enabled: false`, waits
    /// forever.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing, because the value stays closed.
    pub(super) async fn heard(&mut self) {
        match &mut self.0 {
            Some(closed) => {
                let _ = closed.await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Reads and drops bytes until the end or the first error.
fn read_to_end(mut input: impl Read) {
    let mut buffer = [0; BUFFER];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that follows a script. Each call of `read` returns the next entry: a number of bytes or an error.
    struct Script(Vec<std::io::Result<usize>>);

    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            self.0.remove(0)
        }
    }

    #[test]
    fn reads_past_data_and_interruptions_up_to_the_end() {
        let interrupted = || Err(ErrorKind::Interrupted.into());
        let mut ended = Script(vec![Ok(3), interrupted(), Ok(BUFFER), Ok(0)]);
        read_to_end(&mut ended);
        assert!(ended.0.is_empty());
        let mut broken = Script(vec![Ok(3), Err(ErrorKind::BrokenPipe.into()), Ok(1)]);
        read_to_end(&mut broken);
        assert_eq!(broken.0.len(), 1);
    }
}
