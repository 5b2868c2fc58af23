//! The server's end of a connection, and the dialer that connects to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use hubward_dial::{ByteStream, DialError, Dialer, Endpoint, Opened};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

pub(crate) const CONNACK: &[u8] = b"\x20\x02\x00\x00";
pub(crate) const PINGREQ: &[u8] = b"\xc0\x00";
pub(crate) const PINGRESP: &[u8] = b"\xd0\x00";
pub(crate) const DISCONNECT: &[u8] = b"\xe0\x00";

/// Gives one end of a pipe to the client and the other end to the test.
#[derive(Debug)]
pub(crate) struct TestDialer {
    capacity: usize,
    accepted: mpsc::UnboundedSender<(Endpoint, DuplexStream)>,
    /// The errors of the next dials.
    failures: Mutex<VecDeque<DialError>>,
    /// The time of the server's clock, which a WebSocket server sends during the upgrade.
    server_time: Mutex<Option<SystemTime>>,
}

impl TestDialer {
    pub(crate) fn fail_next(&self, error: DialError) {
        self.failures.lock().expect("not poisoned").push_back(error);
    }

    pub(crate) fn show_time(&self, server_time: SystemTime) {
        *self.server_time.lock().expect("not poisoned") = Some(server_time);
    }
}

#[async_trait]
impl Dialer for TestDialer {
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        if let Some(error) = self.failures.lock().expect("not poisoned").pop_front() {
            return Err(error);
        }
        let (client, server) = duplex(self.capacity);
        self.accepted.send((to.clone(), server)).expect("the test listens");
        Ok(Box::new(client))
    }

    async fn open(&self, to: &Endpoint) -> Result<Opened, DialError> {
        let server_time = *self.server_time.lock().expect("not poisoned");
        Ok(Opened::new(self.dial(to).await?).server_time(server_time))
    }
}

/// Accepts connections for the test.
#[derive(Debug)]
pub(crate) struct Listener {
    accepted: mpsc::UnboundedReceiver<(Endpoint, DuplexStream)>,
}

/// Creates a dialer whose pipes hold `capacity` bytes in each direction.
pub(crate) fn network(capacity: usize) -> (Arc<TestDialer>, Listener) {
    let (sender, accepted) = mpsc::unbounded_channel();
    (
        Arc::new(TestDialer { capacity, accepted: sender, failures: Mutex::default(), server_time: Mutex::default() }),
        Listener { accepted },
    )
}

impl Listener {
    pub(crate) async fn accept(&mut self) -> Peer {
        let (endpoint, stream) = self.accepted.recv().await.expect("the dialer lives");
        Peer { endpoint, stream }
    }

    /// Accepts a connection and its login.
    pub(crate) async fn accept_login(&mut self) -> Peer {
        let mut peer = self.accept().await;
        assert_eq!(peer.packet().await[0], 0x10, "CONNECT");
        peer.send(CONNACK).await;
        peer
    }

    /// Accepts a connection, its login and its subscription.
    pub(crate) async fn accept_subscribed(&mut self) -> Peer {
        let mut peer = self.accept_login().await;
        let subscribe = peer.packet().await;
        assert_eq!(subscribe[0], 0x82, "SUBSCRIBE");
        peer.send(&[0x90, 3, subscribe[2], subscribe[3], 1]).await;
        peer
    }

    pub(crate) fn is_quiet(&mut self) -> bool {
        self.accepted.try_recv().is_err()
    }
}

/// The server's end of one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    stream: DuplexStream,
}

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
    }

    /// Sends one byte at a time, and lets the client run after each byte.
    pub(crate) async fn drip(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Reads the next packet. The length of the packet is in its header.
    pub(crate) async fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![self.stream.read_u8().await.expect("a packet")];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.expect("a length");
            packet.push(byte);
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let header = packet.len();
        packet.resize(header + length, 0);
        self.stream.read_exact(&mut packet[header..]).await.expect("a body");
        packet
    }

    /// Reads exactly this many bytes.
    pub(crate) async fn read(&mut self, bytes: &mut [u8]) {
        self.stream.read_exact(bytes).await.expect("bytes");
    }

    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        let mut packet = vec![0; bytes.len()];
        self.stream.read_exact(&mut packet).await.expect("a packet");
        assert_eq!(packet, bytes, "\n got {:?}\nwant {:?}", text(&packet), text(bytes));
    }

    /// Returns whether the client has ended its half of the stream and sent no further bytes.
    pub(crate) async fn at_end(&mut self) -> bool {
        self.stream.read(&mut [0]).await.expect("a pipe") == 0
    }
}

/// Encodes a PUBLISH of a server, at QoS 1 if it has an id.
pub(crate) fn publish(id: Option<u16>, topic: &str, body: &[u8]) -> Vec<u8> {
    let short = |number: usize| u16::try_from(number).expect("a short text").to_be_bytes();
    let mut rest = short(topic.len()).to_vec();
    rest.extend(topic.as_bytes());
    rest.extend(id.map(u16::to_be_bytes).into_iter().flatten());
    rest.extend(body);
    let mut packet = vec![if id.is_some() { 0x32 } else { 0x30 }];
    let mut length = rest.len();
    loop {
        let more = if length > 0x7f { 0x80 } else { 0 };
        packet.push(u8::try_from(length & 0x7f).expect("seven bits") | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    packet.extend(rest);
    packet
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
