//! A device made of bytes: it says to a hub exactly what a test says, right or wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hubward::{HubSettings, SharedKey, TransportKind};
use hubward_dial::{ByteStream, Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_sas::{SasToken, UnixSeconds};
use hubward_ws::WsDialer;

use crate::packets::{self, Connect, Packet, Publish};
use crate::scenario::{because, must};

/// A connection to a hub, logged in.
#[derive(Debug)]
pub struct Raw {
    stream: Box<dyn ByteStream>,
    /// Whether the hub kept a session.
    pub session_present: bool,
    /// Publishes that came while something else was awaited.
    early: VecDeque<Publish>,
    next_id: u16,
}

impl Raw {
    /// Logs in, with client id and user name as the documentation spells them.
    ///
    /// # Errors
    /// What went wrong, as text; also a refusal.
    pub async fn login(settings: &HubSettings, key: &SharedKey, clean: bool) -> Result<Self, String> {
        let (host, device) = (&settings.identity.host, &settings.identity.device);
        let (client_id, resource) = match &settings.identity.module {
            None => (device.to_string(), format!("{host}/devices/{device}")),
            Some(module) => (format!("{device}/{module}"), format!("{host}/devices/{device}/modules/{module}")),
        };
        let username = format!("{host}/{client_id}/?api-version=2021-04-12");
        let password = SasToken::sign(key, &resource, in_an_hour(), None).expose().to_owned();
        let mut stream = dial(settings).await?;
        let login = Connect { client_id, username, password, clean };
        because("the login", packets::write(&mut stream, &packets::connect(&login)).await)?;
        let answer = Packet::read(&mut stream).await.ok_or("no answer to the login")?;
        must(answer.first == 0x20 && answer.rest[1] == 0, || format!("the login was answered with {answer:?}"))?;
        Ok(Self { stream, session_present: answer.rest[0] == 1, early: VecDeque::new(), next_id: 1 })
    }

    /// Subscribes to one filter; the hub must grant quality of service 1 for 1, 0 for 0.
    ///
    /// # Errors
    /// If it does not.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), String> {
        let id = self.id();
        self.write(&packets::subscribe(id, filter, qos)).await?;
        let answer = self.packet(9).await?;
        let expected = packets::suback(id, &[qos]);
        must(packets::packet(answer.first, &answer.rest) == expected, || format!("{filter}: answered {answer:?}"))
    }

    /// Publishes with quality of service 1 and waits for the PUBACK.
    ///
    /// # Errors
    /// If the connection ends instead.
    pub async fn publish(&mut self, topic: &str, body: &[u8]) -> Result<(), String> {
        let id = self.id();
        self.write(&packets::publish(topic, body, 1, id)).await?;
        let answer = self.packet(4).await?;
        must(answer.rest == id.to_be_bytes(), || format!("{topic}: answered {answer:?}"))
    }

    /// The next publish from the hub. It is not acknowledged.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn next(&mut self) -> Result<Publish, String> {
        if let Some(publish) = self.early.pop_front() {
            return Ok(publish);
        }
        let packet = Packet::read(&mut self.stream).await.ok_or("the hub closed the connection")?;
        packet.publish().ok_or_else(|| format!("no publish but {packet:?}"))
    }

    /// Acknowledges a publish, and waits until the hub has certainly read it.
    ///
    /// # Errors
    /// If the connection ends instead.
    pub async fn acknowledge(&mut self, publish: &Publish) -> Result<(), String> {
        self.write(&packets::puback(publish.id)).await?;
        self.settle().await
    }

    /// Waits until the hub has read everything, and everything that it sent before has arrived; says
    /// how many publishes that were.
    ///
    /// # Errors
    /// If the connection ends instead.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.write(packets::PINGREQ).await?;
        self.packet(13).await.map(drop)
    }

    /// Publishes that have arrived and were not asked for yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.early.len()
    }

    /// Writes any bytes.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        because("writing", packets::write(&mut self.stream, bytes).await)
    }

    /// Whether the hub ends the connection; publishes before that do not count.
    pub async fn is_closed(&mut self) -> bool {
        while let Some(packet) = Packet::read(&mut self.stream).await {
            if packet.publish().is_none() {
                return false;
            }
        }
        true
    }

    /// Says good-bye and waits for the end.
    ///
    /// # Errors
    /// If the connection has ended before.
    pub async fn close(mut self) -> Result<(), String> {
        self.write(packets::DISCONNECT).await?;
        must(self.is_closed().await, || "a DISCONNECT was answered".into())
    }

    /// The next packet of a type; publishes before it are kept.
    async fn packet(&mut self, kind: u8) -> Result<Packet, String> {
        loop {
            let packet = Packet::read(&mut self.stream).await.ok_or("the hub closed the connection")?;
            match packet.publish() {
                Some(publish) => self.early.push_back(publish),
                None if packet.kind() == kind => return Ok(packet),
                None => return Err(format!("a packet of type {kind} was due, {packet:?} came")),
            }
        }
    }

    fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// A byte stream to the hub, as the transport has it.
async fn dial(settings: &HubSettings) -> Result<Box<dyn ByteStream>, String> {
    let mut trust = TlsSettings::new();
    if let Some(file) = &settings.options.ca_file {
        trust = trust.ca_file(file);
    }
    let tcp = TcpDialer::new().dial_overrides(settings.options.dial_overrides.clone());
    let tls = TlsDialer::new(tcp, because("the authorities", trust.client_config())?);
    let dialer: Arc<dyn Dialer> = match settings.transport {
        TransportKind::MqttWs => Arc::new(WsDialer::new(tls, "/$iothub/websocket", "mqtt")),
        _ => Arc::new(tls),
    };
    because(
        "dialing",
        dialer.dial(&Endpoint::new(settings.identity.host.as_str(), settings.transport.default_port())).await,
    )
}

fn in_an_hour() -> UnixSeconds {
    #[expect(clippy::disallowed_methods, reason = "a token is made for the time of day")]
    let now = std::time::SystemTime::now();
    UnixSeconds::from_system_time(now).saturating_add(Duration::from_secs(3600))
}
