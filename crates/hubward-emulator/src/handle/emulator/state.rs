//! Methods for the whole state: wait for the disk, export, import, reset.

use super::Emulator;
use crate::services::maintenance;
use crate::state::disk::StateLost;
use crate::state::model::{self, Seed, SeedError, SeedReport};

impl Emulator {
    /// Waits until every earlier change is on disk. If there is no data directory, returns at once.
    ///
    /// A client gets the response to its request only after its change is on disk. A method of [`Emulator`] may return
    /// before its change is on disk. To wait for the disk, call `flush` after the method.
    ///
    /// # Errors
    /// [`StateLost`] if the disk fails.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn flush(&self) -> Result<(), StateLost> {
        self.cloud.store.flushed().await
    }

    /// Waits until the emulator can no longer write its state to disk, and returns the reason. While the disk works, or
    /// without a data directory, this method does not return.
    ///
    /// After the disk has failed, the emulator acknowledges nothing. The program should report the reason and exit.
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
    /// The seed contains secrets. It does not contain sessions, queued messages, telemetry, the keys of policies, the
    /// key of the authority that issues certificates, or the group of [`Builder::dev_keys`](crate::Builder::dev_keys).
    ///
    /// Another emulator with the same hubs can import the seed. After the import, the other emulator has the same
    /// enrollments, registrations and identities. Their ETags, versions and times can differ.
    #[must_use]
    pub fn export(&self) -> Seed {
        self.cloud.store.read(model::export)
    }

    /// Imports an export. If one object is not valid, imports nothing.
    ///
    /// If a twin, status or record exists and differs from the export, the import replaces it. Objects that are not in
    /// the export stay unchanged.
    ///
    /// The seed of [`Builder::seed`](crate::Builder::seed) has another rule: it does not replace existing twins,
    /// statuses and records.
    ///
    /// If the import changes a device, the hub closes the connections of the device. The device then reconnects and
    /// requests its twin.
    ///
    /// # Errors
    /// [`SeedError`] if an object is not valid. Nothing is then imported.
    pub fn import(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        maintenance::import(&self.cloud, seed)
    }

    /// Deletes the state and closes every device connection. Keeps the certificate authority and the keys of policies.
    ///
    /// If the emulator was started with development keys or a seed, applies them again.
    ///
    /// Telemetry offsets continue. Scripted faults and the clock do not change.
    ///
    /// # Errors
    /// [`SeedError`] if the system provides no random numbers for the keys of the seed. The state is then deleted all
    /// the same, but no part of the seed is applied.
    pub fn reset(&self) -> Result<(), SeedError> {
        maintenance::reset(&self.cloud)
    }
}
