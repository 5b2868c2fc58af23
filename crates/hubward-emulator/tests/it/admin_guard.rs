//! Requests to the admin port that a browser would send for pages of other origins.

use hubward_emulator::Emulator;
use tokio::net::TcpStream;

use crate::client::http;

/// One request for every kind of path.
const REQUESTS: [&str; 19] = [
    "GET /",
    "GET /portal/app.js",
    "GET /health",
    "GET /ca.pem",
    "GET /api/status",
    "GET /api/events",
    "GET /api/telemetry/localhost",
    "GET /api/keys",
    "GET /api/telemetry/localhost?format=json",
    "GET /hubs/localhost/twins/d1",
    "POST /dps/enrollments/query",
    "DELETE /dps/enrollments/dev-1",
    "POST /api/clock",
    "GET /api/certificates",
    "PUT /api/certificates/lab",
    "POST /api/certificates/lab/generateVerificationCode",
    "DELETE /api/certificates/lab",
    "GET /api/traffic",
    "POST /api/simulated",
];

#[tokio::test]
async fn pages_of_other_origins_are_refused_at_every_path() {
    let emulator = Emulator::start().await.expect("started");
    emulator.enroll("dev-1").expect("enrolled");
    let own = format!("localhost:{}", emulator.admin_addr().port());
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    for line in REQUESTS {
        for headers in [
            "Host: evil.example\r\n".to_owned(),
            format!("Host: {own}\r\nHost: evil.example\r\n"),
            format!("Host: {own}\r\nOrigin: http://evil.example\r\n"),
            format!("Host: {own}\r\nOrigin: http://localhost:1\r\n"),
            format!("Host: {own}\r\nOrigin: null\r\n"),
            format!("Host: {own}\r\nSec-Fetch-Site: cross-site\r\n"),
            format!("Host: {own}\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n"),
        ] {
            let request = format!("{line} HTTP/1.1\r\n{headers}\r\n");
            let reply = http(&mut stream, &request).await.expect("an answer");
            assert_eq!(reply.status, 403, "{request}");
            assert!(!reply.head.to_ascii_lowercase().contains("access-control"), "{}", reply.head);
        }
    }
    // The emulator also refuses a preflight request.
    for origin in ["http://evil.example", "null", &format!("http://{own}")] {
        let request = format!(
            "OPTIONS /dps/enrollments/dev-1 HTTP/1.1\r\nHost: {own}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
        );
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert!(matches!(reply.status, 403 | 405), "{}", reply.head);
        assert!(!reply.head.to_ascii_lowercase().contains("access-control"), "{}", reply.head);
    }
    // A form on a page of another origin cannot send JSON.
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = format!(
                "{method} /dps/enrollments/dev-1 HTTP/1.1\r\nHost: {own}\r\nContent-Type: {content_type}\r\n\
                 Content-Length: 2\r\n\r\n{{}}"
            );
            assert_eq!(http(&mut stream, &request).await.expect("an answer").status, 415, "{request}");
        }
    }
    assert!(emulator.vars("dev-1").is_ok(), "none of these requests has deleted it");
}

#[tokio::test]
async fn its_own_page_and_programs_are_answered() {
    let emulator = Emulator::builder().allow_host("Emulator").start().await.expect("started");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    for headers in [
        "Host: localhost:8480\r\n",
        "Host: localhost:8480\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n",
        "Host: localhost:8480\r\nOrigin: http://localhost:8480\r\nSec-Fetch-Site: same-origin\r\n",
        "Host: localhost:8480\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n",
        "Host: emulator\r\nOrigin: http://emulator\r\n",
        "Host: EMULATOR:8480\r\n",
    ] {
        for line in ["GET /", "GET /api/status", "GET /dps/enrollments/x"] {
            let request = format!("{line} HTTP/1.1\r\n{headers}\r\n");
            let reply = http(&mut stream, &request).await.expect("an answer");
            assert!(matches!(reply.status, 200 | 404), "{request}: {}", reply.head);
            for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
                assert_eq!(reply.header(name), Some(value), "{request}");
            }
            let policy = reply.header("content-security-policy").expect("a policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(reply.header("strict-transport-security"), None);
            if line != "GET /" {
                assert_eq!(reply.header("cache-control"), Some("no-store"), "{request}");
            }
        }
        let request = format!(
            "POST /api/clock HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: 18\r\n\r\n\
             {{\"aheadSeconds\":60}}"
        );
        let request = request.replace("Content-Length: 18", "Content-Length: 19");
        let reply = http(&mut stream, &request).await.expect("an answer");
        assert_eq!((reply.status, &reply.json()["aheadSeconds"]), (200, &serde_json::json!(60)), "{request}");
    }
    // Another site may link to the admin page, but may not show the admin page in a frame.
    for (dest, status) in [("document", 200), ("iframe", 403)] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n\
             Sec-Fetch-Dest: {dest}\r\n\r\n"
        );
        assert_eq!(http(&mut stream, &request).await.expect("an answer").status, status, "{dest}");
    }
}
