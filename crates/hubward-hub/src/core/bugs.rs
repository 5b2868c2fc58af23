//! Bugs that tests switch on to check that the simulation finds them.

/// Which bugs are on.
#[derive(Debug)]
pub(super) struct Bugs<T> {
    /// A repeated message is not marked as a repetition.
    pub(super) lost_dup: bool,
    /// A message in flight is resolved at its deadline, and again by its acknowledgement.
    pub(super) double_receipt: Option<fn(&T) -> T>,
    /// After the end, the timer for message deadlines stays set.
    pub(super) leaked_timer: bool,
}

impl<T> Clone for Bugs<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Bugs<T> {}

impl<T> Default for Bugs<T> {
    fn default() -> Self {
        Self { lost_dup: false, double_receipt: None, leaked_timer: false }
    }
}
