//! A device connection that sends exactly the packets that a test gives it. The packets may be invalid.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hubward::{HubSettings, SharedKey, TransportKind};
use hubward_dial::{ByteStream, Dialer, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_sas::{SasToken, UnixSeconds};
use hubward_ws::WsDialer;

use crate::packets::{self, Connect, Packet, Publish, kind};
use crate::scenario::{context, ensure};

/// A connection to a hub, logged in.
#[derive(Debug)]
pub struct RawDevice {
    stream: Box<dyn ByteStream>,
    /// PUBLISH packets that arrived while the test waited for another packet.
    early: VecDeque<Publish>,
    next_id: u16,
}

impl RawDevice {
    /// Logs in with the client ID and user name of the documentation.
    ///
    /// # Errors
    /// The reason, as text: the connection fails, or the hub refuses the login.
    pub async fn login(settings: &HubSettings, key: &SharedKey, clean: bool) -> Result<Self, String> {
        let (host, device) = (&settings.identity.host, &settings.identity.device);
        let (client_id, resource) = match &settings.identity.module {
            None => (device.to_string(), format!("{host}/devices/{device}")),
            Some(module) => (format!("{device}/{module}"), format!("{host}/devices/{device}/modules/{module}")),
        };
        let username = format!("{host}/{client_id}/?api-version=2021-04-12");
        let password = SasToken::sign(key, &resource, in_an_hour(), None).expose().to_owned();
        let mut stream = dial(settings).await?;
        let login = Connect { client_id, username, password: Some(password), clean, keep_alive: 60 };
        context("the login", packets::write(&mut stream, &packets::connect(&login)).await)?;
        let answer = Packet::read(&mut stream).await.ok_or("no answer to the login")?;
        ensure(answer.first == 0x20 && answer.rest[1] == 0, || format!("the hub answered the login with {answer:?}"))?;
        Ok(Self { stream, early: VecDeque::new(), next_id: 1 })
    }

    /// Subscribes to one filter.
    ///
    /// # Errors
    /// If the hub does not grant the requested quality of service.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), String> {
        let id = self.id();
        self.write(&packets::subscribe(id, &[(filter, qos)])).await?;
        let answer = self.packet(kind::SUBACK).await?;
        let expected = packets::suback(id, &[qos]);
        ensure(packets::packet(answer.first, &answer.rest) == expected, || format!("{filter}: answered {answer:?}"))
    }

    /// Publishes with quality of service 1 and waits for the PUBACK.
    ///
    /// # Errors
    /// If the connection closes first.
    pub async fn publish(&mut self, topic: &str, body: &[u8]) -> Result<(), String> {
        let id = self.id();
        self.write(&packets::publish(topic, body, 1, id)).await?;
        let answer = self.packet(kind::PUBACK).await?;
        ensure(answer.rest == id.to_be_bytes(), || format!("{topic}: answered {answer:?}"))
    }

    /// Waits for the next PUBLISH from the hub, and does not acknowledge it.
    ///
    /// # Errors
    /// If the connection closes first.
    pub async fn next(&mut self) -> Result<Publish, String> {
        if let Some(publish) = self.early.pop_front() {
            return Ok(publish);
        }
        let packet = Packet::read(&mut self.stream).await.ok_or("the hub closed the connection")?;
        packet.publish().ok_or_else(|| format!("expected a PUBLISH, received {packet:?}"))
    }

    /// Acknowledges a PUBLISH, and waits until the hub has read the acknowledgement.
    ///
    /// # Errors
    /// If the connection closes first.
    pub async fn acknowledge(&mut self, publish: &Publish) -> Result<(), String> {
        self.write(&packets::puback(publish.id)).await?;
        self.ping().await
    }

    /// Sends a PINGREQ and waits for the PINGRESP. When this function returns, the hub has read all earlier packets.
    /// All packets that the hub sent before the PINGRESP have then arrived, too.
    ///
    /// # Errors
    /// If the connection closes first.
    pub async fn ping(&mut self) -> Result<(), String> {
        self.write(packets::PINGREQ).await?;
        self.packet(kind::PINGRESP).await.map(drop)
    }

    /// Writes any bytes.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        context("writing", packets::write(&mut self.stream, bytes).await)
    }

    /// Waits until the hub closes the connection. Ignores PUBLISH packets. Returns `false` as soon as another packet
    /// arrives.
    pub async fn is_closed(&mut self) -> bool {
        while let Some(packet) = Packet::read(&mut self.stream).await {
            if packet.publish().is_none() {
                return false;
            }
        }
        true
    }

    /// Waits for the next packet of this type. A PUBLISH that arrives earlier is kept, and [`Self::next`] returns it
    /// later.
    async fn packet(&mut self, kind: u8) -> Result<Packet, String> {
        loop {
            let packet = Packet::read(&mut self.stream).await.ok_or("the hub closed the connection")?;
            match packet.publish() {
                Some(publish) => self.early.push_back(publish),
                None if packet.kind() == kind => return Ok(packet),
                None => return Err(format!("expected a packet of type {kind}, received {packet:?}")),
            }
        }
    }

    fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// Opens a byte stream to the hub, as the product's transport does.
async fn dial(settings: &HubSettings) -> Result<Box<dyn ByteStream>, String> {
    let mut trust = TlsSettings::new();
    if let Some(file) = &settings.options.ca_file {
        trust = trust.ca_file(file);
    }
    let tcp = TcpDialer::new().dial_overrides(settings.options.dial_overrides.clone());
    let tls = TlsDialer::new(tcp, context("the authorities", trust.client_config())?);
    let dialer: Arc<dyn Dialer> = match settings.transport {
        TransportKind::MqttWs => Arc::new(WsDialer::new(tls, "/$iothub/websocket", "mqtt")),
        _ => Arc::new(tls),
    };
    context(
        "dialing",
        dialer.dial(&Endpoint::new(settings.identity.host.as_str(), settings.transport.default_port())).await,
    )
}

fn in_an_hour() -> UnixSeconds {
    #[expect(clippy::disallowed_methods, reason = "a token expires at a time of day")]
    let now = std::time::SystemTime::now();
    UnixSeconds::from_system_time(now).saturating_add(Duration::from_secs(3600))
}
