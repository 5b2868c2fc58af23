//! Why an emulator does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hubward_proto::ProtoError;

use crate::{CaError, SeedError, StateError, StateLost};

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port cannot be listened on; mostly because somebody else does.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// Which listener: `MQTT`, `HTTPS` or `admin`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no address to listen on.
    #[error("there is no address to listen on")]
    NoAddress,
    /// The id scope or the name of a hub is not valid.
    #[error(transparent)]
    Id(#[from] ProtoError),
    /// A name for certificates is not a host name.
    #[error("`{name}` is not a host name that a certificate can be made for")]
    Name {
        /// The name.
        name: String,
    },
    /// No hub is configured, or one twice.
    #[error("the hubs must be one or more, each named once")]
    Hubs,
    /// The development keys are public, so they are for this machine only.
    #[error("the development keys are only for loopback addresses, but {address} is to be listened on")]
    DevKeys {
        /// The address.
        address: std::net::IpAddr,
    },
    /// The certificate authority cannot be made or read.
    #[error("there is no certificate authority")]
    Ca(#[from] CaError),
    /// The state in the data directory cannot be used.
    #[error("the state cannot be used")]
    State(#[from] StateError),
    /// The state in the data directory cannot be written.
    #[error("the state cannot be written")]
    Lost(#[from] StateLost),
    /// There is no randomness to make the key of a policy with.
    #[error("the key of a policy cannot be made")]
    PolicyKey(#[from] hubward_sas::KeyError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The seed is refused.
    #[error("the seed cannot be applied")]
    Seed(#[from] SeedError),
}
