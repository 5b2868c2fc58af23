//! Reads bodies of requests within a size and a time limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::Aborted;

/// Time limit for a body.
const LONGEST: Duration = Duration::from_secs(30);

/// How many bytes beyond the size limit the emulator reads and discards.
const READ_BEYOND: usize = 4 * 1024 * 1024;

/// The body is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Reads a whole body.
pub(crate) async fn read(body: Incoming, max: usize) -> Result<Result<Bytes, TooLarge>, Aborted> {
    in_time(read_within(body, max, true)).await
}

/// Reads a body and discards it. Call this function before sending a refusal: a client that is still sending its body
/// might not read the refusal.
pub(crate) async fn discard(body: Incoming, max: usize) -> Result<Result<(), TooLarge>, Aborted> {
    Ok(in_time(read_within(body, max, false)).await?.map(|_nothing| ()))
}

async fn in_time<T>(reading: impl Future<Output = Result<T, hyper::Error>>) -> Result<T, Aborted> {
    match timeout(LONGEST, reading).await {
        Ok(Ok(result)) => Ok(result),
        // The client closed the connection, or is too slow.
        Ok(Err(_)) | Err(_) => Err(Aborted),
    }
}

/// Reads a body of at most `max` bytes. Returns [`TooLarge`] for a larger body.
///
/// If the body is larger, first reads and discards up to [`READ_BEYOND`] further bytes. Otherwise a client that is
/// still sending might not read the response.
///
/// If `Content-Length` is larger than `max` plus [`READ_BEYOND`], reads nothing.
async fn read_within(mut body: Incoming, max: usize, keep: bool) -> Result<Result<Bytes, TooLarge>, hyper::Error> {
    let max_read = max.saturating_add(READ_BEYOND);
    if body.size_hint().lower() > max_read as u64 {
        return Ok(Err(TooLarge));
    }
    let mut kept = BytesMut::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max_read {
            break;
        }
        if length > max {
            kept = BytesMut::new();
        } else if keep {
            kept.extend_from_slice(&data);
        }
    }
    Ok(if length > max { Err(TooLarge) } else { Ok(kept.freeze()) })
}
