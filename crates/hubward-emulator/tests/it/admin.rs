//! The plain-HTTP admin port.

use hubward_emulator::Emulator;
use tokio::net::TcpStream;

use crate::client::{http, read_head, send};

#[tokio::test]
async fn health_and_certificate_are_served() {
    let emulator = Emulator::start().await.expect("started");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let health = http(&mut stream, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("an answer");
    assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
    let json = health.json();
    assert_eq!(json["status"], "ok");
    assert_eq!(json["emulator"]["mqtt"][0], emulator.mqtt_addr().to_string());
    assert_eq!(json["emulator"]["hubs"][0], "localhost");

    let ca = http(&mut stream, "GET /ca.pem HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n").await.expect("an answer");
    assert_eq!(ca.body, emulator.ca_pem());
    assert_eq!(std::fs::read_to_string(emulator.ca_file()).expect("the file"), ca.body);
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /ca.pem HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", 403),
    ] {
        assert_eq!(http(&mut stream, request).await.expect("an answer").status, status, "{request}");
    }
    // Content-Length of a body that is not sent.
    send(&mut stream, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(read_head(&mut stream).await.expect("an answer").starts_with("HTTP/1.1 200"));
    let after = http(&mut stream, "GET /ca.pem HTTP/1.1\r\nHost: [::1]\r\n\r\n").await.expect("an answer");
    assert_eq!(after.status, 200);
}

#[tokio::test]
async fn the_portal_cannot_be_framed_and_runs_only_its_own_scripts() {
    let emulator = Emulator::start().await.expect("started");
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    for (path, content_type) in
        [("/", "text/html; charset=utf-8"), ("/portal/app.js", "text/javascript; charset=utf-8")]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let page = http(&mut stream, &request).await.expect("an answer");
        assert_eq!((page.status, page.header("content-type")), (200, Some(content_type)));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
    for (request, status) in [
        ("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /portal/nothing.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ] {
        assert_eq!(http(&mut stream, request).await.expect("an answer").status, status, "{request}");
    }
}

#[tokio::test]
async fn shutdown_frees_the_ports() {
    let emulator = Emulator::start().await.expect("started");
    let (admin, mqtt, file) = (emulator.admin_addr(), emulator.mqtt_addr(), emulator.ca_file().to_owned());
    assert!(file.exists());
    emulator.shutdown().await;
    assert!(TcpStream::connect(admin).await.is_err());
    assert!(TcpStream::connect(mqtt).await.is_err());
    assert!(!file.exists());
    // The ports can be used again at once.
    let again = Emulator::builder().admin_port(admin.port()).mqtt_port(mqtt.port()).start().await.expect("free");
    assert_eq!(again.mqtt_addr(), mqtt);
    let error = Emulator::builder().mqtt_port(mqtt.port()).start().await.expect_err("taken");
    assert_eq!(error.to_string(), format!("cannot listen on {mqtt} for MQTT"));
}
