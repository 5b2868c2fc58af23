//! Operations on the whole state: import, reset, and moving the clock.

use std::time::Duration;

use super::cloud::Cloud;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{self, Seed, SeedError, SeedReport};

/// See [`Emulator::import`](crate::Emulator::import).
pub(crate) fn import(cloud: &Cloud, seed: &Seed) -> Result<SeedReport, SeedError> {
    let now = cloud.clock.now();
    let report = cloud.store.change(|state| model::import(state, seed, now))?;
    cloud.journal.note(Note::new(EventKind::Imported, EventSource::Emulator));
    Ok(report)
}

/// See [`Emulator::reset`](crate::Emulator::reset).
pub(crate) fn reset(cloud: &Cloud) -> Result<(), SeedError> {
    #[cfg(feature = "admin")]
    cloud.simulated.abort();
    let reset = cloud.store.reset(&cloud.logs, &cloud.initial_state, cloud.clock.now());
    cloud.journal.note(Note::new(EventKind::Reset, EventSource::Emulator));
    reset
}

/// Sets how far the clock of the emulator is ahead of the system clock. Then applies the new time to all message
/// queues: messages can expire, and locks can end.
pub(crate) fn move_clock(cloud: &Cloud, ahead: Duration) {
    cloud.clock.set_ahead(ahead);
    let now = cloud.clock.now();
    cloud.store.change(|state| state.hubs.values_mut().for_each(|hub| hub.refresh(None, now)));
    let message = format!("{} s ahead", cloud.clock.ahead().as_secs());
    cloud.journal.note(Note::new(EventKind::ClockMoved, EventSource::Emulator).message(message));
}
