//! Runs code of redb that may panic on damaged pages.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

static HOOK: Once = Once::new();

/// `act` panicked because the pages that it read are damaged. The panic message is dropped, because it may quote bytes
/// of these pages.
#[derive(Debug)]
pub(super) struct Panicked;

/// Runs `act` and catches its panic. Suppresses panic messages of this thread only.
///
/// After a panic, the values that `act` borrows may be inconsistent. The caller must drop them.
pub(super) fn quietly<R>(act: impl FnOnce() -> R) -> Result<R, Panicked> {
    // The whole process shares the panic hook. This hook is set once and never removed. Another part of the program may
    // set its own hook later, and removing this hook could then remove the other one.
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
