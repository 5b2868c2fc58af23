//! A scripted hub. It sends exactly the bytes that a test gives it, and reads the bytes that the client writes.

use std::sync::Arc;

use async_trait::async_trait;
use hubward::transport::HubLogin;
use hubward::{Credential, HubClient, HubIdentity, HubOptions, SharedKey, TransportKind};
use hubward_dial::{ByteStream, DialError, Dialer, Endpoint};
use hubward_mqtt::MqttHub;
use hubward_tests::cloud::fast_reconnect;
use hubward_tests::packets::{self, Connect, Packet, Publish, kind};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

/// Accepts the connections of the client under test.
#[derive(Debug)]
pub(super) struct Hub {
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
}

/// A dialer that gives one end of a pipe to the client and the other end to the test.
#[derive(Debug)]
struct Pipes(mpsc::UnboundedSender<DuplexStream>);

#[async_trait]
impl Dialer for Pipes {
    async fn dial(&self, _to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        let (client, hub) = duplex(1 << 20);
        // Ignore an error: it means that the test has already ended.
        let _ended = self.0.send(hub);
        Ok(Box::new(client))
    }
}

/// Starts a client of the device `d1` or of its module `m1`. Returns the client, and the hub to which it connects.
pub(super) fn client(identity: HubIdentity) -> (HubClient, Hub) {
    client_with(HubLogin::new(identity), fast_reconnect())
}

/// Like [`client`], but with another login and other options.
pub(super) fn client_with(login: HubLogin, options: HubOptions) -> (HubClient, Hub) {
    let (sender, accepted) = mpsc::unbounded_channel();
    let transport = MqttHub::new(TransportKind::Mqtt, Arc::new(Pipes(sender)), 8883);
    let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
    let transport: Arc<dyn hubward::transport::HubTransport> = Arc::new(transport);
    (HubClient::spawn(transport, login, Credential::SharedKey(key), options), Hub { accepted })
}

/// The device `d1`.
pub(super) fn device() -> HubIdentity {
    HubIdentity::new("contoso.azure-devices.net".parse().expect("a host"), "d1".parse().expect("an id"))
}

/// Its module `m1`.
pub(super) fn module() -> HubIdentity {
    device().module("m1".parse().expect("an id"))
}

impl Hub {
    /// Accepts the next connection, and its login without a kept session.
    pub(super) async fn accept(&mut self) -> Peer {
        self.accept_session(false).await
    }

    /// Accepts the next connection and its login. The CONNACK says whether the hub kept the session.
    pub(super) async fn accept_session(&mut self, present: bool) -> Peer {
        let mut stream = self.accepted.recv().await.expect("a connection of the client");
        let packet = Packet::read(&mut stream).await.expect("a CONNECT");
        let login = packet.connect().expect("a CONNECT");
        packets::write(&mut stream, &packets::connack(present, 0)).await.expect("the client reads");
        Peer { stream, login }
    }
}

/// The hub's side of one connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: DuplexStream,
    /// The CONNECT of the client.
    pub(super) login: Connect,
}

impl Peer {
    /// Waits for the SUBSCRIBE to this filter and grants it.
    pub(super) async fn grant_subscription(&mut self, filter: &str) {
        let (id, filters) = self.next_packet().await.subscribe().expect("a SUBSCRIBE");
        assert!(matches!(&filters[..], [(it, qos)] if it == filter && *qos <= 1), "{filters:?} instead of {filter}");
        self.send(&packets::suback(id, &[filters[0].1])).await;
    }

    /// Waits for a PUBLISH and returns it. Acknowledges it if its quality of service is above 0.
    pub(super) async fn next_publish(&mut self) -> Publish {
        let packet = self.next_packet().await;
        let publish = packet.publish().unwrap_or_else(|| panic!("{packet:?} instead of a PUBLISH"));
        if publish.qos > 0 {
            self.send(&packets::puback(publish.id)).await;
        }
        publish
    }

    /// Waits for the next packet and returns it. Answers pings, and does not return them.
    pub(super) async fn next_packet(&mut self) -> Packet {
        loop {
            let packet = Packet::read(&mut self.stream).await.expect("a packet of the client");
            if packet.kind() != kind::PINGREQ {
                return packet;
            }
            self.send(packets::PINGRESP).await;
        }
    }

    /// Sends any bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        packets::write(&mut self.stream, bytes).await.expect("the client reads");
    }

    /// Sends a PUBLISH.
    pub(super) async fn publish(&mut self, topic: &str, body: &[u8], qos: u8, id: u16) {
        self.send(&packets::publish(topic, body, qos, id)).await;
    }
}
