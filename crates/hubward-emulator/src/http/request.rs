//! Bodies of requests: a bounded size, a bounded time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::Cut;

/// The body is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Reads a whole body.
pub(crate) async fn read(body: Incoming, most: usize) -> Result<Result<Bytes, TooLarge>, Cut> {
    if body.is_end_stream() {
        return Ok(Ok(Bytes::new()));
    }
    match timeout(LONGEST, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(Ok(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(Err(TooLarge)),
        // The client left in the middle, or takes for ever.
        Ok(Err(_)) | Err(_) => Err(Cut),
    }
}

/// Takes a whole body and keeps nothing of it: the answer is a refusal already, which a client that is
/// still sending might not read.
pub(crate) async fn discard(body: Incoming, most: usize) -> Result<Result<(), TooLarge>, Cut> {
    let mut body = Limited::new(body, most);
    let discarded = async {
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    match timeout(LONGEST, discarded).await {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(Err(TooLarge)),
        Ok(Err(_)) | Err(_) => Err(Cut),
    }
}

/// How long a client may take to send a body.
const LONGEST: Duration = Duration::from_secs(30);
