//! Certificates at the service APIs of DPS and of a hub, with hand-written requests.

use hubward_emulator::Emulator;
use serde_json::{Value, json};

use crate::lab;
use crate::service_dps::{Operator as DpsOperator, if_match};
use crate::service_hub::{Operator as HubOperator, no};

const ANY: &str = "If-Match: *\r\n";

fn individual(id: &str, primary: &Value) -> Value {
    let certificates = json!({ "clientCertificates": { "primary": primary } });
    json!({ "registrationId": id, "attestation": { "type": "x509", "x509": certificates } })
}

fn group(id: &str, x509: &Value) -> Value {
    json!({ "enrollmentGroupId": id, "attestation": { "type": "x509", "x509": x509 } })
}

#[tokio::test]
async fn an_enrollment_with_certificates_is_created_shown_and_updated() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = DpsOperator::new(&emulator).await;
    let (first, second) = (lab::self_signed("dev-1").certificate, lab::self_signed("dev-1").certificate);
    // Some SDKs send the other members as null.
    let mut body = individual("dev-1", &json!({ "certificate": first.to_pem(), "info": null }));
    for name in ["symmetricKey", "tpm"] {
        body["attestation"][name] = Value::Null;
    }
    for name in ["signingCertificates", "caReferences"] {
        body["attestation"]["x509"][name] = Value::Null;
    }
    let created = operator.ok("PUT /enrollments/dev-1", "", &body).await;
    let primary = &created["attestation"]["x509"]["clientCertificates"]["primary"];
    assert_eq!(
        primary["info"],
        json!({
            "subjectName": "CN=dev-1", "issuerName": "CN=dev-1", "version": 3,
            "sha1Thumbprint": first.sha1_thumbprint(), "sha256Thumbprint": first.sha256_thumbprint(),
            "serialNumber": first.serial_number(),
            "notBeforeUtc": "2020-01-01T00:00:00.0000000Z", "notAfterUtc": "2049-01-01T00:00:00.0000000Z",
        })
    );
    let shown = operator.ok("GET /enrollments/dev-1", "", &Value::Null).await;
    assert_eq!(shown["attestation"], created["attestation"]);
    let mechanism = operator.ok("POST /enrollments/dev-1/attestationmechanism", "", &Value::Null).await;
    assert_eq!(mechanism, created["attestation"]);
    let listed = operator.ok("POST /enrollments/query", "", &json!({ "query": "SELECT * FROM enrollments" })).await;
    assert_eq!(listed[0]["attestation"], created["attestation"]);

    // An operator adds a certificate to what they have read. The first one then has `info` only.
    let mut update = shown.clone();
    let both = &mut update["attestation"]["x509"]["clientCertificates"];
    both["primary"].as_object_mut().expect("an object").remove("certificate");
    both["secondary"] = json!({ "certificate": second.to_pem() });
    let updated = operator.ok("PUT /enrollments/dev-1", ANY, &update).await;
    let both = &updated["attestation"]["x509"]["clientCertificates"];
    assert_eq!(&both["primary"], primary);
    assert_eq!(both["secondary"]["info"]["sha256Thumbprint"], second.sha256_thumbprint());

    // The type of attestation can change, in both directions.
    let keys = json!({ "registrationId": "dev-1", "attestation": { "type": "symmetricKey" } });
    let etag = updated["etag"].as_str().expect("an etag");
    let changed = operator.ok("PUT /enrollments/dev-1", &if_match(etag), &keys).await;
    assert!(changed["attestation"]["symmetricKey"]["primaryKey"].is_string());
    let changed = operator.ok("PUT /enrollments/dev-1", ANY, &body).await;
    assert_eq!(changed["attestation"], created["attestation"]);
}

#[tokio::test]
async fn a_group_has_signing_certificates_or_names_of_authorities() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = DpsOperator::new(&emulator).await;
    let root = lab::root("root").certificate;
    let signing = group("g", &json!({ "signingCertificates": { "primary": { "certificate": root.to_pem() } } }));
    let created = operator.ok("PUT /enrollmentGroups/g", "", &signing).await;
    let primary = &created["attestation"]["x509"]["signingCertificates"]["primary"];
    assert_eq!(primary["info"]["subjectName"], "CN=root");
    emulator.add_authority("Root-1", &root.to_pem(), false).expect("added");
    let references = json!({ "caReferences": { "primary": "root-1", "secondary": null } });
    let created = operator.ok("PUT /enrollmentGroups/by-name", "", &group("by-name", &references)).await;
    assert_eq!(created["attestation"]["x509"], json!({ "caReferences": { "primary": "root-1" } }));

    let bulk = json!({ "mode": "create", "enrollments": [individual("b1", &json!({ "certificate": root.to_pem() }))] });
    let done = operator.ok("POST /enrollments", "", &bulk).await;
    assert_eq!(done["isSuccessful"], true, "{done}");
}

#[tokio::test]
async fn wrong_certificates_are_refused_by_the_name_of_their_member() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = DpsOperator::new(&emulator).await;
    let pem = lab::root("root").certificate.to_pem();
    let good = json!({ "primary": { "certificate": pem } });
    let of_group = |x509: Value| ("PUT /enrollmentGroups/g", group("g", &x509));
    let of_device = |x509: Value| {
        let attestation = json!({ "type": "x509", "x509": x509 });
        ("PUT /enrollments/d1", json!({ "registrationId": "d1", "attestation": attestation }))
    };
    for ((line, body), expected) in [
        (of_device(json!({})), "must have clientCertificates only"),
        (of_device(json!({ "clientCertificates": {} })), "must have clientCertificates only"),
        (of_device(json!({ "signingCertificates": good })), "must have clientCertificates only"),
        (of_device(json!({ "caReferences": { "primary": "a" } })), "must have clientCertificates only"),
        (of_device(json!({ "clientCertificates": good, "signingCertificates": good })), "clientCertificates only"),
        (of_device(json!({ "clientCertificates": { "secondary": good["primary"] } })), "primary is missing"),
        (
            of_device(json!({ "clientCertificates": { "primary": { "certificate": "AAEC" } } })),
            "clientCertificates.primary cannot be read",
        ),
        (
            of_device(
                json!({ "clientCertificates": { "primary": good["primary"], "secondary": { "certificate": "%" } } }),
            ),
            "clientCertificates.secondary cannot be read",
        ),
        (of_group(json!({})), "either signingCertificates or caReferences"),
        (of_group(json!({ "clientCertificates": good })), "either signingCertificates or caReferences"),
        (of_group(json!({ "signingCertificates": good, "caReferences": { "primary": "a" } })), "either signing"),
        (of_group(json!({ "caReferences": { "secondary": "a" } })), "caReferences.primary is missing"),
        (of_group(json!({ "caReferences": { "primary": "a" } })), "the CA certificate `a`, which does not exist"),
    ] {
        let reply = operator.ask(line, "", &body.to_string()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        assert!(reply.body.contains(expected), "{body}: {}", reply.body);
    }
    let info = json!({ "subjectName": "CN=x", "sha1Thumbprint": "", "sha256Thumbprint": "", "issuerName": "",
        "notBeforeUtc": "", "notAfterUtc": "", "serialNumber": "", "version": 3 });
    let body = individual("d1", &json!({ "info": info })).to_string();
    let reply = operator.ask("PUT /enrollments/d1", "", &body).await;
    assert!(reply.status == 400 && reply.body.contains("primary has no certificate"), "{}", reply.body);
}

#[tokio::test]
async fn a_hub_keeps_thumbprints_and_authorities_of_identities() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = HubOperator::new(&emulator).await;
    let (sha1, sha256) = ("a".repeat(40), "B".repeat(64));
    let thumbprint = json!({ "primaryThumbprint": sha256, "secondaryThumbprint": null });
    let authentication = json!({ "type": "selfSigned", "x509Thumbprint": thumbprint });
    let body = json!({ "deviceId": "d1", "authentication": authentication });
    let created = operator.ok("PUT /devices/d1", "", &body).await;
    let no_keys = json!({ "primaryKey": null, "secondaryKey": null });
    let no_thumbprints = json!({ "primaryThumbprint": null, "secondaryThumbprint": null });
    let expected = json!({ "type": "selfSigned", "symmetricKey": no_keys, "x509Thumbprint": thumbprint });
    assert_eq!(created["authentication"], expected);
    assert_eq!(operator.ok("GET /devices/d1", "", &Value::Null).await["authentication"], expected);
    let twin = operator.ok("GET /twins/d1", "", &Value::Null).await;
    assert_eq!((&twin["authenticationType"], &twin["x509Thumbprint"]), (&json!("selfSigned"), &thumbprint));
    let query = json!({ "query": "SELECT * FROM devices WHERE authenticationType = 'selfSigned'" });
    assert_eq!(operator.ok("POST /devices/query", "", &query).await[0]["deviceId"], "d1");

    // An SDK sends the identity back as it read it, with the null keys.
    let updated = operator.ok("PUT /devices/d1", ANY, &created).await;
    assert_eq!(updated["authentication"], expected);
    let module = json!({ "deviceId": "d1", "moduleId": "m1", "authentication": { "type": "certificateAuthority" } });
    let created = operator.ok("PUT /devices/d1/modules/m1", "", &module).await;
    let by_ca = json!({ "type": "certificateAuthority", "symmetricKey": no_keys, "x509Thumbprint": no_thumbprints });
    assert_eq!(created["authentication"], by_ca);
    let twin = operator.ok("GET /twins/d1/modules/m1", "", &Value::Null).await;
    assert_eq!(twin["authenticationType"], "certificateAuthority");

    let bulk = json!([
        { "id": "d2", "importMode": "create", "authentication": authentication },
        { "id": "d1", "importMode": "update", "authentication": { "type": "certificateAuthority" } },
    ]);
    assert_eq!(operator.ok("POST /devices", "", &bulk).await["isSuccessful"], true);
    assert_eq!(operator.ok("GET /devices/d2", "", &Value::Null).await["authentication"], expected);
    assert_eq!(operator.ok("GET /devices/d1", "", &Value::Null).await["authentication"], by_ca);
    let keys = json!({ "policyKey": "primaryKey", "devices": [{ "id": "d1" }] });
    assert_eq!(operator.ask("POST /devices/keys/regenerate", "", &keys.to_string()).await.status, 400);
    let sas = json!({ "deviceId": "d1", "authentication": { "type": "sas" } });
    let updated = operator.ok("PUT /devices/d1", ANY, &sas).await;
    assert!(updated["authentication"]["symmetricKey"]["primaryKey"].is_string());

    let thumbprints = |primary: &str, secondary: &str| {
        json!({ "type": "selfSigned",
            "x509Thumbprint": { "primaryThumbprint": primary, "secondaryThumbprint": secondary } })
    };
    for (name, authentication) in [
        ("no thumbprint", json!({ "type": "selfSigned" })),
        ("a mix", thumbprints(&sha1, &sha256)),
        ("too short", thumbprints(&sha1[1..], "")),
        ("no hexadecimal digits", thumbprints(&"x".repeat(40), "")),
        (
            "keys beside thumbprints",
            json!({ "type": "selfSigned", "x509Thumbprint": thumbprint, "symmetricKey": { "primaryKey": "AAEC" } }),
        ),
        ("thumbprints of a CA device", json!({ "type": "certificateAuthority", "x509Thumbprint": thumbprint })),
        ("thumbprints beside keys", json!({ "type": "sas", "x509Thumbprint": thumbprint })),
    ] {
        let body = json!({ "deviceId": "d3", "authentication": authentication }).to_string();
        assert_eq!(operator.refused("PUT /devices/d3", "", &body).await, no(400, "ArgumentInvalid"), "{name}");
    }
    let none = json!({ "deviceId": "d3", "authentication": { "type": "none" } }).to_string();
    assert_eq!(operator.refused("PUT /devices/d3", "", &none).await, no(501, "GenericNotImplemented"));
}
