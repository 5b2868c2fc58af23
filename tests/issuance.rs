//! A device that gets its certificate from the service, over every transport: DPS issues the first one for a device
//! with a key, and the hub issues the next one for a device with the first.

use std::time::Duration;

use hubward::hub::IssuanceRequest;
use hubward::provisioning::Provisioner;
use hubward::transport::Register;
use hubward::x509::{Certificate, CertificateRequest, Csr, DeviceKey, KeyAlgorithm};
use hubward::{
    Assignment, ClientCertificate, ConnectOptions, Diagnosis, Fault, HubClient, HubSettings, Message, Settings,
    TransportKind,
};
use hubward_emulator::{DEFAULT_CREDENTIAL_POLICY, Emulator};

const DEVICE: &str = "dev-1";

/// A new key, and the request for a certificate of it.
fn new_request(algorithm: KeyAlgorithm) -> (DeviceKey, Csr) {
    let key = DeviceKey::generate(algorithm).expect("a key");
    let request = CertificateRequest::new(DEVICE, key.signer()).expect("a request");
    (key, Csr::new(request.to_base64()).expect("a short request"))
}

fn certificate(texts: &[String], key: &DeviceKey) -> ClientCertificate {
    let chain = Certificate::chain_from_service_texts(texts).expect("a chain");
    let certificate = ClientCertificate::with_device_key(chain, key).expect("the chain of this key");
    certificate.check_registration_id(DEVICE).expect("the name of this device");
    certificate
}

/// An emulator that issues certificates to the device, and the settings of the device with its key.
async fn scene(kind: TransportKind) -> (Emulator, Settings) {
    let emulator = Emulator::builder().start().await.expect("the emulator starts");
    let enrollment = emulator.enrollment(DEVICE).credential_policy(DEFAULT_CREDENTIAL_POLICY);
    let variables = enrollment.create().expect("a valid enrollment").vars();
    let settings = Settings::from_vars(|name| {
        let found = variables.iter().find(|(it, _)| *it == name);
        found.map(|(_, value)| value.to_string())
    });
    (emulator, settings.expect("complete settings").transport(kind))
}

async fn register(settings: &Settings, csr: Csr) -> Assignment {
    let request = Register::new(settings.id_scope.clone(), settings.registration_id.clone()).csr(csr);
    let dps = settings.build_dps_transport().expect("a transport");
    let provisioner = Provisioner::new(dps, request, settings.credential.clone());
    provisioner.deadline(Duration::from_secs(60)).run().await.expect("assigned")
}

/// Connects a device with a certificate to its hub.
async fn connect(
    assigned: &Assignment,
    certificate: ClientCertificate,
    kind: TransportKind,
    options: &ConnectOptions,
) -> HubClient {
    let settings = HubSettings::new(assigned.identity(), certificate).transport(kind).options(|_| options.clone());
    let login = settings.login().certificate_requests(true);
    let transport = settings.build_hub_transport().expect("a transport");
    let client = HubClient::spawn(transport, login, settings.credential.clone(), options.hub_options.clone());
    client.connected().await.expect("the hub accepts the certificate");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_its_first_certificate_from_dps_and_the_next_one_from_its_hub() {
    for kind in TransportKind::ALL {
        let (emulator, settings) = scene(kind).await;
        let (first_key, csr) = new_request(KeyAlgorithm::EcP384);
        let assigned = register(&settings, csr).await;
        let chain = assigned.state.issued_certificate_chain.as_ref().unwrap_or_else(|| panic!("{kind}: no chain"));
        let first = certificate(chain, &first_key);

        // Hubs have no HTTPS transport.
        let at_hub = if kind == TransportKind::Https { TransportKind::Mqtt } else { kind };
        let client = connect(&assigned, first.clone(), at_hub, &settings.options).await;
        client.send(Message::new("with the first certificate")).await.expect("acknowledged");
        let (next_key, csr) = new_request(KeyAlgorithm::EcP256);
        let texts = client
            .request_certificate(IssuanceRequest::new(csr))
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let next = certificate(&texts, &next_key);
        assert_ne!(next.leaf(), first.leaf(), "{kind}");
        client.close(Duration::from_secs(10)).await.expect("closed");

        let client = connect(&assigned, next, at_hub, &settings.options).await;
        client.send(Message::new("with the next certificate")).await.expect("acknowledged");
        client.close(Duration::from_secs(10)).await.expect("closed");
        let bodies: Vec<String> = emulator
            .telemetry(assigned.hub.as_str())
            .expect("a hub")
            .all()
            .iter()
            .map(|it| String::from_utf8_lossy(it.body()).into_owned())
            .collect();
        assert_eq!(bodies, ["with the first certificate", "with the next certificate"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_has_its_code_and_a_hint() {
    let (_emulator, settings) = scene(TransportKind::Mqtt).await;
    let (key, csr) = new_request(KeyAlgorithm::EcP256);
    let assigned = register(&settings, csr).await;
    let chain = assigned.state.issued_certificate_chain.clone().expect("a chain");
    let client = connect(&assigned, certificate(&chain, &key), TransportKind::Mqtt, &settings.options).await;
    let no_request = Csr::new("AAAA").expect("base64");
    let error = client.request_certificate(IssuanceRequest::new(no_request)).await.expect_err("not PKCS#10");
    assert_eq!(error.refusal().and_then(|it| it.error_code), Some(400_037), "{error}");
    let diagnosis = Diagnosis::from(&error);
    assert_eq!(diagnosis.fault, Fault::Request);
    assert!(diagnosis.tracking_id.is_some() && diagnosis.hint.is_some_and(|it| it.contains("CN={device id}")));

    let (key, csr) = new_request(KeyAlgorithm::EcP256);
    let texts = client.request_certificate(IssuanceRequest::new(csr)).await.expect("the client works on");
    certificate(&texts, &key);
    client.close(Duration::from_secs(10)).await.expect("closed");
}
