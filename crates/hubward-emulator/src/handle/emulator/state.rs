//! Methods for the state as a whole: wait for the disk, export, import, reset.

use super::Emulator;
use crate::services::maintenance;
use crate::state::disk::StateLost;
use crate::state::model::{self, Seed, SeedError, SeedReport};

impl Emulator {
    /// Waits until every earlier change is on disk. If there is no data directory, returns at once.
    ///
    /// A change over the network is on disk before the request gets its response. A change by a method of this type may
    /// not be on disk yet when the method returns. To wait for it, call `flush` after the method.
    ///
    /// # Errors
    /// [`StateLost`] if the disk fails.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn flush(&self) -> Result<(), StateLost> {
        self.cloud.store.flushed().await
    }

    /// Waits until the emulator can no longer write its state, and returns the reason. Never returns if the disk works
    /// or if there is no data directory.
    ///
    /// After such a failure, the emulator acknowledges nothing. A program should then report the reason and exit.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn failed(&self) -> StateLost {
        match self.cloud.store.disk() {
            Some(disk) => disk.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Exports enrollments, registrations and hub identities as a seed, including keys and twins.
    ///
    /// The seed contains secrets. It does not contain sessions, queued messages, telemetry or the keys of policies.
    ///
    /// Another emulator with the same hubs can import the seed and then has the same state, except for ETags, versions
    /// and times. The seed does not contain the group of [`Builder::dev_keys`](crate::Builder::dev_keys).
    #[must_use]
    pub fn export(&self) -> Seed {
        self.cloud.store.read(model::export)
    }

    /// Imports an export. If one object is not valid, imports nothing.
    ///
    /// If a twin, status or record exists and differs from the export, it is replaced. (A seed at the start does not
    /// replace it.) Objects that the export does not name do not change.
    ///
    /// If a device changes, the hub closes its connections. The device then requests its twin again.
    ///
    /// # Errors
    /// [`SeedError`]; nothing has been applied.
    pub fn import(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        maintenance::import(&self.cloud, seed)
    }

    /// Deletes everything except the certificate authority and the keys of policies, and closes every device
    /// connection. If the emulator was started with development keys or a seed, applies these again.
    ///
    /// Telemetry offsets continue. Scripted faults and the clock do not change.
    ///
    /// # Errors
    /// [`SeedError`] if the system provides no random numbers for the keys of the seed. Everything else is reset in
    /// this case.
    pub fn reset(&self) -> Result<(), SeedError> {
        maintenance::reset(&self.cloud)
    }
}
