//! A device with a certificate: the bytes of its login, and a server that refuses the certificate after the handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hubward_dial::{ByteStream, DialError, Dialer, Endpoint, Opened};
use hubward_mqtt::{MqttDps, MqttHub};
use hubward_transport::{DpsTransport, Fault, HubTransport, TlsFault, TransportError, TransportKind};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::join;

use crate::dps::{client, registration};
use crate::hub::{exchange, login};
use crate::peer::network;

/// A TLS 1.3 connection on which the first read returns an alert of the server.
#[derive(Debug, Clone, Copy)]
struct Alerting {
    alert: AlertDescription,
    /// Whether the server has reset the connection, so that writing fails.
    is_reset: bool,
    has_certificate: bool,
}

impl AsyncRead for Alerting {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let alert = rustls::Error::AlertReceived(self.alert);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, alert)))
    }
}

impl AsyncWrite for Alerting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(if self.is_reset { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(bytes.len()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Dialer for Alerting {
    async fn dial(&self, _: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        Ok(Box::new(*self))
    }

    async fn open(&self, _: &Endpoint) -> Result<Opened, DialError> {
        Ok(Opened::new(Box::new(*self)).has_certificate(self.has_certificate))
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_refused_after_the_handshake_is_not_a_closed_connection() {
    for (alert, has_certificate, is_refused) in [
        (AlertDescription::CertificateRequired, true, true),
        (AlertDescription::BadCertificate, true, true),
        (AlertDescription::UnknownCA, true, true),
        (AlertDescription::CertificateExpired, true, true),
        (AlertDescription::InternalError, true, false),
        // A device with a token connects again: its credential is not the cause.
        (AlertDescription::CertificateRequired, false, false),
        (AlertDescription::AccessDenied, false, false),
    ] {
        for is_reset in [false, true] {
            let dialer = Arc::new(Alerting { alert, is_reset, has_certificate });
            let endpoint = Endpoint::new("dps.example", 8883);
            let mut dps = MqttDps::new(TransportKind::Mqtt, endpoint, dialer.clone());
            let by_dps = dps.register(&registration("dev-1"), None).await.expect_err("refused");
            let hub = MqttHub::new(TransportKind::Mqtt, dialer, 8883);
            let mut connection = hub.open(&login("d1"), None).await.expect("the handshake of the client is finished");
            let by_hub = exchange(&mut *connection).await.expect_err("refused");
            for error in [by_dps, by_hub] {
                let found = matches!(error, TransportError::Tls { fault: TlsFault::ClientCertificate, .. });
                assert_eq!(found, is_refused, "{alert:?}: {error:?}");
                assert_eq!(matches!(error, TransportError::Closed { .. }), !is_refused, "{alert:?}: {error:?}");
                assert_eq!(error.fault() == Fault::Credential, is_refused, "{alert:?}: {error:?}");
            }
        }
    }
}

/// The expected bytes are copied by hand from MQTT 3.1.1, section 3.1: the flag of the password is not set, and no
/// password follows the user name.
#[tokio::test(start_paused = true)]
async fn without_a_token_the_login_has_no_password() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let to_dps = tokio::select! {
        connect = async { listener.accept().await.packet().await } => connect,
        _ = dps.register(&registration, None) => panic!("the server does not answer"),
    };
    let (dialer, mut listener) = network(64 * 1024);
    let hub = MqttHub::new(TransportKind::Mqtt, dialer, 8883);
    let mut connection = hub.open(&login("d1"), None).await.expect("a connection");
    let mut peer = listener.accept().await;
    let (_, to_hub) = join!(exchange(&mut *connection), async {
        let connect = peer.packet().await;
        drop(peer);
        connect
    });
    for (connect, clean, username) in
        [(to_dps, 2, "/registrations/dev-1/api-version="), (to_hub, 0, "hub.example/d1/?")]
    {
        // The fixed header may have one or two bytes of length.
        let at = connect.windows(6).position(|it| it == b"\x00\x04MQTT").expect("a CONNECT");
        assert_eq!(connect[at + 7], 0x80 | clean, "user name, no password");
        let [client_id, rest] = string(&connect[at + 10..]);
        let [found, after] = string(rest);
        assert!(!client_id.is_empty() && String::from_utf8_lossy(found).contains(username), "{connect:02x?}");
        assert!(after.is_empty(), "{connect:02x?}");
    }
}

/// Divides bytes after their first MQTT string. Returns the string and the rest.
fn string(bytes: &[u8]) -> [&[u8]; 2] {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    [&bytes[2..2 + length], &bytes[2 + length..]]
}
