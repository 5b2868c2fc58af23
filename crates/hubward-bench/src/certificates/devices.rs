//! The child process that runs the devices.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hubward_dial::{DialOverride, TcpDialer, TlsDialer, TlsSettings};
use hubward_hub::{HubClient, HubOptions};
use hubward_mqtt::MqttHub;
use hubward_transport::{
    ClientCertificate, Credential, DeviceId, HubHost, HubIdentity, HubLogin, HubTransport, SharedKey, TransportKind,
};
use serde::{Deserialize, Serialize};

use super::peer::{Address, Requests, answer};
use crate::sink::HOST;

/// Time limit for closing a client.
const CLOSE: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The emulator. The first request.
    Connector(Address),
    /// Connects a device, and keeps it connected.
    Connect(Device),
    /// Prepares `times` logins of one device. Each login has a TLS configuration of its own, so it cannot resume a TLS
    /// session.
    Prepare { device: Device, times: u32 },
    /// Does the prepared logins, one after the other. Each client is closed before the next one connects.
    LogIn,
}

/// A device of the emulator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) secret: Secret,
}

/// The texts from which a device reads its credential.
#[derive(Serialize, Deserialize)]
pub(super) enum Secret {
    /// A symmetric key, base64.
    Key(String),
    /// A certificate chain and a private key, as PEM.
    Certificate { chain: String, key: String },
}

/// Serves requests until standard input closes.
///
/// # Errors
/// A device cannot connect.
pub(crate) async fn run(core: Option<usize>) -> Result<()> {
    let mut requests = Requests::read(core)?;
    let Request::Connector(emulator) = requests.next().await? else { return Err("expected the emulator".into()) };
    answer(&())?;
    let (mut prepared, mut connected) = (Vec::new(), Vec::new());
    loop {
        match requests.next().await? {
            Request::Connector(_) => return Err("the emulator is known already".into()),
            Request::Connect(device) => {
                let client = device.prepare(&emulator)?.spawn();
                client.connected().await?;
                connected.push(client);
            }
            Request::Prepare { device, times } => {
                let credential = device.credential()?;
                for _ in 0..times {
                    prepared.push(device.with_credential(&emulator, credential.clone())?);
                }
            }
            Request::LogIn => {
                for login in prepared.drain(..) {
                    let client = login.spawn();
                    client.connected().await?;
                    client.close(CLOSE).await?;
                }
            }
        }
        answer(&())?;
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// All that a client needs to connect.
struct Prepared {
    transport: Arc<dyn HubTransport>,
    login: HubLogin,
    credential: Credential,
}

impl Prepared {
    fn spawn(self) -> HubClient {
        HubClient::spawn(self.transport, self.login, self.credential, HubOptions::default())
    }
}

impl Device {
    fn prepare(&self, emulator: &Address) -> Result<Prepared> {
        self.with_credential(emulator, self.credential()?)
    }

    fn credential(&self) -> Result<Credential> {
        Ok(match &self.secret {
            Secret::Key(key) => Credential::SharedKey(SharedKey::from_base64(key)?),
            Secret::Certificate { chain, key } => {
                Credential::Certificate(ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), None)?)
            }
        })
    }

    fn with_credential(&self, emulator: &Address, credential: Credential) -> Result<Prepared> {
        let mut settings = TlsSettings::from_pem(emulator.ca.as_bytes());
        if let Some(certificate) = credential.certificate() {
            settings = settings.client_certificate(certificate.clone());
        }
        let rule: DialOverride = format!("{HOST}::127.0.0.1:").parse()?;
        let dialer = TlsDialer::new(TcpDialer::new().dial_overrides(vec![rule]), settings.client_config()?);
        let transport = Arc::new(MqttHub::new(TransportKind::Mqtt, Arc::new(dialer), emulator.port));
        let login = HubLogin::new(HubIdentity::new(HubHost::new(HOST)?, DeviceId::new(&self.id)?));
        Ok(Prepared { transport, login, credential })
    }
}
