//! Tests what the program of the README prints if it fails. Its `main` returns the error, so Rust prints the error as
//! `Debug`.

use hubward_emulator::{Emulator, Enrollment};
use hubward_tests::binary::quickstart_example;
use hubward_tests::command::Invocation;
use tokio::net::TcpSocket;

/// The beginning of the line with the tracking id. The id is different in each run, so the tests remove this line.
const TRACKING_ID: &str = "\nTracking id: ";

/// Runs the program with the variables of the device, except that `change` replaces some of their values. The program
/// must fail. Returns its stderr without the line of the tracking id.
async fn failed_with(device: &Enrollment, change: &[(&'static str, &str)]) -> String {
    let mut variables = device.vars();
    for (name, value) in change {
        variables.retain(|(it, _)| it != name);
        variables.push((name, (*value).to_owned()));
    }
    let ran = Invocation::of(quickstart_example()).vars(&variables).run().await;
    let text = ran.stderr_text();
    assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(1), ""), "{text}");
    for (name, value) in device.vars() {
        assert!(name != "PROVISIONING_SYMMETRIC_KEY" || !text.contains(&value), "the text contains the key: {text}");
    }
    match text.split_once(TRACKING_ID) {
        Some((before, id)) => {
            assert!(!id.trim().is_empty() && id.lines().count() == 1, "{text}");
            before.to_owned()
        }
        None => text.trim_end().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_dps_is_explained() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let device = emulator.enroll("dev-1").expect("a valid id");
    let other = hubward::SharedKey::generate().expect("a key").expose_base64();
    let key = "check the key (a group's key must be derived for the device), the registration id (letter case matters \
               for derived keys) and the id scope";
    let clock = "also check that this machine's clock is right";
    for (transport, variable, value, message, hint) in [
        (
            "https",
            "PROVISIONING_IDSCOPE",
            "0ne00FFFFFF",
            "localhost:443 refused (register) with status 404, code 404201: The ID scope does not exist.",
            "check the id scope and the registration id".to_owned(),
        ),
        (
            "https",
            "PROVISIONING_SYMMETRIC_KEY",
            other.as_str(),
            "localhost:443 refused (register) with status 401, code 401002: Unauthorized",
            key.to_owned(),
        ),
        (
            "mqtt",
            "PROVISIONING_SYMMETRIC_KEY",
            other.as_str(),
            "localhost:8883 refused (register) with status 401, code 401002: Unauthorized",
            format!("{key}; {clock}"),
        ),
    ] {
        let text = failed_with(&device, &[("HUBWARD_TRANSPORT", transport), (variable, value)]).await;
        assert_eq!(text, format!("Error: {message}\n\nHint: {hint}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_variables_are_named() {
    let ran = Invocation::of(quickstart_example()).run().await;
    assert_eq!(
        (ran.code, ran.stderr_text().as_str()),
        (
            Some(1),
            "Error: not set: PROVISIONING_HOST, PROVISIONING_IDSCOPE, PROVISIONING_REGISTRATION_ID, \
             PROVISIONING_SYMMETRIC_KEY (or X509_CERT_FILE and X509_KEY_FILE)\n\n\
             Hint: set these environment variables, or build the settings with `new`\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_emulator_is_suspected_at_once() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let device = emulator.enroll("dev-1").expect("a valid id");
    // The socket is bound but does not listen. The system therefore refuses connections, and no other program can use
    // the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = socket.local_addr().expect("bound");
    let refused = std::net::TcpStream::connect(address).expect_err("no program listens");
    let rule = format!("::{address}");
    for (transport, port) in [("https", 443), ("mqtt", 8883), ("mqtt-ws", 443)] {
        let text = failed_with(&device, &[("HUBWARD_TRANSPORT", transport), ("HUBWARD_CONNECT_TO", &rule)]).await;
        let expected = format!(
            "Error: could not connect to localhost:{port} (after 3 attempts)\n\n\
             Caused by:\n    {address}: {refused}\n\n\
             Hint: is the emulator running? the connection goes to this machine, but no program listens at this port"
        );
        assert_eq!(text, expected);
    }
}
