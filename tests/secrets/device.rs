//! `hubward device` at trace level, with a connection string: what it says holds no key.

use hubward_emulator::{Emulator, Fault, Point};
use hubward_tests::command::Invocation;

use super::scanner::Scanner;

#[tokio::test(flavor = "multi_thread")]
async fn no_command_of_a_device_shows_one() {
    for transport in ["mqtt", "mqtt-ws"] {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let enrolled = emulator.enroll("for-its-variables").expect("a valid id");
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
        // A missing `;` puts the key into the id.
        let broken = with(text.replace(";SharedAccessKey", " SharedAccessKey"));
        let wrong = with(text.replace("dev-1", "dev-2"));
        let hang = ["method", "serve", "--exec", "true", "--for", "300ms"];
        for (arguments, variables, exit_code) in [
            (["send", "x"].as_slice(), &good, 0),
            (&["twin", "show"], &good, 0),
            (&["twin", "report", r#"{"a": 1}"#], &good, 0),
            (&["c2d", "receive", "--for", "300ms"], &good, 0),
            (&hang, &good, 0),
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
                    let found = scanner.find(bytes);
                    assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
                }
            }
        }
        // One that is refused in the middle of it.
        emulator.fault(Point::HubPublish, Fault::Cut).expect("fits");
        let command = Invocation::hubward(["device", "send", "x", "--transport", transport, "--log", "trace"]);
        let ran = command.vars(&good).run().await;
        assert!(scanner.find(&ran.stderr).is_empty() && ran.stderr_text().contains("DEBUG hubward_dial"));
    }
}
