//! TLS handshakes. If a client asks for a name that does not belong to the emulator, the emulator refuses the handshake
//! with the alert `unrecognized_name`.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor as HelloReader;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Names;

/// The fatal alert `unrecognized_name`, as a TLS record. Source: RFC 6066, section 3; RFC 8446, sections 5.1 and 6.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Accepts TLS connections with the certificates of the emulator's names.
#[derive(Debug, Clone)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    names: Arc<Names>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The emulator has no certificate for the name.
    #[error("the client asked for `{asked}`, but the emulator has certificates only for {names}")]
    UnknownName { asked: String, names: Arc<Names> },
    /// The client asked for a name of the emulator, and then the handshake failed.
    #[error("the client asked for `{asked}`: {source}")]
    Named { asked: String, source: io::Error },
    /// The handshake failed, and the client sent no name. For example, the client does not speak TLS, or it connected
    /// to an IP address.
    #[error("{0}")]
    Nameless(io::Error),
    /// The client closed the connection before it sent a complete ClientHello, the first message of a handshake. For
    /// example, a program connects only to check whether the port is open.
    #[error("the client closed the connection before the handshake")]
    NotStarted,
}

impl Acceptor {
    pub(crate) const fn new(config: Arc<ServerConfig>, names: Arc<Names>) -> Self {
        Self { config, names }
    }

    /// Performs a handshake. Has no time limit of its own.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(HelloReader::default(), stream).await;
        let mut hello = hello.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => HandshakeError::NotStarted,
            _ => HandshakeError::Nameless(error),
        })?;
        let asked = hello.client_hello().server_name().map(str::to_owned);
        if let Some(asked) = asked.as_ref().filter(|it| !self.names.contains(it)) {
            // If the write fails, the client has already closed the connection.
            let _ = hello.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = hello.io.shutdown().await;
            return Err(HandshakeError::UnknownName { asked: asked.clone(), names: Arc::clone(&self.names) });
        }
        hello.into_stream(Arc::clone(&self.config)).await.map_err(|error| match asked {
            Some(asked) => HandshakeError::Named { asked, source: explained(error) },
            None => HandshakeError::Nameless(explained(error)),
        })
    }
}

/// Replaces the message of an `UnexpectedEof`, which does not say that the client closed the connection.
fn explained(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), "the client closed the connection during the handshake");
    }
    error
}
