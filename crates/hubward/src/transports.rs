//! Creates the transport for a [`TransportKind`]. No other module names all transports.

use std::path::Path;
use std::sync::Arc;

use hubward_dial::{DialOverride, TcpDialer, TlsSettings};
use hubward_transport::{DpsTransport, HubTransport, TransportKind};
use rustls::ClientConfig;

use crate::{Settings, SetupError};

#[cfg(not(any(feature = "https", feature = "mqtt", feature = "ws")))]
compile_error!("hubward needs at least one of its features https, mqtt and ws");

/// Creates the transport to DPS.
///
/// # Errors
/// [`SetupError`] if the certificate authorities cannot be read, or this build lacks the transport.
pub fn dps_transport(kind: TransportKind, settings: &Settings) -> Result<Box<dyn DpsTransport>, SetupError> {
    match kind {
        #[cfg(feature = "https")]
        TransportKind::Https => {
            let Network { tcp, tls } = Network::of(settings)?;
            Ok(Box::new(hubward_https::HttpsDps::new(dps_endpoint(kind, settings), tcp, tls)))
        }
        #[cfg(feature = "mqtt")]
        TransportKind::Mqtt => {
            let dialer = Network::of(settings)?.tls_dialer();
            Ok(Box::new(hubward_mqtt::MqttDps::new(kind, dps_endpoint(kind, settings), dialer)))
        }
        #[cfg(feature = "ws")]
        TransportKind::MqttWs => {
            let dialer = Network::of(settings)?.ws_dialer();
            Ok(Box::new(hubward_mqtt::MqttDps::new(kind, dps_endpoint(kind, settings), dialer)))
        }
        kind => Err(SetupError::NotInThisBuild { kind }),
    }
}

/// Creates the transport to a hub.
///
/// # Errors
/// [`SetupError`] if the certificate authorities cannot be read, this build lacks the transport, or
/// hubward does not support it for hubs (HTTPS).
pub fn hub_transport(kind: TransportKind, settings: &Settings) -> Result<Arc<dyn HubTransport>, SetupError> {
    hub_transport_with(kind, settings.ca_file.as_deref(), &settings.dial_overrides)
}

#[cfg_attr(
    not(any(feature = "mqtt", feature = "ws")),
    expect(unused_variables, reason = "only transports over MQTT use them")
)]
pub(crate) fn hub_transport_with(
    kind: TransportKind,
    ca_file: Option<&Path>,
    dial_overrides: &[DialOverride],
) -> Result<Arc<dyn HubTransport>, SetupError> {
    match kind {
        TransportKind::Https => Err(SetupError::NotForHubs { kind }),
        #[cfg(feature = "mqtt")]
        TransportKind::Mqtt => {
            let dialer = Network::new(ca_file, dial_overrides)?.tls_dialer();
            Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
        }
        #[cfg(feature = "ws")]
        TransportKind::MqttWs => {
            let dialer = Network::new(ca_file, dial_overrides)?.ws_dialer();
            Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
        }
        kind => Err(SetupError::NotInThisBuild { kind }),
    }
}

/// Checks whether [`hub_transport`] supports `kind`, without reading a file. Call it before registering a
/// device: otherwise the device is registered, but cannot connect to its hub.
///
/// # Errors
/// [`SetupError::NotForHubs`] and [`SetupError::NotInThisBuild`].
pub const fn check_hub_transport(kind: TransportKind) -> Result<(), SetupError> {
    match kind {
        TransportKind::Https => Err(SetupError::NotForHubs { kind }),
        TransportKind::Mqtt if cfg!(feature = "mqtt") => Ok(()),
        TransportKind::MqttWs if cfg!(feature = "ws") => Ok(()),
        kind => Err(SetupError::NotInThisBuild { kind }),
    }
}

fn dps_endpoint(kind: TransportKind, settings: &Settings) -> hubward_dial::Endpoint {
    hubward_dial::Endpoint::new(settings.dps_host.clone(), kind.default_port())
}

/// The connect-to rules and TLS settings that all transports share.
struct Network {
    tcp: TcpDialer,
    tls: Arc<ClientConfig>,
}

impl Network {
    fn of(settings: &Settings) -> Result<Self, SetupError> {
        Self::new(settings.ca_file.as_deref(), &settings.dial_overrides)
    }

    fn new(ca_file: Option<&Path>, dial_overrides: &[DialOverride]) -> Result<Self, SetupError> {
        let mut trust = TlsSettings::new();
        if let Some(file) = ca_file {
            trust = trust.ca_file(file);
        }
        let tcp = TcpDialer::new().dial_overrides(dial_overrides.to_vec());
        Ok(Self { tcp, tls: trust.client_config()? })
    }

    #[cfg(feature = "mqtt")]
    fn tls_dialer(self) -> Arc<dyn hubward_dial::Dialer> {
        Arc::new(hubward_dial::TlsDialer::new(self.tcp, self.tls))
    }

    #[cfg(feature = "ws")]
    fn ws_dialer(self) -> Arc<dyn hubward_dial::Dialer> {
        use hubward_proto::limits::{WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};

        let below = hubward_dial::TlsDialer::new(self.tcp, self.tls);
        Arc::new(hubward_ws::WsDialer::new(below, WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL))
    }
}
