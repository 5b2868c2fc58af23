//! Certificates and names.

use hubward_emulator::{BadCertificate, Emulator};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::client::{tls_config, tls_with};

#[tokio::test]
async fn certificates_exist_for_its_own_names_only() {
    let emulator = Emulator::builder()
        .hubs(["localhost", "Contoso.azure-devices.net"])
        .names(["dps.example"])
        .start()
        .await
        .expect("started");
    let config = tls_config(emulator.ca_pem(), rustls::DEFAULT_VERSIONS);
    for (name, ours) in [
        ("localhost", true),
        ("global.azure-devices-provisioning.net", true),
        ("contoso.azure-devices.net", true),
        ("CONTOSO.azure-devices.net", true),
        ("dps.example", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("evil.example", false),
        ("azure-devices.net", false),
    ] {
        for address in [emulator.mqtt_addr(), emulator.https_addr()] {
            let handshake = tls_with(config.clone(), address, name).await;
            assert_eq!(handshake.is_ok(), ours, "{name}");
        }
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3() {
    let emulator = Emulator::start().await.expect("started");
    for (version, expected) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let config = tls_config(emulator.ca_pem(), &[version]);
        let stream = tls_with(config, emulator.mqtt_addr(), "localhost").await.expect("a handshake");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
    }
}

#[tokio::test]
async fn scripted_bad_certificates_are_refused_by_clients() {
    for (bad, expected) in [
        (BadCertificate::Expired, "expired"),
        (BadCertificate::WrongName, "not valid for name"),
        (BadCertificate::UntrustedCa, "UnknownIssuer"),
    ] {
        let emulator = Emulator::builder().certificate(bad).start().await.expect("started");
        let config = tls_config(emulator.ca_pem(), rustls::DEFAULT_VERSIONS);
        let error = tls_with(config, emulator.mqtt_addr(), "localhost").await.expect_err("refused").to_string();
        assert!(error.contains(expected), "{bad:?}: {error}");
    }
}

#[tokio::test]
async fn a_data_directory_keeps_the_certificate_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Emulator::builder().data_dir(directory.path()).start().await.expect("started");
    let (pem, file) = (first.ca_pem().to_owned(), first.ca_file().to_owned());
    first.shutdown().await;
    assert!(file.exists());
    let second = Emulator::builder().data_dir(directory.path()).start().await.expect("started");
    assert_eq!(second.ca_pem(), pem);
    let config = tls_config(&pem, rustls::DEFAULT_VERSIONS);
    tls_with(config, second.https_addr(), "localhost").await.expect("trusted still");
}

/// The clock is virtual.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_starts_tls_is_dropped() {
    let emulator = Emulator::start().await.expect("started");
    for address in [emulator.mqtt_addr(), emulator.https_addr()] {
        let mut tcp = TcpStream::connect(address).await.expect("connected");
        assert_eq!(tcp.read(&mut [0; 16]).await.expect("the end"), 0);
    }
}
