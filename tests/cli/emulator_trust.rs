//! `hubward emulator trust`: the lines are run, by what is installed here.

use std::path::Path;

use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::emulator::folder;
use super::running::Running;

/// A program that asks `https://localhost:PORT/` and ends with 0 if it trusts who answers.
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
async fn the_lines_for_each_kind_of_program_make_it_trust_the_emulator() {
    let (kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let probe = kept.path().to_str().expect("a path that is text").to_owned();
    std::fs::write(kept.path().join("Probe.java"), JAVA).expect("a file");
    let variables = [("PORT", port(&ready)), ("PROBE", probe)];
    let mut ran = 0;
    for (whom, program, ask) in PROBES {
        if !is_installed(program).await {
            println!("{whom}: not run, there is no {program} here");
            continue;
        }
        // Authorities that somebody put into the environment are not asked.
        let clean = "unset SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE \
                     JAVA_TOOL_OPTIONS\n";
        let untrusted = sh(&format!("{clean}{ask}"), &variables).await;
        assert_ne!(untrusted.code, Some(0), "{whom} trusts it without being told to");
        let printed = trust(&["--data-dir", &data_dir, "--for", whom, "--shell", "sh"]).await;
        assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
        let script = format!("{clean}set -e\n{}\n{ask}", printed.stdout_text());
        let trusted = sh(&script, &variables).await;
        assert_eq!(trusted.code, Some(0), "{whom}:\n{script}\n{}\n{}", trusted.stdout_text(), trusted.stderr_text());
        ran += 1;
    }
    assert!(ran > 0, "nothing of all that is installed");
    // The lines are for who has pasted them before, too.
    if is_installed("keytool").await {
        let lines = trust(&["--data-dir", &data_dir, "--for", "java", "--shell", "sh"]).await.stdout_text();
        let twice = sh(&format!("set -e\n{lines}\n{lines}"), &[]).await;
        assert_eq!(twice.code, Some(0), "{}{}", twice.stdout_text(), twice.stderr_text());
    }
    // hubward itself, by the variable alone.
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
async fn every_kind_has_lines_and_says_whether_they_were_run() {
    let (_kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let admin = ready["admin"].as_str().expect("a URL").to_owned();
    let here = trust(&["--data-dir", &data_dir, "-o", "json"]).await.last().expect("a result");
    let asked = trust(&["--admin", &admin, "-o", "json"]).await.last().expect("a result");
    assert_eq!(here, asked);
    running.interrupt().await;
    // Also while no emulator runs.
    assert_eq!(trust(&["--data-dir", &data_dir, "-o", "json"]).await.last().expect("a result"), here);

    let recipes = here["recipes"].as_array().expect("a list");
    let kinds: Vec<&str> = recipes.iter().filter_map(|it| it["for"].as_str()).collect();
    assert_eq!(kinds, ["os", "os", "os", "os", "python", "node", "java", "dotnet", "curl", "rust"]);
    let name = here["caName"].as_str().expect("a name");
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

/// The root of a system in Debian's layout, with nothing in it.
fn scratch(folder: &Path) -> String {
    let root = folder.join("root");
    for path in ["etc/ssl/certs", "etc/ca-certificates/update.d", "usr/share/ca-certificates"] {
        std::fs::create_dir_all(root.join(path)).expect("a folder");
    }
    std::fs::write(root.join("etc/ca-certificates.conf"), "# none\n").expect("a file");
    root.to_str().expect("a path that is text").to_owned()
}

/// A script of the lines that changes the store below `root`.
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
        println!("not run, there is no update-ca-certificates here");
        return;
    }
    let (kept, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    let root = scratch(kept.path());
    // Some other authority is there, as everywhere.
    let other = hubward_emulator::Emulator::start().await.expect("the emulator starts").ca_pem().to_owned();
    let local = Path::new(&root).join("usr/local/share/ca-certificates");
    std::fs::create_dir_all(&local).expect("a folder");
    std::fs::write(local.join("other.crt"), &other).expect("a file");
    let bundle = Path::new(&root).join("etc/ssl/certs/ca-certificates.crt");
    let ask = format!("curl -sS -o /dev/null --cacert {} https://localhost:{}/", bundle.display(), port(&ready));

    let recipes = trust(&["--data-dir", &data_dir, "--for", "os", "-o", "json"]).await.last().expect("a result");
    let debian = &recipes["recipes"][0];
    let pem = std::fs::read_to_string(ready["caFile"].as_str().expect("a path")).expect("a file");
    // Another authority stays in the bundle, before and after.
    for (part, code) in [("lines", 0), ("undo", 60)] {
        let changed = sh(&below(&root, &debian[part]), &[]).await;
        assert_eq!(changed.code, Some(0), "{part}: {}", changed.stderr_text());
        let text = std::fs::read_to_string(&bundle).expect("the bundle");
        assert!(text.contains(other.trim()), "{part}");
        assert_eq!(text.contains(pem.trim()), part == "lines", "{part}");
        let asked = sh(&ask, &[]).await;
        assert_eq!(asked.code, Some(code), "{part}: {}", asked.stderr_text());
    }
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trusted_says_why() {
    let (kept, data_dir) = folder();
    let odd = kept.path().join("odd");
    std::fs::create_dir(&odd).expect("a folder");
    std::fs::write(odd.join("ca.pem"), "-----BEGIN PRIVATE KEY-----\n").expect("a file");
    let odd = odd.to_str().expect("a path that is text");
    for (arguments, code, says) in [
        (&["--data-dir", &data_dir][..], 1, "start the emulator once"),
        (&["--admin", "http://127.0.0.1:1"], 3, "hubward emulator"),
        (&["--data-dir", odd], 1, "is not the certificate of an emulator"),
        (&["--for", "perl"], 2, "perl"),
    ] {
        let ran = trust(&[arguments, &["--output", "json"]].concat()).await;
        let error = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        assert!(error.to_string().contains(says), "{arguments:?}: {error}");
    }
}
