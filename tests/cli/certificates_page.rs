//! Runs the commands of docs/certificates.md, in their order, with an emulator in place of Azure.

use std::path::Path;

use hubward_tests::command::Invocation;

use super::emulator::folder;
use super::path_with_hubward;
use super::running::{Running, variables};

/// Reads the verification code, which the page shows as `CODE`.
const CODE: &str = "$(hubward dps certificate generate-verification-code --certificate-name root --emulator \
                    --query properties.verificationCode --output tsv)";

/// The page sets the host and the ID scope of Azure, and its last command does not end.
fn is_for_the_test(line: &&str) -> bool {
    !line.starts_with("export PROVISIONING_HOST=")
        && !line.starts_with("export PROVISIONING_IDSCOPE=")
        && *line != "hubward device run"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_work() {
    let page = include_str!("../../docs/certificates.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|it| it.split("```").next());
    let lines: Vec<&str> = blocks.flat_map(str::lines).filter(is_for_the_test).collect();
    assert!(lines.iter().filter(|it| it.starts_with("hubward ")).count() >= 12, "{lines:?}");
    let script = lines.join("\n").replace("contoso.azure-devices.net", "localhost").replace("CODE", CODE);

    let (folder, data_dir) = folder();
    let mut emulator = Running::emulator(&data_dir, ["--output", "json"]);
    emulator.json().await;
    let mut variables = variables(&emulator.json().await);
    variables.retain(|(name, _)| name != "PROVISIONING_SYMMETRIC_KEY");
    variables.extend(super::running::line_variables(&emulator.json().await));
    variables.push(("HUBWARD_DATA_DIR".to_owned(), data_dir.clone()));
    variables.push(("PATH".to_owned(), path_with_hubward(folder.path())));
    let script = format!("set -eu\ncd {}\n{script}", folder.path().display());
    let ran = Invocation::of(Path::new("/bin/sh")).args(["-c", &script]).vars(&variables).run().await;
    let text = ran.stdout_text();
    assert_eq!(ran.code, Some(0), "{script}\n{text}\n{}", ran.stderr_text());
    for expected in ["no problem found", "10 of 10 messages acknowledged", "\n1 of 1 messages acknowledged"] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    let is_verified = |it: &str| it.starts_with("properties.isVerified") && it.ends_with("true");
    assert!(text.lines().any(is_verified), "{text}");
}
