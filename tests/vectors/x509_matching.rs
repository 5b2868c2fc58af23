//! Which enrollment the emulator chooses for a chain. A client presents the chain in a real handshake, and registers
//! over HTTPS.

use hubward_dial::TlsSettings;
use hubward_emulator::Emulator;
use hubward_x509::ClientCertificate;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Sides;
use super::x509::{Examples, optional, text};

/// Checks one case.
pub(super) fn check(all: &Examples, name: &str, example: &Value) -> Sides {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(judge(all, name, example));
    Sides { client: false, emulator: true }
}

async fn judge(all: &Examples, name: &str, example: &Value) {
    let emulator = Emulator::start().await.expect("started");
    for enrollment in example["enrollments"].as_array().expect("enrollments") {
        enroll(all, &emulator, enrollment);
    }
    let (presented, other_id) = match text(example, "presented").split_once(", registrationId ") {
        Some((presented, id)) => (presented, Some(id)),
        None => (text(example, "presented"), None),
    };
    let (how, leaf) = presented.split_once(' ').expect("how, and the name of a leaf");
    let chain = if how == "chain" { all.chain_pem(leaf) } else { all.certificate(leaf).to_pem() };
    let key = all.key_pem(leaf);
    let certificate = ClientCertificate::from_pem(chain.as_bytes(), key.as_bytes(), None).expect(name);
    let id = other_id.or_else(|| certificate.leaf().common_name()).expect("a common name").to_owned();
    let (status, answer) = register(&emulator, &id, certificate).await;

    let Some(expected) = optional(example, "match") else {
        let (code, message) = text(example, "error").split_at("401002".len());
        assert_eq!((status, answer["errorCode"].to_string().as_str()), (401, code), "{name}: {answer}");
        // The rest is the text, or `, text unknown`.
        if !message.starts_with(',') {
            assert_eq!(answer["message"], message.trim_start(), "{name}");
        }
        return;
    };
    if expected == "individual, refused" {
        assert_eq!((status, &answer["status"]), (200, &json!("disabled")), "{name}");
        assert_eq!(emulator.registration(&id), None, "{name}");
        return;
    }
    assert_eq!(status, 202, "{name}: {answer}");
    let (chosen, thumbprint_of) =
        expected.split_once("; hub primaryThumbprint = sha256 of ").unwrap_or((expected, leaf));
    let x509 = match chosen.split_once(' ').expect("the kind and the name of an enrollment") {
        ("individual", name) => {
            assert_eq!(name, id, "{name}");
            json!({})
        }
        (_, group) => json!({ "enrollmentGroupId": group }),
    };
    assert_eq!(emulator.registration(&id).expect("registered").x509, Some(x509), "{name}");
    let device = emulator.device("localhost", &id).expect("a device");
    let thumbprint = Some(all.certificate(thumbprint_of).sha256_thumbprint());
    assert_eq!(device.x509_thumbprint.primary_thumbprint, thumbprint, "{name}");
}

fn enroll(all: &Examples, emulator: &Emulator, enrollment: &Value) {
    let pem = |member: &str| optional(enrollment, member).map(|it| all.certificate(it).to_pem());
    if let Some(group) = optional(enrollment, "group") {
        let certificate = pem("cert").expect("a certificate");
        emulator.enrollment_group(group).create_with_certificates(&certificate, None).expect(group);
        return;
    }
    let id = text(enrollment, "individual");
    let (primary, secondary) = (pem("primary").expect("a certificate"), pem("secondary"));
    emulator.enrollment(id).create_with_certificates(&primary, secondary.as_deref()).expect(id);
    if enrollment["provisioningStatus"] == "disabled" {
        emulator.disable(id).expect(id);
    }
}

/// Sends one registration over HTTPS. Returns the status and the body.
async fn register(emulator: &Emulator, id: &str, certificate: ClientCertificate) -> (u16, Value) {
    let tls = TlsSettings::from_pem(emulator.ca_pem().as_bytes()).client_certificate(certificate);
    let connector = TlsConnector::from(tls.client_config().expect("settings").rustls());
    let tcp = TcpStream::connect(emulator.https_addr()).await.expect("connected");
    let server = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(server, tcp).await.expect("every certificate passes the handshake");
    let request = format!(
        "PUT /{}/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        emulator.id_scope()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    (status, serde_json::from_str(body).expect("JSON"))
}
