//! The proper end of what stays until somebody ends it.
//!
//! A thread of its own listens for signals, so that a second Ctrl-C ends the process whatever the rest
//! of it is doing.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Ctrl-C, or the signal that ends services: heard from the moment this is made, so that whoever reads
/// that a command is ready can end it at once.
pub(crate) struct Stop(watch::Receiver<bool>);

/// Whether a signal came.
static SIGNALLED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Whether the thread listens: from then on signals do nothing by themselves.
static LISTENS: Mutex<bool> = Mutex::new(false);

impl Stop {
    /// Listens for signals from now on, until the process ends.
    ///
    /// # Errors
    /// If the system does not let the program do so.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut listens = listens();
        if !*listens {
            start().map_err(|error| Failure::local(format!("signals cannot be heard: {error}")))?;
            *listens = true;
        }
        Ok(Self(SIGNALLED.subscribe()))
    }

    /// Waits for the first signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn heard(&mut self) {
        if self.0.wait_for(|it| *it).await.is_err() {
            // The sender is a static.
            std::future::pending().await
        }
    }

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

/// Waits for the first signal after [`Stop::listen`].
pub(crate) async fn signalled() {
    Stop(SIGNALLED.subscribe()).heard().await;
}

fn listens() -> MutexGuard<'static, bool> {
    LISTENS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread.
fn start() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let first = signals.next().await;
            SIGNALLED.send_replace(true);
            // Some programs pass one request on as two signals: only the same one again is the second.
            while signals.next().await != first {}
            end_at_once();
        });
    })?;
    Ok(())
}

fn end_at_once() -> ! {
    crate::process_group::kill_all();
    std::process::exit(ExitCode::Interrupted as i32)
}

/// The signals that end the program.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Interrupt,
    #[cfg(unix)]
    Terminate,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
        }
        #[cfg(windows)]
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    async fn next(&mut self) -> Heard {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => Heard::Interrupt,
            _ = self.terminate.recv() => Heard::Terminate,
        }
        #[cfg(windows)]
        {
            self.interrupt.recv().await;
            Heard::Interrupt
        }
    }
}

/// Reads what may never come, such as what somebody types: Ctrl-C is an end of that as well.
pub(crate) fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    if !*listens() {
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
