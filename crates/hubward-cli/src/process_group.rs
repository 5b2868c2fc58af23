//! Runs each program in a separate process group, so that this process can kill the program together with everything
//! that the program has started. This process does so before it exits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

/// The process groups of all programs that have not ended.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether this process is about to exit. If so, a program that starts now is killed at once.
static ENDS: AtomicBool = AtomicBool::new(false);

/// A program started with [`start`] that has not ended. Dropping the value kills its process group.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<i32>);

/// Starts a program in a separate process group. Uses a separate thread, because starting takes long if the program's
/// file is on a disk that does not answer.
///
/// # Errors
/// If the program does not start.
///
/// # Cancel safety
/// A program that starts after the future was dropped is killed at once.
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

/// Kills the process groups of all programs that have not ended, and of those that start later.
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

    /// Kills the program and everything it has started. Call this before waiting for the program. After the wait, the
    /// system may give the program's process ID to another process.
    pub(crate) fn kill(&self) {
        self.0.into_iter().for_each(kill);
    }

    /// Forgets the group after the program has ended by itself. The program's background processes keep running.
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
        // The group may have ended in the meantime.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// On other systems the runtime kills the program only, through its handle.
#[cfg(not(unix))]
const fn kill(_id: i32) {}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
