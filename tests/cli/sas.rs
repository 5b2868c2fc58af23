//! `hubward sas`, compared with the results of Microsoft's SDKs for the same inputs.

use hubward_sas::{SasToken, SharedKey};
use hubward_tests::command::Invocation;
use serde_json::{Value, json};

/// The test vectors of a kind.
fn vectors(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/vectors.json")).expect("JSON");
    let vectors = file["vectors"].as_array().expect("vectors").clone();
    vectors.into_iter().filter(|it| it["kind"] == kind).collect()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector["inputs"][name].as_str().unwrap_or_else(|| panic!("{vector} has no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn derives_the_keys_that_the_sdks_derive() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("group.key");
    let path = file.to_str().expect("a path that is text");
    let all = vectors("derived_key");
    assert_eq!(all.len(), 9);
    let mut checked = 0;
    for vector in all {
        let (id, group) = (text(&vector, "registration_id"), text(&vector, "group_key"));
        std::fs::write(&file, group).expect("a file");
        // Text output is only the key, so the user can redirect it to a file.
        let arguments = ["sas", "derive-key", "--registration-id", id, "--group-key-file"];
        let ran = Invocation::hubward(arguments).args([path]).run().await;
        if ran.code == Some(2) {
            // The service refuses this registration ID. The SDKs do not check it, and hubward does.
            assert!(hubward::RegistrationId::new(id).is_err(), "{}", ran.stderr_text());
            continue;
        }
        let expected = vector["results"][0]["output"].as_str().expect("a key");
        assert_eq!(ran.stdout_text(), format!("{expected}\n"), "{vector}");
        let piped = Invocation::hubward(arguments).args(["-", "--output", "json"]).stdin(group).run().await;
        assert_eq!(piped.last().expect("a result")["symmetricKey"], expected);
        checked += 1;
    }
    assert!(checked >= 7, "only {checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_tokens_in_the_form_of_the_sdks() {
    let mut checked = 0;
    for (kind, policy) in [("sas_hub_device", None), ("sas_dps_device", Some("registration"))] {
        for vector in vectors(kind) {
            let (resource, key) = (text(&vector, "resource_uri"), text(&vector, "key"));
            let mut arguments = vec!["sas", "token", "--resource", resource, "--symmetric-key-stdin"];
            arguments.extend(policy.into_iter().flat_map(|it| ["--policy", it]));
            let ran = Invocation::hubward(arguments).stdin(key).run().await;
            let output = ran.stdout_text();
            let token = output.trim_end();
            // The token of the Python SDK has another expiry, so its signature differs too. For this reason, compare
            // only the text before the signature, and check that all fields are in the documented order.
            let python = vector["results"][0]["output"]["token"].as_str().expect("a token");
            let until_signature = |it: &str| it.split("&sig=").next().map(str::to_owned);
            assert_eq!(until_signature(token), until_signature(python), "{vector}");
            let fields: Vec<_> = token.split(['&', ' ']).filter_map(|it| it.split('=').next()).collect();
            let expected = ["SharedAccessSignature", "sr", "sig", "se", "skn"];
            assert_eq!(fields, expected[..4 + usize::from(policy.is_some())], "{token}");
            let parsed = SasToken::parse(token).expect("a token");
            assert!(parsed.is_signed_by(&SharedKey::from_base64(key).expect("a key")) && parsed.is_for(resource));
            checked += 1;
        }
    }
    assert_eq!(checked, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetime_sets_the_expiry_of_a_token() {
    let key = SharedKey::generate().expect("a key");
    let variables = [("PROVISIONING_SYMMETRIC_KEY", key.expose_base64().to_string())];
    let mut expiries = Vec::new();
    for lifetime in ["1h", "25h"] {
        let arguments = ["sas", "token", "--resource", "h/devices/d", "--lifetime", lifetime, "--output", "json"];
        let last = Invocation::hubward(arguments).vars(&variables).run().await.last().expect("a result");
        let token = SasToken::parse(last["token"].as_str().expect("a token")).expect("a token");
        expiries.push(token.expiry().0);
    }
    let apart = expiries[1] - expiries[0];
    assert!((86_400..86_400 + 600).contains(&apart), "{apart} s apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_without_a_key_is_an_error() {
    let arguments = ["sas", "token", "--resource", "h/devices/d", "--output", "json"];
    let last = Invocation::hubward(arguments).run().await.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["message"]), (&json!(2), &json!("there is no key to sign with")));
}
