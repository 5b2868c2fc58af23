//! The trait of everything that can carry a registration.

use std::fmt;

use async_trait::async_trait;
use hubward_proto::OperationId;
use hubward_proto::dps::{DpsReply, Register};
use hubward_sas::SasToken;

use crate::{Stage, TransportError, TransportKind};

/// A way to ask DPS. Made for one endpoint; asked by a driver that decides when.
///
/// Both questions carry the whole identity, so that a transport keeps no state but its connection,
/// and an operation can be continued by another transport than the one that began it.
#[async_trait]
pub trait DpsTransport: Send + fmt::Debug {
    /// Which protocol this is.
    fn kind(&self) -> TransportKind;

    /// The host and port it asks, for messages: `global.azure-devices-provisioning.net:443`.
    fn endpoint(&self) -> String;

    /// Sends the registration once: never retries, never waits on purpose.
    ///
    /// # Errors
    /// [`TransportError`]; a refusal keeps the service's code, message, tracking id and Retry-After.
    ///
    /// # Cancel safety
    /// After a dropped future the next call works: a late answer is discarded by its request id, the
    /// connection kept or opened again. The service may have registered the device all the same.
    async fn register(&mut self, request: &Register, token: Option<&SasToken>) -> Result<DpsReply, TransportError>;

    /// Asks once how an operation is doing.
    ///
    /// # Errors
    /// As for [`DpsTransport::register`].
    ///
    /// # Cancel safety
    /// Dropping the future loses the answer, not the operation: ask again with the same id.
    async fn operation_status(
        &mut self,
        request: &Register,
        operation: &OperationId,
        token: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError>;

    /// What the latest question was doing, where that is known: a driver that drops its future at a
    /// deadline can then say what hung.
    fn doing(&self) -> Option<Stage> {
        None
    }

    /// Says good-bye where the protocol has a word for it. Must not take long; the default does
    /// nothing.
    async fn close(&mut self) {}
}
