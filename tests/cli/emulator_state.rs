//! `hubward emulator status|export|import|reset`, and the state after a restart.

use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::emulator::folder;
use super::running::{Running, variables};

async fn emulator(arguments: &[&str]) -> Ran {
    Invocation::hubward(["emulator"]).args(arguments.iter().copied()).run().await
}

/// The JSON document on stdout.
fn body(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{}", ran.stdout_text());
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout_text()))
}

/// A seed with one enrollment.
fn seed(id: &str) -> String {
    json!({"enrollments": [{"registrationId": id, "attestation": {"type": "symmetricKey"}}]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_emulator_is_exported_reset_and_imported() {
    let (kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let device = variables(&running.json().await);
    let admin = ready["admin"].as_str().expect("a URL").to_owned();
    let provisioned = Invocation::hubward(["provision", "--messages", "2"]).vars(&device).run().await;
    assert_eq!(provisioned.code, Some(0), "{}", provisioned.stderr_text());

    // The commands find the emulator by its data directory, or by the URL of its admin port.
    for at in [["--data-dir", &data_dir], ["--admin", &admin]] {
        let status = body(&emulator(&[&["status", "-o", "json"][..], &at].concat()).await);
        assert_eq!(status["dps"], json!({"enrollments": 1, "enrollmentGroups": 0, "registrations": 1}));
        assert_eq!((&status["hubs"][0]["hub"], &status["hubs"][0]["telemetry"]), (&json!("localhost"), &json!(2)));
    }
    let rows = emulator(&["status", "-o", "tsv", "--admin", &admin]).await.stdout_text();
    assert_eq!(rows, "localhost\t1\t0\t0\t2\n");
    let text = emulator(&["status", "--admin", &admin]).await.stdout_text();
    assert!(text.contains("names                 localhost, 127.0.0.1, ::1\n"), "{text}");
    assert!(text.contains(&admin) && text.contains("1 enrollment, 0 enrollment groups, 1 registration"), "{text}");

    let file = kept.path().join("cloud.json");
    let file = file.to_str().expect("a path that is text");
    let exported = emulator(&["export", "--file", file, "--admin", &admin]).await;
    assert_eq!(exported.stdout_text(), format!("{file}\n"), "{}", exported.stderr_text());
    let state: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("a file")).expect("JSON");
    assert_eq!(state, body(&emulator(&["export", "--admin", &admin]).await));
    let key = &state["enrollments"][0]["attestation"]["symmetricKey"]["primaryKey"];
    assert_eq!(key, &json!(device.iter().find(|it| it.0 == "PROVISIONING_SYMMETRIC_KEY").expect("a key").1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(file).expect("the file exists").permissions().mode() & 0o777, 0o600);
    }

    let unconfirmed = emulator(&["reset", "--admin", &admin, "-o", "json"]).await.last().expect("an error");
    assert_eq!((&unconfirmed["exitCode"], &unconfirmed["hint"]), (&json!(2), &json!("confirm with --yes")));
    assert!(unconfirmed["message"].as_str().is_some_and(|it| it.contains(&admin)), "{unconfirmed}");
    let reset = emulator(&["reset", "--yes", "--admin", &admin, "-o", "json"]).await.last().expect("a result");
    assert_eq!((&reset["type"], &reset["reset"]), (&"result".into(), &format!("the emulator at {admin}").into()));
    let reset = emulator(&["reset", "--yes", "--admin", &admin]).await;
    assert_eq!(reset.stdout_text(), format!("reset the emulator at {admin}\n"), "{}", reset.stderr_text());
    let status = body(&emulator(&["status", "-o", "json", "--admin", &admin]).await);
    assert_eq!((&status["dps"]["enrollments"], &status["hubs"][0]["devices"]), (&json!(0), &json!(0)));

    let report = body(&emulator(&["import", file, "-o", "json", "--admin", &admin]).await);
    assert!(report["created"].as_u64().is_some_and(|it| it >= 2), "an enrollment and a device: {report}");
    assert_eq!(
        body(&emulator(&["export", "--admin", &admin]).await)["enrollments"][0]["attestation"],
        state["enrollments"][0]["attestation"]
    );
    // The device of the first run can register again.
    let provisioned = Invocation::hubward(["provision", "--messages", "1"]).vars(&device).run().await;
    assert_eq!(provisioned.code, Some(0), "{}", provisioned.stderr_text());
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_exported_imported_and_reset_without_an_emulator() {
    let (kept, data_dir) = folder();
    let empty = emulator(&["export", "--data-dir", &data_dir, "-o", "json"]).await.last().expect("an error");
    assert_eq!(empty["exitCode"], 1, "{empty}");
    assert!(!std::path::Path::new(&data_dir).exists(), "`export` does not create the directory");

    let running = |more: &'static [&'static str]| Running::emulator(&data_dir, more.iter().copied());
    let mut first = running(&["--output", "json"]);
    first.json_until("operator").await;
    // A second emulator cannot use a directory while another emulator uses it.
    let second = Invocation::hubward(["emulator", "--data-dir", &data_dir, "--mqtt-port", "0", "--https-port", "0"])
        .args(["--admin-port", "0", "-o", "json"])
        .run()
        .await
        .last()
        .expect("an error");
    assert!(second["exitCode"] == 1 && second.to_string().contains("in use"), "{second}");
    first.interrupt().await;

    let exported = body(&emulator(&["export", "--data-dir", &data_dir]).await);
    assert_eq!(exported["enrollments"][0]["registrationId"], "dev-1");
    let file = kept.path().join("seed.json");
    std::fs::write(&file, seed("pump-1")).expect("a file");
    let file = file.to_str().expect("a path that is text");
    let imported = emulator(&["import", file, "--data-dir", &data_dir]).await;
    assert_eq!(imported.stdout_text(), "1 created, 0 updated, 0 unchanged\n", "{}", imported.stderr_text());
    let again = Invocation::hubward(["emulator", "import", "-", "--data-dir", &data_dir, "-o", "tsv"])
        .stdin(exported.to_string())
        .run()
        .await;
    assert_eq!(again.stdout_text(), "0\t0\t1\n", "{}", again.stderr_text());

    let mut later = running(&["--output", "json"]);
    later.json_until("operator").await;
    let ids = |state: &Value| -> Vec<String> {
        let all = state["enrollments"].as_array().expect("a list");
        all.iter().filter_map(|it| it["registrationId"].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(ids(&body(&emulator(&["export", "--data-dir", &data_dir]).await)), ["dev-1", "pump-1"]);
    later.interrupt().await;

    let reset = emulator(&["reset", "-y", "--data-dir", &data_dir]).await;
    assert_eq!(reset.stdout_text(), format!("reset the data directory {data_dir}\n"), "{}", reset.stderr_text());
    assert_eq!(body(&emulator(&["export", "--data-dir", &data_dir]).await)["enrollments"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_invalid_file_or_address() {
    let (kept, data_dir) = folder();
    let file = |name: &str, text: &str| {
        let file = kept.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("a path that is text").to_owned()
    };
    let invalid_json = file("no-json", "{\n");
    let invalid_seed = file("no-seed", r#"{"enrolments": []}"#);
    let other_hub = file("other-hub", r#"{"devices": [{"deviceId": "d", "hub": "elsewhere.example"}]}"#);
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let admin = ready["admin"].as_str().expect("a URL").to_owned();
    let no_emulator = "http://127.0.0.1:1";
    for (arguments, code, expected) in [
        (&["status", "--admin", no_emulator][..], 3, "hubward emulator"),
        (&["export", "--admin", no_emulator], 3, "--admin URL"),
        (&["status", "--admin", "https://127.0.0.1:8480"], 2, "--admin"),
        (&["reset", "--yes", "--admin", "nonsense://x"], 2, "http://HOST:PORT"),
        (&["import", &invalid_json, "--admin", &admin], 2, "line 2"),
        (&["import", &invalid_seed, "--admin", &admin], 2, "seed"),
        (&["import", "/nowhere", "--admin", &admin], 2, "/nowhere"),
        #[cfg(unix)]
        (&["import", "/dev/zero", "--admin", &admin], 2, "is larger than 65536 KiB"),
        #[cfg(unix)]
        (&["--seed", "/dev/zero", "--in-memory"], 2, "is larger than 65536 KiB"),
        (&["import", &other_hub, "--admin", &admin], 6, "elsewhere.example"),
        (&["export", "--file", "/nowhere/cloud.json", "--admin", &admin], 1, "/nowhere/cloud.json"),
    ] {
        let ran = emulator(&[arguments, &["--output", "json"]].concat()).await;
        let error = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
    }
    // HUBWARD_EMULATOR_ADMIN replaces --admin.
    let variables = [("HUBWARD_EMULATOR_ADMIN", admin)];
    assert_eq!(Invocation::hubward(["emulator", "status"]).vars(&variables).run().await.code, Some(0));
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_in_memory_no_file_is_left() {
    let (kept, _) = folder();
    let home = kept.path().to_str().expect("a path that is text").to_owned();
    let variables = [("XDG_DATA_HOME", home)];
    let arguments =
        ["emulator", "--in-memory", "--mqtt-port", "0", "--https-port", "0", "--admin-port", "0", "-o", "json"];
    let mut running = Running::start(Invocation::hubward(arguments).vars(&variables));
    let lines = running.json_until("operator").await;
    let (ended, ..) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(std::fs::read_dir(kept.path()).expect("a folder").count(), 0);
    let ca = lines[0]["caFile"].as_str().expect("a path");
    assert!(!std::path::Path::new(ca).exists(), "{ca}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_file_ends_the_start_with_an_error() {
    let (_kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    running.json_until("operator").await;
    let (ended, ..) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0));
    let file = std::path::Path::new(&data_dir).join("state.redb");
    let whole = std::fs::read(&file).expect("the state");
    // Change two bytes of every page except the first. The first page stays as it is, because it identifies the file as
    // a database.
    let mut damaged = whole.clone();
    damaged.iter_mut().skip(4096 + 2048).step_by(4096).for_each(|it| *it ^= 0xff);
    damaged.iter_mut().skip(4096).step_by(4096).for_each(|it| *it ^= 0xff);
    std::fs::write(&file, &damaged).expect("written");
    let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
    let ran = emulator(&[&["--data-dir", &data_dir][..], &ports].concat()).await;
    let stderr = ran.stderr_text();
    assert_eq!(ran.code, Some(1), "{stderr}");
    assert!(
        stderr.contains("state.redb is damaged: ") && stderr.contains("move it away to start with an empty state"),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked") && ran.stdout_text().is_empty(), "{stderr}");
    assert!(std::fs::read(&file).expect("the state") == damaged, "the emulator does not change the damaged file");
    let error = emulator(&["export", "--data-dir", &data_dir, "-o", "json"]).await.last().expect("an error");
    assert!(error["exitCode"] == 1 && error.to_string().contains("is damaged"), "{error}");

    std::fs::write(&file, &whole).expect("written");
    assert_eq!(
        body(&emulator(&["export", "--data-dir", &data_dir]).await)["enrollments"][0]["registrationId"],
        "dev-1"
    );
}
