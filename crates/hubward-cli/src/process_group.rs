//! Runs each program of `device method serve` in a process group of its own. `hubward` can then kill a program together
//! with all processes that the program has started. Before `hubward` exits, it kills all programs that still run.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

/// The process groups of all programs that have not ended.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether this process is about to exit. While this is `true`, each new program is killed immediately.
static ENDS: AtomicBool = AtomicBool::new(false);

/// The process group of a program that [`start`] has started. Dropping the value kills the group.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<i32>);

/// Starts a program in a separate process group.
///
/// Starting a program blocks the thread, and can take long if the disk with the program's file is slow. So the function
/// uses a separate thread.
///
/// # Errors
/// If the program does not start.
///
/// # Cancel safety
/// If the future is dropped before the program starts, the program is killed as soon as it starts.
pub(crate) async fn start(mut command: Command) -> std::io::Result<(Child, ProcessGroup)> {
    let start = move || {
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn()?;
        let group = ProcessGroup::of(&child);
        Ok((child, group))
    };
    tokio::task::spawn_blocking(start).await.map_err(std::io::Error::other)?
}

/// Kills the process groups of all running programs. A program that starts later is killed immediately.
pub(crate) fn kill_all() {
    ENDS.store(true, Ordering::SeqCst);
    running().iter().copied().for_each(kill);
}

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let group = Self(child.id().and_then(|it| i32::try_from(it).ok()));
        running().extend(group.0);
        if ENDS.load(Ordering::SeqCst) {
            group.kill();
        }
        group
    }

    /// Kills all processes of the group.
    ///
    /// Call this before you wait for the program to end. After this wait, the system may give the process ID to another
    /// process. This call would then kill the wrong group.
    pub(crate) fn kill(&self) {
        self.0.into_iter().for_each(kill);
    }

    /// Removes the group from the list of running groups. Call this after the program has ended by itself. The
    /// background processes of the program keep running.
    pub(crate) fn release(&mut self) {
        if let Some(id) = self.0.take() {
            running().remove(&id);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
        self.release();
    }
}

#[cfg(unix)]
fn kill(id: i32) {
    use rustix::process::{Pid, Signal, kill_process_group};

    if let Some(group) = Pid::from_raw(id) {
        // Ignore an error: the group may already have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Does nothing, because process groups are implemented for Unix only. On other systems, the tokio runtime kills the
/// program through its handle, but not the processes that the program has started.
#[cfg(not(unix))]
const fn kill(_id: i32) {}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
