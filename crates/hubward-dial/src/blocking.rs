//! Runs a TLS handshake on a thread for blocking work, because a private key outside the program may sign slowly.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Runs `future` on a thread for blocking work, so that it may block without stopping other tasks. Keeps `permit` until
/// the thread is free again, also if the caller drops the returned future.
///
/// TLS calls the private key inside the handshake and waits for the signature. A key in a TPM, an HSM or a smart card
/// may need more than a second.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] if the runtime is shutting down.
///
/// # Cancel safety
/// Dropping the returned future drops `future` as soon as `future` returns from its current poll, for example after the
/// key has signed.
///
/// # Panics
/// Outside a tokio runtime, and if `future` panics.
pub(crate) async fn on_blocking_thread<F>(permit: OwnedSemaphorePermit, future: F) -> io::Result<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    // If the caller drops this function's future, it drops `_caller`, and `dropped` completes.
    let (_caller, mut dropped) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        runtime.block_on(async move {
            let mut future = pin!(future);
            poll_fn(|cx| match Pin::new(&mut dropped).poll(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => future.as_mut().poll(cx).map(Some),
            })
            .await
        })
    });
    match work.await {
        Ok(Some(output)) => Ok(output),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Ok(None) | Err(_) => Err(io::Error::new(io::ErrorKind::Interrupted, "the program is ending")),
    }
}
