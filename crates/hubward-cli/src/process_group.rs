//! Programs that run in process groups of their own, so that all of one can be ended: what it started,
//! too. None of them outlives this process unnoticed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

/// A program that was started with [`start`] and has not ended. Dropping the value kills its group.
#[derive(Debug)]
pub(crate) struct ProcessGroup(Option<i32>);

/// The groups of all programs that have not ended.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a program in a group of its own.
///
/// # Errors
/// If it does not start.
pub(crate) fn start(command: &mut Command) -> std::io::Result<(Child, ProcessGroup)> {
    // Under the lock, so that `kill_all` misses none.
    let mut running = running();
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn()?;
    let id = child.id().and_then(|it| i32::try_from(it).ok());
    running.extend(id);
    Ok((child, ProcessGroup(id)))
}

/// Kills the groups of all programs that have not ended.
pub(crate) fn kill_all() {
    running().iter().copied().for_each(kill);
}

impl ProcessGroup {
    /// Kills the program and what it has started. To be called before the program is waited for, since
    /// its number may be another's afterwards.
    pub(crate) fn kill(&self) {
        self.0.into_iter().for_each(kill);
    }

    /// The program has ended by itself: what it has left behind runs on.
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
        // It may have ended at this moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Elsewhere the program alone is killed, by the handle of the runtime.
#[cfg(not(unix))]
const fn kill(_id: i32) {}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
