//! Calls of redb that may panic on damaged pages.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// A panic of `act`: the pages that it read are damaged. Its message is dropped, since it may quote them.
#[derive(Debug)]
pub(super) struct Panicked;

/// Runs `act` and catches its panic. The panic is not printed; panics of other threads are.
///
/// The values that `act` borrows may be half-changed after a panic: the caller must drop them.
pub(super) fn quietly<R>(act: impl FnOnce() -> R) -> Result<R, Panicked> {
    // The hook is shared by the whole process. It is added once and stays: to take it away again could take
    // away one that was set in the meantime.
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(act));
    QUIET.set(before);
    result.map_err(|_| Panicked)
}

static HOOK: Once = Once::new();

thread_local! {
    /// Whether a panic of this thread is caught by [`quietly`].
    static QUIET: Cell<bool> = const { Cell::new(false) };
}
