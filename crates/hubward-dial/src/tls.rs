//! TLS over TCP, and the classification of a failed handshake.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use tokio_rustls::TlsConnector;

use crate::{ByteStream, DialError, DialProgress, DialStep, Dialer, Endpoint, Opened, TcpDialer, TlsConfig, TlsFault};

/// Opens TLS connections. The certificate must match the original host name, even if a
/// [`DialOverride`](crate::DialOverride) changes the address.
///
/// The TCP connection and the TLS handshake have separate time limits. If a peer accepts the connection and then sends
/// nothing, the dialer ends the attempt at the limit of the handshake.
///
/// A caller with its own deadline can drop the future.
///
/// If the private key of the client's certificate is outside the program, the handshake runs on a thread for blocking
/// work. The time limit includes the signature. A key cannot be interrupted: after the limit or after the future was
/// dropped, the thread ends when the key has signed. Until then, other handshakes with the same configuration wait,
/// each until its own limit (see [`TlsConfig::handshake`]).
#[derive(Clone)]
#[must_use]
pub struct TlsDialer {
    tcp: TcpDialer,
    config: TlsConfig,
    handshake_timeout: Duration,
}

impl TlsDialer {
    /// Default limit for a handshake.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

    /// Creates a dialer that opens TCP connections with `tcp`, and TLS on them with `config` (see
    /// [`TlsSettings`](crate::TlsSettings)).
    pub const fn new(tcp: TcpDialer, config: TlsConfig) -> Self {
        Self { tcp, config, handshake_timeout: Self::HANDSHAKE_TIMEOUT }
    }

    /// Sets the limit for a handshake, measured from the TCP connection.
    pub const fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }
}

impl fmt::Debug for TlsDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tcp, config: _, handshake_timeout } = self;
        f.debug_struct("TlsDialer")
            .field("tcp", tcp)
            .field("handshake_timeout", handshake_timeout)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Dialer for TlsDialer {
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        self.open(to).await.map(|it| it.stream)
    }

    async fn open(&self, to: &Endpoint) -> Result<Opened, DialError> {
        let name = ServerName::try_from(to.host.clone()).map_err(|_| DialError::Connect {
            endpoint: to.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "not a host name"),
        })?;
        let tcp = self.tcp.connect(to).await?;
        self.tcp.progress().enter(DialStep::Tls);
        let connecting = TlsConnector::from(self.config.rustls()).connect(name, tcp);
        match tokio::time::timeout(self.handshake_timeout, self.config.handshake(connecting)).await {
            Ok(Ok(stream)) => {
                self.tcp.progress().enter(DialStep::Done);
                Ok(Opened::new(Box::new(stream)).has_certificate(self.config.has_certificate()))
            }
            Ok(Err(error)) => Err(failed(to, error, self.config.has_certificate())),
            Err(_) => {
                Err(DialError::Timeout { endpoint: to.clone(), during: DialStep::Tls, after: self.handshake_timeout })
            }
        }
    }

    fn progress(&self) -> Option<&DialProgress> {
        Some(self.tcp.progress())
    }
}

fn failed(to: &Endpoint, source: io::Error, has_certificate: bool) -> DialError {
    let endpoint = to.clone();
    match TlsFault::find(&source, has_certificate) {
        Some(fault) => DialError::Tls { endpoint, fault, source },
        // The peer closed the connection during the handshake. Leave out the source, because its text says nothing
        // more.
        None if source.kind() == io::ErrorKind::UnexpectedEof => {
            DialError::Closed { endpoint, during: DialStep::Tls, source: None }
        }
        None => DialError::Closed { endpoint, during: DialStep::Tls, source: Some(source) },
    }
}

impl TlsFault {
    /// Looks for a TLS failure in `error` and its causes, and in errors inside an [`io::Error`]. Returns `None` if
    /// there is no TLS failure, for example if the network failed.
    ///
    /// `has_certificate` says whether the client of this connection has a certificate. A client without a certificate
    /// never gets [`TlsFault::ClientCertificate`] or [`TlsFault::Signing`]: the cause of such a failure is then not its
    /// credential.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static), has_certificate: bool) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref() {
                return Some(match Self::of(error) {
                    Self::ClientCertificate | Self::Signing if !has_certificate => Self::Other,
                    fault => fault,
                });
            }
            // For an I/O error, the method `source` skips the wrapped error.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = wrapped.map(|it| it as &(dyn Error + 'static)).or_else(|| error.source());
        }
        None
    }

    fn of(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::InvalidCertificate(problem) => match problem {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Revoked => {
                    Self::Untrusted
                }
                _ => Self::Other,
            },
            // To a client with a certificate, a server sends these alerts only about the certificate and the signature.
            // Source: RFC 8446, section 6.2.
            E::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::CertificateRequired,
            ) => Self::ClientCertificate,
            // With a certificate, rustls and private keys return these errors only if the key cannot sign.
            E::General(_) | E::Other(_) => Self::Signing,
            // Source: RFC 6066, section 3.
            E::AlertReceived(AlertDescription::UnrecognisedName) => Self::UnknownName,
            // rustls returns these errors when it parses HTTP, SSH or MQTT bytes as a TLS record.
            E::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            )
            | E::AlertReceived(AlertDescription::ProtocolVersion)
            | E::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => Self::NotTls,
            _ => Self::Other,
        }
    }
}
