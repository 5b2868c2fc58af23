//! `hubward x509 verify`.

use serde_json::Value;

use super::x509::Lab;

/// The messages of the problems that `verify` reports.
async fn problems(lab: &Lab, arguments: &str) -> Vec<String> {
    let ran = lab.run(&format!("verify {arguments} --output json")).await;
    let lines = ran.lines().unwrap_or_else(|problem| panic!("{arguments}: {problem}"));
    let of = |kind: &str| lines.iter().filter(|it| it["type"] == kind).cloned().collect::<Vec<Value>>();
    let problems = of("problem");
    assert!(problems.iter().all(|it| it["advice"].as_str().is_some_and(|it| !it.is_empty())), "{problems:?}");
    let last = ran.last().expect("the end");
    if problems.is_empty() {
        assert_eq!((&last["type"], &last["certificates"]), (&"result".into(), &of("certificate").len().into()));
    } else {
        assert_eq!((&last["type"], &last["exitCode"]), (&"error".into(), &2.into()), "{last}");
        assert_eq!(last["hint"], problems[0]["advice"], "{last}");
    }
    problems.iter().map(|it| it["message"].as_str().expect("a message").to_owned()).collect()
}

#[tokio::test]
async fn every_problem_is_reported() {
    let lab = Lab::with_a_device().await;
    lab.made("new-ca --name other").await;
    let issuer = "--issuer-cert @line-7.pem --issuer-key @line-7.key";
    lab.made(&format!("new-device --name old {issuer} --not-before 2020-01-01 --not-after 2020-01-02")).await;
    lab.write("passphrase", "correct horse");
    lab.made(&format!("new-device --name locked {issuer} --passphrase-file @passphrase")).await;
    let (leaf, root) = (lab.read("dev-1.pem"), lab.read("root.pem"));
    lab.write("full.pem", &(leaf.clone() + &root));
    lab.write(
        "gap.pem",
        &(leaf.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a leaf").to_owned() + &root),
    );
    for (arguments, expected) in [
        ("@dev-1.pem", &[][..]),
        ("@root.pem", &[]),
        ("@full.pem --key-file @dev-1.key --ca-file @root.pem --registration-id DEV-1", &[]),
        ("@full.pem --ca-file @line-7.pem", &[]),
        ("@locked.pem --key-file @locked.key --key-passphrase-file @passphrase", &[]),
        (
            "@gap.pem",
            &["the chain is broken: `CN=dev-1` is issued by `CN=line-7`, but the next certificate is `CN=root`"],
        ),
        ("@dev-1.pem --key-file @root.key", &["the private key does not belong to the certificate `CN=dev-1`"]),
        ("@dev-1.pem --key-file @root.pem", &["--key-file: "]),
        ("@locked.pem --key-file @locked.key", &["--key-file: "]),
        (
            "@dev-1.pem --registration-id dev-2",
            &["the common name of the certificate is `dev-1`, but it must be `dev-2`"],
        ),
        ("@dev-1.pem --ca-file @other.pem", &["--ca-file contains no issuer of the chain; it ends with `CN=line-7`"]),
        (
            "@old.pem --key-file @dev-1.key --registration-id x --ca-file @other.pem",
            &[
                "the certificate `CN=old` expired at 2020-01-02T00:00:00Z",
                "the private key",
                "the common name",
                "--ca-file",
            ],
        ),
    ] {
        let problems = problems(&lab, arguments).await;
        assert_eq!(problems.len(), expected.len(), "{arguments}: {problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{arguments}: {problem}");
        }
    }
}

#[tokio::test]
async fn the_text_shows_the_chain_and_the_advice() {
    let lab = Lab::with_a_device().await;
    let good = lab.run("verify @dev-1.pem --key-file @dev-1.key").await;
    let text = good.stdout_text();
    assert_eq!((good.code, good.stderr_text().as_str()), (Some(0), ""), "{text}");
    for expected in [
        "1. CN=dev-1\n",
        "2. CN=line-7\n",
        "SHA-1 ",
        "SHA-256 ",
        "no problem found (checked: dates and signatures, key)",
    ] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    let bad = lab.run("verify @dev-1.pem --registration-id dev-2").await;
    let text = bad.stdout_text();
    assert_eq!(bad.code, Some(2), "{text}");
    assert!(text.contains("problem: the common name") && text.contains("\n  advice: "), "{text}");
    assert!(bad.stderr_text().contains("error: the common name"), "{}", bad.stderr_text());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error() {
    let lab = Lab::with_a_device().await;
    lab.write("text", "no certificate");
    for (arguments, expected) in [
        ("@missing.pem", "FILE: the file"),
        ("@text", "is not valid PEM"),
        ("@dev-1.key", "contains no certificate"),
        ("@dev-1.pem --ca-file @text", "--ca-file: "),
    ] {
        let ran = lab.run(&format!("verify {arguments} --output json")).await;
        let error = ran.last().expect("an error");
        assert_eq!((ran.lines().map(|it| it.len()), ran.code), (Ok(1), Some(2)), "{arguments}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains(expected)), "{arguments}: {error}");
    }
}
