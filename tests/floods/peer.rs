//! A hostile hub. It accepts any login, grants every subscription, and answers pings and reads of the twin. It sends
//! packets as fast as the client reads them.

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

/// Number of bytes that the hub writes at a time. The number is high, so the speed depends on the client and not on the
/// hub.
const CHUNK: usize = 64 * 1024;

/// The event that starts a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The client has logged in.
    Login,
    /// The client has subscribed to a filter with this prefix.
    Subscription(&'static str),
    /// The hub has answered this number of reads of the twin.
    TwinReads(u64),
}

/// The packets that a hub sends on one connection.
pub(super) trait Flood: Send + 'static {
    /// The event that starts the flood.
    const START: Start;

    /// Whether the hub keeps reading during the flood.
    const READS: bool = true;

    /// Appends the next packet.
    fn next(&mut self, out: &mut Vec<u8>);

    /// Returns the body of the response to a read of the twin.
    fn twin(&self) -> Vec<u8> {
        br#"{"desired":{"$version":1},"reported":{"$version":1}}"#.to_vec()
    }
}

/// A listening hub. Dropping the value stops it.
#[derive(Debug)]
pub(super) struct Hub {
    folder: TempDir,
    port: u16,
    /// Number of bytes that the hub has sent as a flood.
    sent: Arc<AtomicU64>,
    logins: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Hub {
    /// Starts a hub. The hub calls `flood` for each connection. It then sends the packets that the returned value
    /// produces.
    pub(super) async fn start<F: Flood>(flood: impl Fn() -> F + Send + 'static) -> Self {
        let identity = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|it| it.with_no_client_auth().with_single_cert(vec![identity.cert.der().clone()], key))
            .expect("TLS settings of a server");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), identity.cert.pem()).expect("a file");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let sent = Arc::<AtomicU64>::default();
        let (login, logins) = watch::channel(0);
        let counter = sent.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, acceptor.clone(), flood(), counter.clone(), login.clone()));
            }
        });
        Self { folder, port, sent, logins, task }
    }

    /// Returns the environment variables with which a device reaches the hub.
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

    /// Returns the number of bytes that the hub has sent as a flood.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one client until the connection ends.
async fn serve<F: Flood>(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    flood: F,
    sent: Arc<AtomicU64>,
    logins: watch::Sender<u64>,
) {
    // The client may close the connection at any moment.
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let (mut reader, writer) = tokio::io::split(stream);
    let Some(login) = Packet::read(&mut reader).await else { return };
    assert!(login.connect().is_some(), "{login:?} instead of a CONNECT");
    logins.send_modify(|it| *it += 1);
    let (replies, queue) = mpsc::unbounded_channel();
    let (started, has_started) = oneshot::channel();
    let writing = tokio::spawn(write(writer, flood, queue, (sent, started)));
    tokio::select! {
        biased;
        Ok(()) = has_started, if !F::READS => {
            // From here on, the hub does not read from this connection. It only writes, until the connection ends.
            let _ended = writing.await;
        }
        () = read(&mut reader, replies) => writing.abort(),
    }
}

/// A reply that the reading task passes to the writing task.
enum Reply {
    Bytes(Vec<u8>),
    /// The SUBACK for the SUBSCRIBE with this packet identifier and this filter.
    Suback(u16, String),
    /// The response to a read of the twin with this request ID.
    Twin(String),
}

async fn read(reader: &mut (impl AsyncRead + Unpin), replies: mpsc::UnboundedSender<Reply>) {
    while let Some(packet) = Packet::read(reader).await {
        let reply = match packet.kind() {
            3 => {
                let publish = packet.publish().expect("a PUBLISH");
                match publish.topic.strip_prefix("$iothub/twin/GET/?$rid=") {
                    Some(id) => Reply::Twin(id.to_owned()),
                    None if publish.qos > 0 => Reply::Bytes(packets::puback(publish.id)),
                    None => continue,
                }
            }
            8 => {
                let (id, filters) = packet.subscribe().expect("a SUBSCRIBE");
                Reply::Suback(id, filters[0].0.clone())
            }
            12 => Reply::Bytes(packets::PINGRESP.to_vec()),
            // The hub ignores all other packets, even a DISCONNECT: it sends until the client closes the connection.
            _ => continue,
        };
        if replies.send(reply).is_err() {
            return;
        }
    }
}

async fn write<F: Flood>(
    mut writer: impl AsyncWrite + Unpin,
    mut flood: F,
    mut queue: mpsc::UnboundedReceiver<Reply>,
    (sent, started): (Arc<AtomicU64>, oneshot::Sender<()>),
) {
    let mut started = Some(started);
    let mut out = packets::connack(false, 0);
    let mut is_flooding = F::START == Start::Login;
    let mut twin_reads = 0;
    loop {
        while let Ok(reply) = queue.try_recv() {
            is_flooding |= append(&mut out, reply, &flood, &mut twin_reads);
        }
        let replies = out.len();
        if let Some(started) = started.take_if(|_| is_flooding) {
            // Fails if the connection has ended.
            let _ended = started.send(());
        }
        while is_flooding && out.len() < CHUNK {
            flood.next(&mut out);
        }
        if writer.write_all(&out).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        sent.fetch_add((out.len() - replies) as u64, Ordering::Relaxed);
        out.clear();
        if !is_flooding {
            let Some(reply) = queue.recv().await else { return };
            is_flooding |= append(&mut out, reply, &flood, &mut twin_reads);
        }
    }
}

/// Appends the packet of a reply. Returns `true` if the flood starts after this packet.
fn append<F: Flood>(out: &mut Vec<u8>, reply: Reply, flood: &F, twin_reads: &mut u64) -> bool {
    match reply {
        Reply::Bytes(bytes) => out.extend(bytes),
        Reply::Suback(id, filter) => {
            out.extend(packets::suback(id, &[1]));
            return matches!(F::START, Start::Subscription(prefix) if filter.starts_with(prefix));
        }
        Reply::Twin(id) => {
            out.extend(packets::publish(&format!("$iothub/twin/res/200/?$rid={id}"), &flood.twin(), 0, 0));
            *twin_reads += 1;
            return F::START == Start::TwinReads(*twin_reads);
        }
    }
    false
}
