//! Mistakes that tests make on purpose, to see that they would be found.

/// Which ones.
#[derive(Debug)]
pub(super) struct Bugs<T> {
    /// What is sent again does not say so.
    pub(super) lost_dup: bool,
    /// What passes its deadline in flight is resolved then, and again by its answer.
    pub(super) double_receipt: Option<fn(&T) -> T>,
    /// An end leaves the timer of the deadlines behind.
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
