//! The transports to DPS and hubs, for programs that combine the parts themselves.
//!
//! [`Settings`] and [`HubSettings`] build the transport of their [`TransportKind`]. For a transport of your own,
//! implement [`DpsTransport`] or [`HubTransport`], and pass the transport to
//! [`Provisioner::new`](crate::provisioning::Provisioner::new) or to [`HubClient::spawn`](crate::HubClient::spawn).

use std::sync::Arc;

pub use hubward_dial::OVERRIDE_LOG_TARGET;
use hubward_dial::{TcpDialer, TlsConfig, TlsSettings};
pub use hubward_transport::{Abilities, DpsTransport, Feature, HubLogin, HubTransport, Register, Stage};
use hubward_transport::{Credential, clock, one_line};

use crate::error::SetupError;
use crate::{ConnectOptions, HubSettings, Settings, TransportKind};

impl Settings {
    /// Builds the transport to DPS, for a [`Provisioner`](crate::provisioning::Provisioner) of your own.
    ///
    /// If the credential is a certificate, TLS presents it. This function first checks the certificate: its dates, and
    /// that its common name is the registration id.
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read, this build lacks the transport, or the certificate
    /// of the device cannot be used.
    pub fn build_dps_transport(&self) -> Result<Box<dyn DpsTransport>, SetupError> {
        check_credential(&self.credential)?;
        if let Some(certificate) = self.credential.certificate() {
            certificate.check_registration_id(self.registration_id.as_str())?;
        }
        let kind = self.transport;
        let endpoint = hubward_dial::Endpoint::new(self.dps_host.clone(), kind.default_port());
        match kind {
            #[cfg(feature = "https")]
            TransportKind::Https => {
                let Network { tcp, tls } = Network::new(&self.options, &self.credential)?;
                Ok(Box::new(hubward_https::HttpsDps::new(endpoint, tcp, tls)))
            }
            #[cfg(feature = "mqtt")]
            TransportKind::Mqtt => {
                let dialer = Network::new(&self.options, &self.credential)?.tls_dialer();
                Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, dialer)))
            }
            #[cfg(feature = "ws")]
            TransportKind::MqttWs => {
                let dialer = Network::new(&self.options, &self.credential)?.ws_dialer();
                Ok(Box::new(hubward_mqtt::MqttDps::new(kind, endpoint, dialer)))
            }
            kind => Err(SetupError::NotInThisBuild { kind }),
        }
    }
}

impl HubSettings {
    /// Builds the transport to the hub, for [`HubClient::spawn`](crate::HubClient::spawn).
    ///
    /// If the credential is a certificate, TLS presents it. This function first checks the dates of the certificate. If
    /// the common name is not the id of the device or module, the function logs a warning: a hub accepts such a
    /// certificate only by its thumbprint.
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read, this build lacks the transport, the certificate of
    /// the device cannot be used, or hubward does not support the transport for hubs (HTTPS).
    pub fn build_hub_transport(&self) -> Result<Arc<dyn HubTransport>, SetupError> {
        check_hub_transport(self.transport)?;
        check_credential(&self.credential)?;
        self.warn_about_common_name();
        self.hub_transport()
    }

    /// Like [`HubSettings::build_hub_transport`], for a certificate that DPS or the hub has issued. Does not check its
    /// dates, because the clock of the service decides: the certificate may be newer than the clock of the device.
    pub(crate) fn build_hub_transport_with_issued(&self) -> Result<Arc<dyn HubTransport>, SetupError> {
        check_hub_transport(self.transport)?;
        self.hub_transport()
    }

    fn hub_transport(&self) -> Result<Arc<dyn HubTransport>, SetupError> {
        match self.transport {
            kind @ TransportKind::Https => Err(SetupError::NotForHubs { kind }),
            #[cfg(feature = "mqtt")]
            kind @ TransportKind::Mqtt => {
                let dialer = Network::new(&self.options, &self.credential)?.tls_dialer();
                Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
            }
            #[cfg(feature = "ws")]
            kind @ TransportKind::MqttWs => {
                let dialer = Network::new(&self.options, &self.credential)?.ws_dialer();
                Ok(Arc::new(hubward_mqtt::MqttHub::new(kind, dialer, kind.default_port())))
            }
            kind => Err(SetupError::NotInThisBuild { kind }),
        }
    }

    /// Source: `[doc]` iot-hub/authenticate-authorize-x509.md: the hub compares the common name only for devices of the
    /// type `certificateAuthority`.
    fn warn_about_common_name(&self) {
        let Some(certificate) = self.credential.certificate() else { return };
        let (leaf, id) = (certificate.leaf(), self.identity.client_id());
        if !leaf.common_name().is_some_and(|it| it.eq_ignore_ascii_case(&id)) {
            let subject = one_line(leaf.subject_name());
            tracing::warn!(
                subject,
                "the common name of the certificate is not `{id}`: the hub accepts it only by its thumbprint"
            );
        }
    }
}

/// Checks what does not depend on the service: a device that needs a certificate has one, and its chain is valid now.
fn check_credential(credential: &Credential) -> Result<(), SetupError> {
    match credential {
        Credential::MissingCertificate => Err(SetupError::NoCertificate),
        Credential::Certificate(certificate) => Ok(certificate.check(clock::now())?),
        _ => Ok(()),
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
    tls: TlsConfig,
}

impl Network {
    fn new(options: &ConnectOptions, credential: &Credential) -> Result<Self, SetupError> {
        let mut trust = TlsSettings::new();
        if let Some(file) = &options.ca_file {
            trust = trust.ca_file(file);
        }
        if let Some(certificate) = credential.certificate() {
            trust = trust.client_certificate(certificate.clone());
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
