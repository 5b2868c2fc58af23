//! The hubward client: enqueues messages and waits for their receipts.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hubward_dial::Dialer;
use hubward_hub::{HubClient, HubOptions, Receipt};
use hubward_mqtt::MqttHub;
use hubward_transport::{
    Credential, DeviceId, HubHost, HubIdentity, HubLogin, HubTransport, Message, SharedKey, TransportKind,
};

use crate::measure::Load;
use crate::sink::HOST;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A connected client, and the receipts of the messages that are in flight.
#[derive(Debug)]
pub(crate) struct HubwardClient {
    client: HubClient,
    message: Message,
    window: usize,
    in_flight: VecDeque<Receipt>,
}

impl HubwardClient {
    /// Connects to the sink through `dialer`.
    ///
    /// # Errors
    /// The client stopped before it was connected.
    pub(crate) async fn login(
        kind: TransportKind,
        dialer: Arc<dyn Dialer>,
        port: u16,
        device: &str,
        load: &Load,
    ) -> Result<Self> {
        let login = HubLogin::new(HubIdentity::new(HubHost::new(HOST)?, DeviceId::new(device)?));
        let credential = Credential::SharedKey(SharedKey::generate()?);
        let options = HubOptions::default().window(u16::try_from(load.window)?);
        let transport: Arc<dyn HubTransport> = Arc::new(MqttHub::new(kind, dialer, port));
        let client = HubClient::spawn(transport, login, credential, options);
        client.connected().await?;
        Ok(Self {
            client,
            message: Message::new(load.payload.clone()),
            window: load.window,
            in_flight: VecDeque::with_capacity(load.window),
        })
    }

    /// Sends `messages` messages, each with a receipt, and waits for all receipts.
    ///
    /// # Errors
    /// A message was not acknowledged.
    pub(crate) async fn send(&mut self, messages: usize) -> Result<()> {
        for _ in 0..messages {
            if self.in_flight.len() == self.window
                && let Some(oldest) = self.in_flight.pop_front()
            {
                oldest.await?;
            }
            self.in_flight.push_back(self.client.enqueue(self.message.clone()).await?);
        }
        for receipt in self.in_flight.drain(..) {
            receipt.await?;
        }
        Ok(())
    }

    /// Closes the client.
    ///
    /// # Errors
    /// A message was not sent.
    pub(crate) async fn close(self) -> Result<()> {
        self.client.close(Duration::from_secs(5)).await?;
        Ok(())
    }
}
