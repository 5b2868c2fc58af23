//! Clients of other programs with good and bad certificates. TLS accepts each certificate whose key the client has; DPS
//! and the hub then refuse it with the documented answers.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hubward_dial::{Dialer as _, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_tests::cloud::{Cloud, HUB};
use hubward_x509::{Certificate, ClientCertificate, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::Signer;
use rustls::{SignatureAlgorithm, SignatureScheme};
use tokio::io::AsyncReadExt as _;

use super::openssl::OpenSsl;

/// An authority and the certificates that it issues, as files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `NAME.pem`, `NAME.chain` with the certificate of the authority, and `NAME.key`. Returns the certificate.
    fn issue(&self, folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = named("dev-1");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        for (kind, content) in [("pem", &leaf), ("chain", &self.pem), ("key", &key.serialize_pem())] {
            std::fs::write(folder.join(format!("{name}.{kind}")), content).expect("a file");
        }
        leaf
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// Connects with `openssl s_client`, sends `request`, and returns the answer. The server ends the connection.
fn s_client(openssl: &OpenSsl, arguments: &str, request: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("openssl");
    command.args(format!("s_client -quiet -verify_return_error -servername localhost {arguments}").split(' '));
    command.current_dir(openssl.folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl runs");
    // If openssl refuses the files, it ends before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(request);
    let output = child.wait_with_output().expect("openssl ends");
    if output.stdout.is_empty() { Err(String::from_utf8_lossy(&output.stderr).into_owned()) } else { Ok(output.stdout) }
}

/// A CONNECT of `dev-1` at the hub, without a password.
fn connect() -> Vec<u8> {
    let username = format!("{HUB}/dev-1/?api-version=2021-04-12");
    let mut body = b"\0\x04MQTT\x04\x82\0\x3c\0\x05dev-1".to_vec();
    body.extend(u16::try_from(username.len()).expect("a short text").to_be_bytes());
    body.extend(username.as_bytes());
    [&[0x10, u8::try_from(body.len()).expect("a short packet")], &body[..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_gets_through_tls_with_any_certificate_and_is_refused_above_it() {
    let openssl = OpenSsl::new();
    let (known, unknown) = (Authority::new("known"), Authority::new("unknown"));
    let folder = openssl.folder().to_owned();
    let good = known.issue(&folder, "good", |_| {});
    known.issue(&folder, "expired", |it| it.not_after = date_time_ymd(2020, 1, 1));
    unknown.issue(&folder, "unknown", |_| {});

    let cloud = Cloud::start().await;
    let group = cloud.emulator.enrollment_group("known");
    group.create_with_certificates(&known.pem, None).expect("a group");
    let thumbprint = Certificate::from_pem(good.as_bytes()).expect("a certificate").sha256_thumbprint();
    cloud.emulator.add_self_signed_device(HUB, "dev-1", &thumbprint, None).expect("a device");
    let scope = cloud.device("template").id_scope;
    let body = r#"{"registrationId":"dev-1"}"#;
    let register = format!(
        "PUT /{scope}/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (https, mqtt) = (cloud.emulator.https_addr(), cloud.emulator.mqtt_addr());
    let trust = format!("-CAfile {}", cloud.emulator.ca_file().display());

    let cases = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        for version in ["-tls1_2", "-tls1_3"] {
            for name in ["none", "unknown", "expired", "good"] {
                let case = format!("{name}, {version}");
                let certificate = format!("-cert {name}.pem -cert_chain {name}.chain -key {name}.key");
                let certificate = if name == "none" { String::new() } else { format!(" {certificate}") };
                let run = |address, request: &[u8]| {
                    let arguments = format!("-connect {address} {version} {trust}{certificate}");
                    s_client(&openssl, &arguments, request).unwrap_or_else(|error| panic!("{case}: {error}"))
                };
                let answer = String::from_utf8(run(https, register.as_bytes())).expect("text");
                // A CONNECT, and a DISCONNECT that ends the connection of a device that is logged in.
                let connack = run(mqtt, &[&connect()[..], b"\xe0\0"].concat());
                seen.push((case, name, answer, connack));
            }
        }
        seen
    });
    for (case, name, answer, connack) in cases.await.expect("all cases") {
        let (status, code, message) = match name {
            "good" => ("202", "operationId", "assigning"),
            "unknown" => ("401", "401002", "CA certificate not found."),
            "expired" => ("401", "401002", "Unauthorized"),
            _ => ("401", "401", "Unauthorized"),
        };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {answer}");
        assert!(answer.contains(code) && answer.contains(message), "{case}: {answer}");
        let expected = if name == "good" { 0 } else { 5 };
        assert_eq!(connack, [0x20, 2, 0, expected], "{case}");
    }
}

#[test]
fn openssl_refuses_a_key_that_does_not_belong_to_the_certificate() {
    let openssl = OpenSsl::new();
    let authority = Authority::new("known");
    authority.issue(openssl.folder(), "one", |_| {});
    authority.issue(openssl.folder(), "other", |_| {});
    let output = openssl.output("s_client -connect 127.0.0.1:1 -cert one.pem -key other.key");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && problem.contains("mismatch"), "{problem}");
}

/// A key that signs, but does not belong to the certificate.
#[derive(Debug)]
struct Stolen(Arc<dyn SigningKey>);

impl SigningKey for Stolen {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_fails_in_tls() {
    let authority = Authority::new("known");
    let openssl = OpenSsl::new();
    authority.issue(openssl.folder(), "leaf", |_| {});
    let chain = Certificate::chain_from_pem((openssl.read("leaf.pem") + &openssl.read("leaf.chain")).as_bytes())
        .expect("a chain");
    let own = PrivateKeyDer::try_from(KeyPair::generate().expect("a key").serialize_der()).expect("a key");
    let own = rustls::crypto::ring::sign::any_supported_type(&own).expect("a key");
    let certificate = ClientCertificate::with_signing_key(chain, Arc::new(Stolen(own))).expect("nobody can tell");

    let cloud = Cloud::start().await;
    let trust = TlsSettings::new().ca_file(cloud.emulator.ca_file()).client_certificate(certificate);
    for address in [cloud.emulator.mqtt_addr(), cloud.emulator.https_addr()] {
        let config = trust.client_config().expect("a configuration");
        let dialer = TlsDialer::new(TcpDialer::new(), config);
        // With TLS 1.3, the client learns of the refusal when it reads.
        let outcome = match dialer.dial(&Endpoint::new("localhost", address.port())).await {
            Ok(mut stream) => stream.read_u8().await.map(|_| ()).map_err(|error| error.to_string()),
            Err(error) => Err(format!("{error:?}")),
        };
        let problem = outcome.expect_err("TLS refuses the signature");
        assert!(problem.contains("DecryptError"), "{address}: {problem}");
    }
}
