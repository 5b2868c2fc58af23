//! An MQTT connection that a question uses. It sends exactly the packets that the question provides, and reports the
//! answers of the service.

use std::collections::VecDeque;
use std::time::Duration;

use hubward_dial::ByteStream;
use tokio::io::WriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::asker::Asker;
use super::normal::literal;
use crate::packets::{self, Connect, Packet, Publish, kind};

/// Maximum time that a question waits for a packet. If no packet arrives, the question records that the service is
/// silent.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Largest number of unread packets.
const QUEUE: usize = 1024;

/// The values of a device's CONNECT.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) host: String,
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) password: Option<String>,
    pub(super) clean: bool,
}

/// A connection that the service accepted.
#[derive(Debug)]
pub(super) struct Connection {
    writer: WriteHalf<Box<dyn ByteStream>>,
    packets: mpsc::Receiver<Packet>,
    reader: JoinHandle<()>,
    /// PUBLISH packets that arrived while the question waited for another packet.
    early: VecDeque<Publish>,
    next_id: u16,
    /// Whether the service kept a session.
    pub(super) session_present: bool,
}

/// The result of waiting for a packet: a packet, the end of the connection, or silence.
enum Received {
    Packet(Packet),
    Closed,
    Silence,
}

impl Connection {
    /// Logs in. Returns the answer of the service as text, and the connection if the service accepted the login.
    pub(super) async fn open(asker: &Asker, what: &str, login: &Login) -> (String, Option<Self>) {
        let stream = match asker.cloud.dial(&login.host, 8883).await {
            Ok(stream) => stream,
            Err(problem) => return (format!("no connection: {problem}"), None),
        };
        let (mut reading, writer) = tokio::io::split(stream);
        let (sender, packets) = mpsc::channel(QUEUE);
        let reader = tokio::spawn(async move {
            while let Some(packet) = Packet::read(&mut reading).await {
                if sender.send(packet).await.is_err() {
                    return;
                }
            }
        });
        let (early, next_id) = (VecDeque::new(), 1);
        let mut connection = Self { writer, packets, reader, early, next_id, session_present: false };
        connection
            .write(&packets::connect(&Connect {
                client_id: login.client_id.clone(),
                username: login.username.clone(),
                password: login.password.clone(),
                clean: login.clean,
                keep_alive: 240,
            }))
            .await;
        let (answer, accepted) = match connection.receive(SILENCE).await {
            Received::Packet(packet) if packet.kind() == kind::CONNACK && packet.rest.len() == 2 => {
                connection.session_present = packet.rest[0] & 1 == 1;
                (format!("CONNACK {}", packet.rest[1]), packet.rest[1] == 0)
            }
            Received::Packet(packet) => (format!("packet {:02x} {}", packet.first, literal(&packet.rest)), false),
            Received::Closed => ("the connection ends".into(), false),
            Received::Silence => ("silence".into(), false),
        };
        let password = if login.password.is_some() { "a token" } else { "none" };
        let Login { client_id, username, clean, .. } = login;
        let session = u8::from(connection.session_present);
        asker.exchange(
            &format!(
                "{what}: CONNECT client id {client_id}, user name {username}, password: {password}, CleanSession {}",
                u8::from(*clean)
            ),
            &if accepted { format!("{answer}, session present {session}") } else { answer.clone() },
        );
        (answer, accepted.then_some(connection))
    }

    /// Sends one SUBSCRIBE with all filters. Returns the answer of the service as text.
    pub(super) async fn subscribe(&mut self, asker: &Asker, filters: &[(&str, u8)]) -> String {
        let id = self.id();
        self.write(&packets::subscribe(id, filters)).await;
        let answer = match self.wait_for(kind::SUBACK).await {
            Received::Packet(packet) => {
                let codes: Vec<String> = packet.rest.iter().skip(2).map(|it| format!("{it:02x}")).collect();
                format!("SUBACK {}", codes.join(" "))
            }
            Received::Closed => "the connection ends".into(),
            Received::Silence => "silence".into(),
        };
        asker.exchange(&format!("SUBSCRIBE {filters:?}"), &answer);
        answer
    }

    /// Subscribes to a filter. If the service does not grant the subscription, returns an error. This error stops the
    /// question.
    pub(super) async fn must_subscribe(&mut self, asker: &Asker, filter: &str, qos: u8) -> Result<(), String> {
        let answer = self.subscribe(asker, &[(filter, qos)]).await;
        if answer == format!("SUBACK {qos:02x}") { Ok(()) } else { Err(format!("SUBSCRIBE {filter}: {answer}")) }
    }

    /// Sends a PUBLISH. With quality of service 1, returns the answer of the service as text.
    pub(super) async fn publish(&mut self, asker: &Asker, topic: &str, body: &[u8], qos: u8) -> String {
        let id = self.id();
        self.write(&packets::publish(topic, body, qos, id)).await;
        let answer = match qos {
            0 => "not acknowledged: quality of service 0".to_owned(),
            _ => match self.wait_for(kind::PUBACK).await {
                Received::Packet(_) => "PUBACK".into(),
                Received::Closed => "the connection ends".into(),
                Received::Silence => "silence".into(),
            },
        };
        asker.exchange(&format!("PUBLISH {topic} (quality of service {qos}) {}", literal(body)), &answer);
        answer
    }

    /// Waits for the next PUBLISH from the service. If none arrives, the error says what happened.
    pub(super) async fn next(&mut self, asker: &Asker, limit: Duration) -> Result<Publish, &'static str> {
        let publish = match self.early.pop_front() {
            Some(publish) => publish,
            None => loop {
                match self.receive(limit).await {
                    Received::Packet(packet) => {
                        if let Some(publish) = packet.publish() {
                            break publish;
                        }
                    }
                    Received::Closed => return Err("the connection ends"),
                    Received::Silence => return Err("silence"),
                }
            },
        };
        let Publish { topic, body, qos, duplicate, id } = &publish;
        let dup = u8::from(*duplicate);
        asker.exchange("(from the service)", &format!("PUBLISH {topic} qos {qos} dup {dup} id {id} {}", literal(body)));
        Ok(publish)
    }

    /// Acknowledges a PUBLISH with quality of service 1.
    pub(super) async fn acknowledge(&mut self, publish: &Publish) {
        if publish.qos == 1 {
            self.write(&packets::puback(publish.id)).await;
        }
    }

    /// Sends a PINGREQ. Returns a text that says whether the service still answers on this connection.
    pub(super) async fn ping(&mut self) -> &'static str {
        self.write(packets::PINGREQ).await;
        match self.wait_for(kind::PINGRESP).await {
            Received::Packet(_) => "lives",
            Received::Closed => "ends",
            Received::Silence => "silence",
        }
    }

    /// Returns `true` if the service closes the connection within this time.
    pub(super) async fn is_ended_within(&mut self, limit: Duration) -> bool {
        let all = async {
            while let Some(packet) = self.packets.recv().await {
                self.early.extend(packet.publish());
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Sends a DISCONNECT, and waits until the service has ended the connection.
    pub(super) async fn close(mut self) {
        self.write(packets::DISCONNECT).await;
        self.is_ended_within(Duration::from_secs(10)).await;
    }

    /// Writes bytes. Ignores a failure, because the next read then reports the end of the connection.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = packets::write(&mut self.writer, bytes).await;
    }

    async fn receive(&mut self, limit: Duration) -> Received {
        match tokio::time::timeout(limit, self.packets.recv()).await {
            Ok(Some(packet)) => Received::Packet(packet),
            Ok(None) => Received::Closed,
            Err(_) => Received::Silence,
        }
    }

    /// Waits for the next packet of this type. Keeps PUBLISH packets that arrive earlier for later calls.
    async fn wait_for(&mut self, kind: u8) -> Received {
        loop {
            match self.receive(SILENCE).await {
                Received::Packet(packet) if packet.kind() == kind => return Received::Packet(packet),
                Received::Packet(packet) => self.early.extend(packet.publish()),
                other => return other,
            }
        }
    }

    const fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A task holds the reading half of the stream. The stream closes only after this task has ended, so abort the
        // task.
        self.reader.abort();
    }
}
