//! The names of the transports.

use std::fmt;
use std::str::FromStr;

/// A protocol between a device and DPS or a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// HTTPS, port 443.
    Https,
    /// MQTT 3.1.1 over TLS, port 8883.
    Mqtt,
    /// MQTT 3.1.1 over WebSocket over TLS, port 443.
    MqttWs,
}

impl TransportKind {
    /// All transports.
    pub const ALL: [Self; 3] = [Self::Https, Self::Mqtt, Self::MqttWs];

    /// Returns the name for command lines and output: `https`, `mqtt`, `mqtt-ws`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
        }
    }

    /// Returns the port on which the services listen.
    ///
    /// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md, iot/iot-mqtt-connect-to-iot-hub.md.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => hubward_proto::limits::MQTT_PORT,
            Self::Https | Self::MqttWs => hubward_proto::limits::HTTPS_PORT,
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TransportKind {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| UnknownTransport(text.to_owned()))
    }
}

/// A name that is not the name of a transport.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a supported transport; use https, mqtt or mqtt-ws")]
pub struct UnknownTransport(String);

hubward_proto::debug_as_error_report!(UnknownTransport);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_transport() {
        for kind in TransportKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "amqp".parse::<TransportKind>().expect_err("not yet");
        assert_eq!(error.to_string(), "`amqp` is not a supported transport; use https, mqtt or mqtt-ws");
    }
}
