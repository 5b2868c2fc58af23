//! How both clients reach a sink: the same TLS settings, nodelay, no root but the sink's certificate.
//! The sink insists on TLS 1.3.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hubward_dial::{ClientConfig, ConnectTo, Dialer, TcpDialer, TlsDialer, TlsSettings};
use hubward_ws::WsDialer;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::sink::{HOST, SinkProcess};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Opens connections to one sink.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    port: u16,
}

impl Connector {
    /// # Errors
    /// The sink's certificate cannot be used.
    pub(crate) fn new(sink: &SinkProcess) -> Result<Self> {
        Ok(Self { config: TlsSettings::from_pem(sink.certificate.as_bytes()).client_config()?, port: sink.port })
    }

    /// Where hubward is to dial [`HOST`].
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The bare stream, for the bound.
    ///
    /// # Errors
    /// TCP or TLS.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(TlsConnector::from(self.config.clone()).connect(ServerName::try_from(HOST)?, socket).await?)
    }

    /// What hubward dials with, over MQTT.
    ///
    /// # Errors
    /// None that can happen: the rule is a fixed one.
    pub(crate) fn dialer(&self) -> Result<TlsDialer> {
        let rule: ConnectTo = format!("{HOST}::127.0.0.1:").parse()?;
        Ok(TlsDialer::new(TcpDialer::new().connect_to(vec![rule]), self.config.clone()))
    }

    /// What hubward dials with, over MQTT in WebSocket frames.
    ///
    /// # Errors
    /// As for [`Connector::dialer`].
    pub(crate) fn ws_dialer(&self) -> Result<impl Dialer + use<>> {
        Ok(WsDialer::new(self.dialer()?, "/$iothub/websocket", "mqtt"))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("port", &self.port).finish_non_exhaustive()
    }
}
