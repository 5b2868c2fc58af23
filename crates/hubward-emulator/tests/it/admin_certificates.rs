//! The CA certificates at the admin port: the forms of answers and errors.

use hubward_emulator::{Emulator, EventKind};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::http;

#[tokio::test]
async fn answers_and_errors_have_the_forms_of_azure_resource_manager() {
    let emulator = Emulator::start().await.expect("started");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    // Any certificate will do: the emulator accepts one that belongs to no authority.
    let upload = json!({ "properties": { "certificate": emulator.ca_pem() } }).to_string();
    let (etag, other) = ("If-Match: *\r\n", "If-Match: \"AAAAAAAAAAA=\"\r\n");
    for (line, headers, body, status, code) in [
        ("GET /api/certificates", "", "", 200, ""),
        ("PUT /api/certificates/lab", "", upload.as_str(), 200, ""),
        ("PUT /api/certificates/lab", "", &upload, 409, "Conflict"),
        ("PUT /api/certificates/lab", other, &upload, 412, "PreconditionFailed"),
        ("PUT /api/certificates/lab", etag, &upload, 200, ""),
        ("PUT /api/certificates/x", "", "{}", 400, "BadRequest"),
        ("PUT /api/certificates/x", "", "[1]", 400, "BadRequest"),
        ("PUT /api/certificates/x", "", "{", 400, "BadRequest"),
        ("PUT /api/certificates/x", "If-Match: a\r\nIf-Match: b\r\n", &upload, 400, "BadRequest"),
        ("GET /api/certificates/LAB", "", "", 200, ""),
        ("GET /api/certificates/other", "", "", 404, "NotFound"),
        ("POST /api/certificates/lab/generateVerificationCode", "", "", 400, "BadRequest"),
        ("POST /api/certificates/lab/generateVerificationCode", etag, "", 200, ""),
        ("POST /api/certificates/lab/verify", etag, "{\"certificate\": \"MA==\"}", 400, "BadRequest"),
        ("DELETE /api/certificates/lab", other, "", 412, "PreconditionFailed"),
        ("DELETE /api/certificates/lab", etag, "", 200, ""),
        ("DELETE /api/certificates/lab", etag, "", 404, "NotFound"),
    ] {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert_eq!(reply.status, status, "{line} {headers}: {}", reply.body);
        let parsed: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        assert_eq!(parsed["error"]["code"].as_str().unwrap_or_default(), code, "{line} {headers}: {}", reply.body);
        assert!(!reply.body.contains("\"verificationCode\"") || line.ends_with("generateVerificationCode"), "{line}");
    }
    for kind in [EventKind::AuthorityCreated, EventKind::AuthorityUpdated, EventKind::AuthorityDeleted] {
        let event = emulator.events().wait_for(|it| it.kind == kind).await;
        assert_eq!(event.id.as_deref(), Some("lab"), "{event}");
    }
    let wrong = "POST /api/certificates HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let reply = http(&mut stream, wrong).await.expect("an answer");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
}
