//! Runs the parts of docs/recipes.md that can run on the test machine.

use hubward_tests::command::{Invocation, Ran};
use tokio::io::AsyncReadExt as _;

use super::emulator::folder;
use super::path_with_hubward;
use super::running::Running;

const TABLE: &str = include_str!("../../docs/recipes.md");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipes/with-emulator.sh");
const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipes/seed.json");
const COMPOSE: &str = include_str!("../../docs/recipes/compose.yaml");

/// Prepares a run of the script `with-emulator.sh`. The script will start an emulator on free ports, and then run
/// `command`. Returns the folder that the script uses as `TMPDIR`, and the invocation of the script.
fn script(command: &[&str], more: &[(&str, &str)]) -> (tempfile::TempDir, Invocation) {
    let kept = tempfile::tempdir().expect("a folder");
    let path = path_with_hubward(kept.path());
    let mut variables = vec![("PATH", path), ("TMPDIR", kept.path().display().to_string())];
    variables.extend(["HUBWARD_MQTT_PORT", "HUBWARD_HTTPS_PORT", "HUBWARD_ADMIN_PORT"].map(|it| (it, "0".to_owned())));
    variables.push(("HUBWARD_RETRY_AFTER", "0s".to_owned()));
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let command = Invocation::of("sh".as_ref()).args([SCRIPT]).args(command.iter().copied()).vars(&variables);
    (kept, command)
}

/// Checks that the script has deleted its data directory: the folder contains only the link to the program.
fn assert_tidy(kept: &tempfile::TempDir) {
    assert_eq!(std::fs::read_dir(kept.path()).expect("a folder").count(), 1, "the data directory is gone");
}

async fn with_emulator(command: &[&str], more: &[(&str, &str)]) -> Ran {
    let (kept, command) = script(command, more);
    let ran = command.stdin("text on stdin").run().await;
    assert_tidy(&kept);
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_an_emulator_and_keeps_its_exit_code() {
    let ran = with_emulator(&["hubward", "provision", "--messages", "3"], &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    assert!(ran.stdout_text().ends_with("3 of 3 messages acknowledged\n"), "{}", ran.stdout_text());

    let both = "hubward dps enrollment-group list -o tsv && hubward hub device-identity list -o json && exit 7";
    let ran = with_emulator(&["sh", "-c", both], &[]).await;
    assert_eq!(ran.code, Some(7), "{}", ran.stderr_text());
    assert!(ran.stdout_text().ends_with("[]\n"), "{}", ran.stdout_text());

    // A user may have set these two variables. The script must override both: it needs a data directory, and `emulator
    // env` must print lines for a shell.
    //
    // This run also checks that the command reads the standard input of the script.
    let ignored = [("HUBWARD_IN_MEMORY", "true"), ("HUBWARD_OUTPUT", "json")];
    let ran = with_emulator(&["sh", "-c", "cat; hubward provision > /dev/null"], &ignored).await;
    assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(0), "text on stdin"), "{}", ran.stderr_text());

    let ran = with_emulator(&["true"], &[("HUBWARD_ID_SCOPE", "no scope")]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr_text().contains("id scope"), "stderr of the emulator: {}", ran.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_script_its_command_and_the_emulator() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        assert_eq!(signalled("", "exec sleep 1000", signal, code).await, "");
    }
    // The script forwards the signal to its command. If the machine's `env` cannot reset the handling of SIGINT, the
    // script sends SIGTERM instead of SIGINT.
    let env = Invocation::of("env".as_ref()).args(["--default-signal=INT", "true"]).run().await;
    let interrupt = if env.code == Some(0) { "INT" } else { "TERM" };
    for (signal, code, received) in [("-TERM", 143, "TERM"), ("-INT", 130, interrupt), ("-HUP", 129, "HUP")] {
        let traps = r#"for it in TERM INT HUP; do trap "echo $it; exit" $it; done"#;
        assert_eq!(
            signalled(traps, "while sleep 0.1; do :; done", signal, code).await,
            format!("{received}\n"),
            "{signal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ignores_signals_is_killed() {
    assert_eq!(signalled("trap '' TERM INT HUP", "exec sleep 1000", "-TERM", 143).await, "");
}

/// Runs the script with a shell as its command. The shell runs the lines `prepare` and then the command `wait`, which
/// does not end by itself.
///
/// Sends the script a signal, and checks that the script, the shell and the emulator end. Returns what the shell has
/// printed after the signal.
async fn signalled(prepare: &str, wait: &str, signal: &str, code: i32) -> String {
    let lines = format!("{prepare}\necho $$ $HUBWARD_EMULATOR_ADMIN\n{wait}");
    let (kept, command) = script(&["sh", "-c", &lines], &[]);
    let mut running = Running::start(command);
    let line = running.line().await.expect("the command runs");
    let (process, admin) = line.split_once(' ').expect("two words");
    let address = admin.strip_prefix("http://").expect("a URL");
    let mut open = tokio::net::TcpStream::connect(address).await.expect("the emulator runs");
    let (ended, stdout, stderr) = running.signal(signal).await;
    assert_eq!(ended.code(), Some(code), "{signal}: {stderr}");
    assert_tidy(&kept);
    // The connection ends when the emulator ends. The test does not open a new connection: another program may already
    // use the port, so a new connection would prove nothing.
    let closed = open.read(&mut [0]).await;
    assert!(closed.as_ref().map_or(true, |read| *read == 0), "{signal}: the emulator has ended: {closed:?}");
    let alive = Invocation::of("kill".as_ref()).args(["-0", process]).run().await;
    assert_ne!(alive.code, Some(0), "{signal}: the command has ended");
    stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_of_compose_yaml_provisions_with_unchanged_host_names() {
    // The value of a variable in compose.yaml.
    let composed = |name: &str| {
        let line = COMPOSE.lines().find_map(|it| it.trim().strip_prefix(&format!("{name}: "))).expect(name);
        line.trim().to_owned()
    };
    let (_kept, data_dir) = folder();
    let hub = composed("HUBWARD_HUBS");
    let emulator = Invocation::hubward(["emulator", "--data-dir", &data_dir, "--output", "json"]).vars(&[
        ("HUBWARD_MQTT_PORT", "0".to_owned()),
        ("HUBWARD_HTTPS_PORT", "0".to_owned()),
        ("HUBWARD_ADMIN_PORT", "0".to_owned()),
        ("HUBWARD_RETRY_AFTER", "0s".to_owned()),
        ("HUBWARD_HUBS", hub.clone()),
        ("HUBWARD_SEED", SEED.to_owned()),
        ("HUBWARD_ALLOW_HOST", composed("HUBWARD_ALLOW_HOST")),
    ]);
    let mut running = Running::start(emulator);
    let lines = running.json_until("operator").await;
    let port = |of: &str| lines[0][of][0].as_str().expect("an address").to_owned();
    let device =
        ["PROVISIONING_HOST", "PROVISIONING_IDSCOPE", "PROVISIONING_REGISTRATION_ID", "PROVISIONING_SYMMETRIC_KEY"];
    let mut variables: Vec<(&str, String)> = device.iter().map(|it| (*it, composed(it))).collect();
    variables.push(("HUBWARD_CA_FILE", lines[0]["caFile"].as_str().expect("a path").to_owned()));
    variables.push(("HUBWARD_CONNECT_TO", format!(":8883:{},:443:{}", port("mqtt"), port("https"))));
    for transport in super::transports() {
        let command = ["provision", "--output", "json", "--messages", "2", "--transport", transport];
        let result = Invocation::hubward(command).vars(&variables).run().await.last().expect("a result");
        assert_eq!((&result["assignedHub"], &result["acknowledged"]), (&hub.as_str().into(), &2.into()), "{result}");
    }
    running.interrupt().await;
}

#[tokio::test]
async fn the_table_names_the_variable_of_every_option() {
    let help = Invocation::hubward(["emulator", "--help"]).run().await.stdout_text();
    let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let named: Vec<&str> = help.split("[env: ").skip(1).filter_map(|it| it.split([']', '=']).next()).collect();
    assert!(named.len() >= 16, "{named:?}");
    for name in named {
        assert!(TABLE.contains(&format!("| `{}` |", name.trim())), "{name}");
    }
}
