//! Runs each program in a process group of its own, so that this process can kill the program together with
//! everything it has started, and does so before it exits.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

/// A program started with [`start`] that has not ended. Dropping the value kills its process group.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<i32>);

/// The process groups of all programs that have not ended.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a program in a process group of its own.
///
/// # Errors
/// If the program does not start.
pub(crate) fn start(command: &mut Command) -> std::io::Result<(Child, ProcessGroup)> {
    // Hold the lock while spawning, so that `kill_all` misses no program.
    let mut running = running();
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn()?;
    let id = child.id().and_then(|it| i32::try_from(it).ok());
    running.extend(id);
    Ok((child, ProcessGroup(id)))
}

/// Kills the process groups of all programs that have not ended.
pub(crate) fn kill_all() {
    running().iter().copied().for_each(kill);
}

impl ProcessGroup {
    /// Kills the program and everything it has started. Call this before waiting for the program: afterwards
    /// the system may give its process ID to another process.
    pub(crate) fn kill(&self) {
        self.0.into_iter().for_each(kill);
    }

    /// Forgets the group after the program has ended by itself. Its background processes keep running.
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
