//! `hubward emulator trust`: runs the printed lines with the client programs that this machine has.

use std::path::Path;

use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::emulator::folder;
use super::running::Running;

/// Client programs that test whether they trust the emulator. Each row has three parts: the value of `--for`, the
/// program that must be installed, and a command line.
///
/// The command line requests `https://localhost:PORT/`. It succeeds only if the program trusts the server's
/// certificate.
const PROBES: &[(&str, &str, &str)] = &[
    (
        "python",
        "python3",
        "python3 -c 'import http.client,ssl,sys; http.client.HTTPSConnection(\"localhost\", int(sys.argv[1]), \
         context=ssl.create_default_context()).request(\"GET\", \"/\")' $PORT",
    ),
    (
        "node",
        "node",
        "node -e 'require(\"https\").get(\"https://localhost:\" + process.argv[1] + \"/\", \
         () => process.exit(0)).on(\"error\", () => process.exit(1))' $PORT",
    ),
    ("curl", "curl", "curl -sS -o /dev/null https://localhost:$PORT/"),
    ("java", "javac", "java $PROBE/Probe.java $PORT"),
];

const JAVA: &str = "import java.net.URI; import java.net.http.*;
public class Probe { public static void main(String[] arguments) throws Exception {
  var request = HttpRequest.newBuilder(URI.create(\"https://localhost:\" + arguments[0] + \"/\")).build();
  HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
} }";

async fn sh(script: &str, variables: &[(&str, String)]) -> Ran {
    Invocation::of("sh".as_ref()).vars(variables).stdin(script).run().await
}

async fn is_installed(program: &str) -> bool {
    sh(&format!("command -v {program}"), &[]).await.code == Some(0)
}

async fn trust(arguments: &[&str]) -> Ran {
    Invocation::hubward(["emulator", "trust"]).args(arguments.iter().copied()).run().await
}

fn port(ready: &Value) -> String {
    let address = ready["https"][0].as_str().expect("an address");
    address.rsplit(':').next().expect("a port").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_make_each_kind_of_client_trust_the_emulator() {
    let (kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let probe = kept.path().to_str().expect("a path that is text").to_owned();
    std::fs::write(kept.path().join("Probe.java"), JAVA).expect("a file");
    let variables = [("PORT", port(&ready)), ("PROBE", probe)];
    let mut ran = 0;
    for (kind, program, probe) in PROBES {
        if !is_installed(program).await {
            println!("{kind}: not run, {program} is not installed");
            continue;
        }
        // The environment of the test may contain variables that name trusted certificates. Remove these variables, so
        // that only the printed lines can make the client trust the emulator.
        let clean = "unset SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE \
                     JAVA_TOOL_OPTIONS\n";
        let untrusted = sh(&format!("{clean}{probe}"), &variables).await;
        assert_ne!(untrusted.code, Some(0), "{kind} trusts the emulator before the lines run");
        let printed = trust(&["--data-dir", &data_dir, "--for", kind, "--shell", "sh"]).await;
        assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
        let script = format!("{clean}set -e\n{}\n{probe}", printed.stdout_text());
        let trusted = sh(&script, &variables).await;
        assert_eq!(trusted.code, Some(0), "{kind}:\n{script}\n{}\n{}", trusted.stdout_text(), trusted.stderr_text());
        ran += 1;
    }
    assert!(ran > 0, "at least one of the programs is installed");
    // The lines for Java can run twice.
    if is_installed("keytool").await {
        let lines = trust(&["--data-dir", &data_dir, "--for", "java", "--shell", "sh"]).await.stdout_text();
        let twice = sh(&format!("set -e\n{lines}\n{lines}"), &[]).await;
        assert_eq!(twice.code, Some(0), "{}{}", twice.stdout_text(), twice.stderr_text());
    }
    // hubward needs only one variable.
    let printed = trust(&["--data-dir", &data_dir, "--for", "rust", "--shell", "sh"]).await.stdout_text();
    let hubward = hubward_tests::binary::hubward().display();
    let login = running.json_until("operator").await.pop().expect("a line");
    let login = login["variables"]["PROVISIONING_CONNECTION_STRING"].as_str().expect("a login").to_owned();
    let rule = format!(":443:127.0.0.1:{}", port(&ready));
    let variables = [("PROVISIONING_CONNECTION_STRING", login), ("HUBWARD_CONNECT_TO", rule)];
    for (lines, code) in [("", 4), (printed.as_str(), 0)] {
        let ran = sh(&format!("{lines}\n'{hubward}' dps enrollment list"), &variables).await;
        assert_eq!(ran.code, Some(code), "{}", ran.stderr_text());
    }
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_has_lines_and_is_marked_as_tested_or_untested() {
    let (_kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let admin = ready["admin"].as_str().expect("a URL").to_owned();
    let from_files = trust(&["--data-dir", &data_dir, "-o", "json"]).await.last().expect("a result");
    let from_emulator = trust(&["--admin", &admin, "-o", "json"]).await.last().expect("a result");
    assert_eq!(from_files, from_emulator);
    running.interrupt().await;
    // `--data-dir` needs no running emulator: after the end of the emulator, the command prints the same result.
    assert_eq!(trust(&["--data-dir", &data_dir, "-o", "json"]).await.last().expect("a result"), from_files);

    let recipes = from_files["recipes"].as_array().expect("a list");
    let kinds: Vec<&str> = recipes.iter().filter_map(|it| it["for"].as_str()).collect();
    assert_eq!(kinds, ["os", "os", "os", "os", "python", "node", "java", "dotnet", "curl", "rust"]);
    let name = from_files["caName"].as_str().expect("a name");
    assert!(name.starts_with("hubward emulator CA ") && name.len() == 28, "{name}");
    for recipe in recipes {
        let lines = recipe["lines"].to_string();
        assert!(lines.contains(&data_dir) || recipe["for"] == "java", "{recipe}");
        let is_run = PROBES.iter().any(|it| recipe["for"] == it.0)
            || recipe["for"] == "rust"
            || lines.contains("update-ca-certificates");
        assert_eq!(recipe["tested"], json!(is_run), "{recipe}");
    }
    let text = trust(&["--data-dir", &data_dir]).await.stdout_text();
    for title in ["macOS", "Windows, as Administrator", "Fedora, RHEL", ".NET"] {
        let line = text.lines().find(|it| it.contains("---") && it.contains(title)).expect(title);
        assert!(line.ends_with("(untested: we could not run it)"), "{line}");
    }
    let pwsh = trust(&["--data-dir", &data_dir, "--for", "node", "--shell", "pwsh"]).await.stdout_text();
    assert!(pwsh.contains("$env:NODE_EXTRA_CA_CERTS = '"), "{pwsh}");
}

/// Creates an empty root directory with the folders of a Debian system.
fn debian_root(folder: &Path) -> String {
    let root = folder.join("root");
    for path in ["etc/ssl/certs", "etc/ca-certificates/update.d", "usr/share/ca-certificates"] {
        std::fs::create_dir_all(root.join(path)).expect("a folder");
    }
    std::fs::write(root.join("etc/ca-certificates.conf"), "# none\n").expect("a file");
    root.to_str().expect("a path that is text").to_owned()
}

/// Returns a script that runs the lines on the certificate store below `root`.
fn below(root: &str, lines: &Value) -> String {
    let options = [
        ("--certsconf", "etc/ca-certificates.conf"),
        ("--certsdir", "usr/share/ca-certificates"),
        ("--localcertsdir", "usr/local/share/ca-certificates"),
        ("--etccertsdir", "etc/ssl/certs"),
        ("--hooksdir", "etc/ca-certificates/update.d"),
    ];
    let options: String = options.iter().map(|(option, path)| format!(" {option} {root}/{path}")).collect();
    let lines = lines.as_array().expect("a list").iter().map(|it| it.as_str().expect("a line"));
    let lines = lines.map(|it| {
        let line = it.strip_prefix("sudo ").expect("the lines need root");
        let line = line.replace(" /usr/local/", &format!(" {root}/usr/local/"));
        line.replace("update-ca-certificates", &format!("/usr/sbin/update-ca-certificates{options}"))
    });
    std::iter::once("set -e".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_debian_change_its_store_and_undo_it() {
    if !Path::new("/usr/sbin/update-ca-certificates").exists() {
        println!("not run, update-ca-certificates is not installed");
        return;
    }
    let (kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let root = debian_root(kept.path());
    // The store already contains another certificate authority.
    let other = hubward_emulator::Emulator::start().await.expect("the emulator starts").ca_pem().to_owned();
    let local = Path::new(&root).join("usr/local/share/ca-certificates");
    std::fs::create_dir_all(&local).expect("a folder");
    std::fs::write(local.join("other.crt"), &other).expect("a file");
    let bundle = Path::new(&root).join("etc/ssl/certs/ca-certificates.crt");
    let probe = format!("curl -sS -o /dev/null --cacert {} https://localhost:{}/", bundle.display(), port(&ready));

    let recipes = trust(&["--data-dir", &data_dir, "--for", "os", "-o", "json"]).await.last().expect("a result");
    let debian = &recipes["recipes"][0];
    assert!(debian.to_string().contains("update-ca-certificates"), "{debian}");
    let pem = std::fs::read_to_string(ready["caFile"].as_str().expect("a path")).expect("a file");
    // The other authority stays in the bundle.
    for (part, code) in [("lines", 0), ("lines", 0), ("undo", 60)] {
        let changed = sh(&below(&root, &debian[part]), &[]).await;
        assert_eq!(changed.code, Some(0), "{part}: {}", changed.stderr_text());
        let text = std::fs::read_to_string(&bundle).expect("the bundle");
        assert!(text.contains(other.trim()), "{part}");
        assert_eq!(text.contains(pem.trim()), part == "lines", "{part}");
        let probed = sh(&probe, &[]).await;
        assert_eq!(probed.code, Some(code), "{part}: {}", probed.stderr_text());
    }
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_trust_name_the_cause() {
    let (kept, data_dir) = folder();
    let invalid = kept.path().join("odd");
    std::fs::create_dir(&invalid).expect("a folder");
    std::fs::write(invalid.join("ca.pem"), "-----BEGIN PRIVATE KEY-----\n").expect("a file");
    let invalid = invalid.to_str().expect("a path that is text");
    for (arguments, code, expected) in [
        (&["--data-dir", &data_dir][..], 1, "start the emulator once"),
        (&["--admin", "http://127.0.0.1:1"], 3, "hubward emulator"),
        (&["--data-dir", invalid], 1, "is not the certificate of an emulator"),
        (&["--for", "perl"], 2, "perl"),
        (&["--install"], 2, "--install"),
    ] {
        let ran = trust(&[arguments, &["--output", "json"]].concat()).await;
        let error = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
    }
}
