//! Methods for scripted faults.

use super::Emulator;
use crate::fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;

impl Emulator {
    /// Applies a fault to the next event at `point`. Several faults happen one after the other, in the order of the
    /// calls.
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen there.
    pub fn fault(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.plain(point, fault, Some(1))
    }

    /// Applies a fault to every event at `point`, after the faults of [`Emulator::fault`].
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen there.
    pub fn fault_always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.plain(point, fault, None)
    }

    /// Adds a fault script, which can be limited to one device, a number of times, or a probability. Returns its
    /// number.
    ///
    /// # Errors
    /// [`BadScript`] if the script is not valid.
    pub fn script_fault(&self, script: FaultScript) -> Result<u64, BadScript> {
        self.shared.script_fault(script)
    }

    /// All scripts that can still happen, in their order.
    #[must_use]
    pub fn faults(&self) -> Vec<ScriptedFault> {
        self.shared.faults.all()
    }

    /// How often faults with a limited number of times can still happen at `point`.
    #[must_use]
    pub fn faults_left(&self, point: Point) -> usize {
        self.shared.faults.left(point)
    }

    /// Removes the script with this number; returns whether it existed.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.faults.remove(id)
    }

    /// Removes all scripts, and forgets the hubs of devices that a fault moved.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }
}

impl Shared {
    pub(crate) fn script_fault(&self, script: FaultScript) -> Result<u64, BadScript> {
        let what = script.to_string();
        let id = self.faults.script(script)?;
        self.journal.note(Note::new(EventKind::FaultScripted, EventSource::Emulator).message(what));
        Ok(id)
    }

    /// Removes all scripts; returns how many there were.
    pub(crate) fn clear_faults(&self) -> usize {
        let cleared = self.faults.clear();
        self.registrar.moves.clear();
        self.journal.note(Note::new(EventKind::FaultsCleared, EventSource::Emulator));
        cleared
    }
}
