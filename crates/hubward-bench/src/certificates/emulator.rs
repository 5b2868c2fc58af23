//! The child process that runs the emulator.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use hubward_emulator::Emulator;
use serde::{Deserialize, Serialize};

use super::peer::{Address, Requests, answer};
use crate::sink::HOST;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Starts an emulator that knows this CA certificate, and answers with its [`Address`]. The first request.
    Start { authority: String },
    /// Creates a device with a symmetric key, and answers with the key.
    AddWithKey { id: String },
    /// Creates a device with a certificate of this thumbprint. Without a thumbprint, the device can have any
    /// certificate of the CA.
    AddWithCertificate { id: String, thumbprint: Option<String> },
}

/// Serves requests until standard input closes.
///
/// # Errors
/// The emulator does not start, or a device cannot be created.
pub(crate) async fn run(core: Option<usize>) -> Result<()> {
    let mut requests = Requests::read(core)?;
    let Request::Start { authority } = requests.next().await? else {
        return Err("expected the request `Start`".into());
    };
    let emulator = Emulator::builder().bind([IpAddr::V4(Ipv4Addr::LOCALHOST)]).start().await?;
    emulator.add_authority("bench", &authority, true)?;
    answer(&Address { port: emulator.mqtt_addr().port(), ca: emulator.ca_pem().to_owned() })?;
    loop {
        match requests.next().await? {
            Request::Start { .. } => return Err("the emulator is running already".into()),
            Request::AddWithKey { id } => answer(&*emulator.add_device(HOST, &id)?.expose_base64())?,
            Request::AddWithCertificate { id, thumbprint } => {
                match thumbprint {
                    Some(thumbprint) => emulator.add_self_signed_device(HOST, &id, &thumbprint, None)?,
                    None => emulator.add_ca_signed_device(HOST, &id)?,
                }
                answer(&())?;
            }
        }
    }
}
