//! A device that gets its certificates by issuance. It writes topics and bodies by hand.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hubward_emulator::{Emulator, EventKind};
use hubward_sas::{SasToken, SharedKey};
use hubward_x509::Certificate;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use crate::client::{Tls, http, now, packet, read_publish, receive, send, string, subscribe, tls};
use crate::lab::Leaf;
use crate::x509_client::tls_as;

pub(crate) const HUB: &str = "localhost";

/// The filter of the answers to certificate requests.
pub(crate) const FILTER: &str = "$iothub/credentials/res/#";

/// A key, and the base64 of a certificate request for it.
pub(crate) struct Request {
    pub(crate) csr: String,
    key: KeyPair,
}

/// A certificate that DPS or a hub issued, with its issuers.
pub(crate) struct Issued {
    pub(crate) leaf: Leaf,
    pub(crate) issuers: Vec<Certificate>,
}

/// A new P-256 key with a certificate request for this common name.
pub(crate) fn request(name: &str) -> Request {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let csr = STANDARD.encode(params.serialize_request(&key).expect("a request").der());
    Request { csr, key }
}

impl Request {
    /// Reads the chain that answers this request: base64 of DER; leaf, intermediate, root.
    pub(crate) fn issued(&self, chain: &Value) -> Issued {
        let chain = chain.as_array().expect("a chain");
        let read = |it: &Value| {
            let der = STANDARD.decode(it.as_str().expect("a text")).expect("base64");
            Certificate::from_der(&der).expect("DER")
        };
        let mut chain: Vec<_> = chain.iter().map(read).collect();
        assert_eq!(chain.len(), 3);
        assert_eq!(Certificate::check_links(&chain), Ok(()));
        assert!(chain[2].is_self_signed());
        let certificate = chain.remove(0);
        assert_eq!(certificate.public_key(), self.key.subject_public_key_info());
        Issued { leaf: Leaf { certificate, key: self.key.serialize_der() }, issuers: chain }
    }
}

impl Issued {
    /// The days from now, by the clock of the system, to the end of the validity.
    pub(crate) fn days(&self) -> u64 {
        let left = self.leaf.certificate.not_after().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        (left.as_secs() - now().0 + 60) / (24 * 3600)
    }

    /// Opens a TLS connection that presents the whole chain.
    pub(crate) async fn tls(&self, emulator: &Emulator) -> Tls {
        let issuers: Vec<_> = self.issuers.iter().collect();
        tls_as(emulator, emulator.mqtt_addr(), &self.leaf, &issuers).await
    }

    /// Connects to the hub with the api-version of the preview. Returns the connection and the CONNACK.
    pub(crate) async fn at_hub(&self, emulator: &Emulator, device: &str, clean: bool) -> (Tls, Vec<u8>) {
        let mut stream = self.tls(emulator).await;
        let username = format!("localhost/{device}/?api-version=2025-08-01-preview");
        send(&mut stream, &connect(device, &username, clean)).await;
        let connack = receive(&mut stream).await.expect("a CONNACK");
        (stream, connack)
    }

    /// Connects with a clean session and subscribes to the answers.
    pub(crate) async fn subscribed(&self, emulator: &Emulator, device: &str) -> Tls {
        let (mut stream, connack) = self.at_hub(emulator, device, true).await;
        assert_eq!(connack, b"\x20\x02\x00\x00");
        subscribe_to_answers(&mut stream).await;
        stream
    }
}

/// A CONNECT without a password.
pub(crate) fn connect(client_id: &str, username: &str, clean: bool) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04".to_vec();
    rest.push(if clean { 0x82 } else { 0x80 });
    rest.extend(b"\x00\x3c");
    rest.extend(string(client_id));
    rest.extend(string(username));
    packet(0x10, &rest)
}

pub(crate) async fn subscribe_to_answers(stream: &mut Tls) {
    send(stream, &subscribe(7, &[(FILTER, 1)])).await;
    assert_eq!(receive(stream).await.as_deref(), Some(&b"\x90\x03\x00\x07\x01"[..]));
}

/// Publishes a certificate request with QoS 1, and reads the PUBACK.
pub(crate) async fn ask(stream: &mut Tls, request_id: &str, body: &str) {
    let topic = format!("$iothub/credentials/POST/issueCertificate/?$rid={request_id}");
    send(stream, &crate::client::publish(crate::client::QOS1, &topic, 5, body.as_bytes())).await;
    assert_eq!(receive(stream).await.as_deref(), Some(&b"\x40\x02\x00\x05"[..]), "the PUBACK of {request_id}");
}

/// Reads an answer, acknowledges it, and returns its body. It must have this status and request id, and nothing may
/// follow the request id.
pub(crate) async fn answer(stream: &mut Tls, status: u16, request_id: &str) -> Value {
    let (topic, body, puback) = read_publish(&receive(stream).await.expect("an answer"));
    assert_eq!(topic, format!("$iothub/credentials/res/{status}/?$rid={request_id}"), "{body}");
    send(stream, &puback.expect("QoS 1")).await;
    serde_json::from_str(&body).expect("JSON")
}

/// Requests a certificate from the hub and returns it.
pub(crate) async fn renew(stream: &mut Tls, device: &str, request_id: &str) -> Issued {
    let request = request(device);
    ask(stream, request_id, &json!({ "id": device, "csr": request.csr }).to_string()).await;
    let accepted = answer(stream, 202, request_id).await;
    let issued = answer(stream, 200, request_id).await;
    assert_eq!(issued["correlationId"], accepted["correlationId"]);
    request.issued(&issued["certificates"])
}

/// Sends a request to DPS over HTTPS. The token is valid for 200 years, so a test can move the clock.
pub(crate) async fn at_dps(
    emulator: &Emulator,
    line: &str,
    version: &str,
    id: &str,
    key: &SharedKey,
    body: &str,
) -> (u16, Value) {
    let resource = format!("{}/registrations/{id}", emulator.id_scope());
    let expiry = now().saturating_add(Duration::from_secs(200 * 366 * 24 * 3600));
    let token = SasToken::sign(key, &resource, expiry, Some("registration"));
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let request = format!(
        "{method} /{resource}{path}?api-version={version} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.expose(),
        body.len()
    );
    let mut stream = tls(emulator, emulator.https_addr()).await;
    let reply = http(&mut stream, &request).await.expect("an answer");
    (reply.status, reply.json())
}

/// Registers over HTTPS and polls until there is a result.
pub(crate) async fn register(emulator: &Emulator, version: &str, id: &str, key: &SharedKey, body: &str) -> Value {
    let (status, mut reply) = at_dps(emulator, "PUT /register", version, id, key, body).await;
    assert_eq!(status, 202, "{reply}");
    while reply["status"] == "assigning" {
        let operation = format!("GET /operations/{}", reply["operationId"].as_str().expect("an id"));
        reply = at_dps(emulator, &operation, version, id, key, "").await.1;
    }
    assert_eq!(reply["status"], "assigned", "{reply}");
    reply
}

/// Registers a device with a certificate request, and returns its certificate.
pub(crate) async fn onboard(emulator: &Emulator, id: &str, key: &SharedKey) -> Issued {
    let request = request(id);
    let body = json!({ "registrationId": id, "csr": request.csr }).to_string();
    let reply = register(emulator, "2025-07-01-preview", id, key, &body).await;
    request.issued(&reply["registrationState"]["issuedCertificateChain"])
}

/// An emulator with a device that has got its certificate from DPS.
pub(crate) async fn world() -> (Emulator, Issued) {
    let emulator = Emulator::start().await.expect("started");
    let issued = enrolled(&emulator).await;
    (emulator, issued)
}

/// Enrolls `d1` with the default policy, and registers it.
pub(crate) async fn enrolled(emulator: &Emulator) -> Issued {
    let device = emulator.enrollment("d1").credential_policy("default").create().expect("valid");
    onboard(emulator, "d1", device.primary_key()).await
}

pub(crate) fn last_refusal(emulator: &Emulator) -> String {
    let events = emulator.events().all();
    let refused = events.iter().rev().find(|it| it.kind == EventKind::Refused);
    refused.map(ToString::to_string).unwrap_or_default()
}
