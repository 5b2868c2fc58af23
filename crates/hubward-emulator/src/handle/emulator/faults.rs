//! Methods for scripted faults.

use super::Emulator;
use crate::services::faults;
use crate::state::fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};

impl Emulator {
    /// Applies a fault to the next event at `point`.
    ///
    /// Several calls for the same point form a queue: the first event gets the fault of the first call, the second
    /// event that of the second call.
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen at `point`.
    pub fn fault(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.cloud.faults.plain(point, fault, Some(1))
    }

    /// Applies a fault to every event at `point`. If [`Emulator::fault`] was called for the same point, those faults
    /// happen first.
    ///
    /// # Errors
    /// [`UnfitFault`] if the fault cannot happen at `point`.
    pub fn fault_always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        self.cloud.faults.plain(point, fault, None)
    }

    /// Adds a fault script and returns its number. A script can limit its fault to one device, to a number of times, or
    /// to a probability.
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

    /// Returns how many more times faults can happen at `point`. Does not count faults without a limit.
    #[must_use]
    pub fn faults_left(&self, point: Point) -> usize {
        self.cloud.faults.left(point)
    }

    /// Removes the script with this number. Returns whether the script existed.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.cloud.faults.remove(id)
    }

    /// Removes all scripts. Also forgets to which hubs faults have moved devices: DPS again assigns devices by its own
    /// rules.
    pub fn clear_faults(&self) {
        faults::clear(&self.cloud);
    }
}
