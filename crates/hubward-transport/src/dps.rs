//! The trait of transports between a device and DPS.

use std::fmt;

use async_trait::async_trait;
use hubward_proto::OperationId;
use hubward_proto::dps::{DpsReply, Register};
use hubward_sas::SasToken;

use crate::{Stage, TransportError, TransportKind};

/// A protocol to send requests to one DPS endpoint. The driver decides when to send them.
///
/// Both requests contain the whole identity. A transport therefore keeps no state except its connection, and the driver
/// can continue an operation on another transport.
#[async_trait]
pub trait DpsTransport: Send + fmt::Debug {
    /// Returns the protocol.
    fn kind(&self) -> TransportKind;

    /// Returns the host and port that the transport connects to, for error messages and logs:
    /// `global.azure-devices-provisioning.net:443`.
    fn endpoint(&self) -> String;

    /// Sends the registration once, without a retry or a delay.
    ///
    /// # Errors
    /// [`TransportError`]; a refusal keeps the service's code, message, tracking id and Retry-After.
    ///
    /// # Cancel safety
    /// If the future is dropped, the next call works: the transport keeps the connection or opens a new one,
    /// and discards a late response by its request id. The service may still have registered the device.
    async fn register(&mut self, request: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError>;

    /// Requests the status of an operation once.
    ///
    /// # Errors
    /// As for [`DpsTransport::register`].
    ///
    /// # Cancel safety
    /// Dropping the future loses the response, but not the operation: send the request again with the same
    /// operation id.
    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError>;

    /// Returns the current stage of the latest request, if known. A driver whose deadline passes can then
    /// say which stage did not finish.
    fn stage(&self) -> Option<Stage> {
        None
    }

    /// Closes the connection in an orderly way, if the protocol has an orderly close. An implementation must return
    /// soon. The default implementation does nothing.
    async fn close(&mut self) {}
}
