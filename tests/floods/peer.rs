//! A hostile hub: it accepts any login, grants every subscription, answers pings and questions about the
//! twin, and sends as fast as the client reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hubward_tests::packets::{self, Packet};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The name of the hub and of its certificate.
const HOST: &str = "localhost";

/// The device that connects.
pub(super) const DEVICE: &str = "dev-1";

/// Bytes that are made at a time: enough that the sender waits for the client and not for itself.
const CHUNK: usize = 64 * 1024;

/// When a flood begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// After the login.
    Login,
    /// When the client subscribes to a filter that begins so.
    Subscription(&'static str),
    /// After this number of answers to questions about the twin.
    Twins(u64),
}

/// The packets that a hub sends on one connection.
pub(super) trait Flood: Send + 'static {
    /// When the flood begins.
    const BEGIN: Begin;

    /// Whether the hub reads while it floods.
    const READS: bool = true;

    /// Appends the next packet.
    fn next(&mut self, out: &mut Vec<u8>);

    /// The body of the answer to a question about the twin.
    fn twin(&self) -> Vec<u8> {
        br#"{"desired":{"$version":1},"reported":{"$version":1}}"#.to_vec()
    }
}

/// A hub that listens. Ends with the value.
#[derive(Debug)]
pub(super) struct Hub {
    folder: TempDir,
    port: u16,
    facts: Arc<Facts>,
    logins: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

/// Counters of one hub.
#[derive(Debug, Default)]
struct Facts {
    sent: AtomicU64,
}

impl Hub {
    /// Floods each connection with what `flood` makes for it.
    pub(super) async fn start<F: Flood>(flood: impl Fn() -> F + Send + 'static) -> Self {
        let identity = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|it| it.with_no_client_auth().with_single_cert(vec![identity.cert.der().clone()], key))
            .expect("a server's settings");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), identity.cert.pem()).expect("a file");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let facts = Arc::<Facts>::default();
        let (login, logins) = watch::channel(0);
        let counted = facts.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(connection(socket, acceptor.clone(), flood(), counted.clone(), login.clone()));
            }
        });
        Self { folder, port, facts, logins, task }
    }

    /// How a device finds it.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        vec![
            ("IOTHUB_DEVICE_CONNECTION_STRING", format!("HostName={HOST};DeviceId={DEVICE};SharedAccessKey={key}")),
            ("HUBWARD_CA_FILE", self.folder.path().join("ca.pem").to_str().expect("a path that is text").to_owned()),
            ("HUBWARD_CONNECT_TO", format!(":8883:127.0.0.1:{}", self.port)),
        ]
    }

    /// Waits until a client has logged in.
    pub(super) async fn login(&mut self) {
        self.logins.wait_for(|it| *it > 0).await.expect("the hub listens");
    }

    /// Bytes that it has sent as a flood.
    pub(super) fn sent(&self) -> u64 {
        self.facts.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one client until it goes away.
async fn connection<F: Flood>(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    flood: F,
    facts: Arc<Facts>,
    logins: watch::Sender<u64>,
) {
    // The client may end at any moment.
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let (mut reader, writer) = tokio::io::split(stream);
    let Some(login) = Packet::read(&mut reader).await else { return };
    assert!(login.connect().is_some(), "{login:?} instead of a CONNECT");
    logins.send_modify(|it| *it += 1);
    let (replies, queue) = mpsc::unbounded_channel();
    let (begun, has_begun) = oneshot::channel();
    let writing = tokio::spawn(write(writer, flood, queue, (facts, begun)));
    tokio::select! {
        biased;
        Ok(()) = has_begun, if !F::READS => {
            // The client goes away, or has nothing to write to any more.
            let _ended = writing.await;
        }
        () = read(&mut reader, replies) => writing.abort(),
    }
}

/// A request of the reader to the writer.
enum Wanted {
    Bytes(Vec<u8>),
    /// The client has subscribed to this filter.
    Granted(u16, String),
    /// The client asks for the twin, with this request id.
    Twin(String),
}

async fn read(reader: &mut (impl AsyncRead + Unpin), replies: mpsc::UnboundedSender<Wanted>) {
    while let Some(packet) = Packet::read(reader).await {
        let wanted = match packet.kind() {
            3 => {
                let publish = packet.publish().expect("a PUBLISH");
                match publish.topic.strip_prefix("$iothub/twin/GET/?$rid=") {
                    Some(id) => Wanted::Twin(id.to_owned()),
                    None if publish.qos > 0 => Wanted::Bytes(packets::puback(publish.id)),
                    None => continue,
                }
            }
            8 => {
                let (id, filters) = packet.subscribe().expect("a SUBSCRIBE");
                Wanted::Granted(id, filters[0].0.clone())
            }
            12 => Wanted::Bytes(packets::PINGRESP.to_vec()),
            // Also a good-bye: this hub sends on until the client is gone.
            _ => continue,
        };
        if replies.send(wanted).is_err() {
            return;
        }
    }
}

async fn write<F: Flood>(
    mut writer: impl AsyncWrite + Unpin,
    mut flood: F,
    mut queue: mpsc::UnboundedReceiver<Wanted>,
    (facts, begun): (Arc<Facts>, oneshot::Sender<()>),
) {
    let mut begun = Some(begun);
    let mut out = packets::connack(false, 0);
    let mut floods = F::BEGIN == Begin::Login;
    let mut twins = 0;
    loop {
        while let Ok(wanted) = queue.try_recv() {
            floods |= answer(&mut out, wanted, &flood, &mut twins);
        }
        let answers = out.len();
        if let Some(begun) = begun.take_if(|_| floods) {
            // The receiver is gone if the client is.
            let _gone = begun.send(());
        }
        while floods && out.len() < CHUNK {
            flood.next(&mut out);
        }
        if writer.write_all(&out).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        facts.sent.fetch_add((out.len() - answers) as u64, Ordering::Relaxed);
        out.clear();
        if !floods {
            let Some(wanted) = queue.recv().await else { return };
            floods |= answer(&mut out, wanted, &flood, &mut twins);
        }
    }
}

/// Whether the flood begins with it.
fn answer<F: Flood>(out: &mut Vec<u8>, wanted: Wanted, flood: &F, twins: &mut u64) -> bool {
    match wanted {
        Wanted::Bytes(bytes) => out.extend(bytes),
        Wanted::Granted(id, filter) => {
            out.extend(packets::suback(id, &[1]));
            return matches!(F::BEGIN, Begin::Subscription(prefix) if filter.starts_with(prefix));
        }
        Wanted::Twin(id) => {
            out.extend(packets::publish(&format!("$iothub/twin/res/200/?$rid={id}"), &flood.twin(), 0, 0));
            *twins += 1;
            return F::BEGIN == Begin::Twins(*twins);
        }
    }
    false
}
