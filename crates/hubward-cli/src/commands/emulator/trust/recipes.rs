//! The commands with which each kind of program trusts the CA.

use serde_json::{Value, json};

use super::{Ca, Program};
use crate::shell::Shell;

/// The commands for one kind of program.
pub(super) struct Recipe {
    pub(super) program: Program,
    pub(super) title: &'static str,
    /// Whether a test of this repository runs these lines.
    pub(super) tested: bool,
    pub(super) notes: Vec<String>,
    pub(super) lines: Vec<String>,
    pub(super) undo: Vec<String>,
}

impl Recipe {
    fn new(program: Program, title: &'static str, tested: bool, lines: impl IntoIterator<Item = String>) -> Self {
        Self { program, title, tested, notes: Vec::new(), lines: lines.into_iter().collect(), undo: Vec::new() }
    }

    fn note(mut self, text: &str) -> Self {
        self.notes.push(text.to_owned());
        self
    }

    fn undo(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.undo.extend(lines);
        self
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "for": format!("{:?}", self.program).to_ascii_lowercase(),
            "title": self.title,
            "tested": self.tested,
            "notes": self.notes,
            "lines": self.lines,
            "undo": self.undo,
        })
    }
}

/// The recipes of all programs.
pub(super) fn all(ca: &Ca, shell: Shell) -> Vec<Recipe> {
    let mut recipes = os(ca);
    recipes.extend([
        python(ca, shell),
        node(ca, shell),
        java(ca, shell),
        dotnet(ca, shell),
        curl(ca, shell),
        rust(ca, shell),
    ]);
    recipes
}

/// Returns the recipes for the stores of operating systems. The commands of a recipe are for the shell of that
/// operating system.
fn os(ca: &Ca) -> Vec<Recipe> {
    let path = ca.file.display().to_string();
    let (file, windows, name) = (Shell::Sh.word(&path), Shell::Cmd.word(&path), &ca.name);
    let line = |text: &str| text.replace("{file}", &file);
    vec![
        Recipe::new(
            Program::Os,
            "OS store: Debian, Ubuntu, Alpine",
            true,
            [
                line("sudo cp {file} /usr/local/share/ca-certificates/hubward-emulator.crt"),
                line("sudo update-ca-certificates"),
            ],
        )
        .note("Alpine (untested): run `apk add ca-certificates` first.")
        .undo([
            line("sudo rm /usr/local/share/ca-certificates/hubward-emulator.crt"),
            line("sudo update-ca-certificates --fresh"),
        ]),
        Recipe::new(
            Program::Os,
            "OS store: Fedora, RHEL",
            false,
            [
                line("sudo cp {file} /etc/pki/ca-trust/source/anchors/hubward-emulator.pem"),
                line("sudo update-ca-trust"),
            ],
        )
        .undo([line("sudo rm /etc/pki/ca-trust/source/anchors/hubward-emulator.pem"), line("sudo update-ca-trust")]),
        Recipe::new(
            Program::Os,
            "OS store: macOS",
            false,
            [line("sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}")],
        )
        .undo([format!("sudo security delete-certificate -c \"{name}\" /Library/Keychains/System.keychain")]),
        Recipe::new(
            Program::Os,
            "OS store: Windows, as Administrator",
            false,
            [format!("certutil -addstore Root {windows}")],
        )
        .note("For the current user only: certutil -user -addstore Root …")
        .undo([format!("certutil -delstore Root \"{name}\"")]),
    ]
}

fn python(ca: &Ca, shell: Shell) -> Recipe {
    let path = ca.file.display().to_string();
    Recipe::new(
        Program::Python,
        "Python: ssl, azure-iot-device; requests, azure-iot-hub",
        true,
        [shell.export("SSL_CERT_FILE", &path), shell.export("REQUESTS_CA_BUNDLE", &path)],
    )
    .note("Each replaces the usual authorities, for programs started from this shell. In code:")
    .note("ssl.create_default_context(cafile=…), requests.get(…, verify=…),")
    .note("IoTHubDeviceClient.create_from_…(…, server_verification_cert=open(…).read())")
}

fn node(ca: &Ca, shell: Shell) -> Recipe {
    Recipe::new(Program::Node, "Node", true, [shell.export("NODE_EXTRA_CA_CERTS", &ca.file.display().to_string())])
        .note("Adds to the usual authorities. Node reads the variable once, at its start.")
}

/// Returns the recipe for Java. Its commands create a trust store beside the certificate.
fn java(ca: &Ca, shell: Shell) -> Recipe {
    let store = ca.file.with_file_name("truststore.p12");
    let (file, path) = (shell.word(&ca.file.display().to_string()), store.display().to_string());
    let import = format!(
        "keytool -importcert -noprompt -alias hubward-emulator -file {file} -keystore {} -storetype PKCS12 \
         -storepass changeit",
        shell.word(&path)
    );
    let options = format!("-Djavax.net.ssl.trustStore={path} -Djavax.net.ssl.trustStorePassword=changeit");
    // Remove an existing store first. It may contain the alias already, with the certificate of another authority.
    // `keytool` refuses to import a certificate under an alias that exists.
    let fresh = shell.remove(&path);
    let recipe =
        Recipe::new(Program::Java, "Java", true, [fresh.clone(), import, shell.export("JAVA_TOOL_OPTIONS", &options)])
            .note("The store replaces the JDK's, for programs started from this shell. For all programs of a")
            .note("JDK: keytool -importcert -cacerts -noprompt -alias hubward-emulator -file … -storepass changeit");
    // Java splits `JAVA_TOOL_OPTIONS` at spaces, and no form of quotes works in all versions of Java.
    let recipe = if path.contains(' ') {
        recipe.note("The path contains a space: copy the store to a path without spaces.")
    } else {
        recipe
    };
    recipe.undo([fresh])
}

fn dotnet(ca: &Ca, shell: Shell) -> Recipe {
    Recipe::new(Program::Dotnet, ".NET", false, [shell.export("SSL_CERT_FILE", &ca.file.display().to_string())])
        .note("On Linux; it replaces the usual authorities. On Windows and macOS .NET uses only the OS store.")
}

fn curl(ca: &Ca, shell: Shell) -> Recipe {
    let path = ca.file.display().to_string();
    Recipe::new(Program::Curl, "curl", true, [shell.export("CURL_CA_BUNDLE", &path)])
        .note(&format!("Or for one request: curl --cacert {} …", shell.word(&path)))
        .note("The curl that comes with Windows uses only the OS store.")
}

fn rust(ca: &Ca, shell: Shell) -> Recipe {
    let path = ca.file.display().to_string();
    Recipe::new(Program::Rust, "Rust: hubward, SDK and command", true, [shell.export(hubward::vars::CA_FILE, &path)])
        .note(&format!("Or for one command: --ca-file {}", shell.word(&path)))
}
