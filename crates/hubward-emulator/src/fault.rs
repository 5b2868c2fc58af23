//! Scripted misbehaviour for tests: at a named point, the next event goes wrong as told.

mod script;
mod strike;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use script::Faults;
pub use script::{BadScript, FaultScript, ScriptedFault};
pub(crate) use strike::Moves;

/// Where something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Point {
    /// A TCP connection to the MQTT port, before TLS.
    MqttAccept,
    /// A TCP connection to the HTTPS port, before TLS.
    HttpsAccept,
    /// A WebSocket handshake on the HTTPS port.
    WebSocketUpgrade,
    /// An MQTT CONNECT to DPS.
    DpsConnect,
    /// An MQTT SUBSCRIBE at DPS.
    DpsSubscribe,
    /// A registration, over any transport.
    DpsRegister,
    /// A question how a registration is doing, over any transport.
    DpsPoll,
    /// An MQTT CONNECT to a hub.
    HubConnect,
    /// An MQTT SUBSCRIBE at a hub.
    HubSubscribe,
    /// A telemetry publish.
    HubPublish,
    /// A device's question about its twin.
    HubTwinGet,
    /// A device's patch of its reported properties.
    HubReported,
    /// A notice of changed desired properties, to a device that has subscribed to them.
    HubDesired,
    /// A call of a direct method, to a device that has subscribed to them.
    HubMethod,
    /// A request to the service API of DPS on the HTTPS port; not at the admin port, which operators use.
    DpsService,
    /// A request to the service API of a hub on the HTTPS port; not at the admin port.
    HubService,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::MqttAccept,
        Self::HttpsAccept,
        Self::WebSocketUpgrade,
        Self::DpsConnect,
        Self::DpsSubscribe,
        Self::DpsRegister,
        Self::DpsPoll,
        Self::HubConnect,
        Self::HubSubscribe,
        Self::HubPublish,
        Self::HubTwinGet,
        Self::HubReported,
        Self::HubDesired,
        Self::HubMethod,
        Self::DpsService,
        Self::HubService,
    ];

    /// Whether it is known whose event it is, so that a fault can be for one device.
    #[must_use]
    pub const fn knows_device(self) -> bool {
        !self.is_accept() && !self.is_service() && !matches!(self, Self::WebSocketUpgrade)
    }

    const fn is_accept(self) -> bool {
        matches!(self, Self::MqttAccept | Self::HttpsAccept)
    }

    const fn is_service(self) -> bool {
        matches!(self, Self::DpsService | Self::HubService)
    }

    /// A device is known to the hub, and may be connected.
    const fn is_of_hub_device(self) -> bool {
        matches!(
            self,
            Self::HubConnect
                | Self::HubSubscribe
                | Self::HubPublish
                | Self::HubTwinGet
                | Self::HubReported
                | Self::HubDesired
                | Self::HubMethod
        )
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of the service: this status with the usual JSON body.
    /// At the DPS requests, the twin requests, the service APIs and [`Point::WebSocketUpgrade`].
    Status {
        /// The HTTP status; over MQTT it stands in the topic.
        status: u16,
        /// The six-digit code in the body.
        code: u32,
        /// The message in the body.
        message: String,
        /// The value of Retry-After as it goes out: header or topic property. Hubs have no place
        /// for it.
        retry_after: Option<String>,
    },
    /// The same with these headers. At the DPS requests (over MQTT only `Retry-After` has a place), the
    /// service APIs and [`Point::WebSocketUpgrade`].
    StatusWith {
        /// The HTTP status; over MQTT it stands in the topic.
        status: u16,
        /// The six-digit code in the body.
        code: u32,
        /// The message in the body.
        message: String,
        /// Names and values. What cannot be a header is left out, and so are `Content-Length` and
        /// `Transfer-Encoding`.
        headers: Vec<(String, String)>,
    },
    /// Any bytes instead of the service's JSON: broken JSON, a gateway's HTML, a huge answer.
    /// At the DPS requests, the twin requests and the service APIs.
    Body {
        /// The HTTP status; over MQTT it stands in the topic.
        status: u16,
        /// `Content-Type`; HTTPS only.
        content_type: String,
        /// The body.
        bytes: Vec<u8>,
    },
    /// The right answer with another Retry-After, or without one. At the DPS requests.
    RetryAfter(Option<String>),
    /// The answer comes in chunks of so many bytes, without its length in the head. At the DPS
    /// requests over HTTPS (MQTT: no effect) and the service APIs.
    Chunked(usize),
    /// The connection ends without an answer. Everywhere; at [`Point::HubPublish`] the message is
    /// not logged, at [`Point::HubReported`] nothing is changed, and at [`Point::HubDesired`] and
    /// [`Point::HubMethod`] the device is told nothing.
    Cut,
    /// The connection ends after so many bytes: at an accept point of all that is sent, TLS and all; over
    /// HTTPS of the body; over MQTT of what is sent from this answer on. At the accept points, the connect
    /// points, the DPS requests, the twin requests, [`Point::HubPublish`] and the service APIs.
    CutAfter(usize),
    /// Nothing is answered, the connection stays open. Everywhere; a publish to DPS and a twin
    /// request get their PUBACK; at [`Point::HubPublish`] the message is not logged, at
    /// [`Point::HubReported`] nothing is changed, and at [`Point::HubDesired`] and
    /// [`Point::HubMethod`] the device is told nothing.
    Never,
    /// The answer comes so much later. Everywhere. At the twin requests, [`Point::HubDesired`] and
    /// [`Point::HubMethod`] all else goes on meanwhile, so that others overtake it; at the rest the
    /// connection stands still.
    Delay(Duration),
    /// The answer comes one byte at a time with this pause in between; on MQTT everything after it
    /// too, at an accept point the whole connection. At the accept points, the DPS requests, the
    /// connect points and the service APIs.
    Drip(Duration),
    /// The answer comes twice. At the DPS requests over MQTT (HTTPS: no effect), the twin requests,
    /// [`Point::HubDesired`] (the notice), [`Point::HubMethod`] (the call) and [`Point::HubPublish`]
    /// (the PUBACK).
    Duplicate,
    /// An answer with a foreign request id comes first. At the DPS requests over MQTT (HTTPS: no
    /// effect), the twin requests and [`Point::HubMethod`] (a call that nobody waits for).
    Stray,
    /// The answer overtakes the PUBACK of its request. At the DPS requests over MQTT (HTTPS: no
    /// effect) and the twin requests.
    BeforePuback,
    /// The CONNECT is refused with this code. At the connect points.
    Connack(u8),
    /// The SUBSCRIBE is refused: 0x80 for each filter. At the subscribe points.
    Suback128,
    /// The message is logged and never acknowledged. At [`Point::HubPublish`].
    HoldPuback,
    /// The message is logged at once and acknowledged so much later; all else goes on meanwhile, but
    /// for acknowledgements, which keep their order. At [`Point::HubPublish`].
    HoldPubackFor(Duration),
    /// The token has expired, whatever it says: 401 at the DPS requests and the service APIs, a refused
    /// CONNECT at [`Point::HubConnect`]; at the other points of a hub the connection ends. Only this once:
    /// the clock stays as it is.
    TokenExpired,
    /// An operator disables the device just now: the CONNECT is refused, or the connection ends, and it
    /// stays disabled. At the points of a hub.
    DeviceDisabled,
    /// An operator deletes the device from its hub just now: the CONNECT is refused, or the connection ends,
    /// until a registration or somebody makes it known again. At the points of a hub.
    DeviceDeleted,
    /// The device is moved to another hub just now, with its twin: this hub does not know it any more, and
    /// DPS answers the other one from now on, until faults are cleared. With one hub only there is none to
    /// move to: then this is [`Fault::DeviceDeleted`]. At the points of a hub and [`Point::DpsRegister`].
    HubMoved,
}

impl Fault {
    /// A refusal as [`Fault::Status`].
    #[must_use]
    pub fn status(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self::Status { status, code, message: message.into(), retry_after: None }
    }

    /// 429 with a Retry-After, as the service sends it.
    ///
    /// Source: `[sdk]` Azure/azure-iot-middleware-freertos, provisioning unit tests.
    #[must_use]
    pub fn throttled(retry_after: impl Into<String>) -> Self {
        Self::Status {
            status: 429,
            code: 429_001,
            message: "Operations are being throttled for this tenant.".into(),
            retry_after: Some(retry_after.into()),
        }
    }

    /// 200 with bytes that claim to be JSON.
    #[must_use]
    pub fn body(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Body { status: 200, content_type: "application/json; charset=utf-8".into(), bytes: bytes.into() }
    }

    /// 200 with the beginning of an object that never ends.
    #[must_use]
    pub fn wrong_json() -> Self {
        Self::body(br#"{"operationId":"4.55cb"#)
    }

    /// 502 with HTML, as a gateway in between sends it.
    #[must_use]
    pub fn gateway_html() -> Self {
        Self::Body {
            status: 502,
            content_type: "text/html".into(),
            bytes: b"<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>".to_vec(),
        }
    }

    /// Whether this can happen at `point`.
    #[must_use]
    pub const fn fits(&self, point: Point) -> bool {
        let dps_request = matches!(point, Point::DpsRegister | Point::DpsPoll);
        let twin_request = matches!(point, Point::HubTwinGet | Point::HubReported);
        let request = dps_request || twin_request;
        let (accept, service) = (point.is_accept(), point.is_service());
        let connect = matches!(point, Point::DpsConnect | Point::HubConnect);
        let publish = matches!(point, Point::HubPublish);
        match self {
            Self::Cut | Self::Never | Self::Delay(_) => true,
            Self::CutAfter(_) => accept || connect || request || publish || service,
            Self::Status { .. } => request || service || matches!(point, Point::WebSocketUpgrade),
            Self::StatusWith { .. } => dps_request || service || matches!(point, Point::WebSocketUpgrade),
            Self::Body { .. } => request || service,
            Self::BeforePuback => request,
            Self::RetryAfter(_) => dps_request,
            Self::Chunked(_) => dps_request || service,
            Self::Stray => request || matches!(point, Point::HubMethod),
            Self::Drip(_) => accept || dps_request || connect || service,
            Self::Duplicate => request || publish || matches!(point, Point::HubDesired | Point::HubMethod),
            Self::Connack(_) => connect,
            Self::Suback128 => matches!(point, Point::DpsSubscribe | Point::HubSubscribe),
            Self::HoldPuback | Self::HoldPubackFor(_) => publish,
            Self::TokenExpired => dps_request || service || point.is_of_hub_device(),
            Self::DeviceDisabled | Self::DeviceDeleted => point.is_of_hub_device(),
            Self::HubMoved => point.is_of_hub_device() || matches!(point, Point::DpsRegister),
        }
    }

    /// Whether it happens to the device itself rather than to a connection or an answer.
    pub(crate) const fn strikes_device(&self) -> bool {
        matches!(self, Self::TokenExpired | Self::DeviceDisabled | Self::DeviceDeleted | Self::HubMoved)
    }

    /// For logs: the bodies may be huge.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Status { status, code, .. } | Self::StatusWith { status, code, .. } => {
                format!("Status {status} {code}")
            }
            Self::Body { status, bytes, .. } => format!("Body {status} of {} bytes", bytes.len()),
            other => format!("{other:?}"),
        }
    }
}

/// A fault was scripted for a point where it cannot happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault:?} cannot happen at {point:?}")]
pub struct UnfitFault {
    /// The fault.
    pub fault: Fault,
    /// The point.
    pub point: Point,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for each fault, a column for each point, as `docs/emulator.md` has it.
    #[test]
    fn every_fault_has_its_points() {
        let second = Duration::from_secs(1);
        for (fault, fits) in [
            (Fault::Cut, "xxxxxxxxxxxxxxxx"),
            (Fault::Never, "xxxxxxxxxxxxxxxx"),
            (Fault::Delay(second), "xxxxxxxxxxxxxxxx"),
            (Fault::status(500, 500_000, ""), "..x..xx...xx..xx"),
            (Fault::body(""), ".....xx...xx..xx"),
            (Fault::BeforePuback, ".....xx...xx...."),
            (Fault::RetryAfter(None), ".....xx........."),
            (Fault::Chunked(1), ".....xx.......xx"),
            (Fault::Stray, ".....xx...xx.x.."),
            (Fault::Drip(second), "xx.x.xxx......xx"),
            (Fault::Duplicate, ".....xx..xxxxx.."),
            (Fault::Connack(5), "...x...x........"),
            (Fault::Suback128, "....x...x......."),
            (Fault::HoldPuback, ".........x......"),
            (Fault::HoldPubackFor(second), ".........x......"),
            (Fault::CutAfter(3), "xx.x.xxx.xxx..xx"),
            (
                Fault::StatusWith { status: 503, code: 503_000, message: String::new(), headers: vec![] },
                "..x..xx.......xx",
            ),
            (Fault::TokenExpired, ".....xxxxxxxxxxx"),
            (Fault::DeviceDisabled, ".......xxxxxxx.."),
            (Fault::DeviceDeleted, ".......xxxxxxx.."),
            (Fault::HubMoved, ".....x.xxxxxxx.."),
        ] {
            let row: String = Point::ALL.iter().map(|it| if fault.fits(*it) { 'x' } else { '.' }).collect();
            assert_eq!(row, fits, "{fault:?}");
        }
    }
}
