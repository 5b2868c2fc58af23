//! Errors of starting an emulator.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hubward_proto::ProtoError;

use crate::doors::listen::BindError;
use crate::state::disk::{StateError, StateLost};
use crate::state::model::SeedError;
use crate::state::secret_file::CaError;

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Bind { what, address, source } => Self::Bind { what, address, source },
            BindError::NoAddress => Self::NoAddress,
        }
    }
}

/// Why an emulator does not start.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The emulator cannot listen on a port. In most cases, another process uses the port.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// The listener: `MQTT`, `HTTPS` or `admin`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No address to listen on is configured.
    #[error("no address to listen on is configured")]
    NoAddress,
    /// The id scope or the name of a hub is not valid.
    #[error(transparent)]
    Id(#[from] ProtoError),
    /// A name for certificates is not a host name.
    #[error("`{name}` is not a host name, so no certificate can be issued for it")]
    Name {
        /// The name.
        name: String,
    },
    /// No hub is configured, or the same hub twice.
    #[error("name one or more hubs, and each hub only once")]
    Hubs,
    /// An address is not a loopback address, but the development keys are enabled. These keys are public, so they are
    /// allowed only on loopback addresses.
    #[error("the development keys are only for loopback addresses, and {address} is not one")]
    DevKeys {
        /// The address.
        address: std::net::IpAddr,
    },
    /// The certificate authority cannot be created or read.
    #[error("the certificate authority cannot be used")]
    Ca(#[from] CaError),
    /// The state in the data directory cannot be used.
    #[error("the state cannot be used")]
    State(#[from] StateError),
    /// The state in the data directory cannot be written.
    #[error("the state cannot be written")]
    Lost(#[from] StateLost),
    /// The system provides no random numbers, so the emulator cannot generate the key of a policy.
    #[error("cannot generate the key of a policy")]
    PolicyKey(#[from] hubward_sas::KeyError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The seed is not valid for this emulator.
    #[error("the seed cannot be applied")]
    Seed(#[from] SeedError),
}

hubward_proto::debug_as_error_report!(StartError);
