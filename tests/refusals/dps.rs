//! Refusals by DPS, and malformed answers.

use std::time::Duration;

use hubward::TransportKind;
use hubward::provisioning::Provisioner;
use hubward_emulator::{Fault, Point};

use super::{CASE, Case, DEVICE, Endpoint, Expected, ONLY_MQTT, ONLY_WEBSOCKET, SUCCESS};

/// The service refuses the registration.
const REFUSED: Expected =
    Expected { stage: Some("dps-register"), endpoint: Endpoint::Dps, tracking_id: Some(true), ..SUCCESS };

const UNAUTHORIZED: Expected =
    Expected { exit_code: 5, fault: "credential", service_code: Some(401_002), hint: "check the key", ..REFUSED };

/// An error in the service's answer to the registration.
const SERVICE_ERROR: Expected = Expected { exit_code: 6, fault: "service", ..REFUSED };

const THROTTLED: Expected = Expected { exit_code: 7, fault: "throttled", service_code: Some(429_001), ..REFUSED };

/// The registration record reports an error.
const ASSIGNMENT_FAILED: Expected = Expected { stage: Some("dps-assign"), tracking_id: Some(false), ..SERVICE_ERROR };

/// The answer to a registration is malformed.
const MALFORMED: Expected = Expected {
    exit_code: 9,
    fault: "peer",
    hint: "something on the way may answer in the service's place",
    tracking_id: Some(false),
    ..REFUSED
};

const MQTT_REFUSES_THE_LOGIN: &[(TransportKind, &str)] = &[
    (TransportKind::Mqtt, "over MQTT, DPS refuses the login"),
    (TransportKind::MqttWs, "over MQTT, DPS refuses the login"),
];

/// DPS refuses the login over MQTT.
const LOGIN: Expected =
    Expected { exit_code: 6, fault: "service", stage: Some("dps-login"), endpoint: Endpoint::Dps, ..SUCCESS };

const LOGIN_UNAUTHORIZED: Expected = Expected { exit_code: 5, fault: "credential", hint: "check the key", ..LOGIN };

pub(super) const CASES: &[Case] = &[
    // ---- Identity and credentials ----
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
        arrange: |scene| scene.add_arguments(["--id-scope", "0ne00FFFFFF"]),
        expected: Expected { service_code: Some(404_201), hint: "check the id scope", ..SERVICE_ERROR },
        except: MQTT_REFUSES_THE_LOGIN,
        ..CASE
    },
    Case {
        name: "wrong id scope, at the login",
        // The case sets no `--timeout`: the command must end by itself, long before the two minutes that a registration
        // may take.
        arrange: |scene| scene.add_arguments(["--id-scope", "0ne00FFFFFF"]),
        expected: Expected { hint: "check the id scope", message: "CONNACK 3", ..LOGIN },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "unknown registration id",
        arrange: |scene| scene.add_arguments(["--registration-id", "unknown"]),
        expected: Expected { hint: "the registration id", ..UNAUTHORIZED },
        ..CASE
    },
    // ---- Failures in the registration record, which has no tracking ID ----
    Case {
        name: "disabled enrollment",
        arrange: |scene| scene.emulator.disable(DEVICE).expect("it is enrolled"),
        expected: Expected { hint: "enable the enrollment", message: "disabled", ..ASSIGNMENT_FAILED },
        ..CASE
    },
    Case {
        name: "failed assignment",
        arrange: |scene| {
            let enrollment = scene.emulator.enrollment(DEVICE).hubs(["unlinked.example"]);
            enrollment.create().expect("a valid enrollment");
        },
        expected: Expected { service_code: Some(400_208), hint: "link a hub", ..ASSIGNMENT_FAILED },
        ..CASE
    },
    // ---- Errors of the service ----
    Case {
        name: "429 with a Retry-After beyond the deadline",
        arrange: |scene| {
            scene.fault_always(Point::DpsRegister, Fault::throttled("3600"));
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected { hint: "try again in 3600 s", ..THROTTLED },
        ..CASE
    },
    Case {
        name: "429 with a Retry-After within the deadline",
        arrange: |scene| {
            scene.fault(Point::DpsRegister, Fault::throttled("1"));
            scene.fault(Point::DpsPoll, Fault::throttled("0"));
        },
        ..CASE
    },
    Case {
        name: "429 to every poll while assigning",
        arrange: |scene| {
            scene.fault_always(Point::DpsPoll, Fault::throttled("60"));
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected { stage: Some("dps-poll"), hint: "try again in 60 s", ..THROTTLED },
        ..CASE
    },
    Case {
        name: "500",
        arrange: |scene| {
            let fault = Fault::status(500, 500_001, "An internal error occurred.");
            scene.fault_always(Point::DpsRegister, fault);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            service_code: Some(500_001),
            hint: "give the tracking id",
            message: "An internal error occurred.",
            ..SERVICE_ERROR
        },
        ..CASE
    },
    Case {
        name: "503 while assigning",
        arrange: |scene| {
            let fault = Fault::status(503, 503_001, "Not now.");
            scene.fault_always(Point::DpsPoll, fault);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            stage: Some("dps-poll"),
            service_code: Some(503_001),
            hint: "try again later",
            ..SERVICE_ERROR
        },
        ..CASE
    },
    Case {
        name: "a 4xx with an undocumented code",
        arrange: |scene| {
            let fault = Fault::status(412, 412_999, "Precondition failed.");
            scene.fault_always(Point::DpsRegister, fault);
        },
        expected: Expected {
            service_code: Some(412_999),
            hint: "tracking id",
            message: "Precondition failed.",
            ..SERVICE_ERROR
        },
        ..CASE
    },
    // ---- Malformed answers ----
    Case {
        name: "malformed JSON",
        arrange: |scene| {
            let fault = Fault::body(*b"{\"operationId\": \"5.x\", \"status\": ");
            scene.fault_always(Point::DpsRegister, fault);
        },
        expected: MALFORMED,
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
            scene.fault_always(Point::DpsRegister, fault);
        },
        expected: MALFORMED,
        ..CASE
    },
    Case {
        name: "a gateway's HTML with status 502",
        arrange: |scene| {
            scene.fault_always(Point::DpsRegister, Fault::gateway_html());
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            hint: "try again later",
            message: "502",
            // The answer may contain a tracking ID in its headers. So the test accepts an error with a tracking ID and
            // an error without one.
            tracking_id: None,
            ..SERVICE_ERROR
        },
        ..CASE
    },
    Case {
        name: "a huge answer",
        arrange: |scene| {
            let fault = Fault::body(vec![b' '; 3 * 1024 * 1024]);
            scene.fault_always(Point::DpsRegister, fault);
        },
        expected: MALFORMED,
        ..CASE
    },
    Case {
        name: "assigned without a hub",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "assigned", "registrationState": {}}"#);
            scene.fault_always(Point::DpsRegister, fault);
        },
        expected: Expected { stage: Some("dps-assign"), ..MALFORMED },
        ..CASE
    },
    Case {
        name: "an unknown final status",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "thinking\u202e"}"#);
            scene.fault_always(Point::DpsRegister, fault);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            stage: Some("dps-assign"),
            hint: "a newer version of hubward",
            message: r"`thinking\\u{202e}`",
            ..MALFORMED
        },
        ..CASE
    },
    Case {
        name: "an unknown final status in the answer to a poll",
        arrange: |scene| {
            let fault = Fault::body(*br#"{"operationId": "5.x", "status": "thinking"}"#);
            scene.fault_always(Point::DpsPoll, fault);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            stage: Some("dps-assign"),
            hint: "a newer version of hubward",
            message: "`thinking`",
            ..MALFORMED
        },
        ..CASE
    },
    Case {
        name: "an unknown intermediate status",
        arrange: |scene| {
            let fault = Fault::Body {
                status: 202,
                content_type: "application/json".into(),
                bytes: br#"{"status": "thinking"}"#.to_vec(),
            };
            scene.fault(Point::DpsPoll, fault);
        },
        ..CASE
    },
    Case {
        name: "an operation ID that would change the path",
        arrange: |scene| {
            let fault = Fault::Body {
                status: 202,
                content_type: "application/json".into(),
                bytes: br#"{"operationId": "..", "status": "assigning"}"#.to_vec(),
            };
            scene.fault_always(Point::DpsRegister, fault);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected { stage: Some("dps-assign"), message: "operation id `..`", ..MALFORMED },
        ..CASE
    },
    // ---- Connections that close ----
    Case {
        name: "a connection lost while assigning resumes the operation",
        arrange: |scene| {
            scene.fault(Point::DpsPoll, Fault::Cut);
            // The emulator answers one registration and then refuses every other one.
            scene.fault(Point::DpsRegister, Fault::Delay(Duration::ZERO));
            let twice = Fault::status(400, 400_000, "registered twice");
            scene.fault_always(Point::DpsRegister, twice);
        },
        ..CASE
    },
    Case {
        name: "every connection lost while assigning",
        arrange: |scene| {
            scene.fault_always(Point::DpsPoll, Fault::Cut);
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected {
            exit_code: 3,
            fault: "network",
            stage: Some("dps-poll"),
            endpoint: Endpoint::Dps,
            hint: "firewall",
            ..SUCCESS
        },
        ..CASE
    },
    Case {
        name: "an assignment that never finishes",
        cloud: |it| it.polls_before_assigned(u32::MAX).retry_after(Some(Duration::from_secs(1))),
        arrange: |scene| scene.add_arguments(["--timeout", "12s"]),
        expected: Expected {
            exit_code: 8,
            fault: "deadline",
            stage: Some("dps-assign"),
            endpoint: Endpoint::Dps,
            hint: "allow more time",
            ..SUCCESS
        },
        ..CASE
    },
    // ---- Cases of some transports only ----
    Case {
        name: "refused subscription",
        arrange: |scene| scene.fault_always(Point::DpsSubscribe, Fault::Suback128),
        expected: Expected { stage: Some("dps-subscribe"), hint: "does not let this device subscribe", ..LOGIN },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: protocol version not accepted",
        arrange: |scene| scene.fault_always(Point::DpsConnect, Fault::Connack(1)),
        expected: Expected { hint: "MQTT", message: "CONNACK 1", ..LOGIN },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: client id not accepted",
        arrange: |scene| scene.fault_always(Point::DpsConnect, Fault::Connack(2)),
        expected: Expected { hint: "id", message: "CONNACK 2", ..LOGIN },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: unavailable",
        arrange: |scene| {
            scene.fault_always(Point::DpsConnect, Fault::Connack(3));
            scene.add_arguments(["--timeout", "12s"]);
        },
        expected: Expected { hint: "try again later", message: "CONNACK 3", ..LOGIN },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: bad user name or password",
        arrange: |scene| scene.fault_always(Point::DpsConnect, Fault::Connack(4)),
        expected: Expected { message: "CONNACK 4", ..LOGIN_UNAUTHORIZED },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "login at DPS: not authorized",
        arrange: |scene| scene.fault_always(Point::DpsConnect, Fault::Connack(5)),
        expected: Expected { message: "CONNACK 5", ..LOGIN_UNAUTHORIZED },
        except: ONLY_MQTT,
        ..CASE
    },
    Case {
        name: "refused WebSocket upgrade",
        arrange: |scene| {
            let fault = Fault::status(403, 403_000, "no WebSocket here");
            scene.fault_always(Point::WebSocketUpgrade, fault);
        },
        expected: Expected { stage: Some("dps-upgrade"), hint: "WebSocket", message: "403", ..LOGIN },
        except: ONLY_WEBSOCKET,
        ..CASE
    },
];
