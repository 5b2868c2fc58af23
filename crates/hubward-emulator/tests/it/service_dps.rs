//! The service API of DPS over HTTPS, with hand-written requests.

use std::time::Duration;

use hubward_emulator::Emulator;
use hubward_sas::{ConnectionString, SasToken, SharedKey};
use serde_json::{Value, json};

use crate::client::{Reply, Tls, dps_token, http, now, tls};

/// A client with the key of the policy.
pub(crate) struct Operator {
    stream: Tls,
    authorization: String,
}

impl Operator {
    pub(crate) async fn new(emulator: &Emulator) -> Self {
        let text = emulator.dps_connection_string();
        let login = ConnectionString::parse(&text).expect("a connection string");
        assert_eq!(login.shared_access_key_name(), Some("provisioningserviceowner"));
        let key = SharedKey::from_base64(login.expose_shared_access_key().expect("a key")).expect("a key");
        let expiry = now().saturating_add(Duration::from_secs(3600));
        let token = SasToken::sign(&key, login.host_name(), expiry, login.shared_access_key_name());
        Self { stream: tls(emulator, emulator.https_addr()).await, authorization: token.expose().to_owned() }
    }

    /// Each header in `headers` ends with CR LF.
    pub(crate) async fn ask(&mut self, line: &str, headers: &str, body: &str) -> Reply {
        let query = if line.contains('?') { "" } else { "?api-version=2021-10-01" };
        let request = format!(
            "{line}{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\
             Content-Type: application/json; charset=utf-8\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.authorization,
            body.len()
        );
        http(&mut self.stream, &request).await.expect("an answer")
    }

    pub(crate) async fn ok(&mut self, line: &str, headers: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.ask(line, headers, &body).await;
        assert_eq!(reply.status, 200, "{line}: {}", reply.body);
        reply.json()
    }

    pub(crate) async fn refused(&mut self, line: &str, headers: &str, body: &str) -> (u16, Value) {
        let reply = self.ask(line, headers, body).await;
        let json = reply.json();
        assert_eq!(reply.header("x-ms-error-code"), Some(json["errorCode"].to_string().as_str()), "{line}");
        assert_eq!(json["trackingId"].as_str(), reply.header("x-ms-request-id"), "{line}");
        (reply.status, json["errorCode"].clone())
    }
}

pub(crate) fn enrollment(id: &str) -> Value {
    json!({ "registrationId": id, "attestation": { "type": "symmetricKey" } })
}

pub(crate) fn group(id: &str) -> Value {
    json!({ "enrollmentGroupId": id, "attestation": { "type": "symmetricKey", "symmetricKey": {} } })
}

pub(crate) fn if_match(etag: &str) -> String {
    format!("If-Match: {etag}\r\n")
}

#[tokio::test]
async fn an_enrollment_is_created_shown_used_updated_and_deleted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let body = json!({
        "registrationId": "d1", "deviceId": "dev-1",
        "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}},
        "capabilities": {"iotEdge": false}, "provisioningStatus": "enabled",
        "reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true},
        "allocationPolicy": "static", "iotHubs": ["localhost"],
        "initialTwin": {"tags": {"site": "a"}, "properties": {"desired": {"interval": 30}}},
        "optionalDeviceInformation": {"note": "x"}
    });
    let created = operator.ok("PUT /enrollments/d1", "", &body).await;
    let keys = &created["attestation"]["symmetricKey"];
    let key = SharedKey::from_base64(keys["primaryKey"].as_str().expect("a key")).expect("a generated key");
    assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
    let etag = created["etag"].as_str().expect("an etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");

    // A device registers with the generated key. DPS assigns it to the hub, with the initial twin of the enrollment.
    let authorization = dps_token(&emulator, &key, "d1");
    let register = format!(
        "PUT /{}/registrations/d1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\nAuthorization: \
         {authorization}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope()
    );
    let mut device = tls(&emulator, emulator.https_addr()).await;
    assert_eq!(http(&mut device, &register).await.expect("an answer").status, 202);
    let twin = emulator.twin("localhost", "dev-1").expect("the device");
    assert_eq!(serde_json::to_value(twin).expect("JSON")["tags"], json!({"site": "a"}));

    // GET returns the enrollment with its registration, but without its keys. The letter case of the id does not
    // matter.
    let shown = operator.ok("GET /Enrollments/D1", "", &Value::Null).await;
    assert_eq!(shown["attestation"], json!({"type": "symmetricKey"}));
    assert_eq!(shown["registrationState"]["status"], "assigned");
    assert_eq!(shown["registrationState"]["deviceId"], "dev-1");
    for name in ["deviceId", "capabilities", "allocationPolicy", "iotHubs", "initialTwin", "optionalDeviceInformation"]
    {
        assert_eq!(shown[name], body[name], "{name}");
    }
    let mechanism = operator.ok("POST /enrollments/d1/attestationmechanism", "", &Value::Null).await;
    assert_eq!(mechanism, created["attestation"]);

    // An update requires the ETag. The update below sends the body of the earlier GET, which contains no keys. DPS then
    // keeps the existing keys.
    assert_eq!(operator.refused("PUT /enrollments/d1", "", &body.to_string()).await, (409, json!(409_201)));
    let wrong = if_match("\"00000000-0000-0100-0000-000000000000\"");
    assert_eq!(operator.refused("PUT /enrollments/d1", &wrong, &body.to_string()).await, (412, json!(412_000)));
    assert_eq!(operator.refused("DELETE /enrollments/d1", &wrong, "").await, (412, json!(412_000)));
    let mut changed = shown.clone();
    changed["provisioningStatus"] = json!("disabled");
    let updated = operator.ok("PUT /enrollments/d1", &if_match(&etag), &changed).await;
    assert_eq!(updated["attestation"], created["attestation"]);
    assert_eq!(updated["createdDateTimeUtc"], created["createdDateTimeUtc"]);
    assert_ne!(updated["etag"], created["etag"]);
    let again = operator.ok("PUT /enrollments/d1", &if_match("\"*\""), &changed).await;
    assert_ne!(again["etag"], updated["etag"], "the same body once more is an update, too");
    let disabled = http(&mut device, &register).await.expect("an answer");
    assert_eq!(disabled.json()["status"], "disabled");

    let bare = again["etag"].as_str().expect("an etag").trim_matches('"').to_owned();
    let deleted = operator.ask("DELETE /enrollments/d1", &if_match(&bare), "").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    for line in ["GET /enrollments/d1", "DELETE /enrollments/d1", "POST /enrollments/d1/attestationmechanism"] {
        assert_eq!(operator.refused(line, "", "").await, (404, json!(404_201)), "{line}");
    }
    let update = operator.refused("PUT /enrollments/d1", &if_match("*"), &body.to_string()).await;
    assert_eq!(update, (404, json!(404_201)), "nothing to update");
}

#[tokio::test]
async fn a_group_is_created_used_and_deleted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let created = operator.ok("PUT /enrollmentgroups/line-7", "", &group("line-7")).await;
    assert_eq!(created["provisioningStatus"], "enabled");
    let key = created["attestation"]["symmetricKey"]["secondaryKey"].as_str().expect("a key");
    let key = SharedKey::from_base64(key).expect("a generated key").derive("sn-1");
    let register = format!(
        "PUT /{}/registrations/sn-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope(),
        dps_token(&emulator, &key, "sn-1")
    );
    let mut device = tls(&emulator, emulator.https_addr()).await;
    assert_eq!(http(&mut device, &register).await.expect("an answer").status, 202);
    let shown = operator.ok("GET /enrollmentGroups/LINE-7", "", &Value::Null).await;
    assert_eq!(shown["attestation"], json!({"type": "symmetricKey"}));
    assert!(shown.get("registrationState").is_none());
    assert_eq!(operator.ask("DELETE /enrollmentGroups/line-7", "", "").await.status, 204);
    assert_eq!(operator.refused("GET /enrollmentGroups/line-7", "", "").await, (404, json!(404_204)));
    assert_eq!(http(&mut device, &register).await.expect("an answer").status, 401);
}

#[tokio::test]
async fn unsupported_and_invalid_enrollments_are_refused() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let with = |name: &str, value: Value| {
        let mut body = enrollment("d1");
        body[name] = value;
        body.to_string()
    };
    let put = "PUT /enrollments/d1";
    for (line, body, status) in [
        (put, "{".to_owned(), 400),
        (put, String::new(), 400),
        (put, "[\"d1\"]".to_owned(), 400),
        (put, "{}".to_owned(), 400),
        (put, json!({"registrationId": "d1"}).to_string(), 400),
        (put, enrollment("d2").to_string(), 400),
        ("PUT /enrollments/d%201", enrollment("d 1").to_string(), 400),
        (put, with("deviceId", json!("a b")), 400),
        (put, with("provisioningStatus", json!("off")), 400),
        (put, with("allocationPolicy", json!("geolatency")), 400),
        (put, with("allocationPolicy", json!("custom")), 400),
        (put, with("iotHubs", json!(["elsewhere"])), 400),
        (put, with("iotHubHostName", json!("elsewhere")), 400),
        (put, with("optionalDeviceInformation", json!([])), 400),
        (put, with("initialTwin", json!({"tags": {"a.b": 1}})), 400),
        (put, with("attestation", json!({"type": "symmetricKey", "tpm": {}})), 400),
        (put, with("attestation", json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": "AAEC"}})), 400),
        (put, with("attestation", json!({"type": "magic"})), 400),
        (put, with("attestation", json!({"type": "tpm", "tpm": {"endorsementKey": "AA=="}})), 501),
        (put, with("attestation", json!({"type": "x509", "x509": {}})), 400),
        (put, with("capabilities", json!({"iotEdge": true})), 501),
        (put, with("credentialPolicyName", json!("p")), 400),
        (put, with("clientCertificateIssuancePolicy", json!({"certificateAuthorityName": "ca1"})), 501),
        (put, with("certificateAuthorityName", json!("ca1")), 400),
        (put, with("certificatePolicyName", json!("p")), 400),
        (put, with("trustBundleId", json!("t")), 501),
        (put, with("initialTwin", json!({"properties": {"reported": {"a": 1}}})), 501),
        ("PUT /enrollments/d1?api-version=2031-01-01", enrollment("d1").to_string(), 400),
        ("PUT /enrollments/d1?a=b", enrollment("d1").to_string(), 400),
        ("PATCH /enrollments/d1", String::new(), 405),
        ("GET /enrollments/d1/keys", String::new(), 404),
    ] {
        let refused = operator.refused(line, "", &body).await;
        assert_eq!(refused, (status, json!(u32::from(status) * 1000)), "{line} {body}");
    }
    let allow = operator.ask("PATCH /enrollments/d1", "", "").await;
    assert_eq!(allow.header("allow"), Some("GET, PUT, DELETE"));
    let huge = with("optionalDeviceInformation", json!({ "note": "x".repeat(512 * 1024) }));
    assert_eq!(operator.ask(put, "", &huge).await.status, 413);
    let mut operator = Operator::new(&emulator).await;
    let missing = operator.refused("GET /enrollments/d1", "", "").await;
    assert_eq!(missing, (404, json!(404_201)), "none of these requests created one");
    // SDKs send absent members in these forms.
    let mut empty = enrollment("d1");
    empty["credentialPolicyName"] = Value::Null;
    empty["trustBundleId"] = json!("");
    empty["clientCertificateIssuancePolicy"] = json!({});
    empty["initialTwin"] = json!({"properties": {"desired": {}, "reported": null}});
    operator.ok(put, "", &empty).await;
}

#[tokio::test]
async fn only_the_policys_key_is_accepted() {
    let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODw==").expect("a key");
    let emulator = Emulator::builder().dps_policy_key(key).dps_host("my-dps.example").start().await.expect("started");
    assert_eq!(
        emulator.dps_connection_string(),
        "HostName=my-dps.example;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=="
    );
    let mut operator = Operator::new(&emulator).await;
    operator.ok("PUT /enrollments/d1", "", &enrollment("d1")).await;
    let device = emulator.enroll("d1").expect("enrolled");
    let mut unauthorized = Operator::new(&emulator).await;
    for authorization in ["", "Bearer x", &dps_token(&emulator, device.primary_key(), "d1")] {
        unauthorized.authorization = authorization.to_owned();
        let refused = unauthorized.refused("GET /enrollments/d1", "", "").await;
        assert_eq!(refused, (401, json!(401_002)), "{authorization}");
    }
    // The clock of the emulator decides whether a token has expired. The token is valid for one hour. DPS still accepts
    // the token in the five minutes after its expiry time.
    for (minutes, status) in [(64, 200), (66, 401), (0, 200)] {
        emulator.clock_ahead(Duration::from_secs(60 * minutes));
        assert_eq!(operator.ask("GET /enrollments/d1", "", "").await.status, status, "after {minutes} minutes");
    }
    let foreign = "GET /enrollments/d1?api-version=2021-10-01 HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(http(&mut operator.stream, foreign).await.expect("an answer").status, 421);
}

#[tokio::test]
async fn queries_return_pages() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    for id in ["d1", "D2", "d3"] {
        operator.ok(&format!("PUT /enrollments/{id}"), "", &enrollment(id)).await;
    }
    operator.ok("PUT /enrollmentGroups/g", "", &group("g")).await;
    let query = json!({"query": "SELECT * FROM enrollments"}).to_string();
    let first = operator.ask("POST /enrollments/query", "x-ms-max-item-count: 2\r\n", &query).await;
    assert_eq!((first.status, first.header("x-ms-item-type")), (200, Some("enrollment")));
    assert_eq!(first.header("x-ms-max-item-count"), Some("2"));
    let ids = |reply: &Reply, name: &str| -> Vec<String> {
        let all = reply.json();
        all.as_array().expect("a list").iter().map(|it| it[name].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&first, "registrationId"), ["d1", "D2"]);
    assert_eq!(first.json()[0]["attestation"], json!({"type": "symmetricKey"}), "no keys");
    let after = first.header("x-ms-continuation").expect("more");
    let headers = format!("x-ms-max-item-count: 2\r\nx-ms-continuation: {after}\r\n");
    let last = operator.ask("POST /enrollments/query", &headers, &query).await;
    assert_eq!(ids(&last, "registrationId"), ["d3"]);
    assert_eq!(last.header("x-ms-continuation"), None);
    let all = operator.ask("POST /enrollments/query", "", r#"{"query":""}"#).await;
    assert_eq!(ids(&all, "registrationId"), ["d1", "D2", "d3"], "an empty query selects everything");
    let groups = operator.ask("POST /enrollmentgroups/query", "", r#"{"query":"select *"}"#).await;
    assert_eq!(ids(&groups, "enrollmentGroupId"), ["g"]);
    assert_eq!(groups.header("x-ms-item-type"), Some("enrollmentGroup"));
    for (headers, body, status) in [
        ("x-ms-max-item-count: 0\r\n", query.as_str(), 400),
        (&*format!("x-ms-continuation: {after}x\r\n"), &query, 400),
        ("", r#"{"query":"SELECT * FROM enrollmentGroups"}"#, 400),
        ("", r#"{"query":"SELECT * FROM enrollments WHERE deviceId = 'x'"}"#, 501),
        ("", "{}", 400),
    ] {
        let refused = operator.refused("POST /enrollments/query", headers, body).await;
        assert_eq!(refused, (status, json!(u32::from(status) * 1000)), "{headers} {body}");
    }
}

#[tokio::test]
async fn records_are_shown_listed_and_deleted() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let line = emulator.enroll_group("Line-7").expect("enrolled");
    let single = emulator.enroll("single").expect("enrolled");
    let mut device = tls(&emulator, emulator.https_addr()).await;
    for (id, key) in [("sn-1", line.primary_key().derive("sn-1")), ("single", single.primary_key().clone())] {
        let register = format!(
            "PUT /{}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
            emulator.id_scope(),
            dps_token(&emulator, &key, id)
        );
        assert_eq!(http(&mut device, &register).await.expect("an answer").status, 202);
    }
    let record = operator.ok("GET /registrations/SN-1", "", &Value::Null).await;
    assert_eq!((&record["registrationId"], &record["status"]), (&json!("sn-1"), &json!("assigned")));
    let listed = operator.ask("POST /registrations/line-7/query", "", "").await;
    assert_eq!((listed.status, listed.header("x-ms-item-type")), (200, Some("deviceRegistration")));
    assert_eq!(listed.json(), json!([record]), "not the one with an enrollment of its own");
    assert_eq!(operator.refused("POST /registrations/line-8/query", "", "").await, (404, json!(404_202)));
    assert_eq!(operator.refused("PUT /registrations/sn-1", "", "{}").await, (405, json!(405_000)));

    let wrong = operator.refused("DELETE /registrations/sn-1", &if_match("\"x\""), "").await;
    assert_eq!(wrong, (412, json!(412_000)));
    let etag = record["etag"].as_str().expect("an etag").to_owned();
    assert_eq!(operator.ask("DELETE /registrations/sn-1", &if_match(&etag), "").await.status, 204);
    assert_eq!(operator.refused("GET /registrations/sn-1", "", "").await, (404, json!(404_202)));
    assert_eq!(operator.refused("DELETE /registrations/sn-1", "", "").await, (404, json!(404_202)));
    assert!(emulator.registration("sn-1").is_none() && emulator.registration("single").is_some());
    assert_eq!(operator.ask("POST /registrations/line-7/query", "", "").await.json(), json!([]));
}

#[tokio::test]
async fn a_bulk_request_changes_many_enrollments() {
    let emulator = Emulator::start().await.expect("started");
    let mut operator = Operator::new(&emulator).await;
    let done = json!({"isSuccessful": true, "errors": []});
    let create = json!({"mode": "create", "enrollments": [enrollment("d1"), enrollment("d2")]});
    assert_eq!(operator.ok("POST /enrollments", "", &create).await, done);
    let etag = operator.ok("GET /enrollments/d1", "", &Value::Null).await["etag"].clone();

    // One enrollment is refused, and the other is created.
    let create = json!({"mode": "create", "enrollments": [enrollment("d2"), enrollment("d3")]});
    let result = operator.ok("POST /enrollments", "", &create).await;
    assert_eq!(result["isSuccessful"], false);
    let errors = result["errors"].as_array().expect("a list");
    assert_eq!(
        (errors.len(), &errors[0]["registrationId"], &errors[0]["errorCode"]),
        (1, &json!("d2"), &json!(409_201))
    );
    assert!(errors[0]["errorStatus"].is_string());

    let with = |id: &str, etag: &Value| {
        let mut body = enrollment(id);
        (body["etag"], body["provisioningStatus"]) = (etag.clone(), json!("disabled"));
        body
    };
    let update =
        json!({"mode": "updateIfMatchETag", "enrollments": [with("d1", &etag), with("d2", &etag), enrollment("d3")]});
    let result = operator.ok("POST /enrollments", "", &update).await;
    let codes: Vec<&Value> = result["errors"].as_array().expect("a list").iter().map(|it| &it["errorCode"]).collect();
    assert_eq!(codes, [&json!(412_000), &json!(400_000)]);
    for (id, status) in [("d1", "disabled"), ("d2", "enabled")] {
        let shown = operator.ok(&format!("GET /enrollments/{id}"), "", &Value::Null).await;
        assert_eq!(shown["provisioningStatus"], status, "{id}");
    }
    let update = json!({"mode": "update", "enrollments": [with("d2", &json!("stale")), enrollment("d9")]});
    let result = operator.ok("POST /enrollments", "", &update).await;
    assert_eq!(result["errors"][0]["errorCode"], 404_201, "{result}");
    let delete = json!({"mode": "delete", "enrollments": [{"registrationId": "d1"}, {"registrationId": "d2"}]});
    assert_eq!(operator.ok("POST /enrollments", "", &delete).await, done);
    assert_eq!(operator.refused("GET /enrollments/d1", "", "").await, (404, json!(404_201)));

    let create = json!({"mode": "create", "enrollmentGroups": [group("g")]});
    assert_eq!(operator.ok("POST /enrollmentGroups", "", &create).await, done);
    let again = operator.ok("POST /enrollmentGroups", "", &create).await;
    assert_eq!(again["errors"][0]["enrollmentGroupId"], "g");

    let eleven: Vec<Value> = (0..11).map(|it| enrollment(&format!("e{it}"))).collect();
    for body in [
        json!({"mode": "create", "enrollments": eleven}),
        json!({"mode": "create", "enrollments": []}),
        json!({"mode": "upsert", "enrollments": [enrollment("e1")]}),
        json!(["create", [enrollment("e1")]]),
    ] {
        assert_eq!(operator.refused("POST /enrollments", "", &body.to_string()).await, (400, json!(400_000)), "{body}");
    }
    assert_eq!(operator.refused("GET /enrollments/e1", "", "").await, (404, json!(404_201)));
}
