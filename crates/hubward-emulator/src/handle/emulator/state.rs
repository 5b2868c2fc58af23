//! Methods for the state as a whole: wait for the disk, export, import, reset.

use super::Emulator;
use crate::services::maintenance;
use crate::state::disk::StateLost;
use crate::state::model::{self, Seed, SeedError, SeedReport};

impl Emulator {
    /// Waits until every earlier change is written to the data directory. Without a data directory, returns at once.
    /// Changes over the network are on disk before their response is sent. Changes through methods of this type may
    /// not be on disk yet when the method returns. Call `flush` after them.
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
    /// or if there is no data directory. After such a failure the emulator acknowledges nothing, so a program should
    /// report the reason and exit.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn failed(&self) -> StateLost {
        match self.cloud.store.disk() {
            Some(disk) => disk.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Exports enrollments, registrations and hub identities with keys and twins as a seed. The seed contains secrets.
    /// It does not contain sessions, queued messages, telemetry or the keys of policies.
    ///
    /// An import into another emulator with the same hubs restores the same state, but ETags, versions and times
    /// differ. The export does not contain the group of [`Builder::dev_keys`](crate::Builder::dev_keys).
    #[must_use]
    pub fn export(&self) -> Seed {
        self.cloud.store.read(model::export)
    }

    /// Imports an export: all of it or nothing. Unlike a seed at the start, this also replaces existing twins,
    /// statuses and records that differ. Closes the connections of devices that change, so that they request their
    /// twins again. Everything that the export does not name stays unchanged.
    ///
    /// # Errors
    /// [`SeedError`]; nothing has been applied.
    pub fn import(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        maintenance::import(&self.cloud, seed)
    }

    /// Deletes everything except the certificate authority and the keys of policies, and closes every device
    /// connection. Then applies the initial contents again: the development keys and the seed, if the emulator was
    /// started with them. Telemetry offsets continue; scripted faults and the clock do not change.
    ///
    /// # Errors
    /// [`SeedError`] if the system provides no randomness to apply the seed again; everything else is reset.
    pub fn reset(&self) -> Result<(), SeedError> {
        maintenance::reset(&self.cloud)
    }
}
