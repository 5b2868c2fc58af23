//! Runs code of redb that may panic on damaged pages.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

static HOOK: Once = Once::new();

/// The error if `act` panicked while it read damaged pages. The error does not contain the panic message, because the
/// message may quote bytes of these pages.
#[derive(Debug)]
pub(super) struct Panicked;

/// Runs `act` and catches its panic. Suppresses panic messages of this thread only.
///
/// After a panic, the values that `act` borrows may be inconsistent. The caller must not use these values again.
pub(super) fn quietly<R>(act: impl FnOnce() -> R) -> Result<R, Panicked> {
    // The whole process shares one panic hook. This function sets its hook once and never removes it. Another part of
    // the program may set its own hook later, and removing a hook could then remove that one.
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

thread_local! {
    /// Whether [`quietly`] catches a panic of this thread.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}
