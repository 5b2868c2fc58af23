//! Runs the steps of the portal's quickstart as commands and as REST requests. The steps are in docs/portal.md.
//! `tests/portal` runs the same steps in the portal.

use hubward_emulator::Emulator;
use hubward_tests::command::Invocation;
use serde_json::json;

#[cfg(unix)]
use super::path_with_hubward;
use super::try_it::CurlLine;

/// Returns the lines of a code block in the section "Without the page" of docs/portal.md.
fn block(number: usize) -> Vec<&'static str> {
    let page = include_str!("../../docs/portal.md");
    let section = page.split("## Without the page").nth(1).and_then(|it| it.split("\n## ").next()).expect("a section");
    let block = section.split("```sh\n").nth(number).and_then(|it| it.split("```").next()).expect("a block");
    block.lines().collect()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_works_with_commands() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_hubward(folder.path());
    let variables =
        [("PATH".to_owned(), path), ("HUBWARD_EMULATOR_ADMIN".to_owned(), format!("http://{}", emulator.admin_addr()))];
    let lines = block(1);
    assert_eq!(lines.len(), 6, "{lines:?}");
    let script = format!("set -e\ncd '{}'\n{}\n", folder.path().display(), lines.join("\n"));
    let ran = Invocation::of("sh".as_ref()).vars(&variables).stdin(script).run().await;
    let stdout = ran.stdout_text();
    assert_eq!(ran.code, Some(0), "{stdout}{}", ran.stderr_text());
    assert!(stdout.contains("10 of 10 messages acknowledged"), "{stdout}");
    assert!(stdout.lines().any(|it| it.starts_with("pump-1\tenabled\t")), "{stdout}");
    assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 10);
    assert_eq!((emulator.device("localhost", "pump-1"), emulator.received_payload("pump-1")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_works_over_rest() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let admin = format!("http://{}", emulator.admin_addr());
    let requests: Vec<_> = block(2).into_iter().filter_map(CurlLine::parse).collect();
    let [create, show, delete_device, delete_enrollment] = requests.try_into().ok().expect("four requests");
    let enrollment = create.send(&admin).await;
    let key = enrollment["attestation"]["symmetricKey"]["primaryKey"].as_str().expect("a key");
    let mut variables = emulator.vars("pump-1").expect("the enrollment exists");
    for (name, value) in &mut variables {
        if *name == "PROVISIONING_SYMMETRIC_KEY" {
            key.clone_into(value);
        }
    }
    let ran = Invocation::hubward(["provision", "--messages", "10"]).vars(&variables).run().await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    let device = show.send(&admin).await;
    assert_eq!((&device["deviceId"], &device["status"]), (&json!("pump-1"), &json!("enabled")));
    delete_device.send(&admin).await;
    delete_enrollment.send(&admin).await;
    assert!(emulator.device("localhost", "pump-1").is_none());
    assert!(emulator.vars("pump-1").is_err(), "the enrollment is deleted");
}
