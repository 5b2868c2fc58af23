//! Tests that the output of `hubward device` contains no key of the connection string, even at trace level.

use hubward_emulator::{Emulator, Fault, Point};
use hubward_tests::command::Invocation;

use super::scanner::Scanner;

#[tokio::test(flavor = "multi_thread")]
async fn no_device_command_prints_a_secret() {
    for transport in ["mqtt", "mqtt-ws"] {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let enrolled = emulator.enroll("only-for-variables").expect("a valid id");
        let key = emulator.add_device("localhost", "dev-1").expect("a valid id");
        let scanner = Scanner::default().key("the device's key", &key);
        let text = format!("HostName=localhost;DeviceId=dev-1;SharedAccessKey={}", key.expose_base64().as_str());
        let with = |text: String| {
            let mut variables = enrolled.vars();
            variables.retain(|(name, _)| name.starts_with("HUBWARD_"));
            variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", text));
            variables
        };
        let good = with(text.clone());
        // This connection string has no `;` before the key. So hubward reads the key as a part of the device ID.
        let broken = with(text.replace(";SharedAccessKey", " SharedAccessKey"));
        let wrong = with(text.replace("dev-1", "dev-2"));
        let serve = ["method", "serve", "--exec", "true", "--for", "300ms"];
        for (arguments, variables, exit_code) in [
            (["send", "x"].as_slice(), &good, 0),
            (&["twin", "show"], &good, 0),
            (&["twin", "report", r#"{"a": 1}"#], &good, 0),
            (&["c2d", "receive", "--for", "300ms"], &good, 0),
            (&serve, &good, 0),
            (&["run", "--for", "300ms", "--interval", "50ms"], &good, 0),
            (&["send", "x", "--connection-string", &text], &good, 0),
            (&["send", "x"], &broken, 2),
            (&["send", "x"], &wrong, 5),
        ] {
            for form in ["json", "text"] {
                let command = Invocation::hubward(["device"]).args(arguments.iter().copied());
                let command = command.args(["--transport", transport, "--output", form, "--log", "trace"]);
                let ran = command.vars(variables).run().await;
                let name = format!("{} over {transport}", arguments.join(" ")).replace(&text, "…");
                assert_eq!(ran.code, Some(exit_code), "{name}");
                for bytes in [&ran.stdout, &ran.stderr] {
                    scanner.assert_clean(&name, bytes);
                }
            }
        }
        // The hub closes the connection while the device publishes.
        emulator.fault(Point::HubPublish, Fault::Cut).expect("fits");
        let command = Invocation::hubward(["device", "send", "x", "--transport", transport, "--log", "trace"]);
        let ran = command.vars(&good).run().await;
        assert!(scanner.find(&ran.stderr).is_empty() && ran.stderr_text().contains("DEBUG hubward_dial"));
    }
}
