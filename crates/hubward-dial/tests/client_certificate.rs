//! TLS handshakes on loopback in which the client presents a certificate, also with a private key outside the program.

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hubward_dial::{
    ClientCertificate, DialError, DialStep, Dialer, Endpoint, TcpDialer, TlsDialer, TlsFault, TlsSettings,
};
use hubward_x509::{Certificate, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::Signer;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig, SignatureAlgorithm,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc as channel;
use tokio_rustls::TlsAcceptor;

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

/// So long that only a test that hangs reaches it.
const NEVER: Duration = Duration::from_secs(100);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn named(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// A device with a chain of three certificates: its own, an intermediate and a root.
struct Device {
    chain: String,
    key: KeyPair,
}

impl Device {
    fn new(name: &str) -> Self {
        let [root_key, intermediate_key, key] = [(); 3].map(|()| KeyPair::generate().expect("a key"));
        let root = named("root", true).self_signed(&root_key).expect("a root");
        let root_issuer = Issuer::new(named("root", true), root_key);
        let intermediate = named("intermediate", true).signed_by(&intermediate_key, &root_issuer).expect("a CA");
        let issuer = Issuer::new(named("intermediate", true), intermediate_key);
        let leaf = named(name, false).signed_by(&key, &issuer).expect("a leaf");
        Self { chain: leaf.pem() + &intermediate.pem() + &root.pem(), key }
    }

    fn certificate(&self) -> ClientCertificate {
        ClientCertificate::from_pem(self.chain.as_bytes(), self.key.serialize_pem().as_bytes(), None).expect("a pair")
    }

    /// The certificate with a key outside the program.
    fn with_key(&self, outside: OutsideKey) -> ClientCertificate {
        let chain = Certificate::chain_from_pem(self.chain.as_bytes()).expect("a chain");
        ClientCertificate::with_signing_key(chain, Arc::new(outside)).expect("the key hides its public key")
    }

    fn signing_key(&self) -> Arc<dyn SigningKey> {
        let der = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        ring::sign::any_supported_type(&der).expect("an EC key")
    }
}

/// The behaviour of a key outside the program when TLS needs a signature.
#[derive(Debug)]
struct OutsideKey {
    inner: Arc<dyn SigningKey>,
    behaviour: Behaviour,
}

#[derive(Debug, Clone)]
enum Behaviour {
    /// Tells that it has begun, and then waits until the test lets it sign.
    Waits(channel::UnboundedSender<()>, Arc<Mutex<mpsc::Receiver<()>>>),
    Signs,
    Fails,
}

#[derive(Debug)]
struct OutsideSigner(Box<dyn Signer>, Behaviour);

impl SigningKey for OutsideKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.inner.choose_scheme(offered)?;
        Some(Box::new(OutsideSigner(signer, self.behaviour.clone())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

impl Signer for OutsideSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        match &self.1 {
            Behaviour::Waits(began, may_sign) => {
                began.send(()).expect("the test listens");
                let waited = may_sign.lock().expect("not poisoned").recv_timeout(NEVER);
                waited.map_err(|error| rustls::Error::General(error.to_string()))?;
            }
            Behaviour::Fails => return Err(rustls::Error::General("the token is locked".into())),
            Behaviour::Signs => {}
        }
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

/// How a server handles the certificate of a client. It always verifies that the client has the private key.
#[derive(Debug)]
struct Verifier {
    accepts: bool,
    required: bool,
    /// The names of the authorities that the server asks for. None of them has issued a certificate of a device.
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.accepts { Ok(ClientCertVerified::assertion()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The facts that a server learned about one client.
#[derive(Debug, PartialEq)]
struct Seen {
    /// The common names of the presented certificates.
    names: Vec<String>,
    resumed: bool,
}

struct Server {
    settings: TlsSettings,
    port: u16,
    seen: channel::UnboundedReceiver<io::Result<Seen>>,
}

impl Server {
    /// Starts a server that answers each client with one byte, and waits for the client to close.
    async fn start(version: &'static SupportedProtocolVersion, accepts: bool, required: bool) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let own = params.self_signed(&key).expect("a certificate");
        let other = named("another authority", true).self_signed(&key).expect("a CA");
        let other = rustls::RootCertStore::from_iter([webpki_anchor(other.der())]);
        let verifier = Verifier { accepts, required, hints: other.subjects(), provider: provider() };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (saw, seen) = channel::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.expect("a client");
                let (acceptor, saw) = (acceptor.clone(), saw.clone());
                tokio::spawn(async move {
                    // The test may have ended.
                    let _ = saw.send(serve(acceptor, tcp).await);
                });
            }
        });
        Self { settings: TlsSettings::from_pem(own.pem().as_bytes()), port, seen }
    }

    fn dialer(&self, certificate: Option<ClientCertificate>) -> TlsDialer {
        let settings = certificate.into_iter().fold(self.settings.clone(), TlsSettings::client_certificate);
        TlsDialer::new(TcpDialer::new(), settings.client_config().expect("an authority")).handshake_timeout(NEVER)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new("127.0.0.1", self.port)
    }

    /// Dials and reads one byte. With TLS 1.3, a client learns only then whether the server accepts its certificate.
    async fn visit(&self, dialer: &TlsDialer) -> Result<(), DialError> {
        let mut opened = dialer.open(&self.endpoint()).await?;
        match opened.stream.read_u8().await {
            Ok(_) => Ok(()),
            Err(source) => {
                let fault = TlsFault::find(&source, opened.has_certificate).expect("an alert");
                Err(DialError::Tls { endpoint: self.endpoint(), fault, source })
            }
        }
    }

    async fn saw(&mut self) -> io::Result<Seen> {
        self.seen.recv().await.expect("the server runs")
    }
}

fn webpki_anchor(der: &CertificateDer<'_>) -> rustls::pki_types::TrustAnchor<'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der.clone().into_owned()).expect("a CA");
    roots.roots.remove(0)
}

async fn serve(acceptor: TlsAcceptor, tcp: tokio::net::TcpStream) -> io::Result<Seen> {
    let mut tls = acceptor.accept(tcp).await?;
    let session = tls.get_ref().1;
    let names = session.peer_certificates().unwrap_or_default().iter().map(|it| {
        let certificate = Certificate::from_der(it).expect("a certificate");
        certificate.common_name().unwrap_or_default().to_owned()
    });
    let seen = Seen { names: names.collect(), resumed: session.handshake_kind() == Some(HandshakeKind::Resumed) };
    // Ignore a client that has closed its connection.
    let _ = tls.write_all(b"!").await;
    let _ = tls.flush().await;
    let _ = tls.read_to_end(&mut Vec::new()).await;
    Ok(seen)
}

#[tokio::test]
async fn the_whole_chain_is_sent_whatever_authorities_the_server_names() {
    for version in [TLS12, TLS13] {
        let mut server = Server::start(version, true, false).await;
        let device = Device::new("dev-1");
        let expected: Vec<String> = ["dev-1", "intermediate", "root"].map(str::to_owned).into();
        let signs = OutsideKey { inner: device.signing_key(), behaviour: Behaviour::Signs };
        for (certificate, names) in [
            (Some(device.certificate()), expected.clone()),
            (Some(device.with_key(signs)), expected),
            (None, Vec::new()),
        ] {
            server.visit(&server.dialer(certificate)).await.expect("the server accepts each client");
            assert_eq!(server.saw().await.expect("a handshake"), Seen { names, resumed: false }, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_certificate_is_its_own_fault_during_and_after_the_handshake() {
    let device = Device::new("dev-1");
    let wrong = OutsideKey { inner: Device::new("dev-2").signing_key(), behaviour: Behaviour::Signs };
    let refused = TlsFault::ClientCertificate;
    for (what, version, accepts, certificate, expected) in [
        ("refused in TLS 1.2", TLS12, false, Some(device.certificate()), refused),
        ("refused in TLS 1.3", TLS13, false, Some(device.certificate()), refused),
        ("the key of another certificate", TLS13, true, Some(device.with_key(wrong)), refused),
        // The credential of the client is not the cause: it has a token.
        ("a missing certificate in TLS 1.2", TLS12, true, None, TlsFault::Other),
        ("a missing certificate in TLS 1.3", TLS13, true, None, TlsFault::Other),
    ] {
        let server = Server::start(version, accepts, true).await;
        let error = server.visit(&server.dialer(certificate)).await.expect_err(what);
        let DialError::Tls { fault, source, .. } = error else { panic!("{what}: {error}") };
        assert_eq!(fault, expected, "{what}: {source}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_named() {
    for version in [TLS12, TLS13] {
        let server = Server::start(version, true, true).await;
        let device = Device::new("dev-1");
        let fails = OutsideKey { inner: device.signing_key(), behaviour: Behaviour::Fails };
        let error = server.visit(&server.dialer(Some(device.with_key(fails)))).await.expect_err("no signature");
        let DialError::Tls { fault, source, .. } = error else { panic!("{error}") };
        assert_eq!(fault, TlsFault::Signing, "{version:?}");
        assert!(source.to_string().contains("the token is locked"), "{source}");
    }
}

/// A device whose key signs when the test sends a unit, and a receiver of the moments at which the key began.
fn slow_device() -> (ClientCertificate, channel::UnboundedReceiver<()>, mpsc::Sender<()>) {
    let device = Device::new("dev-1");
    let (began, begins) = channel::unbounded_channel();
    let (let_sign, may_sign) = mpsc::channel();
    let behaviour = Behaviour::Waits(began, Arc::new(Mutex::new(may_sign)));
    (device.with_key(OutsideKey { inner: device.signing_key(), behaviour }), begins, let_sign)
}

/// The key waits for another task of the same thread. If the handshake stopped this task, the key would wait in vain.
#[tokio::test(flavor = "current_thread")]
async fn a_slow_key_does_not_stop_other_tasks() {
    for version in [TLS12, TLS13] {
        let mut server = Server::start(version, true, true).await;
        let (certificate, mut begins, let_sign) = slow_device();
        let other_task = tokio::spawn(async move {
            begins.recv().await.expect("the key begins");
            let mut turns = 0;
            while turns < 1000 {
                tokio::task::yield_now().await;
                turns += 1;
            }
            let_sign.send(()).expect("the key waits");
            turns
        });
        server.visit(&server.dialer(Some(certificate))).await.expect("the key has signed");
        assert_eq!(other_task.await.expect("no panic"), 1000, "{version:?}");
        assert_eq!(server.saw().await.expect("a handshake").names.len(), 3, "{version:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_time_limit_includes_a_slow_key() {
    let server = Server::start(TLS13, true, true).await;
    let (certificate, mut begins, let_sign) = slow_device();
    let limit = Duration::from_millis(50);
    let dialer = server.dialer(Some(certificate)).handshake_timeout(limit);
    let error = dialer.dial(&server.endpoint()).await.expect_err("the key never signs");
    assert!(matches!(error, DialError::Timeout { during: DialStep::Tls, after, .. } if after == limit), "{error}");
    assert!(begins.try_recv().is_ok(), "the key was asked");
    drop(let_sign);
}

#[tokio::test(flavor = "current_thread")]
async fn dropping_the_dial_closes_the_connection_when_the_key_has_signed() {
    let mut server = Server::start(TLS13, true, true).await;
    let (certificate, mut begins, let_sign) = slow_device();
    let (dialer, endpoint) = (server.dialer(Some(certificate)), server.endpoint());
    let dial = tokio::spawn(async move { dialer.dial(&endpoint).await.map(drop) });
    begins.recv().await.expect("the key begins");
    dial.abort();
    assert!(dial.await.expect_err("aborted").is_cancelled());
    let_sign.send(()).expect("the key still waits");
    // The server waits until the client closes, and only then tells what it saw.
    let _ = server.saw().await;
}

/// Each attempt would occupy another thread.
#[tokio::test(flavor = "current_thread")]
async fn a_key_that_hangs_is_not_asked_again_until_it_has_signed() {
    let server = Server::start(TLS13, true, true).await;
    let (certificate, mut begins, let_sign) = slow_device();
    let (dialer, limit) = (server.dialer(Some(certificate)), Duration::from_millis(50));
    let endpoint = server.endpoint();
    tokio::select! {
        _ = dialer.dial(&endpoint) => panic!("the key has not signed"),
        began = begins.recv() => began.expect("the key begins"),
    }
    for _ in 0..2 {
        let error = dialer.clone().handshake_timeout(limit).dial(&endpoint).await.expect_err("the key hangs");
        assert!(matches!(error, DialError::Timeout { during: DialStep::Tls, after, .. } if after == limit), "{error}");
    }
    assert!(begins.try_recv().is_err(), "the key is still busy with the first attempt");
    for _ in 0..2 {
        let_sign.send(()).expect("the key waits");
    }
    server.visit(&dialer).await.expect("the key signs again");
}

#[tokio::test]
async fn a_device_never_resumes_the_session_of_another_device() {
    for version in [TLS12, TLS13] {
        let mut server = Server::start(version, true, true).await;
        let [first, second] = ["dev-1", "dev-2"].map(|it| server.dialer(Some(Device::new(it).certificate())));
        for (dialer, name, resumed) in
            [(&first, "dev-1", false), (&first, "dev-1", true), (&second, "dev-2", false), (&second, "dev-2", true)]
        {
            server.visit(dialer).await.expect("the server accepts each client");
            let seen = server.saw().await.expect("a handshake");
            assert_eq!((seen.names[0].as_str(), seen.resumed), (name, resumed), "{version:?}");
        }
    }
}

#[test]
fn debug_shows_neither_certificate_nor_key() {
    let device = Device::new("dev-1");
    let settings = TlsSettings::new().client_certificate(device.certificate());
    let config = settings.client_config().expect("system roots");
    let dialer = TlsDialer::new(TcpDialer::new(), config.clone());
    let text = format!("{settings:?} {settings:#?} {config:?} {config:#?} {dialer:?}");
    for canary in canaries(&device.key) {
        assert!(!text.contains(&canary), "{text}");
    }
}

/// The private key in the forms in which a text could contain it.
fn canaries(key: &KeyPair) -> Vec<String> {
    let pem = key.serialize_pem();
    let line = pem.lines().nth(1).expect("a line of base64").to_owned();
    let numbers = |it: &[u8]| it.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let der = key.serialize_der();
    // The private key of a P-256 key is at this place of its PKCS#8 form.
    vec![line, numbers(&der), numbers(&der[36..68])]
}
