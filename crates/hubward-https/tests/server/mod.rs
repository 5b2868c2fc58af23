//! A TLS server on loopback that answers with literal bytes.

use std::sync::Arc;

use hubward_dial::{DialOverride, Endpoint, TcpDialer, TlsSettings};
use hubward_https::HttpsDps;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) const HOST: &str = "global.azure-devices-provisioning.net";

/// The answers that a server sends on one connection, in order.
pub(crate) type Script = Vec<Answer>;

pub(crate) const GOOD: Shown = Shown { name: HOST, years: (2000, 2100), trusted: true };

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These bytes, in one write.
    Whole(Vec<u8>),
    /// These bytes, each in a separate TLS record.
    Dripped(Vec<u8>),
    /// No answer.
    Silence,
}

impl Answer {
    /// An answer with these header lines, a `Content-Length` and this body.
    pub(crate) fn new(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Whole(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes())
    }
}

/// The certificate that a server presents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    pub(crate) years: (i32, i32),
    /// Whether the client trusts the certificate's authority.
    pub(crate) trusted: bool,
}

pub(crate) struct Server {
    pub(crate) dps: HttpsDps,
    /// The received requests, each with the number of its connection.
    pub(crate) requests: mpsc::UnboundedReceiver<(usize, String)>,
}

impl Server {
    /// Starts a server that follows one script per connection, and closes each connection at the script's end.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        Self::with_certificate(GOOD, scripts).await
    }

    pub(crate) async fn with_certificate(shown: Shown, scripts: Vec<Script>) -> Self {
        let (config, ca) = certificate(shown);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (seen, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (tcp, _) = listener.accept().await.expect("a client");
                let Ok(tls) = acceptor.accept(tcp).await else { continue };
                tokio::spawn(play(number, script, tls, seen.clone()));
            }
        });
        Self { dps: client(port, &ca), requests }
    }

    /// The next request, without the number of its connection.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.expect("a request").1
    }
}

/// A client that connects to `port` on loopback and trusts `ca`.
pub(crate) fn client(port: u16, ca: &str) -> HttpsDps {
    let rule: DialOverride = format!("{HOST}:443:127.0.0.1:{port}").parse().expect("a rule");
    let tls = TlsSettings::from_pem(ca.as_bytes()).client_config().expect("an authority");
    HttpsDps::new(Endpoint::new(HOST, 443), TcpDialer::new().dial_overrides(vec![rule]), tls)
}

/// The configuration of a server, and the PEM certificate of the authority that its client trusts.
pub(crate) fn certificate(shown: Shown) -> (ServerConfig, String) {
    let (issuer, pem) = authority();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![shown.name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(shown.years.0, 1, 1);
    params.not_after = date_time_ymd(shown.years.1, 1, 1);
    let chain = vec![params.signed_by(&key, &issuer).expect("a certificate").der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    (config, if shown.trusted { pem } else { authority().1 })
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (Issuer::new(params, key), pem)
}

async fn play(
    number: usize,
    script: Script,
    mut tls: TlsStream<TcpStream>,
    seen: mpsc::UnboundedSender<(usize, String)>,
) {
    for answer in script {
        let Some(request) = request(&mut tls).await else { return };
        // A test that ignores the requests may have dropped the receiver.
        let _ = seen.send((number, request));
        // A failed write is not an error: the client may close the connection while the server still sends an invalid
        // answer.
        let written = match answer {
            Answer::Whole(bytes) => tls.write_all(&bytes).await,
            Answer::Dripped(bytes) => drip(&mut tls, &bytes).await,
            Answer::Silence => std::future::pending().await,
        };
        if written.is_err() || tls.flush().await.is_err() {
            return;
        }
    }
    let _ = tls.shutdown().await;
}

async fn drip(tls: &mut TlsStream<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        tls.write_all(std::slice::from_ref(byte)).await?;
        tls.flush().await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Reads a request with its body; `None` if the client has closed the connection.
async fn request(tls: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(tls.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |it| it.parse().expect("a number"))];
    tls.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).expect("text"))
}
