//! A device that logs in with a certificate: the options, the variables, and which of them win.

use hubward_emulator::Emulator;
use hubward_tests::command::Invocation;
use serde_json::Value;

use super::device::HUB;
use super::transports;
use super::x509::Lab;

/// An emulator that knows the device `dev-1` by its certificate, and the variables to find the emulator.
async fn cloud(lab: &Lab) -> (Emulator, Vec<(&'static str, String)>) {
    let emulator = Emulator::start().await.expect("the emulator starts");
    emulator.enrollment("dev-1").create_with_certificates(&lab.read("dev-1.pem"), None).expect("an enrollment");
    let mut variables =
        emulator.ready().x509_vars("dev-1", lab.path("dev-1.pem").as_ref(), lab.path("dev-1.key").as_ref());
    variables.retain(|(name, _)| !name.starts_with("X509_"));
    (emulator, variables)
}

/// The variables of the certificate.
fn certificate(lab: &Lab, chain: &str, key: &str) -> Vec<(&'static str, String)> {
    vec![("X509_CERT_FILE", lab.path(chain)), ("X509_KEY_FILE", lab.path(key))]
}

async fn last(invocation: Invocation) -> Value {
    invocation.args(["--output", "json"]).run().await.last().expect("the end")
}

#[tokio::test(flavor = "multi_thread")]
async fn options_and_variables_name_the_files() {
    let lab = Lab::with_a_device().await;
    let (emulator, variables) = cloud(&lab).await;
    lab.write("passphrase", "correct horse\n");
    let issuer = "--issuer-cert @line-7.pem --issuer-key @line-7.key";
    lab.made(&format!("new-device --name locked {issuer} --passphrase-file @passphrase")).await;
    emulator.enrollment("locked").create_with_certificates(&lab.read("locked.pem"), None).expect("an enrollment");
    let (chain, key) = (lab.path("dev-1.pem"), lab.path("dev-1.key"));
    for transport in transports() {
        let provision =
            || Invocation::hubward(["provision", "--transport", transport, "--messages", "2"]).vars(&variables);
        let of_flags = last(provision().args(["--cert-file", &chain, "--key-file", &key])).await;
        let of_variables = last(provision().vars(&certificate(&lab, "dev-1.pem", "dev-1.key"))).await;
        let mixed =
            last(provision().vars(&certificate(&lab, "missing", "dev-1.key")).args(["--cert-file", &chain])).await;
        for result in [of_flags, of_variables, mixed] {
            assert_eq!(
                (&result["deviceId"], &result["acknowledged"]),
                (&"dev-1".into(), &2.into()),
                "{transport}: {result}"
            );
        }
        let locked = || {
            let locked = provision().vars(&certificate(&lab, "locked.pem", "locked.key"));
            locked.args(["--registration-id", "locked"])
        };
        let file = lab.path("passphrase");
        let of_file = last(locked().args(["--key-passphrase-file", &file])).await;
        let of_stdin = last(locked().args(["--key-passphrase-file", "-"]).stdin("correct horse\n")).await;
        let of_variable = last(locked().vars(&[("X509_PASS_PHRASE", "correct horse".to_owned())])).await;
        for result in [of_file, of_stdin, of_variable] {
            assert_eq!((&result["deviceId"], &result["acknowledged"]), (&"locked".into(), &2.into()), "{result}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_command_registers_or_uses_a_connection_string() {
    let lab = Lab::with_a_device().await;
    let (emulator, variables) = cloud(&lab).await;
    emulator.add_authority("root", &lab.read("root.pem"), true).expect("an authority");
    emulator.add_ca_signed_device(HUB, "dev-1").expect("a device");
    let (chain, key) = (lab.path("dev-1.pem"), lab.path("dev-1.key"));
    let files = ["--cert-file", &chain, "--key-file", &key];
    let text = format!("HostName={HUB};DeviceId=dev-1;x509=true");
    lab.write("string", &text);
    let string = lab.path("string");
    for command in [&["device", "send", "21.5"][..], &["device", "twin", "show"], &["device", "run", "--for", "1ms"]] {
        let device = || Invocation::hubward(command.iter().copied()).vars(&variables);
        let by_string = [("IOTHUB_DEVICE_CONNECTION_STRING", text.clone())];
        for (how, invocation) in [
            ("by DPS", device().args(files)),
            ("with a file", device().args(files).args(["--connection-string-file", &string])),
            ("with a variable", device().args(files).vars(&by_string)),
            ("with variables", device().vars(&by_string).vars(&certificate(&lab, "dev-1.pem", "dev-1.key"))),
        ] {
            let result = last(invocation).await;
            assert_eq!(result["exitCode"], 0, "{command:?} {how}: {result}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_variables_of_the_other_kind() {
    let lab = Lab::with_a_device().await;
    let (emulator, variables) = cloud(&lab).await;
    let keyed = emulator.enroll("keyed").expect("an enrollment");
    let base64 = keyed.primary_key().expose_base64().to_string();
    lab.write("key", &base64);
    let (chain, key, symmetric) = (lab.path("dev-1.pem"), lab.path("dev-1.key"), lab.path("key"));
    let provision = || Invocation::hubward(["provision"]).vars(&variables);
    // A certificate of a flag, and a key of a variable.
    let of_variable = [("PROVISIONING_SYMMETRIC_KEY", base64.clone())];
    let result = last(provision().vars(&of_variable).args(["--cert-file", &chain, "--key-file", &key])).await;
    assert_eq!(result["deviceId"], "dev-1", "{result}");
    // A key of a flag, and a certificate of variables.
    let files = certificate(&lab, "dev-1.pem", "dev-1.key");
    let of_flag = ["--registration-id", "keyed", "--symmetric-key-file", &symmetric];
    let result = last(provision().vars(&files).args(of_flag)).await;
    assert_eq!(result["deviceId"], "keyed", "{result}");
    // A connection string of a flag with a key, and a certificate of variables.
    let secret = emulator.add_device(HUB, "alone").expect("a device");
    lab.write("string", &format!("HostName={HUB};DeviceId=alone;SharedAccessKey={}", secret.expose_base64().as_str()));
    let string = lab.path("string");
    let send = Invocation::hubward(["device", "send", "1", "--connection-string-file", &string]).vars(&variables);
    let result = last(send.vars(&files)).await;
    assert_eq!(result["acknowledged"], 1, "{result}");
    // A certificate of a flag, and a connection string of a variable with a key.
    let of_variable_too = [("IOTHUB_DEVICE_CONNECTION_STRING", lab.read("string"))];
    let send = Invocation::hubward(["device", "send", "1", "--cert-file", &chain, "--key-file", &key]);
    let result = last(send.vars(&variables).vars(&of_variable_too)).await;
    assert_eq!(result["acknowledged"], 1, "{result}");
    // Both are variables, so none wins.
    let error = last(provision().vars(&of_variable).vars(&files)).await;
    assert_eq!(error["exitCode"], 2, "{error}");
    assert!(error["message"].as_str().is_some_and(|it| it.contains("either a key or a certificate")), "{error}");
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_before_the_device_connects() {
    let lab = Lab::with_a_device().await;
    let issuer = "--issuer-cert @line-7.pem --issuer-key @line-7.key";
    lab.made(&format!("new-device --name old {issuer} --not-before 2020-01-01 --not-after 2020-01-02")).await;
    lab.write("passphrase", "correct horse");
    lab.made(&format!("new-device --name locked {issuer} --passphrase-file @passphrase")).await;
    // No program listens here: a command that connects ends with exit code 3.
    let settings = [
        ("PROVISIONING_HOST", "localhost".to_owned()),
        ("PROVISIONING_IDSCOPE", "0ne1".to_owned()),
        ("PROVISIONING_REGISTRATION_ID", "dev-1".to_owned()),
        ("HUBWARD_CONNECT_TO", "localhost::127.0.0.1:1".to_owned()),
    ];
    for (chain, key, message, hint) in [
        ("dev-1.pem", "root.key", "the private key does not belong to the certificate `CN=dev-1`", "--key-file"),
        ("dev-1.pem", "missing.key", "cannot be read", "--key-file"),
        ("missing.pem", "dev-1.key", "cannot be read", "--cert-file"),
        ("root.key", "dev-1.key", "contains no certificate", "--cert-file"),
        ("locked.pem", "locked.key", "is encrypted, and there is no passphrase", "--key-passphrase-file"),
        ("line-7.pem", "line-7.key", "is `line-7`, but it must be `dev-1`", "--cert-file, --registration-id"),
        ("old.pem", "old.key", "the certificate `CN=old` expired", "--cert-file"),
    ] {
        for transport in transports() {
            let (chain, key) = (lab.path(chain), lab.path(key));
            let arguments = ["provision", "--transport", transport, "--cert-file", &chain, "--key-file", &key];
            let error = last(Invocation::hubward(arguments).vars(&settings)).await;
            assert_eq!((&error["exitCode"], &error["fault"]), (&2.into(), &"request".into()), "{error}");
            assert!(error["message"].as_str().is_some_and(|it| it.contains(message)), "{message}: {error}");
            assert!(error["hint"].as_str().is_some_and(|it| it.contains(hint)), "{hint}: {error}");
        }
    }
    for (arguments, expected) in [
        (&["--cert-file", "a", "--symmetric-key-stdin"][..], "cannot be used with"),
        (&["--key-file", "a", "--group-key-file", "b"], "cannot be used with"),
        (&["--cert-file", "a"], "not set: X509_KEY_FILE"),
        (&["--key-file", "a"], "not set: X509_CERT_FILE"),
    ] {
        let ran = Invocation::hubward(["provision"]).args(arguments.iter().copied()).vars(&settings).run().await;
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.stderr_text().contains(expected), "{arguments:?}: {}", ran.stderr_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_needs_a_certificate_exactly_if_it_says_so() {
    let lab = Lab::with_a_device().await;
    let files = certificate(&lab, "dev-1.pem", "dev-1.key");
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    for (string, variables, expected) in [
        ("x509=true".to_owned(), &[][..], "not set: X509_CERT_FILE, X509_KEY_FILE"),
        (format!("SharedAccessKey={key}"), &files, "X509_CERT_FILE: IOTHUB_DEVICE_CONNECTION_STRING has a key"),
    ] {
        let string = [("IOTHUB_DEVICE_CONNECTION_STRING", format!("HostName=localhost;DeviceId=dev-1;{string}"))];
        let error = last(Invocation::hubward(["device", "send", "1"]).vars(&string).vars(variables)).await;
        assert_eq!(error["exitCode"], 2, "{error}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains(expected)), "{error}");
        assert!(error["hint"].as_str().is_some_and(|it| it.contains("--cert-file")), "{error}");
    }
}
