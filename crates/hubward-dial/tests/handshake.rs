//! TLS handshakes on loopback, with valid servers, servers with a bad certificate, and peers that do not speak TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hubward_dial::{ByteStream, DialError, DialStep, Dialer, Endpoint, TcpDialer, TlsDialer, TlsFault, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const ALWAYS: (i32, i32) = (2000, 2100);
const BOTH: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// A certificate authority for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a server with a certificate for `name`. The certificate is valid from the first to the last year in
    /// `years`.
    fn server(&self, name: &str, years: (i32, i32)) -> Server {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Server { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    fn dialer(&self, tcp: TcpDialer) -> TlsDialer {
        TlsDialer::new(tcp, TlsSettings::from_pem(self.pem.as_bytes()).client_config().expect("an authority"))
    }
}

struct Server {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Server {
    /// Serves one connection: sends the server name that the client asked for, then closes.
    async fn start(self, versions: &[&'static rustls::SupportedProtocolVersion]) -> u16 {
        let key = PrivateKeyDer::try_from(self.key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain, key)
            .expect("a pair");
        serve(async move |tcp| {
            let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
            let name = tls.get_ref().1.server_name().unwrap_or("no name").to_owned();
            tls.write_all(name.as_bytes()).await.expect("the client reads");
            tls.shutdown().await.expect("the client reads");
        })
        .await
    }
}

/// Accepts one connection on a free port and passes it to `handle`.
async fn serve<F: Future<Output = ()> + Send + 'static>(handle: impl FnOnce(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        handle(tcp).await;
    });
    port
}

/// Returns a dialer with a rule that maps `hub.example:8883` to `port` on loopback.
fn to_hub(port: u16) -> (TcpDialer, Endpoint) {
    let rule = format!("hub.example:8883:127.0.0.1:{port}").parse().expect("a rule");
    (TcpDialer::new().dial_overrides(vec![rule]), Endpoint::new("hub.example", 8883))
}

async fn read_all(mut stream: Box<dyn ByteStream>) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an orderly end");
    text
}

#[tokio::test]
async fn the_original_name_is_sent_and_verified_when_a_rule_changes_the_address() {
    let ca = Authority::new();
    let (tcp, to) = to_hub(ca.server("hub.example", ALWAYS).start(BOTH).await);
    let stream = ca.dialer(tcp).dial(&to).await.expect("a good server");
    assert_eq!(read_all(stream).await, "hub.example");
}

#[tokio::test]
async fn each_tls_version_works_alone() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let ca = Authority::new();
        let (tcp, to) = to_hub(ca.server("hub.example", ALWAYS).start(&[version]).await);
        let stream = ca.dialer(tcp).dial(&to).await.unwrap_or_else(|error| panic!("{version:?}: {error}"));
        assert_eq!(read_all(stream).await, "hub.example");
    }
}

#[tokio::test]
async fn a_certificate_may_be_for_an_ip_address() {
    let ca = Authority::new();
    let port = ca.server("127.0.0.1", ALWAYS).start(BOTH).await;
    let stream = ca.dialer(TcpDialer::new()).dial(&Endpoint::new("127.0.0.1", port)).await.expect("a good server");
    // The server has received no server name, because a client does not send an IP address as the name (RFC 6066).
    assert_eq!(read_all(stream).await, "no name");
}

#[tokio::test]
async fn a_rejected_certificate_names_the_reason() {
    let ca = Authority::new();
    let other = Authority::new();
    for (server, expected) in [
        (other.server("hub.example", ALWAYS), TlsFault::Untrusted),
        (ca.server("hub.example", (2000, 2001)), TlsFault::Expired),
        (ca.server("hub.example", (2099, 2100)), TlsFault::NotYetValid),
        (ca.server("other.example", ALWAYS), TlsFault::WrongName),
        (ca.server("127.0.0.1", ALWAYS), TlsFault::WrongName),
    ] {
        let (tcp, to) = to_hub(server.start(BOTH).await);
        let error = ca.dialer(tcp).dial(&to).await.expect_err("a bad certificate");
        let DialError::Tls { endpoint, fault, source } = error else { panic!("{expected:?}: {error}") };
        assert_eq!((endpoint, fault), (to, expected), "{source}");
    }
}

#[tokio::test]
async fn a_peer_without_tls_and_a_closed_connection_are_different_errors() {
    for (says, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Some(TlsFault::NotTls)),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Some(TlsFault::NotTls)),
        // A CONNACK of MQTT, then two more bytes.
        (b"\x20\x02\x00\x01\x00\x00", Some(TlsFault::NotTls)),
        // A fatal alert: protocol version.
        (b"\x15\x03\x01\x00\x02\x02\x46", Some(TlsFault::NotTls)),
        // A fatal alert: unrecognized name.
        (b"\x15\x03\x03\x00\x02\x02\x70", Some(TlsFault::UnknownName)),
        // A fatal alert: access denied. The client has no certificate that the server could refuse.
        (b"\x15\x03\x03\x00\x02\x02\x31", Some(TlsFault::Other)),
        // A fatal alert: handshake failure.
        (b"\x15\x03\x01\x00\x02\x02\x28", Some(TlsFault::Other)),
        (b"", None),
        (b"\x16\x03", None),
    ] {
        let port = serve(async move |mut tcp| {
            // Read the ClientHello first. If the server closes the socket while it has unread bytes, the system resets
            // the connection. The client could then lose the bytes that the server wrote.
            let mut hello = [0; 4096];
            let _ = tcp.read(&mut hello).await;
            tcp.write_all(says).await.expect("the client reads");
        })
        .await;
        let (tcp, to) = to_hub(port);
        let error = Authority::new().dialer(tcp).dial(&to).await.expect_err("no TLS");
        match (&error, expected) {
            (DialError::Tls { fault, .. }, Some(expected)) => assert_eq!(*fault, expected, "{says:?}"),
            (DialError::Closed { during: DialStep::Tls, source: None, .. }, None) => {}
            _ => panic!("{says:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_starts_tls_times_out() {
    let port = serve(|tcp| async move {
        let _open = tcp;
        std::future::pending().await
    })
    .await;
    let (tcp, to) = to_hub(port);
    let limit = Duration::from_millis(5);
    let error =
        Authority::new().dialer(tcp).handshake_timeout(limit).dial(&to).await.expect_err("the peer sends nothing");
    assert!(matches!(error, DialError::Timeout { during: DialStep::Tls, after, .. } if after == limit), "{error}");
}

#[tokio::test]
async fn an_invalid_host_name_is_refused_before_dialing() {
    let error =
        Authority::new().dialer(TcpDialer::new()).dial(&Endpoint::new("no name", 1)).await.expect_err("a space");
    let DialError::Connect { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_tls_fault_is_found_inside_other_errors() {
    let tls = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let once = io::Error::new(io::ErrorKind::InvalidData, tls());
    assert_eq!(TlsFault::find(&once, false), Some(TlsFault::Untrusted));
    // hyper-rustls wraps the error in this way.
    let twice = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls()));
    assert_eq!(TlsFault::find(&twice, false), Some(TlsFault::Untrusted));
    let to = Endpoint::new("hub.example", 1);
    let named = DialError::Tls { endpoint: to, fault: TlsFault::Other, source: twice };
    assert_eq!(TlsFault::find(&named, false), Some(TlsFault::Untrusted));
    assert_eq!(TlsFault::find(&io::Error::other("the network is down"), false), None);
}

/// Only a client with a certificate can have a wrong certificate, or a key that cannot sign.
#[test]
fn a_client_without_a_certificate_never_has_a_fault_of_a_certificate() {
    use rustls::AlertDescription as Alert;
    let alerts = [Alert::AccessDenied, Alert::UnknownCA, Alert::DecryptError, Alert::CertificateRequired];
    let alerts = alerts.map(|it| (rustls::Error::AlertReceived(it), TlsFault::ClientCertificate));
    let general = rustls::Error::General("the key is locked".into());
    for (error, with_certificate) in alerts.into_iter().chain([(general, TlsFault::Signing)]) {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        assert_eq!(TlsFault::find(&error, true), Some(with_certificate), "{error}");
        assert_eq!(TlsFault::find(&error, false), Some(TlsFault::Other), "{error}");
    }
}
