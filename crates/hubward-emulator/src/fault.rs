//! Scripted misbehaviour for tests: at a named point, the next event goes wrong as told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of the service: this status with the usual JSON body.
    /// At the DPS requests, the twin requests and [`Point::WebSocketUpgrade`].
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
    /// Any bytes instead of the service's JSON: broken JSON, a gateway's HTML, a huge answer.
    /// At the DPS requests and the twin requests.
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
    /// requests over HTTPS (MQTT: no effect).
    Chunked(usize),
    /// The connection ends without an answer. Everywhere; at [`Point::HubPublish`] the message is
    /// not logged, at [`Point::HubReported`] nothing is changed, and at [`Point::HubDesired`] and
    /// [`Point::HubMethod`] the device is told nothing.
    Cut,
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
    /// too, at an accept point the whole connection. At the accept points, the DPS requests and the
    /// connect points.
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
        let accept = matches!(point, Point::MqttAccept | Point::HttpsAccept);
        let connect = matches!(point, Point::DpsConnect | Point::HubConnect);
        match self {
            Self::Cut | Self::Never | Self::Delay(_) => true,
            Self::Status { .. } => request || matches!(point, Point::WebSocketUpgrade),
            Self::Body { .. } | Self::BeforePuback => request,
            Self::RetryAfter(_) | Self::Chunked(_) => dps_request,
            Self::Stray => request || matches!(point, Point::HubMethod),
            Self::Drip(_) => accept || dps_request || connect,
            Self::Duplicate => request || matches!(point, Point::HubPublish | Point::HubDesired | Point::HubMethod),
            Self::Connack(_) => connect,
            Self::Suback128 => matches!(point, Point::DpsSubscribe | Point::HubSubscribe),
            Self::HoldPuback | Self::HoldPubackFor(_) => matches!(point, Point::HubPublish),
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

/// The scripts of all points.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    scripts: Mutex<HashMap<Point, Script>>,
}

#[derive(Debug, Default)]
struct Script {
    next: VecDeque<Fault>,
    /// What happens when `next` is used up.
    then: Option<Fault>,
}

impl Faults {
    /// Appends a fault for one event.
    pub(crate) fn once(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        let fault = fit(point, fault)?;
        self.scripts().entry(point).or_default().next.push_back(fault);
        Ok(())
    }

    /// Sets what happens at every event after the ones scripted singly.
    pub(crate) fn always(&self, point: Point, fault: Fault) -> Result<(), UnfitFault> {
        let fault = fit(point, fault)?;
        self.scripts().entry(point).or_default().then = Some(fault);
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.scripts().clear();
    }

    /// How many are scripted.
    #[cfg(feature = "admin")]
    pub(crate) fn count(&self) -> usize {
        self.scripts().values().map(|it| it.next.len() + usize::from(it.then.is_some())).sum()
    }

    /// How many single faults have not happened yet.
    pub(crate) fn left(&self, point: Point) -> usize {
        self.scripts().get(&point).map_or(0, |it| it.next.len())
    }

    /// What is to go wrong with the event that happens now.
    pub(crate) fn take(&self, point: Point) -> Option<Fault> {
        let mut scripts = self.scripts();
        let script = scripts.get_mut(&point)?;
        let fault = script.next.pop_front().or_else(|| script.then.clone());
        if let Some(fault) = &fault {
            tracing::debug!(?point, fault = fault_name(fault), "a scripted fault happens");
        }
        fault
    }

    fn scripts(&self) -> std::sync::MutexGuard<'_, HashMap<Point, Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fit(point: Point, fault: Fault) -> Result<Fault, UnfitFault> {
    if fault.fits(point) { Ok(fault) } else { Err(UnfitFault { fault, point }) }
}

/// For the log: the bodies may be huge.
fn fault_name(fault: &Fault) -> String {
    match fault {
        Fault::Status { status, code, .. } => format!("Status {status} {code}"),
        Fault::Body { status, bytes, .. } => format!("Body {status} of {} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn happen_in_order_then_for_ever() {
        let faults = Faults::default();
        faults.once(Point::DpsPoll, Fault::Cut).expect("fits");
        faults.once(Point::DpsPoll, Fault::Never).expect("fits");
        assert_eq!((faults.left(Point::DpsPoll), faults.left(Point::DpsRegister)), (2, 0));
        assert_eq!(faults.take(Point::DpsRegister), None);
        assert_eq!(faults.take(Point::DpsPoll), Some(Fault::Cut));
        assert_eq!(faults.take(Point::DpsPoll), Some(Fault::Never));
        assert_eq!(faults.take(Point::DpsPoll), None);
        faults.always(Point::DpsPoll, Fault::Stray).expect("fits");
        faults.once(Point::DpsPoll, Fault::Cut).expect("fits");
        let taken: Vec<_> = (0..3).filter_map(|_| faults.take(Point::DpsPoll)).collect();
        assert_eq!(taken, [Fault::Cut, Fault::Stray, Fault::Stray]);
        faults.clear();
        assert_eq!(faults.take(Point::DpsPoll), None);
    }

    #[test]
    fn those_that_cannot_happen_are_refused() {
        for (point, fault) in [
            (Point::HubPublish, Fault::throttled("3")),
            (Point::DpsRegister, Fault::HoldPuback),
            (Point::HttpsAccept, Fault::Connack(5)),
            (Point::HubConnect, Fault::Suback128),
        ] {
            let expected = UnfitFault { fault: fault.clone(), point };
            assert_eq!(Faults::default().once(point, fault), Err(expected));
        }
    }

    const POINTS: [Point; 14] = [
        Point::MqttAccept,
        Point::HttpsAccept,
        Point::WebSocketUpgrade,
        Point::DpsConnect,
        Point::DpsSubscribe,
        Point::DpsRegister,
        Point::DpsPoll,
        Point::HubConnect,
        Point::HubSubscribe,
        Point::HubPublish,
        Point::HubTwinGet,
        Point::HubReported,
        Point::HubDesired,
        Point::HubMethod,
    ];

    /// A row for each fault, a column for each point, as `docs/emulator.md` has it.
    #[test]
    fn every_fault_has_its_points() {
        let second = Duration::from_secs(1);
        for (fault, fits) in [
            (Fault::Cut, "xxxxxxxxxxxxxx"),
            (Fault::Never, "xxxxxxxxxxxxxx"),
            (Fault::Delay(second), "xxxxxxxxxxxxxx"),
            (Fault::status(500, 500_000, ""), "..x..xx...xx.."),
            (Fault::body(""), ".....xx...xx.."),
            (Fault::BeforePuback, ".....xx...xx.."),
            (Fault::RetryAfter(None), ".....xx......."),
            (Fault::Chunked(1), ".....xx......."),
            (Fault::Stray, ".....xx...xx.x"),
            (Fault::Drip(second), "xx.x.xxx......"),
            (Fault::Duplicate, ".....xx..xxxxx"),
            (Fault::Connack(5), "...x...x......"),
            (Fault::Suback128, "....x...x....."),
            (Fault::HoldPuback, ".........x...."),
            (Fault::HoldPubackFor(second), ".........x...."),
        ] {
            let row: String = POINTS.iter().map(|it| if fault.fits(*it) { 'x' } else { '.' }).collect();
            assert_eq!(row, fits, "{fault:?}");
        }
    }
}
