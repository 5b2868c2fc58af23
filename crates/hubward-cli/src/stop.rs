//! Ends a command on Ctrl-C or SIGTERM.
//!
//! A separate thread waits for signals, so that a second Ctrl-C ends the process even if all other threads are blocked.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Whether the process has received a signal.
static SIGNALLED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Whether the signal thread runs. While the thread runs, the command decides what the first signal does. Without the
/// thread, the first signal ends the process.
static LISTENS: Mutex<bool> = Mutex::new(false);

/// Receives Ctrl-C and SIGTERM. Create this value before the command prints that it is ready, because another program
/// may react to that line with a signal.
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Starts to listen for signals. The signal thread then listens until the process ends.
    ///
    /// # Errors
    /// If the operating system refuses to install the handlers.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut listens = listens();
        if !*listens {
            start().map_err(|error| Failure::local(format!("signal handlers cannot be installed: {error}")))?;
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
            // Unreachable: the sender is a static and is never dropped.
            std::future::pending().await
        }
    }

    /// Runs `command` until it ends. If a signal arrives first, returns [`Failure::interrupted`].
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

/// Starts the signal thread.
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
            // To stop a program, some tools send several signals of different kinds, such as SIGINT and SIGTERM. All of
            // them together count as the first Ctrl-C. Only a second signal of the same kind as the first signal counts
            // as the second Ctrl-C.
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

/// Runs a blocking read, such as input from a terminal. Ctrl-C ends this function even if the read never returns.
pub(crate) fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    if !*listens() {
        // The signal thread does not run, so a signal ends the process, even during the read.
        return Ok(read());
    }
    let mut stop = Stop::listen()?;
    // This function blocks the thread of the caller. The caller therefore cannot react to a signal during the read, so
    // this function waits for a signal itself.
    let read = tokio::task::spawn_blocking(read);
    let read = async { read.await.map_err(|error| Failure::local(format!("the input cannot be read: {error}"))) };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(stop.or_interrupt(read)))
}
