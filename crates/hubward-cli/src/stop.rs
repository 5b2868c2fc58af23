//! The proper end of what stays until somebody ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Ctrl-C, or the signal that ends services: heard from the moment this is made, so that whoever reads
/// that a command is ready can end it at once.
pub(crate) struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

/// Whether signals are heard: from then on they do nothing by themselves.
static HEARD: AtomicBool = AtomicBool::new(false);

impl Stop {
    pub(crate) fn listen() -> Result<Self, Failure> {
        HEARD.store(true, Ordering::Relaxed);
        let cannot = |error| Failure::local(format!("signals cannot be heard: {error}"));
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
            let terminate = signal(SignalKind::terminate()).map_err(cannot)?;
            Ok(Self { interrupt, terminate })
        }
        #[cfg(windows)]
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c().map_err(cannot)? })
    }

    /// Waits for either.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn heard(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}

impl Stop {
    /// Runs `command` until it ends or somebody wants it to end before it could.
    pub(crate) async fn or_interrupt<T>(
        &mut self,
        command: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.heard() => Err(Failure::interrupted()),
            result = command => result,
        }
    }
}

/// Reads what may never come, such as what somebody types: Ctrl-C is an end of that as well.
pub(crate) fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    if !HEARD.load(Ordering::Relaxed) {
        // A signal ends the program without us.
        return Ok(read());
    }
    let mut stop = Stop::listen()?;
    // Whoever waits for this blocks the thread, and so the future that would hear the signal.
    let read = tokio::task::spawn_blocking(read);
    let read = async { read.await.map_err(|error| Failure::local(format!("nothing can be read: {error}"))) };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(stop.or_interrupt(read)))
}
