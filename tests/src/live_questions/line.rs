//! An MQTT connection made of bytes: it writes what a question says, and tells what comes back.

use std::collections::VecDeque;
use std::time::Duration;

use hubward_dial::ByteStream;
use tokio::io::WriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::asker::Asker;
use super::normal::literal;
use crate::packets::{self, Packet, Publish};

/// How long the service may be silent before that counts as its answer.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Packets that wait to be looked at.
const QUEUE: usize = 1024;

/// What a device logs in with.
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
pub(super) struct Line {
    writer: WriteHalf<Box<dyn ByteStream>>,
    packets: mpsc::Receiver<Packet>,
    reader: JoinHandle<()>,
    /// Publishes that came while another packet was awaited.
    early: VecDeque<Publish>,
    next_id: u16,
    /// Whether the service kept a session.
    pub(super) session_present: bool,
}

/// What came.
enum Heard {
    Packet(Packet),
    End,
    Silence,
}

impl Line {
    /// Logs in; says how the service answered.
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
        let mut line = Self { writer, packets, reader, early, next_id, session_present: false };
        line.write(&connect(login)).await;
        let (answer, accepted) = match line.hear(SILENCE).await {
            Heard::Packet(packet) if packet.kind() == 2 && packet.rest.len() == 2 => {
                line.session_present = packet.rest[0] & 1 == 1;
                (format!("CONNACK {}", packet.rest[1]), packet.rest[1] == 0)
            }
            Heard::Packet(packet) => (format!("packet {:02x} {}", packet.first, literal(&packet.rest)), false),
            Heard::End => ("the connection ends".into(), false),
            Heard::Silence => ("silence".into(), false),
        };
        let password = if login.password.is_some() { "a token" } else { "none" };
        let Login { client_id, username, clean, .. } = login;
        let session = u8::from(line.session_present);
        asker.exchange(
            &format!(
                "{what}: CONNECT client id {client_id}, user name {username}, password: {password}, CleanSession {}",
                u8::from(*clean)
            ),
            &if accepted { format!("{answer}, session present {session}") } else { answer.clone() },
        );
        (answer, accepted.then_some(line))
    }

    /// Subscribes to all filters in one packet; says how the service answered.
    pub(super) async fn subscribe(&mut self, asker: &Asker, filters: &[(&str, u8)]) -> String {
        let id = self.id();
        let mut rest = id.to_be_bytes().to_vec();
        for (filter, qos) in filters {
            rest.extend(u16::try_from(filter.len()).unwrap_or(u16::MAX).to_be_bytes());
            rest.extend(filter.as_bytes());
            rest.push(*qos);
        }
        self.write(&packets::packet(0x82, &rest)).await;
        let answer = match self.until(9).await {
            Heard::Packet(packet) => {
                let codes: Vec<String> = packet.rest.iter().skip(2).map(|it| format!("{it:02x}")).collect();
                format!("SUBACK {}", codes.join(" "))
            }
            Heard::End => "the connection ends".into(),
            Heard::Silence => "silence".into(),
        };
        asker.exchange(&format!("SUBSCRIBE {filters:?}"), &answer);
        answer
    }

    /// Subscribes to one filter that a question depends on.
    pub(super) async fn must_subscribe(&mut self, asker: &Asker, filter: &str, qos: u8) -> Result<(), String> {
        let answer = self.subscribe(asker, &[(filter, qos)]).await;
        if answer == format!("SUBACK {qos:02x}") { Ok(()) } else { Err(format!("SUBSCRIBE {filter}: {answer}")) }
    }

    /// Publishes; with quality of service 1 it says how the service answered.
    pub(super) async fn publish(&mut self, asker: &Asker, topic: &str, body: &[u8], qos: u8) -> String {
        let id = self.id();
        self.write(&packets::publish(topic, body, qos, id)).await;
        let answer = match qos {
            0 => "not acknowledged: quality of service 0".to_owned(),
            _ => match self.until(4).await {
                Heard::Packet(_) => "PUBACK".into(),
                Heard::End => "the connection ends".into(),
                Heard::Silence => "silence".into(),
            },
        };
        asker.exchange(&format!("PUBLISH {topic} (quality of service {qos}) {}", literal(body)), &answer);
        answer
    }

    /// The next publish from the service within this time; an error says what came instead.
    pub(super) async fn next(&mut self, asker: &Asker, limit: Duration) -> Result<Publish, &'static str> {
        let publish = match self.early.pop_front() {
            Some(publish) => publish,
            None => loop {
                match self.hear(limit).await {
                    Heard::Packet(packet) => {
                        if let Some(publish) = packet.publish() {
                            break publish;
                        }
                    }
                    Heard::End => return Err("the connection ends"),
                    Heard::Silence => return Err("silence"),
                }
            },
        };
        let Publish { topic, body, qos, duplicate, id } = &publish;
        let dup = u8::from(*duplicate);
        asker.exchange("(from the service)", &format!("PUBLISH {topic} qos {qos} dup {dup} id {id} {}", literal(body)));
        Ok(publish)
    }

    /// Acknowledges a publish with quality of service 1.
    pub(super) async fn acknowledge(&mut self, publish: &Publish) {
        if publish.qos == 1 {
            self.write(&packets::puback(publish.id)).await;
        }
    }

    /// Whether the service still answers on this connection.
    pub(super) async fn life(&mut self) -> &'static str {
        self.write(packets::PINGREQ).await;
        match self.until(13).await {
            Heard::Packet(_) => "lives",
            Heard::End => "ends",
            Heard::Silence => "silence",
        }
    }

    /// Whether the service ends the connection within this time.
    pub(super) async fn is_ended_within(&mut self, limit: Duration) -> bool {
        let all = async {
            while let Some(packet) = self.packets.recv().await {
                self.early.extend(packet.publish());
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Says good-bye, so that the service forgets the connection at once.
    pub(super) async fn close(mut self) {
        self.write(packets::DISCONNECT).await;
        self.is_ended_within(Duration::from_secs(10)).await;
    }

    /// A write that fails shows as the end of the connection when the answer is awaited.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = packets::write(&mut self.writer, bytes).await;
    }

    async fn hear(&mut self, limit: Duration) -> Heard {
        match tokio::time::timeout(limit, self.packets.recv()).await {
            Ok(Some(packet)) => Heard::Packet(packet),
            Ok(None) => Heard::End,
            Err(_) => Heard::Silence,
        }
    }

    /// The next packet of a type; publishes before it are kept.
    async fn until(&mut self, kind: u8) -> Heard {
        loop {
            match self.hear(SILENCE).await {
                Heard::Packet(packet) if packet.kind() == kind => return Heard::Packet(packet),
                Heard::Packet(packet) => self.early.extend(packet.publish()),
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

impl Drop for Line {
    fn drop(&mut self) {
        // The reader holds half of the stream, which would stay open.
        self.reader.abort();
    }
}

/// A CONNECT with keep-alive 240 s, with or without a password.
fn connect(login: &Login) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04".to_vec();
    let clean = if login.clean { 0x02 } else { 0 };
    rest.push(if login.password.is_some() { 0xc0 } else { 0x80 } | clean);
    rest.extend(240_u16.to_be_bytes());
    for text in [Some(&login.client_id), Some(&login.username), login.password.as_ref()].into_iter().flatten() {
        rest.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        rest.extend(text.as_bytes());
    }
    packets::packet(0x10, &rest)
}
