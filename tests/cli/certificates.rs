//! Certificates in the commands of operators: CA certificates, enrollments, identities. `hubward x509` creates the
//! files.

use std::path::Path;

use hubward_emulator::Emulator;
use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::operator::{Operator, successful_output};
use super::{cloud, path_with_hubward};

/// An operator whose login is the admin port of an emulator, and a folder for certificates.
struct Lab {
    dps: Operator<Emulator>,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let (emulator, _) = cloud().await;
        let variables = vec![("HUBWARD_EMULATOR_ADMIN".to_owned(), emulator.ready().admin)];
        Self {
            dps: Operator { group: "dps", cloud: emulator, variables },
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// The path of a file in the folder.
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    /// Runs `hubward x509`.
    async fn x509(&self, arguments: &[&str]) {
        let folder = self.folder.path().to_str().expect("text");
        let command = Invocation::hubward(["x509"]).args(arguments.iter().copied()).args(["--out-dir", folder]);
        successful_output(arguments, &command.run().await);
    }

    /// Creates the root authority `root.pem`.
    async fn root(&self) {
        self.x509(&["new-ca", "--name", "root"]).await;
    }

    /// Creates a certificate that the root authority issues, with a key.
    async fn device(&self, name: &str) {
        let (cert, key) = (self.file("root.pem"), self.file("root.key"));
        self.x509(&["new-device", "--name", name, "--issuer-cert", &cert, "--issuer-key", &key]).await;
    }

    /// Runs a command of the group `hub`.
    async fn hub(&self, arguments: &[&str]) -> Ran {
        Invocation::hubward(["hub"]).args(arguments.iter().copied()).vars(&self.dps.variables).run().await
    }

    /// Runs the lines that a command printed, and then a command, in a shell without the operator's variables.
    async fn shell(&self, lines: &str, command: &str) -> Ran {
        let bin = tempfile::tempdir().expect("a folder");
        let path = ("PATH".to_owned(), path_with_hubward(bin.path()));
        Invocation::of("sh".as_ref()).vars(&[path]).stdin(format!("{lines}\nexec {command}\n")).run().await
    }
}

/// The answer of the service.
fn answer(ran: &Ran) -> Value {
    let text = ran.stdout_text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", ran.stderr_text()))
}

/// The lines for a device after the line that begins with `title`.
fn lines_after(text: &str, title: &str) -> String {
    let lines = text.split_once(title).unwrap_or_else(|| panic!("no `{title}` in {text}")).1;
    lines.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_certificate_is_uploaded_verified_and_deleted() {
    let lab = Lab::new().await;
    lab.root().await;
    let (path, name) = (lab.file("root.pem"), ["--certificate-name", "Contoso-1"]);
    let made = lab.dps.text(&[&["certificate", "create", "-p", &path][..], &name].concat()).await;
    assert!(made.contains("properties.isVerified") && made.contains("generate-verification-code"), "{made}");

    let list = lab.dps.json(&["certificate", "list"]).await;
    let shown = lab.dps.json(&["certificate", "show", "-n", "contoso-1"]).await;
    assert_eq!(list, json!({ "value": [shown] }));
    assert_eq!((&shown["name"], &shown["properties"]["subject"]), (&json!("Contoso-1"), &json!("CN=root")));
    assert_eq!(shown["properties"]["isVerified"], json!(false));
    let row = lab.dps.text(&["certificate", "list", "-o", "tsv"]).await;
    let cells: Vec<&str> = row.trim_end().split('\t').collect();
    assert_eq!((cells[0], cells[1], cells[2], cells.len()), ("Contoso-1", "CN=root", "false", 6), "{row}");

    // The ETag of `az`, from the previous answer.
    let etag = shown["etag"].as_str().expect("an ETag");
    let code = lab.dps.json(&[&["certificate", "generate-verification-code", "-e", etag][..], &name].concat()).await;
    let (next, code) = (&code["etag"], code["properties"]["verificationCode"].as_str().expect("a code"));
    let (key, proof) = (lab.file("root.key"), lab.file("proof.pem"));
    lab.x509(&["prove", "--code", code, "--issuer-cert", &path, "--issuer-key", &key, "--cert-out", &proof]).await;
    let verify = ["certificate", "verify", "-n", "Contoso-1", "-p", &proof, "-e", next.as_str().expect("an ETag")];
    let verified = lab.dps.json(&verify).await;
    assert_eq!(verified["properties"]["isVerified"], json!(true));

    let deleted = lab.dps.text(&["certificate", "delete", "-n", "Contoso-1", "--dps-name", "localhost"]).await;
    assert_eq!(deleted, "deleted the CA certificate Contoso-1\n");
    assert_eq!(lab.dps.json(&["certificate", "list"]).await, json!({ "value": [] }));
    let trusted = lab.dps.json(&["certificate", "create", "-n", "b", "--path", &path, "--verified"]).await;
    assert_eq!(trusted["properties"]["isVerified"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_ca_certificates_say_what_to_do() {
    let lab = Lab::new().await;
    lab.root().await;
    let (root, key) = (lab.file("root.pem"), lab.file("root.key"));
    lab.dps.text(&["certificate", "create", "-n", "root", "-p", &root]).await;
    for (arguments, code, message, hint) in [
        (&["create", "-n", "root", "-p", &root][..], 6, "409, Conflict", "certificate delete --certificate-name root"),
        (&["create", "-n", "a b", "-p", &root], 6, "400, BadRequest", "correct the request"),
        (&["create", "-n", "x", "-p", &key], 2, "contains no certificate", "-----BEGIN CERTIFICATE-----"),
        (&["create", "-n", "x", "-p", "/no/such"], 2, "--path: the file /no/such cannot be read", "check the path"),
        (&["show", "-n", "other"], 6, "404, NotFound", "check the id"),
        (&["delete", "-n", "root", "-e", "AAAA"], 6, "412, PreconditionFailed", "read it again"),
        (&["verify", "-n", "root", "-p", &root], 6, "Generate a verification code first", "correct the request"),
        (&["list", "--host", "elsewhere"], 2, "does not have the name elsewhere", "--host NAME"),
    ] {
        let error = lab.dps.error(&[&["certificate"], arguments].concat()).await;
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        for (member, expected) in [("message", message), ("hint", hint)] {
            assert!(error[member].as_str().is_some_and(|it| it.contains(expected)), "{arguments:?}: {error}");
        }
    }
    // Azure Resource Manager has these requests for a DPS in Azure.
    let login = "HostName=contoso.azure-devices-provisioning.net;SharedAccessKeyName=p;\
                 SharedAccessKey=YWJjZGVmZ2hpamtsbW5vcA==";
    let command = Invocation::hubward(["dps", "certificate", "list", "--output", "json"]);
    let ran = command.vars(&[("PROVISIONING_CONNECTION_STRING", login.to_owned())]).run().await;
    let error: Value = ran.last().expect("a line");
    assert_eq!((&error["exitCode"], ran.code), (&json!(11), Some(11)), "{error}");
    assert!(error["hint"].as_str().is_some_and(|it| it.contains("az iot dps certificate")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_with_certificates_is_created_updated_and_used() {
    let lab = Lab::new().await;
    lab.root().await;
    for name in ["pump-1", "pump-2"] {
        lab.x509(&["new-device", "--name", name]).await;
    }
    let (first, second) = (lab.file("pump-1.pem"), lab.file("pump-2.pem"));
    let made = lab.dps.text(&["enrollment", "create", "--eid", "pump-1", "--at", "X509", "--cp", &first]).await;
    assert!(made.contains("attestation.type") && made.contains("sha256Thumbprint"), "{made}");
    let lines = lines_after(&made, "For a device with this enrollment:");
    assert!(lines.contains("X509_KEY_FILE") && !lines.contains("SYMMETRIC_KEY"), "{lines}");
    let ran = lab.shell(&lines, "hubward provision --messages 1").await;
    assert_eq!(ran.code, Some(0), "{lines}\n{}", ran.stderr_text());

    // The device ID of another registration is only a warning: the certificate may be replaced later.
    let update = ["enrollment", "update", "--eid", "pump-1", "--scp", &second, "-o", "json"];
    let ran = lab.dps.run(&update).await;
    assert!(ran.code == Some(0) && ran.warnings().contains("common name (CN)"), "{}", ran.stderr_text());
    let x509 =
        |it: &Value, name: &str| it["attestation"]["x509"]["clientCertificates"][name]["info"]["subjectName"].clone();
    let changed = answer(&ran);
    assert_eq!((x509(&changed, "primary"), x509(&changed, "secondary")), (json!("CN=pump-1"), json!("CN=pump-2")));
    let kept = lab.dps.json(&["enrollment", "update", "--eid", "pump-1", "--ps", "disabled"]).await;
    assert_eq!(kept["attestation"], changed["attestation"]);
    let removed = lab.dps.json(&["enrollment", "update", "--eid", "pump-1", "--remove-secondary-certificate"]).await;
    assert_eq!((x509(&removed, "primary"), x509(&removed, "secondary")), (json!("CN=pump-1"), Value::Null));

    for (arguments, expected) in [
        (&["create", "--eid", "x", "--at", "x509"][..], "--attestation-type x509 needs a certificate"),
        (&["create", "--eid", "x", "--scp", &first], "no first one"),
        (&["create", "--eid", "x", "--at", "symmetrickey", "--cp", &first], "needs --attestation-type x509"),
        (&["create", "--eid", "x", "--cp", &first, "--pk", "YQ==", "--sk", "YQ=="], "--primary-key"),
        (&["create", "--eid", "x", "--cn", "root"], "--cn"),
        (&["update", "--eid", "pump-1", "--rc"], "no primary certificate"),
        (&["update", "--eid", "dev-1", "--cp", &first], "dev-1 has no certificates to change"),
        (&["update", "--eid", "pump-1", "--rc", "--cp", &first], "--remove-certificate"),
    ] {
        let error = lab.dps.error(&[&["enrollment"], arguments].concat()).await;
        assert_eq!(error["exitCode"], json!(2), "{arguments:?}: {error}");
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_certificates_or_names_of_ca_certificates() {
    let lab = Lab::new().await;
    lab.root().await;
    lab.device("dev-9").await;
    let root = lab.file("root.pem");
    lab.dps.text(&["certificate", "create", "-n", "root", "-p", &root, "--verified"]).await;
    for (name, arguments) in [("by-file", ["--certificate-path", root.as_str()]), ("by-name", ["--ca-name", "root"])] {
        let made = lab.dps.text(&[&["enrollment-group", "create", "--eid", name][..], &arguments].concat()).await;
        let mut lines = lines_after(&made, "For a device of the group");
        for (variable, value) in [
            ("PROVISIONING_REGISTRATION_ID", "dev-9".to_owned()),
            ("X509_CERT_FILE", lab.file("dev-9.pem")),
            ("X509_KEY_FILE", lab.file("dev-9.key")),
        ] {
            assert!(lines.contains(&format!("export {variable}=")), "{lines}");
            lines.push_str(&format!("\nexport {variable}='{value}'"));
        }
        let ran = lab.shell(&lines, "hubward provision --messages 1").await;
        assert_eq!(ran.code, Some(0), "{name}: {lines}\n{}", ran.stderr_text());
        lab.dps.text(&["enrollment-group", "delete", "--eid", name]).await;
    }
    let unknown = lab.dps.error(&["enrollment-group", "create", "--eid", "x", "--cn", "other"]).await;
    assert_eq!(unknown["exitCode"], json!(6), "{unknown}");
    let both = ["enrollment-group", "create", "--eid", "x", "--cn", "root", "--cp", &root];
    assert_eq!(lab.dps.error(&both).await["exitCode"], json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_in_the_file_is_not_sent() {
    let lab = Lab::new().await;
    lab.x509(&["new-device", "--name", "pump-1"]).await;
    let read = |name: &str| std::fs::read_to_string(lab.file(name)).expect("a file");
    let key = read("pump-1.key");
    std::fs::write(Path::new(&lab.file("both.pem")), format!("{key}{}", read("pump-1.pem"))).expect("written");
    let both = lab.file("both.pem");
    let secret = key.lines().nth(1).expect("base64");
    for arguments in [
        &["dps", "enrollment", "create", "--eid", "pump-1", "--cp", &both][..],
        &["dps", "certificate", "create", "-n", "pump-1", "-p", &both],
        &["hub", "device-identity", "create", "-d", "pump-1", "--am", "x509_thumbprint", "--cp", &both],
    ] {
        let ran = Invocation::hubward(arguments.iter().copied()).vars(&lab.dps.variables).run().await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr_text());
        assert!(ran.warnings().contains("also contains a private key"), "{arguments:?}: {}", ran.stderr_text());
        assert!(!format!("{}{}", ran.stdout_text(), ran.stderr_text()).contains(secret), "{arguments:?}");
    }
    let state = json!(lab.dps.cloud.export()).to_string();
    assert!(state.contains("pump-1") && !state.contains(secret), "the emulator does not have the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_with_a_certificate_is_created_and_used() {
    let lab = Lab::new().await;
    lab.root().await;
    lab.device("by-ca").await;
    lab.x509(&["new-device", "--name", "by-print"]).await;
    lab.dps.text(&["certificate", "create", "-n", "root", "-p", &lab.file("root.pem"), "--verified"]).await;
    let print = lab.file("by-print.pem");
    for (id, arguments) in
        [("by-print", &["--am", "x509_thumbprint", "--certificate-path", &print][..]), ("by-ca", &["--am", "x509_ca"])]
    {
        let create = [&["device-identity", "create", "-d", id][..], arguments].concat();
        let made = successful_output(&create, &lab.hub(&create).await);
        let mut lines = lines_after(&made, "For the device:");
        assert!(lines.contains(&format!(";DeviceId={id};x509=true")), "{lines}");
        if id == "by-ca" {
            let [cert, key] = ["by-ca.pem", "by-ca.key"].map(|it| lab.file(it));
            lines.push_str(&format!("\nexport X509_CERT_FILE='{cert}' X509_KEY_FILE='{key}'"));
        }
        let ran = lab.shell(&lines, "hubward device send 21.5").await;
        assert_eq!(ran.code, Some(0), "{lines}\n{}", ran.stderr_text());
    }
    // An update changes the type, and the identity loses what it no longer uses.
    let id = ["device-identity", "update", "-d", "by-print", "--output", "json"];
    for (arguments, kind, has_keys) in [
        (&["--am", "sas"][..], "sas", true),
        (&["--am", "x509_thumbprint", "--ptp", &"ab:".repeat(20)], "selfSigned", false),
        (&["--am", "x509_ca"], "certificateAuthority", false),
    ] {
        let ran = lab.hub(&[&id[..], arguments].concat()).await;
        let changed = answer(&ran);
        let authentication = &changed["authentication"];
        assert_eq!(authentication["type"], json!(kind), "{changed}");
        assert_eq!(authentication["symmetricKey"]["primaryKey"].is_string(), has_keys, "{changed}");
        let print = authentication["x509Thumbprint"]["primaryThumbprint"].as_str();
        assert_eq!(print, (kind == "selfSigned").then_some("ab".repeat(20)).as_deref(), "{changed}");
    }
    let module = ["module-identity", "create", "-d", "by-ca", "-m", "m", "--am", "x509_thumbprint", "--cp", &print];
    let ran = lab.hub(&[&module[..], &["--output", "json"]].concat()).await;
    let made = answer(&ran);
    assert_eq!(made["authentication"]["type"], json!("selfSigned"), "{made}");
}
