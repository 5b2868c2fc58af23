//! The state as a whole: on disk, exported, imported, forgotten.

use super::Emulator;
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::store::StateLost;
use crate::{Seed, SeedError, SeedReport, store};

impl Emulator {
    /// Waits until everything that was changed before is in the data directory; without one it is
    /// done at once. What is answered over the network has been waited for: this is for what the
    /// methods of this type change.
    ///
    /// # Errors
    /// [`StateLost`] if the disk fails.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn settled(&self) -> Result<(), StateLost> {
        self.shared.store.settled().await
    }

    /// Waits until the state cannot be written any more: never, if all is well or there is no data
    /// directory. From then on nothing is acknowledged, so that a program should say why, and end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn failed(&self) -> StateLost {
        match self.shared.store.disk() {
            Some(disk) => disk.failed().await,
            None => std::future::pending().await,
        }
    }

    /// What is enrolled, registered and known to hubs, with keys and twins, as a seed. It is full of
    /// secrets. Sessions, messages on their way and telemetry are not part of it, nor are the keys of
    /// policies.
    ///
    /// Imported into another emulator with the same hubs it gives the same, with other etags, versions
    /// and times. The group that [`Builder::dev_keys`](crate::Builder::dev_keys) makes is not part of it.
    #[must_use]
    pub fn export(&self) -> Seed {
        self.shared.store.read(store::export)
    }

    /// Puts an export into this emulator, all of it or nothing. Unlike a seed at the start it also
    /// replaces twins, statuses and records that are there already and differ; devices that are changed
    /// are cut off, so that they ask for their twins again. What the export does not name stays.
    ///
    /// # Errors
    /// [`SeedError`]; nothing has been applied.
    pub fn import(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        self.shared.import(seed)
    }

    /// Forgets everything but the certificate authority and the keys of policies, and ends every
    /// connection of a device. What the emulator was started with (the development keys, a seed) is
    /// applied again. Offsets of telemetry go on; scripted faults and the clock stay.
    ///
    /// # Errors
    /// [`SeedError`] if the seed cannot be applied again, for want of randomness; the rest is forgotten.
    pub fn reset(&self) -> Result<(), SeedError> {
        self.shared.reset()
    }
}

impl Shared {
    /// See [`Emulator::import`].
    pub(crate) fn import(&self, seed: &Seed) -> Result<SeedReport, SeedError> {
        let now = self.clock.now();
        let report = self.store.change(|state| store::import(state, seed, now))?;
        self.journal.note(Note::new(EventKind::Imported, EventSource::Emulator));
        Ok(report)
    }

    /// See [`Emulator::reset`].
    pub(crate) fn reset(&self) -> Result<(), SeedError> {
        let reset = self.store.reset(&self.logs, &self.beginning, self.clock.now());
        self.journal.note(Note::new(EventKind::Reset, EventSource::Emulator));
        reset
    }
}
