//! Direct methods: calls that wait for their device.

use bytes::Bytes;
use tokio::sync::oneshot;

/// A call on its way to a device.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// JSON, or empty.
    pub(crate) payload: Bytes,
    /// Where the answer goes: status and JSON or nothing. Dropped, it says that the connection has
    /// ended.
    pub(crate) answer: oneshot::Sender<(i32, Bytes)>,
}
