//! Methods for scripted faults.

use super::Emulator;
use crate::services::faults;
use crate::state::fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};

impl Emulator {
    /// Applies a fault to the next event at `point`. Several faults happen one after the other, in the order of the
    /// calls.
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen there.
    pub fn fault(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.cloud.faults.plain(point, fault, Some(1))
    }

    /// Applies a fault to every event at `point`, after the faults of [`Emulator::fault`].
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen there.
    pub fn fault_always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.cloud.faults.plain(point, fault, None)
    }

    /// Adds a fault script, which can be limited to one device, a number of times, or a probability. Returns its
    /// number.
    ///
    /// # Errors
    /// [`BadScript`] if the script is not valid.
    pub fn script_fault(&self, script: FaultScript) -> Result<u64, BadScript> {
        faults::script(&self.cloud, script)
    }

    /// All scripts that can still happen, in their order.
    #[must_use]
    pub fn faults(&self) -> Vec<ScriptedFault> {
        self.cloud.faults.all()
    }

    /// How often faults with a limited number of times can still happen at `point`.
    #[must_use]
    pub fn faults_left(&self, point: Point) -> usize {
        self.cloud.faults.left(point)
    }

    /// Removes the script with this number; returns whether it existed.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.cloud.faults.remove(id)
    }

    /// Removes all scripts. DPS also forgets the hubs that faults moved devices to.
    pub fn clear_faults(&self) {
        faults::clear(&self.cloud);
    }
}
