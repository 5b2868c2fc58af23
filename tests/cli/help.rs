//! `--help`, `--version`, completions, and invalid arguments.

use hubward_tests::command::Invocation;

/// Returns the name and the help text of every command. The name of the program `hubward` itself is empty.
pub(super) async fn commands() -> Vec<(String, String)> {
    let (mut waiting, mut found) = (vec![String::new()], Vec::new());
    while let Some(command) = waiting.pop() {
        let ran = Invocation::hubward(command.split_whitespace()).args(["--help"]).run().await;
        let help = ran.stdout_text();
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{command}");
        waiting.extend(subcommands(&help).iter().map(|it| format!("{command} {it}").trim().to_owned()));
        found.push((command, help));
    }
    found.sort();
    found
}

/// The subcommands that a help text lists.
pub(super) fn subcommands(help: &str) -> Vec<&str> {
    let section = help.split("Commands:\n").nth(1).map(|it| it.split("\n\n").next().unwrap_or_default());
    let names = section.unwrap_or_default().lines().filter(|it| it.starts_with("  ") && !it.starts_with("   "));
    names.filter_map(|it| it.split_whitespace().next()).filter(|it| *it != "help").collect()
}

#[tokio::test]
async fn the_help_of_every_command_has_an_example() {
    let commands = commands().await;
    for (name, help) in &commands {
        let example = help.split("Example").nth(1).unwrap_or_else(|| panic!("`{name}` has no example:\n{help}"));
        assert!(example.contains(&format!("hubward {name}").trim_end().to_owned()), "{name}:\n{example}");
        assert!(help.contains(&format!("Usage: hubward {name}").trim_end().to_owned()), "{name}:\n{help}");
    }
    let expected = [
        "",
        "completions",
        "device",
        "device c2d",
        "device c2d receive",
        "device method",
        "device method serve",
        "device run",
        "device send",
        "device twin",
        "device twin report",
        "device twin show",
        "device twin watch",
        "dps",
        "dps certificate",
        "dps certificate create",
        "dps certificate delete",
        "dps certificate generate-verification-code",
        "dps certificate list",
        "dps certificate show",
        "dps certificate verify",
        "dps enrollment",
        "dps enrollment create",
        "dps enrollment delete",
        "dps enrollment list",
        "dps enrollment registration",
        "dps enrollment registration delete",
        "dps enrollment registration show",
        "dps enrollment show",
        "dps enrollment update",
        "dps enrollment-group",
        "dps enrollment-group compute-device-key",
        "dps enrollment-group create",
        "dps enrollment-group delete",
        "dps enrollment-group list",
        "dps enrollment-group registration",
        "dps enrollment-group registration delete",
        "dps enrollment-group registration list",
        "dps enrollment-group registration show",
        "dps enrollment-group show",
        "dps enrollment-group update",
        "emulator",
        "emulator env",
        "emulator events",
        "emulator export",
        "emulator import",
        "emulator reset",
        "emulator status",
        "emulator trust",
        "hub",
        "hub c2d-message",
        "hub c2d-message send",
        "hub device-identity",
        "hub device-identity connection-string",
        "hub device-identity connection-string show",
        "hub device-identity create",
        "hub device-identity delete",
        "hub device-identity list",
        "hub device-identity renew-key",
        "hub device-identity show",
        "hub device-identity update",
        "hub device-twin",
        "hub device-twin replace",
        "hub device-twin show",
        "hub device-twin update",
        "hub generate-sas-token",
        "hub invoke-device-method",
        "hub invoke-module-method",
        "hub module-identity",
        "hub module-identity connection-string",
        "hub module-identity connection-string show",
        "hub module-identity create",
        "hub module-identity delete",
        "hub module-identity list",
        "hub module-identity renew-key",
        "hub module-identity show",
        "hub module-identity update",
        "hub module-twin",
        "hub module-twin replace",
        "hub module-twin show",
        "hub module-twin update",
        "hub monitor-events",
        "hub query",
        "provision",
        "quickstart",
        "sas",
        "sas derive-key",
        "sas token",
        "x509",
        "x509 new-ca",
        "x509 new-csr",
        "x509 new-device",
        "x509 new-intermediate",
        "x509 prove",
        "x509 verify",
    ];
    let names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_help_of_provision_names_every_exit_code() {
    let ran = Invocation::hubward(["provision", "--help"]).run().await;
    let help = ran.stdout_text().split_whitespace().collect::<Vec<_>>().join(" ");
    let documented = include_str!("../../docs/cli.md");
    let table = documented.split("## Exit codes").nth(1).and_then(|it| it.split("## ").next()).expect("the table");
    let rows: Vec<&str> = table.lines().filter_map(|it| it.strip_prefix("| ")?.split(" | ").next()).collect();
    let codes: Vec<&str> = rows.into_iter().filter(|it| it.bytes().all(|it| it.is_ascii_digit())).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "130", "141"]);
    // The help of `provision` lists all exit codes except 1, which means an error of this machine, such as a port in
    // use.
    for code in codes.iter().filter(|it| **it != "1") {
        assert!(help.contains(&format!("{code} ")), "{code} is missing: {help}");
    }
}

#[tokio::test]
async fn version_prints_the_version_of_the_package() {
    let ran = Invocation::hubward(["--version"]).run().await;
    assert_eq!(ran.stdout_text(), format!("hubward {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn completions_exist_for_every_shell() {
    for (shell, expected) in [
        ("bash", "_hubward()"),
        ("zsh", "#compdef hubward"),
        ("fish", "complete -c hubward"),
        ("powershell", "hubward"),
    ] {
        let ran = Invocation::hubward(["completions", shell]).run().await;
        assert_eq!(ran.code, Some(0), "{shell}");
        let text = ran.stdout_text();
        assert!(text.contains(expected) && text.contains("registration-id"), "{shell}:\n{text}");
    }
}

#[tokio::test]
async fn invalid_arguments_are_reported_in_the_selected_output_format() {
    for (arguments, variables) in [
        (["provision", "--no-such", "--output", "json"].as_slice(), vec![]),
        (&["--output=json", "provision", "--timeout", "soon"], vec![]),
        (&["no-such-command"], vec![("HUBWARD_OUTPUT", "json".to_owned())]),
        (&["-o", "json", "provision", "--no-such"], vec![]),
        (&["hub", "query", "-ojson"], vec![]),
        (&["dps", "-o=json", "enrollment", "show"], vec![]),
        (&["provision", "--symmetric-key-stdin", "--symmetric-key-file", "f", "--output", "json"], vec![]),
    ] {
        let ran = Invocation::hubward(arguments.iter().copied()).vars(&variables).run().await;
        let last = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        let facts = (&last["type"], &last["stage"], &last["exitCode"]);
        assert_eq!(facts, (&"error".into(), &"arguments".into(), &2.into()), "{last}");
        assert_eq!(ran.stderr_text(), "");
    }
    let text = Invocation::hubward(["provision", "--no-such"]).run().await;
    assert_eq!((text.code, text.stdout_text().as_str()), (Some(2), ""));
    assert!(text.stderr_text().contains("--no-such") && text.stderr_text().contains("Usage: hubward provision"));
}

#[tokio::test]
async fn commands_of_az_are_refused_with_the_name_of_the_hubward_command() {
    for (command, expected) in [
        (&["c2d-message", "send", "-d", "dev-1", "--data", "x"][..], "hubward hub c2d-message send"),
        (&["simulate", "-d", "dev-1", "--msg-count", "3"], "hubward device run"),
        (&["send-d2c-message", "-d", "dev-1"], "hubward device send"),
        (&["registration", "create", "--rid", "dev-1"], "hubward provision"),
    ] {
        let ran = Invocation::hubward(["device"]).args(command.iter().copied()).run().await;
        assert_eq!(ran.code, Some(2), "{command:?}");
        assert!(ran.stderr_text().contains(expected), "{}", ran.stderr_text());
        let json = ["device"].iter().chain(command).chain(&["-o", "json"]).copied();
        let error = Invocation::hubward(json).run().await.last().expect("an error");
        assert!(error["hint"].as_str().is_some_and(|it| it.contains(expected)), "{error}");
    }
}
