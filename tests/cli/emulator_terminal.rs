//! Tests what a person sees of a running emulator: the lines on its terminal, and `hubward emulator events`.

use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::emulator::folder;
use super::running::{Running, variables};

/// Variables of a device, and of the emulator that it uses.
type Variables = Vec<(String, String)>;

async fn events(arguments: &[&str]) -> Ran {
    Invocation::hubward(["emulator", "events"]).args(arguments.iter().copied()).run().await
}

/// Causes a registration, a connection, a refusal and a failed handshake.
async fn use_emulator(device: &Variables) {
    let command = ["provision", "--messages", "1"];
    let ran = Invocation::hubward(command).vars(device).run().await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    // The key belongs to another registration id.
    let refused = Invocation::hubward(command).vars(device).args(["--registration-id", "sensor-42"]).run().await;
    assert_eq!(refused.code, Some(5), "{}", refused.stderr_text());
    // Without the CA file, the client does not trust the emulator. An empty variable counts as not set.
    let no_ca = [("HUBWARD_CA_FILE", String::new())];
    let untrusted = Invocation::hubward(command).vars(device).vars(&no_ca).args(["--timeout", "60s"]).run().await;
    assert_eq!(untrusted.code, Some(4), "{}", untrusted.stderr_text());
}

/// Checks that exactly one line contains both texts.
fn assert_line(lines: &[&str], begin: &str, end: &str) {
    let found = lines.iter().filter(|it| it.contains(begin) && it.ends_with(end)).count();
    assert_eq!(found, 1, "`{begin}` … `{end}` in {lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_shows_registrations_connections_refusals_and_failed_handshakes() {
    for output in ["json", "text"] {
        let (_folder, data_dir) = folder();
        let mut running = Running::emulator(&data_dir, ["--dev-keys", "--output", output]);
        let device = if output == "json" {
            variables(&running.json_until("operator").await[1])
        } else {
            running.text_until("# then: hubward provision").await;
            let env = ["emulator", "env", "--output", "json", "--data-dir", &data_dir];
            variables(&Invocation::hubward(env).run().await.lines().expect("lines")[0])
        };
        use_emulator(&device).await;
        // The last client ends before the emulator notices the failed handshake.
        while events(&["--kind", "handshakeFailed", "--data-dir", &data_dir]).await.stdout_text().is_empty() {}
        let (ended, rest, stderr) = running.interrupt().await;
        assert_eq!((ended.code(), rest.trim()), (Some(0), ""), "stdout contains only the lines of the start");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_line(&lines, "Z dps registered dev-1 at localhost: ", "initialAssignment");
        assert_line(&lines, "Z hub connected dev-1 at localhost", "localhost");
        assert_line(&lines, "Z hub disconnected dev-1 at localhost: ", "");
        let why = "no individual enrollment, and no group whose derived key made the token, 401002";
        assert_line(&lines, "Z dps refused sensor-42: ", why);
        assert!(lines.iter().any(|it| it.contains("Z the emulator had a TLS handshake fail")), "{lines:#?}");
        // The journal also contains events for the new group and the new device, but the terminal omits them.
        assert!(!stderr.contains("created"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_emulator_shows_nothing() {
    for (argument, variable) in [(Some("--quiet"), ""), (None, "true")] {
        let (_folder, data_dir) = folder();
        let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0", "--data-dir", &data_dir];
        let invocation = Invocation::hubward(["emulator", "--dev-keys", "--output", "json", "--retry-after", "0s"])
            .args(ports)
            .args(argument)
            .vars(&[("HUBWARD_QUIET", variable.to_owned())]);
        let mut running = Running::start(invocation);
        let device = variables(&running.json_until("operator").await[1]);
        use_emulator(&device).await;
        let refused = events(&["--kind", "refused", "--data-dir", &data_dir]).await;
        assert!(refused.stdout_text().contains("dps refused sensor-42"), "{}", refused.stdout_text());
        let (ended, rest, stderr) = running.interrupt().await;
        assert_eq!((ended.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_keeps_running_if_its_terminal_is_closed() {
    let (_folder, data_dir) = folder();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let fixed = ["emulator", "--dev-keys", "--output", "json", "--retry-after", "0s", "--data-dir", &data_dir];
    let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
    let mut running = Running::start(Invocation::hubward(fixed).args(ports).stderr(writer));
    let device = variables(&running.json_until("operator").await[1]);
    running.stop_reading();
    use_emulator(&device).await;
    let registered = events(&["--kind", "registered", "--data-dir", &data_dir]).await;
    assert_eq!((registered.code, registered.stdout_text().lines().count()), (Some(0), 1));
    assert_eq!(running.interrupt().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_prints_the_journal() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--dev-keys", "--output", "json"]);
    let lines = running.json_until("operator").await;
    let (admin, device) = (lines[0]["admin"].as_str().expect("a URL").to_owned(), variables(&lines[1]));
    use_emulator(&device).await;

    let all = events(&["--data-dir", &data_dir]).await;
    let text = all.stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((all.code, all.stderr_text().as_str()), (Some(0), ""));
    assert_line(&lines, "Z dps registered dev-1 at localhost: ", "initialAssignment");
    assert!(text.contains(" created dev-1 at localhost"), "all kinds: {text}");

    let some = events(&["--kind", "Refused,registered", "--admin", &admin, "--output", "json"]).await;
    let kinds = |ran: &Ran| -> Vec<(Value, Value)> {
        let text = ran.stdout_text();
        let events = text.lines().map(|it| serde_json::from_str::<Value>(it).expect(it));
        events.map(|mut it| (it["kind"].take(), it["id"].take())).collect()
    };
    let expected = [(json!("registered"), json!("dev-1")), (json!("refused"), json!("sensor-42"))];
    assert_eq!(kinds(&some), expected, "{}", some.stderr_text());
    let of_one = events(&["--kind", "refused,registered", "--id", "SENSOR-42", "--admin", &admin, "-o", "json"]).await;
    assert_eq!(kinds(&of_one), expected[1..]);
    let latest = events(&["--from", "latest", "--admin", &admin]).await;
    assert_eq!((latest.code, latest.stdout_text().as_str()), (Some(0), ""));

    // Follows until Ctrl-C.
    let arguments = ["emulator", "events", "--follow", "--kind", "refused", "--admin", &admin, "--output", "json"];
    let mut following = Running::start(Invocation::hubward(arguments));
    assert_eq!(following.json().await["id"], "sensor-42");
    let refused = Invocation::hubward(["provision", "--registration-id", "sensor-43"]).vars(&device).run().await;
    assert_eq!(refused.code, Some(5), "{}", refused.stderr_text());
    assert_eq!(following.json().await["id"], "sensor-43");
    let (ended, rest, stderr) = following.interrupt().await;
    assert_eq!((ended.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));

    // If the emulator ends, the command ends with an error.
    let mut following = Running::start(Invocation::hubward(arguments));
    assert_eq!(following.json().await["id"], "sensor-42");
    assert_eq!(following.json().await["id"], "sensor-43");
    running.interrupt().await;
    let error = following.json().await;
    assert_eq!((&error["type"], &error["exitCode"]), (&json!("error"), &json!(3)), "{error}");
    assert!(error["hint"].as_str().is_some_and(|it| it.contains("start an emulator: hubward emulator")), "{error}");

    let wrong = events(&["--kind", "refusal", "--output", "json"]).await.last().expect("an error");
    assert!(wrong["exitCode"] == 2 && wrong["message"].as_str().is_some_and(|it| it.contains("--kind")), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_keys_shorten_the_waits_of_a_registration() {
    for (more, expected) in [
        (&["--dev-keys"][..], "next_wait=1s"),
        (&["--dev-keys", "--retry-after", "2s"], "next_wait=2s"),
        (&[], "next_wait=3s"),
    ] {
        let (_folder, data_dir) = folder();
        let fixed = ["emulator", "--output", "json", "--data-dir", &data_dir];
        let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
        let mut running = Running::start(Invocation::hubward(fixed).args(ports).args(more.iter().copied()));
        let device = variables(&running.json_until("operator").await[1]);
        let ran = Invocation::hubward(["provision", "--log", "hubward_dps=debug"]).vars(&device).run().await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
        assert!(ran.stderr_text().contains(expected), "{more:?}: {}", ran.stderr_text());
        running.interrupt().await;
    }
}
