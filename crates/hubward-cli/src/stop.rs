//! The proper end of what stays until somebody ends it.

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

impl Stop {
    pub(crate) fn listen() -> Result<Self, Failure> {
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
