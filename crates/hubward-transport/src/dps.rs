//! The trait of transports between a device and DPS.

use std::fmt;

use async_trait::async_trait;
use hubward_proto::OperationId;
use hubward_proto::dps::{DpsReply, Register};
use hubward_sas::SasToken;

use crate::{Stage, TransportError, TransportKind};

/// Sends requests to one DPS endpoint over one protocol. The driver (the crate `hubward-dps`) decides when to send a
/// request.
///
/// Each request contains the whole identity of the device. So a transport needs no state except its connection, and the
/// driver can continue an operation on another transport.
#[async_trait]
pub trait DpsTransport: Send + fmt::Debug {
    /// Returns the protocol.
    fn kind(&self) -> TransportKind;

    /// Returns the host and port that the transport connects to, such as `global.azure-devices-provisioning.net:443`.
    /// Error messages and logs use it.
    fn endpoint(&self) -> String;

    /// Sends the registration once, without a retry or a delay.
    ///
    /// # Errors
    /// [`TransportError`]. If the service refuses, the error contains the service's code, message, tracking id and
    /// Retry-After.
    ///
    /// # Cancel safety
    /// After the future is dropped, the transport can be used again. If the response arrives late, the transport
    /// recognizes its request id and discards it. The service may still have registered the device.
    async fn register(&mut self, request: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError>;

    /// Requests the status of an operation once.
    ///
    /// # Errors
    /// As for [`DpsTransport::register`].
    ///
    /// # Cancel safety
    /// Dropping the future loses the response, but the operation continues at the service. Call this method again with
    /// the same operation id.
    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError>;

    /// Returns the current stage of the latest request, if known. When a deadline passes, the driver reports this stage
    /// as the one that did not finish.
    fn stage(&self) -> Option<Stage> {
        None
    }

    /// Closes the connection in an orderly way, if the protocol has an orderly close. An implementation must return
    /// quickly. The default implementation does nothing.
    async fn close(&mut self) {}
}
