//! `hubward x509 new-…` and `prove`. OpenSSL checks what they write, and reads the files that OpenSSL has written.

use std::path::Path;

use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;

/// A folder with the files of a lab.
pub(super) struct Lab(tempfile::TempDir);

impl Lab {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Creates the authorities `root` and `line-7`, and the device `dev-1`.
    pub(super) async fn with_a_device() -> Self {
        let lab = Self::new();
        lab.made("new-ca --name root").await;
        lab.made("new-intermediate --name line-7 --issuer-cert @root.pem --issuer-key @root.key").await;
        lab.made("new-device --name dev-1 --issuer-cert @line-7.pem --issuer-key @line-7.key").await;
        lab
    }

    /// The path of a file in the folder.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("text").to_owned()
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect(name);
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).expect("a folder");
        let mut names: Vec<_> = files.map(|it| it.expect("a file").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// Runs `hubward x509`. In the arguments, `@` stands for the folder, and `~` for a space.
    pub(super) async fn run(&self, arguments: &str) -> Ran {
        let words: Vec<String> = arguments.split_whitespace().map(|it| self.word(it)).collect();
        let words = ["x509"].into_iter().chain(words.iter().map(String::as_str));
        let folder = self.path("");
        // `verify` creates no file.
        let writes = !arguments.starts_with("verify");
        Invocation::hubward(words).args(["--out-dir", &folder].into_iter().filter(|_| writes)).run().await
    }

    fn word(&self, word: &str) -> String {
        match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.replace('~', " "),
        }
    }

    /// Runs a command that must succeed. Returns its result.
    pub(super) async fn made(&self, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --output json")).await;
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{arguments}: {}", ran.stdout_text());
        ran.last().expect("a result")
    }

    /// Runs OpenSSL. Returns its output. Versions before 3.2 write `CN = dev-1`; the result always has `CN=dev-1`.
    async fn openssl(&self, arguments: &str) -> String {
        let words: Vec<String> = arguments.split_whitespace().map(|it| self.word(it)).collect();
        let ran = Invocation::of(Path::new("openssl")).args(words.iter().map(String::as_str)).run().await;
        assert_eq!(ran.code, Some(0), "openssl {arguments}: {}{}", ran.stdout_text(), ran.stderr_text());
        ran.stdout_text().replace(" = ", "=")
    }
}

/// The number of certificates in a PEM text.
fn count(pem: &str) -> usize {
    pem.matches("-----BEGIN CERTIFICATE-----").count()
}

#[tokio::test]
async fn openssl_accepts_the_chain_of_a_device() {
    for curve in ["p256", "p384"] {
        let lab = Lab::new();
        lab.made(&format!("new-ca --name root --curve {curve}")).await;
        let issuer = "--issuer-cert @root.pem --issuer-key @root.key";
        lab.made(&format!("new-intermediate --name line-7 {issuer} --curve {curve}")).await;
        let issuer = "--issuer-cert @line-7.pem --issuer-key @line-7.key";
        let names = "--san dev-1.local --san 10.0.0.1 --san 2001:db8::1";
        let result = lab.made(&format!("new-device --name dev-1 {issuer} --curve {curve} {names}")).await;
        assert_eq!(result["certificates"], 2, "{result}");
        assert_eq!([count(&lab.read("root.pem")), count(&lab.read("line-7.pem"))], [1, 1]);
        let verify = "verify -x509_strict -purpose sslclient -CAfile @root.pem -untrusted @dev-1.pem @dev-1.pem";
        assert!(lab.openssl(verify).await.ends_with(": OK\n"));

        let text = lab.openssl("x509 -in @dev-1.pem -noout -text").await;
        for expected in [
            "Subject: CN=dev-1\n",
            "Issuer: CN=line-7\n",
            "Version: 3 (0x2)",
            "CA:FALSE",
            "Digital Signature\n",
            "TLS Web Client Authentication\n",
            "DNS:dev-1.local, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1\n",
            if curve == "p256" { "NIST CURVE: P-256" } else { "NIST CURVE: P-384" },
        ] {
            assert!(text.contains(expected), "{curve}: no `{expected}` in\n{text}");
        }
        let text = lab.openssl("x509 -in @root.pem -noout -text").await;
        for expected in ["CA:TRUE", "Digital Signature, Certificate Sign, CRL Sign\n"] {
            assert!(text.contains(expected), "{curve}: no `{expected}` in\n{text}");
        }
        let sha256 = lab.openssl("x509 -in @dev-1.pem -noout -fingerprint -sha256").await.replace(':', "");
        let printed = result["certificate"]["sha256Thumbprint"].as_str().expect("a thumbprint");
        assert!(sha256.trim_end().ends_with(printed), "{sha256} {printed}");
        let (in_key, in_certificate) =
            tokio::join!(lab.openssl("pkey -in @dev-1.key -pubout"), lab.openssl("x509 -in @dev-1.pem -noout -pubkey"));
        assert_eq!(in_key, in_certificate);
    }
}

#[tokio::test]
async fn force_replaces_no_file_that_the_command_reads() {
    let lab = Lab::with_a_device().await;
    lab.write("secret.pem", "a passphrase");
    let issuer = "--issuer-cert @root.pem --issuer-key @root.key";
    for arguments in [
        format!("new-device --name root {issuer}"),
        format!("new-intermediate --name root {issuer}"),
        format!("new-device --name dev-2 {issuer} --cert-out @root.key"),
        format!("prove --code x {issuer} --cert-out @root.pem"),
        "new-ca --name dev-1 --key-file @dev-1.pem".to_owned(),
        "new-csr --name dev-1 --key-file @dev-1.key --csr-out @dev-1.key".to_owned(),
        "new-ca --name secret --passphrase-file @secret.pem".to_owned(),
    ] {
        let before = ["root.pem", "root.key", "dev-1.pem", "dev-1.key", "secret.pem"].map(|it| lab.read(it));
        let ran = lab.run(&format!("{arguments} --force")).await;
        assert_eq!(ran.code, Some(2), "{arguments}: {}", ran.stderr_text());
        assert!(ran.stderr_text().contains("is also a file that the command reads"), "{}", ran.stderr_text());
        let after = ["root.pem", "root.key", "dev-1.pem", "dev-1.key", "secret.pem"].map(|it| lab.read(it));
        assert!(before == after, "{arguments}");
    }
    let ran = lab.run("new-device --name dev-2 --cert-out @a.pem --key-out @./a.pem --force").await;
    assert!(ran.stderr_text().contains("cannot contain the certificate and the key"), "{}", ran.stderr_text());
}

#[tokio::test]
async fn a_chain_has_every_certificate_of_the_issuers_file() {
    let lab = Lab::with_a_device().await;
    let line = lab.read("line-7.pem");
    lab.write("with-root.pem", &(line.clone() + &lab.read("root.pem")));
    // The file of a second intermediate authority leaves out the root, so it can be uploaded.
    lab.made("new-intermediate --name cell-1 --issuer-cert @with-root.pem --issuer-key @line-7.key").await;
    assert_eq!(count(&lab.read("cell-1.pem")), 2);
    for (issuer, key, expected) in [("line-7", "line-7", 2), ("with-root", "line-7", 3), ("cell-1", "cell-1", 3)] {
        let issuer = format!("--issuer-cert @{issuer}.pem --issuer-key @{key}.key");
        let result = lab.made(&format!("new-device --name dev-2 --force {issuer}")).await;
        assert_eq!((&result["certificates"], count(&lab.read("dev-2.pem"))), (&expected.into(), expected), "{issuer}");
        lab.openssl("verify -x509_strict -CAfile @root.pem -untrusted @dev-2.pem @dev-2.pem").await;
    }
}

#[tokio::test]
async fn without_an_issuer_a_device_is_self_signed() {
    let lab = Lab::new();
    let result = lab.made("new-device --name dev-1 --days 30").await;
    assert_eq!(result["certificate"]["issuerName"], "CN=dev-1");
    lab.openssl("verify -x509_strict -CAfile @dev-1.pem @dev-1.pem").await;
    lab.openssl("x509 -in @dev-1.pem -noout -checkend 2500000").await;
}

#[tokio::test]
async fn files_of_openssl_are_accepted_as_issuer_and_as_key() {
    let lab = Lab::new();
    let extensions = "-addext keyUsage=critical,keyCertSign,cRLSign -days 10";
    for (name, kind) in [("rsa", "rsa:2048"), ("ec", "ec -pkeyopt ec_paramgen_curve:P-384")] {
        lab.openssl(&format!(
            "req -x509 -newkey {kind} -nodes -keyout @{name}.key -out @{name}.pem -utf8 {extensions} \
             -subj /C=DE/O=Werk~Köln/OU=IoT/CN={name}"
        ))
        .await;
        let old = if name == "rsa" { "rsa -traditional" } else { "ec" };
        lab.openssl(&format!("{old} -in @{name}.key -out @{name}-old.key")).await;
        for key in [name.to_owned(), format!("{name}-old")] {
            let arguments = format!(
                "new-device --name dev-1 --force --days 5 --key-file @{key}.key --issuer-cert @{name}.pem \
                 --issuer-key @{key}.key"
            );
            let result = lab.made(&arguments).await;
            assert_eq!(result["keyFile"], lab.path(&format!("{key}.key")), "{key}");
            assert!(
                lab.openssl(&format!("verify -x509_strict -CAfile @{name}.pem @dev-1.pem")).await.ends_with("OK\n")
            );
            assert!(!Path::new(&lab.path("dev-1.key")).exists(), "no new key");
        }
    }
}

#[tokio::test]
async fn a_passphrase_encrypts_the_new_key() {
    let lab = Lab::new();
    lab.write("passphrase", "correct horse\n");
    lab.made("new-ca --name root --passphrase-file @passphrase").await;
    assert!(lab.read("root.key").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    lab.openssl("pkey -in @root.key -passin pass:correct~horse -noout").await;
    let issuer = "--issuer-cert @root.pem --issuer-key @root.key";
    lab.made(&format!("new-device --name dev-1 {issuer} --issuer-passphrase-file @passphrase")).await;
    let refused = lab.run(&format!("new-device --name dev-2 {issuer}")).await;
    let stderr = refused.stderr_text();
    assert!(stderr.contains("--issuer-key: ") && stderr.contains("(--issuer-passphrase-file)"), "{stderr}");
    assert_eq!((refused.code, refused.stdout_text().as_str()), (Some(2), ""));
}

#[tokio::test]
async fn the_validity_can_be_in_the_past() {
    let lab = Lab::with_a_device().await;
    for (name, times, (not_before, not_after)) in [
        (
            "expired",
            "--not-before 2020-01-01 --not-after 2020-02-01T12:00:00Z",
            ("2020-01-01T00:00:00Z", "2020-02-01T12:00:00Z"),
        ),
        ("early", "--not-before 2100-01-01 --days 2", ("2100-01-01T00:00:00Z", "2100-01-03T00:00:00Z")),
    ] {
        let issuer = "--issuer-cert @line-7.pem --issuer-key @line-7.key";
        let ran = lab.run(&format!("new-device --name {name} {issuer} {times} --output json")).await;
        let certificate = &ran.last().expect("a result")["certificate"];
        assert_eq!(
            (&certificate["notBeforeUtc"], &certificate["notAfterUtc"]),
            (&not_before.into(), &not_after.into())
        );
        // The second certificate is valid longer than the authority.
        assert_eq!(ran.stderr_text().contains("valid longer"), name == "early", "{}", ran.stderr_text());
        let checked = lab.run(&format!("verify @{name}.pem")).await;
        assert_eq!(checked.code, Some(2), "{name}");
    }
}

#[tokio::test]
async fn a_request_and_a_proof_are_signed() {
    let lab = Lab::with_a_device().await;
    let result = lab.made("new-csr --name dev-9 --san dev-9.local").await;
    assert_eq!(result["request"], lab.read("dev-9.csr"));
    let text = lab.openssl("req -in @dev-9.csr -verify -noout -text").await;
    assert!(text.contains("Subject: CN=dev-9\n") && text.contains("DNS:dev-9.local"), "{text}");
    lab.openssl("pkey -in @dev-9.key -noout").await;

    let code = "106A5SD242AF512B3498BD6098C4941E66R34H268DDB3288";
    let proof = format!("prove --code {code} --issuer-cert @root.pem --issuer-key @root.key");
    let result = lab.made(&proof).await;
    assert_eq!(result["certificate"]["subjectName"], format!("CN={code}"));
    assert_eq!(result["keyFile"], Value::Null);
    assert!(lab.openssl("verify -x509_strict -CAfile @root.pem @proof.pem").await.ends_with("OK\n"));
    assert!(!lab.names().iter().any(|it| it == "proof.key"), "{:?}", lab.names());
}

#[tokio::test]
async fn existing_files_stay() {
    let lab = Lab::with_a_device().await;
    let issuer = "--issuer-cert @root.pem --issuer-key @root.key";
    for (command, file, kept) in [
        ("new-ca --name root".to_owned(), "root.pem", "root.key"),
        (format!("new-intermediate --name line-7 {issuer}"), "line-7.pem", "line-7.key"),
        (format!("new-device --name dev-1 {issuer}"), "dev-1.pem", "dev-1.key"),
        // Only the file of the key exists.
        ("new-csr --name dev-1".to_owned(), "dev-1.key", "dev-1.pem"),
        (format!("prove --code x {issuer} --cert-out @dev-1.pem"), "dev-1.pem", "dev-1.key"),
    ] {
        let (before, names) = ((lab.read(file), lab.read(kept)), lab.names());
        let refused = lab.run(&format!("{command} --output json")).await;
        let error = refused.last().expect("an error");
        assert_eq!((&error["exitCode"], &error["stage"]), (&2.into(), &"arguments".into()), "{command}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.ends_with(&format!("{file} exists")), "{command}: {message}");
        assert!(error["hint"].as_str().is_some_and(|it| it.contains("--force")), "{error}");
        assert_eq!(((lab.read(file), lab.read(kept)), lab.names()), (before.clone(), names), "{command}");
        lab.made(&format!("{command} --force")).await;
        assert_ne!(lab.read(file), before.0, "{command}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_this_user_can_read_a_key() {
    use std::os::unix::fs::PermissionsExt as _;

    let lab = Lab::with_a_device().await;
    lab.made("new-csr --name dev-2").await;
    let keys: Vec<_> = lab.names().into_iter().filter(|it| it.ends_with(".key")).collect();
    assert_eq!(keys, ["dev-1.key", "dev-2.key", "line-7.key", "root.key"]);
    for key in keys {
        let mode = std::fs::metadata(lab.path(&key)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[tokio::test]
async fn wrong_input_is_refused_and_creates_nothing() {
    let lab = Lab::with_a_device().await;
    lab.write("empty", "\n");
    lab.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout @two.key -out @two.pem -subj /OU=a/OU=b",
    )
    .await;
    let names = lab.names();
    let root = "--issuer-cert @root.pem --issuer-key @root.key";
    for (arguments, expected) in [
        ("new-ca".to_owned(), "--name <NAME>"),
        (format!("new-ca --name {}", "x".repeat(65)), "65 characters"),
        ("new-ca --name a --days 0".to_owned(), "--days"),
        ("new-ca --name a --days 5 --not-after 2030-01-01".to_owned(), "cannot be used with"),
        ("new-ca --name a --not-after 2020-01-01".to_owned(), "--not-after must be later"),
        ("new-ca --name a --not-before yesterday".to_owned(), "2026-01-31T08:00:00Z"),
        ("new-ca --name a --curve p521".to_owned(), "p256, p384"),
        ("new-ca --name a --passphrase-file @empty".to_owned(), "the passphrase is empty"),
        ("new-ca --name a --key-file @missing.key".to_owned(), "--key-file: the file"),
        ("new-ca --name a --cert-out @a --key-out @a".to_owned(), "two different files"),
        ("new-intermediate --name a --issuer-cert @root.pem".to_owned(), "--issuer-key <FILE>"),
        ("new-device --name a --issuer-key @root.key".to_owned(), "--issuer-cert <FILE>"),
        ("new-device --name a --san a~b".to_owned(), "--san"),
        ("new-device --name a --issuer-cert @root.pem --issuer-key @dev-1.key".to_owned(), "--issuer-key: "),
        ("new-device --name a --issuer-cert @root.key --issuer-key @root.key".to_owned(), "no certificate"),
        ("new-device --name a --issuer-cert @root.pem --issuer-key @root.pem".to_owned(), "no private key"),
        (
            "new-device --name a --issuer-cert @dev-1.pem --issuer-key @dev-1.key".to_owned(),
            "`CN=dev-1` is not an authority",
        ),
        ("new-device --name a --issuer-cert @two.pem --issuer-key @two.key".to_owned(), "in the name of"),
        (format!("prove {root}"), "--code <CODE>"),
    ] {
        let ran = lab.run(&arguments).await;
        assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(2), ""), "{arguments}");
        assert!(ran.stderr_text().contains(expected), "{arguments}: {}", ran.stderr_text());
        assert_eq!(lab.names(), names, "{arguments}");
    }
}

#[tokio::test]
async fn the_text_names_the_files_and_the_next_steps() {
    let lab = Lab::new();
    let text = lab.run("new-ca --name root").await.stdout_text();
    for expected in ["Created the root authority CN=root\n", "root.pem\n", "root.key\n", "hubward x509 new-device "] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    let issuer = "--issuer-cert @root.pem --issuer-key @root.key";
    let text = lab.run(&format!("new-device --name dev-1 {issuer}")).await.stdout_text();
    for expected in [
        "(a chain of 2 certificates)\n",
        "hubward dps enrollment-group create --enrollment-id GROUP --certificate-path ",
        "hubward dps enrollment create --enrollment-id=dev-1 --at x509 --certificate-path ",
        "PROVISIONING_REGISTRATION_ID",
        "X509_CERT_FILE",
        "X509_KEY_FILE",
        "hubward provision ",
    ] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    assert!(!text.contains("PRIVATE KEY"), "{text}");
}
