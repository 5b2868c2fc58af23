//! Bodies of requests: a bounded size, a bounded time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::Cut;

/// The body is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Reads a whole body.
pub(crate) async fn read(body: Incoming, most: usize) -> Result<Result<Bytes, TooLarge>, Cut> {
    in_time(take(body, most, true)).await
}

/// Takes a whole body and keeps nothing of it: the answer is a refusal already, which a client that is
/// still sending might not read.
pub(crate) async fn discard(body: Incoming, most: usize) -> Result<Result<(), TooLarge>, Cut> {
    Ok(in_time(take(body, most, false)).await?.map(|_nothing| ()))
}

async fn in_time<T>(taken: impl Future<Output = Result<T, hyper::Error>>) -> Result<T, Cut> {
    match timeout(LONGEST, taken).await {
        Ok(Ok(taken)) => Ok(taken),
        // The client left in the middle, or takes for ever.
        Ok(Err(_)) | Err(_) => Err(Cut),
    }
}

/// What is too large is taken as well, up to a bound, so that its sender gets to read why it is refused.
async fn take(mut body: Incoming, most: usize, keep: bool) -> Result<Result<Bytes, TooLarge>, hyper::Error> {
    let most_taken = most.saturating_add(TAKEN_BEYOND);
    if body.size_hint().lower() > most_taken as u64 {
        return Ok(Err(TooLarge));
    }
    let mut kept = BytesMut::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > most_taken {
            break;
        }
        if length > most {
            kept = BytesMut::new();
        } else if keep {
            kept.extend_from_slice(&data);
        }
    }
    Ok(if length > most { Err(TooLarge) } else { Ok(kept.freeze()) })
}

/// How long a client may take to send a body.
const LONGEST: Duration = Duration::from_secs(30);

/// How much is read of a body beyond what it may have.
const TAKEN_BEYOND: usize = 4 * 1024 * 1024;
