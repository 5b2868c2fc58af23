//! The transports to DPS and hubs, for programs that combine the parts themselves.
//!
//! [`Settings`] and [`HubSettings`] build the transport of their [`TransportKind`]. For a transport of your own,
//! implement [`DpsTransport`] or [`HubTransport`], and pass the transport to
//! [`Provisioner::new`](crate::provisioning::Provisioner::new) or to [`HubClient::spawn`](crate::HubClient::spawn).

use std::sync::Arc;

pub use hubward_dial::OVERRIDE_LOG_TARGET;
use hubward_dial::{TcpDialer, TlsSettings};
pub use hubward_transport::{Abilities, DpsTransport, Feature, HubLogin, HubTransport, Register, Stage};
use rustls::ClientConfig;

use crate::error::SetupError;
use crate::{ConnectOptions, HubSettings, Settings, TransportKind};

impl Settings {
    /// Builds the transport to DPS, for a [`Provisioner`](crate::provisioning::Provisioner) of your own.
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read, or this build lacks the transport.
    pub fn build_dps_transport(&self) -> Result<Box<dyn DpsTransport>, SetupError> {
        let kind = self.transport;
        let endpoint = hubward_dial::Endpoint::new(self.dps_host.clone(), kind.default_port());
        match kind {
            #[cfg(feature = "https")]
            TransportKind::Https => {
                let Network { tcp, tls } = Network::new(&self.options)?;
                Ok(Box::new(hubward_https::HttpsDps::new(endpoint, tcp, tls)))
            }
            #[cfg(feature = "mqtt")]
            TransportKind::Mqtt => {
                let dialer = Network::new(&self.options)?.tls_dialer();
                Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, dialer)))
            }
            #[cfg(feature = "ws")]
            TransportKind::MqttWs => {
                let dialer = Network::new(&self.options)?.ws_dialer();
                Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, dialer)))
            }
            kind => Err(SetupError::NotInThisBuild { kind }),
        }
    }
}

impl HubSettings {
    /// Builds the transport to the hub, for [`HubClient::spawn`](crate::HubClient::spawn).
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read, this build lacks the transport, or
    /// hubward does not support the transport for hubs (HTTPS).
    pub fn build_hub_transport(&self) -> Result<Arc<dyn HubTransport>, SetupError> {
        match self.transport {
            kind @ TransportKind::Https => Err(SetupError::NotForHubs { kind }),
            #[cfg(feature = "mqtt")]
            kind @ TransportKind::Mqtt => {
                let dialer = Network::new(&self.options)?.tls_dialer();
                Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
            }
            #[cfg(feature = "ws")]
            kind @ TransportKind::MqttWs => {
                let dialer = Network::new(&self.options)?.ws_dialer();
                Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
            }
            kind => Err(SetupError::NotInThisBuild { kind }),
        }
    }
}

/// Checks whether [`HubSettings::build_hub_transport`] supports `kind`, without reading a file.
///
/// Call this function before you register a device. Otherwise the registration may succeed although the device cannot
/// connect to its hub. [`Settings::connect`] calls this function.
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

/// The TCP and TLS settings that all transports share.
struct Network {
    tcp: TcpDialer,
    tls: Arc<ClientConfig>,
}

impl Network {
    fn new(options: &ConnectOptions) -> Result<Self, SetupError> {
        let mut trust = TlsSettings::new();
        if let Some(file) = &options.ca_file {
            trust = trust.ca_file(file);
        }
        let tcp = TcpDialer::new().dial_overrides(options.dial_overrides.clone());
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
