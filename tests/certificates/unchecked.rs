//! Registers a device with the library, without the checks of its certificate before the connection.
//!
//! The service must refuse what these checks normally refuse: not every client makes them, and clocks differ. The
//! program cannot show this for a certificate that is not yet valid, because the clock of an emulator is never late.

use std::sync::Arc;
use std::time::Duration;

use hubward::provisioning::Provisioner;
use hubward::transport::{DpsTransport, Register};
use hubward::{ConnectError, Credential, DialOverride, TransportKind};
use hubward_dial::{Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_emulator::Emulator;
use hubward_https::HttpsDps;
use hubward_mqtt::MqttDps;
use hubward_proto::limits::{WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
use hubward_tests::pki::Identity;
use hubward_ws::WsDialer;
use serde_json::{Value, json};

use super::HUB;

/// Registers a device. Returns a line like the last one of the program's output.
pub(super) async fn register(
    emulator: &Emulator,
    kind: TransportKind,
    device: &Identity,
    registration_id: &str,
) -> Value {
    let (scope, id) = (emulator.id_scope().parse().expect("a scope"), registration_id.parse().expect("an id"));
    let certificate = Credential::from(device.client_certificate());
    let transport = transport(emulator, kind, device);
    let provisioner = Provisioner::new(transport, Register::new(scope, id), certificate);
    let error = match provisioner.deadline(Duration::from_secs(60)).run().await {
        Ok(assignment) => return json!({ "type": "result", "exitCode": 0, "assignedHub": assignment.hub.as_str() }),
        Err(error) => ConnectError::from(error),
    };
    let diagnosis = error.diagnosis();
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    json!({
        "type": "error",
        // The program has this exit code for the fault `credential`; see the other cells of the table.
        "exitCode": if diagnosis.fault.to_string() == "credential" { 5 } else { -1 },
        "stage": diagnosis.stage.to_string(),
        "endpoint": diagnosis.endpoint,
        "fault": diagnosis.fault.to_string(),
        "hint": diagnosis.hint,
        "serviceCode": diagnosis.service_code,
        "trackingId": diagnosis.tracking_id,
        "message": error.to_string(),
        "causes": causes,
    })
}

fn transport(emulator: &Emulator, kind: TransportKind, device: &Identity) -> Box<dyn DpsTransport> {
    let endpoint = Endpoint::new(HUB, kind.default_port());
    let rules = DialOverride::parse_list(&emulator.ready().connect_to()).expect("rules");
    let tcp = TcpDialer::new().dial_overrides(rules);
    let tls = TlsSettings::new().ca_file(emulator.ca_file()).client_certificate(device.client_certificate());
    let tls = tls.client_config().expect("a certificate that TLS can present");
    match kind {
        TransportKind::Https => Box::new(HttpsDps::new(endpoint, tcp, tls)),
        TransportKind::Mqtt => Box::new(MqttDps::new(kind, endpoint, Arc::new(TlsDialer::new(tcp, tls)))),
        TransportKind::MqttWs => {
            let dialer = WsDialer::new(TlsDialer::new(tcp, tls), WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL);
            Box::new(MqttDps::new(kind, endpoint, Arc::new(dialer)))
        }
        _ => unreachable!("the table has no other transport"),
    }
}
