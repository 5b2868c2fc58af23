//! Bodies of requests.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::http::Cut;

/// The body is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl TooLarge {
    pub(super) const MESSAGE: &str = "The request is larger than 512 KB.";
}

/// Reads a whole body.
pub(super) async fn read(body: Incoming) -> Result<Result<Bytes, TooLarge>, Cut> {
    match timeout(LONGEST, Limited::new(body, MOST).collect()).await {
        Ok(Ok(body)) => Ok(Ok(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(Err(TooLarge)),
        // The client left in the middle, or takes for ever.
        Ok(Err(_)) | Err(_) => Err(Cut),
    }
}

/// How long a client may take to send a body.
const LONGEST: Duration = Duration::from_secs(30);

/// Most bytes of a body.
const MOST: usize = 512 * 1024;
