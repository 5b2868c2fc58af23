//! What a test lets go wrong.

use super::Emulator;
use crate::fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;

impl Emulator {
    /// Lets the next event at `point` go wrong; several faults happen one after the other.
    ///
    /// # Errors
    /// [`UnfitFault`] if it cannot happen there.
    pub fn fault(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.plain(point, fault, Some(1))
    }

    /// Lets every event at `point` go wrong, after those scripted by [`Emulator::fault`].
    ///
    /// # Errors
    /// [`UnfitFault`] if it cannot happen there.
    pub fn fault_always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.shared.faults.plain(point, fault, None)
    }

    /// Lets go wrong what a script says: for one device, a number of times, with a probability; gives its
    /// number.
    ///
    /// # Errors
    /// [`BadScript`] if it makes no sense.
    pub fn script_fault(&self, script: FaultScript) -> Result<u64, BadScript> {
        self.shared.script_fault(script)
    }

    /// All that is scripted and has not happened yet, in its order.
    #[must_use]
    pub fn faults(&self) -> Vec<ScriptedFault> {
        self.shared.faults.all()
    }

    /// How many faults with a number of times have not happened yet.
    #[must_use]
    pub fn faults_left(&self, point: Point) -> usize {
        self.shared.faults.left(point)
    }

    /// Forgets the script of this number; gives whether it was there.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.faults.remove(id)
    }

    /// Forgets all faults that have not happened yet, and where DPS sends devices that were moved.
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

    /// Forgets all; gives how many there were.
    pub(crate) fn clear_faults(&self) -> usize {
        let cleared = self.faults.clear();
        self.registrar.moves.clear();
        self.journal.note(Note::new(EventKind::FaultsCleared, EventSource::Emulator));
        cleared
    }
}
