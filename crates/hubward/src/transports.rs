//! From a transport's name to the transport: the one place that knows them all.

use std::sync::Arc;

use hubward_dial::{Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_proto::limits;
use hubward_transport::{DpsTransport, HubTransport, TransportKind};
use rustls::ClientConfig;

use crate::{Settings, SetupError};

/// How `kind` reaches DPS.
///
/// # Errors
/// [`SetupError`] if the authorities cannot be read, or this build lacks the transport.
pub fn dps_transport(kind: TransportKind, settings: &Settings) -> Result<Box<dyn DpsTransport>, SetupError> {
    let network = Network::new(settings)?;
    let endpoint = Endpoint::new(settings.dps_host.clone(), kind.default_port());
    match kind {
        #[cfg(feature = "https")]
        TransportKind::Https => Ok(Box::new(hubward_https::HttpsDps::new(endpoint, network.tcp, network.tls))),
        #[cfg(feature = "mqtt")]
        TransportKind::Mqtt => Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, network.tls_dialer()))),
        #[cfg(feature = "ws")]
        TransportKind::MqttWs => Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, network.ws_dialer()))),
        kind => Err(SetupError::NotInThisBuild { kind }),
    }
}

/// How `kind` reaches a hub.
///
/// # Errors
/// [`SetupError`] if the authorities cannot be read, this build lacks the transport, or hubward does
/// not speak it to hubs (HTTPS, so far).
pub fn hub_transport(kind: TransportKind, settings: &Settings) -> Result<Arc<dyn HubTransport>, SetupError> {
    if kind == TransportKind::Https {
        return Err(SetupError::NotForHubs { kind });
    }
    let network = Network::new(settings)?;
    match kind {
        #[cfg(feature = "mqtt")]
        TransportKind::Mqtt => {
            Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, network.tls_dialer(), kind.default_port())))
        }
        #[cfg(feature = "ws")]
        TransportKind::MqttWs => {
            Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, network.ws_dialer(), kind.default_port())))
        }
        kind => Err(SetupError::NotInThisBuild { kind }),
    }
}

/// What all transports dial with: the same rules, the same trust.
struct Network {
    tcp: TcpDialer,
    tls: Arc<ClientConfig>,
}

impl Network {
    fn new(settings: &Settings) -> Result<Self, SetupError> {
        let mut trust = TlsSettings::new();
        if let Some(file) = &settings.ca_file {
            trust = trust.ca_file(file);
        }
        let tcp = TcpDialer::new().connect_to(settings.connect_to.clone());
        Ok(Self { tcp, tls: trust.client_config()? })
    }

    #[cfg(any(feature = "mqtt", feature = "ws"))]
    fn tls_dialer(self) -> Arc<dyn Dialer> {
        Arc::new(TlsDialer::new(self.tcp, self.tls))
    }

    #[cfg(feature = "ws")]
    fn ws_dialer(self) -> Arc<dyn Dialer> {
        let below = TlsDialer::new(self.tcp, self.tls);
        Arc::new(hubward_ws::WsDialer::new(below, limits::WEBSOCKET_PATH, limits::WEBSOCKET_SUBPROTOCOL))
    }
}
