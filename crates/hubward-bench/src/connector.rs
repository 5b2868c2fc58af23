//! Connects a client to a sink: the hubward client, or the bound (the minimal client). All clients use the same TLS
//! settings and `TCP_NODELAY`, and trust only the certificate of the sink. The sink requires TLS 1.3.

use std::error::Error;
use std::fmt;

use hubward_dial::{DialOverride, Dialer, TcpDialer, TlsConfig, TlsDialer, TlsSettings};
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
    config: TlsConfig,
    port: u16,
}

impl Connector {
    /// # Errors
    /// The sink's certificate cannot be used.
    pub(crate) fn new(sink: &SinkProcess) -> Result<Self> {
        Ok(Self { config: TlsSettings::from_pem(sink.certificate.as_bytes()).client_config()?, port: sink.port })
    }

    /// The port at which hubward dials [`HOST`].
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Opens a plain TLS stream, for the bound.
    ///
    /// # Errors
    /// TCP or TLS fails.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(TlsConnector::from(self.config.rustls()).connect(ServerName::try_from(HOST)?, socket).await?)
    }

    /// Returns the dialer for hubward over MQTT.
    ///
    /// # Errors
    /// If the dial rule cannot be parsed. This never happens, because the text of the rule is a constant.
    pub(crate) fn dialer(&self) -> Result<TlsDialer> {
        let rule: DialOverride = format!("{HOST}::127.0.0.1:").parse()?;
        Ok(TlsDialer::new(TcpDialer::new().dial_overrides(vec![rule]), self.config.clone()))
    }

    /// Returns the dialer for hubward over MQTT in WebSocket frames.
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
