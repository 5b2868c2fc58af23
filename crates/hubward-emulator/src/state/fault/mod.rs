//! Scripted faults for tests. A script makes the next event at a named point fail in a defined way.

mod moves;
mod script;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use moves::Moves;
pub(crate) use script::Faults;
pub use script::{BadScript, FaultScript, ScriptedFault};

/// Where a fault can happen.
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
    /// A poll for the status of a registration, over any transport.
    DpsPoll,
    /// An MQTT CONNECT to a hub.
    HubConnect,
    /// An MQTT SUBSCRIBE at a hub.
    HubSubscribe,
    /// A telemetry publish.
    HubPublish,
    /// A device's request for its twin.
    HubTwinGet,
    /// A device's update of its reported properties.
    HubReported,
    /// A notification about changed desired properties, to a device that has subscribed to such notifications.
    HubDesired,
    /// A direct method call to a device that subscribes to methods.
    HubMethod,
    /// A certificate request of a device that has subscribed to the answers.
    HubCertificateRequest,
    /// The result of an accepted certificate request: the certificate, or the refusal of the certificate request.
    HubCertificate,
    /// A request to the service API of DPS on the HTTPS port. Requests to the admin port are not included.
    DpsService,
    /// A request to the service API of a hub on the HTTPS port. Requests to the admin port are not included.
    HubService,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 18] = [
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
        Self::HubCertificateRequest,
        Self::HubCertificate,
        Self::DpsService,
        Self::HubService,
    ];

    /// Returns whether the emulator knows the device of an event at this point. If the result is `false`, a fault at
    /// this point cannot be limited to one device.
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

    /// Whether the events here belong to a device of a hub.
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
                | Self::HubCertificateRequest
                | Self::HubCertificate
        )
    }
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The service returns an error with this status and the usual JSON body. Possible at the DPS requests, the twin
    /// requests, the certificate points, the service APIs and [`Point::WebSocketUpgrade`].
    ///
    /// The certificate points are [`Point::HubCertificateRequest`] and [`Point::HubCertificate`].
    Status {
        /// The HTTP status; over MQTT it is in the topic.
        status: u16,
        /// The six-digit code in the body.
        code: u32,
        /// The message in the body.
        message: String,
        /// The literal value of Retry-After, as a header or as a topic property. Over MQTT, responses of hubs do not
        /// contain Retry-After.
        retry_after: Option<String>,
    },
    /// Like [`Fault::Status`], with additional headers. Possible at the DPS requests, the service APIs and
    /// [`Point::WebSocketUpgrade`]. Over MQTT, DPS sends `Retry-After` and no other header.
    StatusWith {
        /// The HTTP status; over MQTT it is in the topic.
        status: u16,
        /// The six-digit code in the body.
        code: u32,
        /// The message in the body.
        message: String,
        /// Names and values. Invalid headers, `Content-Length` and `Transfer-Encoding` are omitted.
        headers: Vec<(String, String)>,
    },
    /// The response contains these bytes in place of the service's JSON. Examples are invalid JSON, the HTML of a
    /// gateway, or a very large body.
    ///
    /// Possible at the DPS requests, the twin requests, the certificate points and the service APIs.
    Body {
        /// The HTTP status; over MQTT it is in the topic.
        status: u16,
        /// `Content-Type`; over HTTPS only.
        content_type: String,
        /// The body.
        bytes: Vec<u8>,
    },
    /// The response is correct, but has this value of Retry-After; with `None`, it has no Retry-After. Possible at the
    /// DPS requests.
    RetryAfter(Option<String>),
    /// The response is sent in chunks of this many bytes, without `Content-Length`. Possible at the DPS requests and
    /// the service APIs. No effect over MQTT.
    Chunked(usize),
    /// The connection closes without a response. Possible at every point.
    ///
    /// At [`Point::HubPublish`], the hub does not log the message. At [`Point::HubReported`], the hub does not change
    /// the twin. At [`Point::HubDesired`] and [`Point::HubMethod`], the hub sends nothing to the device. At
    /// [`Point::HubCertificateRequest`], the hub does not accept the request. At [`Point::HubCertificate`], the request
    /// stays pending, and the hub sends the result in a later connection.
    Cut,
    /// The connection closes after this many bytes. Possible at the accept points, the connect points, the DPS
    /// requests, the twin requests, the certificate points, [`Point::HubPublish`] and the service APIs.
    ///
    /// At an accept point, all sent bytes count, including TLS. Over HTTPS, only the bytes of the body count. Over
    /// MQTT, the bytes of this response and of all later packets count.
    CutAfter(usize),
    /// The emulator does not respond, and the connection stays open. Possible at every point.
    ///
    /// The emulator still sends the PUBACK for a publish to DPS, a twin request and a certificate request.
    ///
    /// At [`Point::HubPublish`], the hub does not log the message. At [`Point::HubReported`], the hub does not change
    /// the twin. At [`Point::HubDesired`] and [`Point::HubMethod`], the hub sends nothing to the device. At
    /// [`Point::HubCertificateRequest`], the hub does not accept the request. At [`Point::HubCertificate`], the hub
    /// issues the certificate, but never sends it.
    Never,
    /// The response is delayed by this duration. Possible at every point.
    ///
    /// At the twin requests, [`Point::HubDesired`] and [`Point::HubMethod`], the connection continues during the delay.
    /// Later responses can arrive before the delayed response.
    ///
    /// At [`Point::HubCertificate`], the clock of the emulator measures the delay: a test can end the delay when it
    /// sets the clock. The request stays pending during the delay, even without a connection. The delay is at most
    /// 12 hours, because the request then expires.
    ///
    /// At all other points, the whole connection waits.
    Delay(Duration),
    /// The response is sent one byte at a time, with this pause between two bytes. Possible at the accept points, the
    /// DPS requests, the connect points and the service APIs.
    ///
    /// Over MQTT, the emulator also sends all later packets one byte at a time. At an accept point, it sends all bytes
    /// of the connection one byte at a time.
    Drip(Duration),
    /// The response is sent twice. Possible at the DPS requests, the twin requests, the certificate points,
    /// [`Point::HubDesired`] (the notification), [`Point::HubMethod`] (the call) and [`Point::HubPublish`] (the
    /// PUBACK). No effect at the DPS requests over HTTPS.
    Duplicate,
    /// A response with an unknown request id is sent before the correct response.
    ///
    /// Possible at the DPS requests, the twin requests, [`Point::HubCertificateRequest`] and [`Point::HubMethod`] (a
    /// call that no caller made). No effect at the DPS requests over HTTPS.
    Stray,
    /// The response is sent before the PUBACK of the request. Possible at the DPS requests, the twin requests
    /// and [`Point::HubCertificateRequest`]. No effect at the DPS requests over HTTPS.
    BeforePuback,
    /// The CONNECT is refused with this return code. Possible at the connect points.
    Connack(u8),
    /// The SUBSCRIBE is refused with 0x80 for each filter. Possible at the subscribe points.
    Suback128,
    /// The message is logged and never acknowledged. Possible at [`Point::HubPublish`].
    HoldPuback,
    /// The hub logs the message at once, and sends the PUBACK after this duration. Possible at [`Point::HubPublish`].
    ///
    /// During this time, the hub still sends other packets. Later PUBACKs wait, because PUBACKs must keep their order.
    HoldPubackFor(Duration),
    /// The token counts as expired, whatever its expiry time is.
    ///
    /// The DPS requests and the service APIs return 401. [`Point::HubConnect`] refuses the CONNECT. At the other points
    /// of a hub, the connection closes.
    ///
    /// Only the token of this event counts as expired. The clock does not change.
    TokenExpired,
    /// The device becomes disabled when the event happens, as if an operator had disabled it at that moment. The hub
    /// refuses the CONNECT or closes the connection. The device stays disabled. Possible at the points of a hub.
    DeviceDisabled,
    /// The device is deleted from its hub when the event happens, as if an operator had deleted it at that moment. The
    /// hub refuses the CONNECT or closes the connection. Possible at the points of a hub.
    ///
    /// The device cannot connect until a registration or an operator creates it again.
    DeviceDeleted,
    /// The device moves to another hub with its twin when the event happens, as if an operator had moved it at that
    /// moment. Possible at the points of a hub and at [`Point::DpsRegister`].
    ///
    /// The old hub no longer has the device. DPS assigns the new hub until the faults are cleared.
    ///
    /// If there is only one hub, this fault has the effect of [`Fault::DeviceDeleted`].
    HubMoved,
}

impl Fault {
    /// An error like [`Fault::Status`], without Retry-After.
    #[must_use]
    pub fn status(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self::Status { status, code, message: message.into(), retry_after: None }
    }

    /// Status 429 with a Retry-After, as the service sends it.
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

    /// Status 200 with bytes that claim to be JSON.
    #[must_use]
    pub fn body(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Body { status: 200, content_type: "application/json; charset=utf-8".into(), bytes: bytes.into() }
    }

    /// Status 200 with an incomplete JSON object.
    #[must_use]
    pub fn wrong_json() -> Self {
        Self::body(br#"{"operationId":"4.55cb"#)
    }

    /// Status 502 with HTML, as a gateway between client and service would send it.
    #[must_use]
    pub fn gateway_html() -> Self {
        Self::Body {
            status: 502,
            content_type: "text/html".into(),
            bytes: b"<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>".to_vec(),
        }
    }

    /// Whether this fault is possible at `point`.
    #[must_use]
    pub const fn fits(&self, point: Point) -> bool {
        let dps_request = matches!(point, Point::DpsRegister | Point::DpsPoll);
        let twin_request = matches!(point, Point::HubTwinGet | Point::HubReported);
        let request = dps_request || twin_request || matches!(point, Point::HubCertificateRequest);
        let result = matches!(point, Point::HubCertificate);
        let (accept, service) = (point.is_accept(), point.is_service());
        let connect = matches!(point, Point::DpsConnect | Point::HubConnect);
        let publish = matches!(point, Point::HubPublish);
        match self {
            Self::Cut | Self::Never | Self::Delay(_) => true,
            Self::CutAfter(_) => accept || connect || request || result || publish || service,
            Self::Status { .. } => request || result || service || matches!(point, Point::WebSocketUpgrade),
            Self::StatusWith { .. } => dps_request || service || matches!(point, Point::WebSocketUpgrade),
            Self::Body { .. } => request || result || service,
            Self::BeforePuback => request,
            Self::RetryAfter(_) => dps_request,
            Self::Chunked(_) => dps_request || service,
            Self::Stray => request || matches!(point, Point::HubMethod),
            Self::Drip(_) => accept || dps_request || connect || service,
            Self::Duplicate => request || result || publish || matches!(point, Point::HubDesired | Point::HubMethod),
            Self::Connack(_) => connect,
            Self::Suback128 => matches!(point, Point::DpsSubscribe | Point::HubSubscribe),
            Self::HoldPuback | Self::HoldPubackFor(_) => publish,
            Self::TokenExpired => dps_request || service || point.is_of_hub_device(),
            Self::DeviceDisabled | Self::DeviceDeleted => point.is_of_hub_device(),
            Self::HubMoved => point.is_of_hub_device() || matches!(point, Point::DpsRegister),
        }
    }

    /// Returns whether this fault changes the device itself. Other faults change only a connection or a response.
    pub(crate) const fn affects_device(&self) -> bool {
        matches!(self, Self::TokenExpired | Self::DeviceDisabled | Self::DeviceDeleted | Self::HubMoved)
    }

    /// A short form for logs, because a scripted body may be huge.
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

/// The error if a script contains a fault that is not possible at its point.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault:?} cannot happen at {point:?}")]
pub struct UnfitFault {
    /// The fault.
    pub fault: Fault,
    /// The point.
    pub point: Point,
}

hubward_proto::debug_as_error_report!(UnfitFault);

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row has a fault and a string with one character for each point, in the order of the points. `x` means that
    /// the fault is possible at the point. The rows must agree with the table of points in `docs/emulator.md`.
    #[test]
    fn every_fault_fits_its_points_only() {
        let second = Duration::from_secs(1);
        for (fault, fits) in [
            (Fault::Cut, "xxxxxxxxxxxxxxxxxx"),
            (Fault::Never, "xxxxxxxxxxxxxxxxxx"),
            (Fault::Delay(second), "xxxxxxxxxxxxxxxxxx"),
            (Fault::status(500, 500_000, ""), "..x..xx...xx..xxxx"),
            (Fault::body(""), ".....xx...xx..xxxx"),
            (Fault::BeforePuback, ".....xx...xx..x..."),
            (Fault::RetryAfter(None), ".....xx..........."),
            (Fault::Chunked(1), ".....xx.........xx"),
            (Fault::Stray, ".....xx...xx.xx..."),
            (Fault::Drip(second), "xx.x.xxx........xx"),
            (Fault::Duplicate, ".....xx..xxxxxxx.."),
            (Fault::Connack(5), "...x...x.........."),
            (Fault::Suback128, "....x...x........."),
            (Fault::HoldPuback, ".........x........"),
            (Fault::HoldPubackFor(second), ".........x........"),
            (Fault::CutAfter(3), "xx.x.xxx.xxx..xxxx"),
            (
                Fault::StatusWith { status: 503, code: 503_000, message: String::new(), headers: vec![] },
                "..x..xx.........xx",
            ),
            (Fault::TokenExpired, ".....xxxxxxxxxxxxx"),
            (Fault::DeviceDisabled, ".......xxxxxxxxx.."),
            (Fault::DeviceDeleted, ".......xxxxxxxxx.."),
            (Fault::HubMoved, ".....x.xxxxxxxxx.."),
        ] {
            let row: String = Point::ALL.iter().map(|it| if fault.fits(*it) { 'x' } else { '.' }).collect();
            assert_eq!(row, fits, "{fault:?}");
        }
    }
}
