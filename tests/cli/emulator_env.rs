//! `hubward emulator env --registration-id`, and the hint that leads to it.

use hubward_tests::command::{Invocation, Ran};
use serde_json::json;

use super::emulator::folder;
use super::running::{Running, variables};

/// Runs `emulator env` for a device, with `HUBWARD_DATA_DIR`.
async fn env(data_dir: &str, id: &str, more: &[&str]) -> Ran {
    Invocation::hubward(["emulator", "env", "--registration-id", id])
        .args(more.iter().copied())
        .vars(&[("HUBWARD_DATA_DIR", data_dir.to_owned())])
        .run()
        .await
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> &'a str {
    &variables.iter().find(|(it, _)| it == name).expect(name).1
}

#[tokio::test(flavor = "multi_thread")]
async fn with_development_keys_any_registration_id_works() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--dev-keys"]);
    let shown = running.text_until("# then: hubward provision").await;
    let command = format!("hubward emulator env --registration-id ID --data-dir {data_dir}");
    assert!(shown.contains(&command), "{shown}");

    // The shell first uses the key of dev-1 with another registration id: DPS refuses the device, and the hint names a
    // command. Then the shell uses the variables that this command prints.
    let folder = tempfile::tempdir().expect("a folder");
    let hubward = hubward_tests::binary::hubward().display();
    let script = format!(
        "eval \"$('{hubward}' emulator env --shell sh)\"\n\
         PROVISIONING_REGISTRATION_ID=sensor-42 '{hubward}' provision --messages 1 && exit 99\n\
         eval \"$('{hubward}' emulator env --shell sh --registration-id sensor-42)\"\n\
         exec '{hubward}' provision --messages 1\n"
    );
    let ran = Invocation::of("sh".as_ref())
        .vars(&[("HUBWARD_DATA_DIR", data_dir.clone()), ("HOME", folder.path().display().to_string())])
        .stdin(script)
        .run()
        .await;
    let stderr = ran.stderr_text();
    assert_eq!(ran.code, Some(0), "{stderr}");
    assert!(ran.stdout_text().ends_with("1 of 1 messages acknowledged\n"), "{}", ran.stdout_text());
    let hint = "with this device's own key: hubward emulator env --registration-id sensor-42";
    assert!(stderr.lines().any(|it| it.ends_with(hint)), "{stderr}");

    // This command has no `HUBWARD_DATA_DIR`, so the command in the hint names the directory.
    let printed = env(&data_dir, "dev-1", &["--output", "json"]).await;
    let device = variables(&printed.lines().expect("lines")[0]);
    let refused = Invocation::hubward(["provision", "--registration-id", "dev-2", "--output", "json"]).vars(&device);
    let error = refused.run().await.last().expect("an error");
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.ends_with(&format!("emulator env --registration-id dev-2 --data-dir {data_dir}")), "{hint}");
    running.interrupt().await;

    // The emulator has ended, so no command can help.
    let error = Invocation::hubward(["provision", "--output", "json", "--timeout", "5s"]).vars(&device).run().await;
    let error = error.last().expect("an error");
    assert!(!error["hint"].as_str().expect("a hint").contains("emulator env"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_device_has_its_own_key() {
    let (folder, data_dir) = folder();
    let seed = folder.path().join("seed.json");
    let group = |id: &str| json!({"enrollmentGroupId": id, "attestation": {"type": "symmetricKey"}});
    let mut text = json!({
        "enrollments": [{"registrationId": "pump-1", "attestation": {"type": "symmetricKey"}}],
        "enrollmentGroups": [group("line-7")],
    });
    std::fs::write(&seed, text.to_string()).expect("a file");
    let seed = seed.to_str().expect("a path that is text");
    let mut running = Running::emulator(&data_dir, ["--seed", seed, "--output", "json"]);
    let first = variables(&running.json_until("operator").await[1]);

    let printed = env(&data_dir, "pump-1", &["--output", "json"]).await;
    let pump = variables(&printed.lines().expect("lines")[0]);
    assert_eq!(pump, first, "the variables that the emulator printed at its start");
    // `other` has no enrollment, but the emulator has exactly one group, so `env` derives a key from this group.
    let printed = env(&data_dir, "other", &["--output", "json"]).await;
    let other = variables(&printed.lines().expect("lines")[0]);
    assert_eq!(value(&other, "PROVISIONING_REGISTRATION_ID"), "other");
    assert_ne!(value(&other, "PROVISIONING_SYMMETRIC_KEY"), value(&pump, "PROVISIONING_SYMMETRIC_KEY"));
    for device in [&pump, &other] {
        let ran = Invocation::hubward(["provision"]).vars(device).run().await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    }
    running.interrupt().await;

    // With two groups, the command cannot know which group is meant.
    text["enrollmentGroups"] = json!([group("line-7"), group("line-8")]);
    std::fs::write(seed, text.to_string()).expect("a file");
    let mut running = Running::emulator(&data_dir, ["--seed", seed, "--output", "json"]);
    running.json_until("operator").await;
    let error = env(&data_dir, "other", &["--output", "json"]).await.last().expect("an error");
    assert_eq!(error["exitCode"], 6);
    assert!(error["hint"].as_str().is_some_and(|it| it.contains("compute-device-key")), "{error}");
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_error_says_how_to_get_one() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    running.json_until("operator").await;
    let error = env(&data_dir, "sensor-42", &["--output", "json"]).await.last().expect("an error");
    assert_eq!(error["exitCode"], 6);
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.contains("enrollment create --emulator --enrollment-id sensor-42"), "{hint}");
    assert!(hint.contains("--dev-keys"), "{hint}");
    let wrong = env(&data_dir, "not an id", &["--output", "json"]).await.last().expect("an error");
    assert_eq!(wrong["exitCode"], 2);
    running.interrupt().await;
}
