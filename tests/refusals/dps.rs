//! What DPS says no to, and answers that make no sense.

use std::time::Duration;

use hubward::TransportKind;
use hubward::provisioning::Provisioner;
use hubward_emulator::{Fault, Point};

use super::{CASE, Case, DEVICE, Endpoint, Expected, HTTPS_HAS_NO_MQTT, NOTHING};

/// A refusal of the registration by the service itself.
const REFUSED: Expected =
    Expected { stage: Some("dps-register"), endpoint: Endpoint::Dps, tracking_id: Some(true), ..NOTHING };

const UNAUTHORIZED: Expected =
    Expected { exit_code: 5, fault: "credential", service_code: Some(401_002), hint: "check the key", ..REFUSED };

/// The answer to a registration that makes no sense.
const NONSENSE: Expected = Expected {
    exit_code: 9,
    fault: "peer",
    hint: "something on the way may answer in the service's place",
    tracking_id: Some(false),
    ..REFUSED
};

const OVER_MQTT_THE_LOGIN_SAYS_IT: &[(TransportKind, &str)] = &[
    (TransportKind::Mqtt, "over MQTT the login is refused already"),
    (TransportKind::MqttWs, "over MQTT the login is refused already"),
];

/// A refused login over MQTT.
const LOGIN: Expected =
    Expected { exit_code: 6, fault: "service", stage: Some("dps-login"), endpoint: Endpoint::Dps, ..NOTHING };

pub(super) const CASES: &[Case] = &[
    // ---- Who the device is ----
    Case {
        name: "wrong key",
        arrange: |scene| {
            let other = hubward::SharedKey::generate().expect("a key");
            scene.set("PROVISIONING_SYMMETRIC_KEY", other.expose_base64().as_str());
        },
        expected: UNAUTHORIZED,
        ..CASE
    },
    Case {
        name: "a token past its grace",
        arrange: |scene| scene.emulator.clock_ahead(Provisioner::TOKEN_LIFETIME + Duration::from_secs(310)),
        expected: Expected { hint: "clock", ..UNAUTHORIZED },
        ..CASE
    },
    Case {
        name: "a token within its grace",
        arrange: |scene| scene.emulator.clock_ahead(Provisioner::TOKEN_LIFETIME + Duration::from_secs(290)),
        ..CASE
    },
    Case {
        name: "wrong id scope",
        arrange: |scene| scene.argue(["--id-scope", "0ne00FFFFFF"]),
        expected: Expected {
            exit_code: 6,
            fault: "service",
            service_code: Some(404_201),
            hint: "check the id scope",
            ..REFUSED
        },
        not_over: OVER_MQTT_THE_LOGIN_SAYS_IT,
        ..CASE
    },
    Case {
        name: "wrong id scope, at the login",
        // It ends by itself, long before the two minutes that a registration may take.
        arrange: |scene| scene.argue(["--id-scope", "0ne00FFFFFF"]),
        expected: Expected { hint: "check the id scope", says: "CONNACK 3", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "unknown registration id",
        arrange: |scene| scene.argue(["--registration-id", "stranger"]),
        expected: Expected { hint: "the registration id", ..UNAUTHORIZED },
        ..CASE
    },
    // ---- What the enrollment says: in the service's record, which has no tracking id ----
    Case {
        name: "disabled enrollment",
        arrange: |scene| scene.emulator.disable(DEVICE).expect("it is enrolled"),
        expected: Expected {
            exit_code: 6,
            fault: "service",
            stage: Some("dps-assign"),
            endpoint: Endpoint::Dps,
            hint: "enable the enrollment",
            says: "disabled",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "failed assignment",
        arrange: |scene| {
            let enrollment = scene.emulator.enrollment(DEVICE).hubs(["unlinked.example"]);
            enrollment.create().expect("a valid enrollment");
        },
        expected: Expected {
            exit_code: 6,
            fault: "service",
            stage: Some("dps-assign"),
            endpoint: Endpoint::Dps,
            service_code: Some(400_208),
            hint: "link a hub",
            ..NOTHING
        },
        ..CASE
    },
    // ---- Trouble of the service ----
    Case {
        name: "429 with a Retry-After beyond the deadline",
        arrange: |scene| {
            scene.emulator.fault_always(Point::DpsRegister, Fault::throttled("3600")).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 7,
            fault: "throttled",
            service_code: Some(429_001),
            hint: "try again in 3600 s",
            ..REFUSED
        },
        ..CASE
    },
    Case {
        name: "429 with a Retry-After that can be waited for",
        arrange: |scene| {
            scene.emulator.fault(Point::DpsRegister, Fault::throttled("1")).expect("fits");
            scene.emulator.fault(Point::DpsPoll, Fault::throttled("0")).expect("fits");
        },
        ..CASE
    },
    Case {
        name: "429 over and over while assigning",
        arrange: |scene| {
            scene.emulator.fault_always(Point::DpsPoll, Fault::throttled("60")).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 7,
            fault: "throttled",
            stage: Some("dps-poll"),
            service_code: Some(429_001),
            hint: "try again in 60 s",
            ..REFUSED
        },
        ..CASE
    },
    Case {
        name: "500",
        arrange: |scene| {
            let fault = Fault::status(500, 500_001, "An internal error occurred.");
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 6,
            fault: "service",
            service_code: Some(500_001),
            hint: "give the tracking id",
            says: "An internal error occurred.",
            ..REFUSED
        },
        ..CASE
    },
    Case {
        name: "503 while assigning",
        arrange: |scene| {
            let fault = Fault::status(503, 503_001, "Not now.");
            scene.emulator.fault_always(Point::DpsPoll, fault).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 6,
            fault: "service",
            stage: Some("dps-poll"),
            service_code: Some(503_001),
            hint: "try again later",
            ..REFUSED
        },
        ..CASE
    },
    Case {
        name: "a 4xx with a code that no source explains",
        arrange: |scene| {
            let fault = Fault::status(412, 412_999, "Precondition failed.");
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
        },
        expected: Expected {
            exit_code: 6,
            fault: "service",
            service_code: Some(412_999),
            hint: "tracking id",
            says: "Precondition failed.",
            ..REFUSED
        },
        ..CASE
    },
    // ---- Answers that make no sense ----
    Case {
        name: "malformed JSON",
        arrange: |scene| {
            let fault = Fault::body(*b"{\"operationId\": \"5.x\", \"status\": ");
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
        },
        expected: NONSENSE,
        ..CASE
    },
    Case {
        name: "a gateway's HTML with status 200",
        arrange: |scene| {
            let fault = Fault::Body {
                status: 200,
                content_type: "text/html".into(),
                bytes: b"<html><body>Welcome to Hotel Wi-Fi</body></html>".to_vec(),
            };
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
        },
        expected: NONSENSE,
        ..CASE
    },
    Case {
        name: "a gateway's HTML with status 502",
        arrange: |scene| {
            scene.emulator.fault_always(Point::DpsRegister, Fault::gateway_html()).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 6,
            fault: "service",
            hint: "try again later",
            says: "502",
            // Who looks at headers may find one.
            tracking_id: None,
            ..REFUSED
        },
        ..CASE
    },
    Case {
        name: "a huge answer",
        arrange: |scene| {
            let fault = Fault::body(vec![b' '; 3 * 1024 * 1024]);
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
        },
        expected: NONSENSE,
        ..CASE
    },
    Case {
        name: "assigned, but to no hub",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "assigned", "registrationState": {}}"#);
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
        },
        expected: Expected { stage: Some("dps-assign"), ..NONSENSE },
        ..CASE
    },
    Case {
        name: "a final status that does not exist yet",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "thinking\u202e"}"#);
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            stage: Some("dps-assign"),
            hint: "a newer version of hubward",
            says: r"`thinking\\u{202e}`",
            ..NONSENSE
        },
        ..CASE
    },
    Case {
        name: "a final status that does not exist yet, in the answer to a poll",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "thinking"}"#);
            scene.emulator.fault_always(Point::DpsPoll, fault).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            stage: Some("dps-assign"),
            hint: "a newer version of hubward",
            says: "`thinking`",
            ..NONSENSE
        },
        ..CASE
    },
    Case {
        name: "a step on the way to a hub that does not exist yet",
        arrange: |scene| {
            let fault = Fault::Body {
                status: 202,
                content_type: "application/json".into(),
                bytes: br#"{"status": "thinking"}"#.to_vec(),
            };
            scene.emulator.fault(Point::DpsPoll, fault).expect("fits");
        },
        ..CASE
    },
    Case {
        name: "an operation id that leads to another path",
        arrange: |scene| {
            let fault = Fault::Body {
                status: 202,
                content_type: "application/json".into(),
                bytes: br#"{"operationId": "..", "status": "assigning"}"#.to_vec(),
            };
            scene.emulator.fault_always(Point::DpsRegister, fault).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected { stage: Some("dps-assign"), says: "operation id `..`", ..NONSENSE },
        ..CASE
    },
    // ---- Connections that break ----
    Case {
        name: "a cut while assigning resumes the operation",
        arrange: |scene| {
            let emulator = &scene.emulator;
            emulator.fault(Point::DpsPoll, Fault::Cut).expect("fits");
            // One registration is served, a second one would be refused.
            emulator.fault(Point::DpsRegister, Fault::Delay(Duration::ZERO)).expect("fits");
            let twice = Fault::status(400, 400_000, "registered twice");
            emulator.fault_always(Point::DpsRegister, twice).expect("fits");
        },
        ..CASE
    },
    Case {
        name: "cut for ever while assigning",
        arrange: |scene| {
            scene.emulator.fault_always(Point::DpsPoll, Fault::Cut).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 3,
            fault: "network",
            stage: Some("dps-poll"),
            endpoint: Endpoint::Dps,
            hint: "firewall",
            ..NOTHING
        },
        ..CASE
    },
    Case {
        name: "assigning for ever",
        cloud: |it| it.polls_before_assigned(u32::MAX).retry_after(Some(Duration::from_secs(1))),
        arrange: |scene| scene.argue(["--timeout", "12s"]),
        expected: Expected {
            exit_code: 8,
            fault: "deadline",
            stage: Some("dps-assign"),
            endpoint: Endpoint::Dps,
            hint: "allow more time",
            ..NOTHING
        },
        ..CASE
    },
    // ---- What only some transports have ----
    Case {
        name: "refused subscription",
        arrange: |scene| scene.emulator.fault_always(Point::DpsSubscribe, Fault::Suback128).expect("fits"),
        expected: Expected { stage: Some("dps-subscribe"), hint: "does not let this device subscribe", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: protocol version not accepted",
        arrange: |scene| scene.emulator.fault_always(Point::DpsConnect, Fault::Connack(1)).expect("fits"),
        expected: Expected { hint: "MQTT", says: "CONNACK 1", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: client id not accepted",
        arrange: |scene| scene.emulator.fault_always(Point::DpsConnect, Fault::Connack(2)).expect("fits"),
        expected: Expected { hint: "id", says: "CONNACK 2", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: unavailable",
        arrange: |scene| {
            scene.emulator.fault_always(Point::DpsConnect, Fault::Connack(3)).expect("fits");
            scene.argue(["--timeout", "12s"]);
        },
        expected: Expected { hint: "try again later", says: "CONNACK 3", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: bad user name or password",
        arrange: |scene| scene.emulator.fault_always(Point::DpsConnect, Fault::Connack(4)).expect("fits"),
        expected: Expected { exit_code: 5, fault: "credential", hint: "check the key", says: "CONNACK 4", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: not authorized",
        arrange: |scene| scene.emulator.fault_always(Point::DpsConnect, Fault::Connack(5)).expect("fits"),
        expected: Expected { exit_code: 5, fault: "credential", hint: "check the key", says: "CONNACK 5", ..LOGIN },
        not_over: HTTPS_HAS_NO_MQTT,
        ..CASE
    },
    Case {
        name: "refused WebSocket upgrade",
        arrange: |scene| {
            let fault = Fault::status(403, 403_000, "no WebSocket here");
            scene.emulator.fault_always(Point::WebSocketUpgrade, fault).expect("fits");
        },
        expected: Expected { stage: Some("dps-upgrade"), hint: "WebSocket", says: "403", ..LOGIN },
        not_over: &[
            (TransportKind::Https, "there is no WebSocket to upgrade to over HTTPS"),
            (TransportKind::Mqtt, "there is no WebSocket to upgrade to over plain MQTT"),
        ],
        ..CASE
    },
];
