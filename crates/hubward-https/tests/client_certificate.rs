//! DPS over HTTPS with a client certificate: what the server sees, a slow private key, and a refused certificate.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hubward_dial::{DialOverride, Endpoint, TcpDialer, TlsSettings};
use hubward_https::HttpsDps;
use hubward_transport::{
    ClientCertificate, DpsTransport, Fault, IdScope, Register, RegistrationId, Stage, TlsFault, TransportError,
};
use hubward_x509::{Certificate, SigningKey};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::Signer;
use rustls::{RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc as channel;
use tokio_rustls::TlsAcceptor;

const HOST: &str = "dps.example";

/// So long that only a test that hangs reaches it.
const NEVER: Duration = Duration::from_secs(100);

const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 43\r\n\r\n{\"operationId\":\"4.op\",\
                        \"status\":\"assigning\"}";

/// A device with a certificate that it has issued itself.
struct Device {
    chain: String,
    key: KeyPair,
}

impl Device {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["dev-1".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "dev-1");
        Self { chain: params.self_signed(&key).expect("a certificate").pem(), key }
    }

    fn certificate(&self) -> ClientCertificate {
        ClientCertificate::from_pem(self.chain.as_bytes(), self.key.serialize_pem().as_bytes(), None).expect("a pair")
    }

    fn leaf(&self) -> Certificate {
        Certificate::from_pem(self.chain.as_bytes()).expect("a certificate")
    }
}

/// The presented certificate, and the head of the request. `None` if the handshake failed.
type Seen = Option<(Certificate, String)>;

/// Starts a server that accepts only the certificate of `device`. Returns a client with `certificate`, and what the
/// server sees.
async fn start(device: &Device, certificate: ClientCertificate) -> (HttpsDps, channel::UnboundedReceiver<Seen>) {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(device.leaf().der().to_vec().into()).expect("an anchor");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec![HOST.to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("an anchor"))
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    // A name, so that the client looks it up.
    let port = listener.local_addr().expect("bound").port();
    let rule: DialOverride = format!("{HOST}:443:localhost:{port}").parse().expect("a rule");
    let (saw, seen) = channel::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.expect("a client");
            let _ = saw.send(serve(&acceptor, tcp).await);
        }
    });
    let tls = TlsSettings::from_pem(own.pem().as_bytes()).client_certificate(certificate);
    let tls = tls.client_config().expect("an authority");
    let tcp = TcpDialer::new().dial_overrides(vec![rule]);
    (HttpsDps::new(Endpoint::new(HOST, 443), tcp, tls), seen)
}

async fn serve(acceptor: &TlsAcceptor, tcp: tokio::net::TcpStream) -> Seen {
    let mut tls = acceptor.accept(tcp).await.ok()?;
    let certificate = Certificate::from_der(tls.get_ref().1.peer_certificates()?.first()?).expect("a certificate");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await.ok()?);
    }
    let _ = tls.write_all(ANSWER).await;
    let _ = tls.shutdown().await;
    Some((certificate, String::from_utf8(head).expect("text")))
}

fn register() -> Register {
    Register::new(IdScope::new("0ne1").expect("scope"), RegistrationId::new("dev-1").expect("id"))
}

#[tokio::test]
async fn the_server_gets_the_certificate_and_no_authorization() {
    let device = Device::new();
    let (mut dps, mut seen) = start(&device, device.certificate()).await;
    dps.register(&register(), None).await.expect("an answer");
    let (certificate, head) = seen.recv().await.flatten().expect("a request");
    assert_eq!(certificate, device.leaf());
    assert!(head.starts_with("PUT /0ne1/registrations/dev-1/register?"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_refused_certificate_is_not_a_closed_connection() {
    let (known, other) = (Device::new(), Device::new());
    let (mut dps, mut seen) = start(&known, other.certificate()).await;
    let error = dps.register(&register(), None).await.expect_err("an unknown certificate");
    assert!(seen.recv().await.expect("the server runs").is_none());
    let TransportError::Tls { fault, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*fault, error.fault()), (TlsFault::ClientCertificate, Fault::Credential), "{source}");
    assert!(!error.is_retryable());
}

/// A key that tells when it begins, and then waits until the test lets it sign.
#[derive(Debug)]
struct SlowKey {
    inner: Arc<dyn SigningKey>,
    gate: Gate,
}

#[derive(Debug, Clone)]
struct Gate {
    began: channel::UnboundedSender<()>,
    may_sign: Arc<Mutex<mpsc::Receiver<()>>>,
}

#[derive(Debug)]
struct SlowSigner(Box<dyn Signer>, Gate);

impl SigningKey for SlowKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(SlowSigner(self.inner.choose_scheme(offered)?, self.gate.clone())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

impl Signer for SlowSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.1.began.send(()).expect("the test listens");
        let waited = self.1.may_sign.lock().expect("not poisoned").recv_timeout(NEVER);
        waited.map_err(|error| rustls::Error::General(error.to_string()))?;
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// The certificate of `device` with a slow key, the moments at which the key begins, and what lets it sign.
fn slow(device: &Device) -> (ClientCertificate, channel::UnboundedReceiver<()>, mpsc::Sender<()>) {
    let der = PrivateKeyDer::try_from(device.key.serialize_der()).expect("a key");
    let inner = ring::sign::any_supported_type(&der).expect("an EC key");
    let ((began, begins), (let_sign, may_sign)) = (channel::unbounded_channel(), mpsc::channel());
    let key = SlowKey { inner, gate: Gate { began, may_sign: Arc::new(Mutex::new(may_sign)) } };
    let certificate = ClientCertificate::with_signing_key(vec![device.leaf()], Arc::new(key));
    (certificate.expect("the key hides its public key"), begins, let_sign)
}

/// The key waits for another task of the same thread. If the handshake stopped this task, the key would wait in vain.
#[tokio::test(flavor = "current_thread")]
async fn a_slow_key_does_not_stop_other_tasks() {
    let device = Device::new();
    let (certificate, mut begins, let_sign) = slow(&device);
    let (mut dps, mut seen) = start(&device, certificate).await;
    let other_task = tokio::spawn(async move {
        begins.recv().await.expect("the key begins");
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let_sign.send(()).expect("the key waits");
    });
    dps.register(&register(), None).await.expect("an answer");
    other_task.await.expect("no panic");
    assert!(seen.recv().await.flatten().is_some());
}

/// The lookup of the host name needs a thread for blocking work, and the handshake needs one after it.
#[test]
fn a_slow_key_needs_one_blocking_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let device = Device::new();
        let (certificate, _begins, let_sign) = slow(&device);
        let_sign.send(()).expect("the key may sign at once");
        let (mut dps, mut seen) = start(&device, certificate).await;
        dps.register(&register(), None).await.expect("an answer");
        assert!(seen.recv().await.flatten().is_some());
    });
}

#[tokio::test(flavor = "current_thread")]
async fn dropping_a_request_that_waits_for_the_key_closes_its_connection() {
    let device = Device::new();
    let (certificate, mut begins, let_sign) = slow(&device);
    let (mut dps, mut seen) = start(&device, certificate).await;
    let request = register();
    tokio::select! {
        _ = dps.register(&request, None) => panic!("the key has not signed"),
        began = begins.recv() => began.expect("the key begins"),
    }
    assert_eq!(dps.stage(), Some(Stage::Tls));
    let_sign.send(()).expect("the key still waits");
    // The server waits for a request or for the end of the connection. The client sends no request any more.
    assert!(seen.recv().await.expect("the server runs").is_none());
}
