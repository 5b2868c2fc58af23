//! Keys in a PKCS#11 token: every signature, the errors, the session, and a device that uses such a key.

use std::sync::Arc;
use std::time::Duration;

use cryptoki::types::AuthPin;
use hubward::{Credential, Message, RegistrationId, TransportKind};
use hubward_dial::{Dialer as _, Endpoint, TcpDialer, TlsDialer, TlsSettings};
use hubward_pkcs11::{KeyLocation, Pin, Pkcs11Error, Pkcs11HmacKey, Pkcs11Key};
use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use hubward_tests::cloud::{Cloud, HUB};
use hubward_x509::{Certificate, CertificateError, ClientCertificate};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme as S;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SigningKey as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::token::{Kind, PIN, TOKEN, Token, module_path, with_token};

/// An authority that issues certificates for the keys of a token.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = named("token authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = Certificate::from_der(params.self_signed(&key).expect("a certificate").der()).expect("DER");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// The chain for a public key.
    fn issue(&self, common_name: &str, public_key: &[u8]) -> Vec<Certificate> {
        let made = named(common_name).signed_by(&PublicKey::of(public_key), &self.issuer).expect("a certificate");
        vec![Certificate::from_der(made.der()).expect("DER"), self.certificate.clone()]
    }

    /// A client certificate with a key of the token.
    fn certify(&self, common_name: &str, key: &Pkcs11Key) -> ClientCertificate {
        let chain = self.issue(common_name, key.public_key().expect("a public key").as_ref());
        ClientCertificate::with_signing_key(chain, Arc::new(key.clone())).expect("the key fits")
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The public key of a token, in the form that rcgen needs.
struct PublicKey {
    raw: Vec<u8>,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`. The key is at its end; its length tells the kind of the key.
    fn of(spki: &[u8]) -> Self {
        let (start, algorithm) = match spki.len() {
            91 => (26, &rcgen::PKCS_ECDSA_P256_SHA256),
            120 => (23, &rcgen::PKCS_ECDSA_P384_SHA384),
            _ => (24, &rcgen::PKCS_RSA_SHA256),
        };
        Self { raw: spki[start..].to_vec(), algorithm }
    }
}

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.raw
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

#[test]
fn the_token_makes_every_signature_of_its_keys() {
    with_token("keys::pkcs11::the_token_makes_every_signature_of_its_keys", |token| {
        let session = token.session();
        let ec: [(S, &dyn VerificationAlgorithm); 2] = [
            (S::ECDSA_NISTP256_SHA256, &signature::ECDSA_P256_SHA256_ASN1),
            (S::ECDSA_NISTP384_SHA384, &signature::ECDSA_P384_SHA384_ASN1),
        ];
        let rsa: [(S, &dyn VerificationAlgorithm); 6] = [
            (S::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
            (S::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
            (S::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
            (S::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
            (S::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
            (S::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
        ];
        let kinds =
            [(Kind::P256, &ec[..1]), (Kind::P384, &ec[1..]), (Kind::Rsa(2048), &rsa[..]), (Kind::Rsa(4096), &rsa[..])];
        for ((kind, schemes), id) in kinds.into_iter().zip(1..) {
            let label = format!("{kind:?}");
            let private = token.generate(&session, kind, &label, id);
            assert!(!Token::is_exportable(&session, private), "{label}");
            // By label and by id.
            let by_id = KeyLocation::new(module_path()).token_serial(token.serial()).key_id([id]).pin(Pin::new(PIN));
            for location in [token.location(&label), by_id] {
                let key = Pkcs11Key::open(location).expect("the key");
                let spki = key.public_key().expect("a public key").as_ref().to_vec();
                for all in [&ec[..], &rsa[..]] {
                    for (scheme, algorithm) in all {
                        let case = format!("{label}, {scheme:?}");
                        let signer = key.choose_scheme(&[*scheme]);
                        assert_eq!(signer.is_some(), schemes.iter().any(|(it, _)| it == scheme), "{case}");
                        let Some(signer) = signer else { continue };
                        assert_eq!(signer.scheme(), *scheme, "{case}");
                        // Many signatures, because a number of an ECDSA signature can begin with zeros.
                        for message in 0..if spki.len() > 200 { 1_u16 } else { 600 } {
                            let signed = signer.sign(&message.to_be_bytes()).expect("a signature");
                            let verifier = UnparsedPublicKey::new(*algorithm, PublicKey::of(&spki).raw);
                            assert!(verifier.verify(&message.to_be_bytes(), &signed).is_ok(), "{case}, {message}");
                        }
                    }
                }
            }
        }
    });
}

/// A TLS server that requires a client certificate of this authority. Returns the SHA-256 thumbprint of the leaf.
async fn handshake(
    authority: &Authority,
    certificate: &ClientCertificate,
    version: &'static rustls::SupportedProtocolVersion,
) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().to_vec().into()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().expect("a verifier");
    let own = KeyPair::generate().expect("a key");
    let chain = named("server").signed_by(&own, &authority.issuer).expect("a certificate");
    let own = PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![chain.der().clone()], own)
        .expect("a certificate");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut tls = tokio_rustls::TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .expect("a client with a certificate");
        let leaf = tls.get_ref().1.peer_certificates().expect("certificates")[0].to_vec();
        tls.write_all(b"!").await.expect("a byte");
        tls.shutdown().await.expect("the end");
        Certificate::from_der(&leaf).expect("a certificate").sha256_thumbprint()
    });
    let settings = TlsSettings::from_pem(authority.certificate.to_pem().as_bytes());
    let config = settings.client_certificate(certificate.clone()).client_config().expect("a configuration");
    let dialer = TlsDialer::new(TcpDialer::new(), config);
    let mut stream = dialer.dial(&Endpoint::new("localhost", port)).await.expect("a handshake");
    assert_eq!(stream.read_u8().await.expect("a byte"), b'!');
    server.await.expect("the server")
}

#[test]
fn a_token_logs_in_to_a_tls_server_that_requires_a_certificate() {
    with_token("keys::pkcs11::a_token_logs_in_to_a_tls_server_that_requires_a_certificate", |token| {
        let (session, authority) = (token.session(), Authority::new());
        for (kind, id) in [Kind::P256, Kind::P384, Kind::Rsa(2048)].into_iter().zip(1..) {
            let label = format!("{kind:?}");
            token.generate(&session, kind, &label, id);
            let certificate = authority.certify(&label, &Pkcs11Key::open(token.location(&label)).expect("the key"));
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let seen = block_on(handshake(&authority, &certificate, version));
                assert_eq!(seen, certificate.leaf().sha256_thumbprint(), "{label}, {:?}", version.version);
            }
        }
    });
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn each_error_names_the_place_and_not_the_pin() {
    with_token("keys::pkcs11::each_error_names_the_place_and_not_the_pin", |token| {
        {
            let session = token.session();
            token.generate(&session, Kind::P256, "dev-1", 1);
            token.generate(&session, Kind::P256, "twin", 2);
            token.generate(&session, Kind::P256, "twin", 3);
            token.generate(&session, Kind::P521, "p521", 4);
            token.generate(&session, Kind::Rsa(1024), "small", 5);
            token.store_secret(&session, "secret", &[7; 32]);
            session.logout().expect("the end of the login");
        }
        let path = module_path();
        let module = format!("module `{}`", path.display());
        let at = |key: &str| format!("({module}, token `{TOKEN}`, slot {}, key `{key}`)", token.slot());
        let with_pin = |location: KeyLocation| location.pin(Pin::new(PIN));
        let no_pin = KeyLocation::new(&path).token_label(TOKEN).key_label("dev-1");
        for (location, expected) in [
            (
                with_pin(KeyLocation::new("/no/such/module.so")),
                "the PKCS#11 module cannot be used (module `/no/such/module.so`): ".to_owned(),
            ),
            (
                with_pin(KeyLocation::new(&path).token_label("other").key_label("dev-1")),
                format!("no token fits ({module}, token `other`, key `dev-1`); the module has `{TOKEN}`"),
            ),
            (
                with_pin(KeyLocation::new(&path).token_serial("ffff").key_label("dev-1")),
                format!("no token fits ({module}, token `ffff`, key `dev-1`); the module has `{TOKEN}`"),
            ),
            (
                no_pin.clone(),
                format!("the login to the token failed {}: the token needs a PIN, and there is none", at("dev-1")),
            ),
            (
                no_pin.pin(Pin::new("wrong-canary")),
                format!("the login to the token failed {}: the PIN is wrong", at("dev-1")),
            ),
            (token.location("dev-2"), format!("the token has no such private key {}", at("dev-2"))),
            (token.location("secret"), format!("the token has no such private key {}", at("secret"))),
            (token.location("twin"), format!("several keys fit, each of which is a private key {}", at("twin"))),
            (token.location("dev-1").key_id([9]), format!("the token has no such private key {}", at("dev-1"))),
            (
                token.location("p521"),
                format!("the key cannot be used {}: it is an EC key with the curve 1.3.132.0.35", at("p521")),
            ),
            (
                token.location("small"),
                format!("the key cannot be used {}: it is an RSA key with 1024 bits", at("small")),
            ),
        ] {
            let debug = format!("{location:?}");
            let error = Pkcs11Key::open(location).expect_err(&expected);
            assert!(error.to_string().starts_with(&expected), "expected: {expected}\nfound:    {error}");
            for text in [debug, error.to_string(), format!("{error:?}"), error.advice().to_owned()] {
                assert!(!text.contains("canary") && !text.contains(PIN), "the PIN in {text}");
            }
        }
        let error = Pkcs11HmacKey::open(token.location("dev-1")).expect_err("no secret key");
        assert_eq!(error.to_string(), format!("the token has no such secret key {}", at("dev-1")));
        let key = Pkcs11Key::open(token.location("twin").key_id([3])).expect("label and id together name one key");
        assert_eq!(format!("{key:?}"), format!("Pkcs11Key({module}, token `{TOKEN}`, key `twin`)"));

        // A certificate for another key of the token.
        let other = Pkcs11Key::open(token.location("dev-1")).expect("the key");
        let chain = Authority::new().issue("dev-1", other.public_key().expect("a public key").as_ref());
        let error = ClientCertificate::with_signing_key(chain, Arc::new(key)).expect_err("another key");
        assert_eq!(error, CertificateError::KeyMismatch { subject: "CN=dev-1".into() });

        token.twin();
        let error = Pkcs11Key::open(token.location("dev-1")).expect_err("two tokens");
        assert!(matches!(error, Pkcs11Error::SeveralTokens { .. }), "{error}");
        let by_serial = token.location("dev-1").token_serial(token.serial());
        assert!(Pkcs11Key::open(by_serial).is_ok(), "label and serial number name one token");
    });
}

#[test]
fn a_key_logs_in_again_but_never_with_a_wrong_pin() {
    with_token("keys::pkcs11::a_key_logs_in_again_but_never_with_a_wrong_pin", |token| {
        let session = token.session();
        token.generate(&session, Kind::P256, "dev-1", 1);
        let key = Pkcs11Key::open(token.location("dev-1")).expect("the key");
        let signer = key.choose_scheme(&[S::ECDSA_NISTP256_SHA256]).expect("a signature");
        assert!(signer.sign(b"first").is_ok());
        // The login belongs to the process: this session ends the login of the key too.
        session.logout().expect("the end of the login");
        assert!(signer.sign(b"second").is_ok(), "logs in again");

        let (old, new) = (AuthPin::new(PIN.into()), AuthPin::new("another-pin".into()));
        session.set_pin(&old, &new).expect("another PIN");
        session.logout().expect("the end of the login");
        let error = signer.sign(b"third").expect_err("the PIN has changed").to_string();
        assert!(error.contains("the PIN is wrong") && error.contains(TOKEN) && !error.contains(PIN), "{error}");
        session.login(cryptoki::session::UserType::User, Some(&new)).expect("the new PIN");
        session.set_pin(&new, &old).expect("the old PIN again");
        session.logout().expect("the end of the login");
        let again = signer.sign(b"fourth").expect_err("it does not try again").to_string();
        assert_eq!(again, error, "the same error, without another attempt");
        let opened = Pkcs11Key::open(token.location("dev-1")).expect("a key that the program opens again");
        assert!(opened.choose_scheme(&[S::ECDSA_NISTP256_SHA256]).expect("a signature").sign(b"fifth").is_ok());
    });
}

#[test]
fn threads_share_keys_and_tokens() {
    with_token("keys::pkcs11::threads_share_keys_and_tokens", |token| {
        let session = token.session();
        let keys: Vec<Pkcs11Key> = (0..4_u8)
            .map(|id| {
                token.generate(&session, Kind::P256, &format!("dev-{id}"), id + 1);
                Pkcs11Key::open(token.location(&format!("dev-{id}"))).expect("the key")
            })
            .collect();
        std::thread::scope(|scope| {
            // Two threads for each key.
            for (key, number) in keys.iter().chain(&keys).zip(0_u8..) {
                scope.spawn(move || {
                    let spki = key.public_key().expect("a public key").as_ref().to_vec();
                    let signer = key.choose_scheme(&[S::ECDSA_NISTP256_SHA256]).expect("a signature");
                    for round in 0..50 {
                        let signed = signer.sign(&[number, round]).expect("a signature");
                        let verifier =
                            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, PublicKey::of(&spki).raw);
                        assert!(verifier.verify(&[number, round], &signed).is_ok(), "thread {number}, round {round}");
                    }
                });
            }
        });
    });
}

#[test]
fn a_secret_key_signs_sas_tokens() {
    with_token("keys::pkcs11::a_secret_key_signs_sas_tokens", |token| {
        let secret = [0xa5; 32];
        token.store_secret(&token.session(), "sas", &secret);
        let signer = Pkcs11HmacKey::open(token.location("sas")).expect("the key");
        let expiry = UnixSeconds(1_800_000_000);
        let credential = Credential::Signer(Arc::new(signer));
        let made = block_on(credential.token("localhost/devices/dev-1", expiry, None)).expect("a token").expect("SAS");
        let key = SharedKey::from_bytes(&secret).expect("a key");
        assert_eq!(made.expose(), SasToken::sign(&key, "localhost/devices/dev-1", expiry, None).expose());
    });
}

#[test]
fn a_device_with_a_key_in_a_token_uses_dps_and_its_hub() {
    with_token("keys::pkcs11::a_device_with_a_key_in_a_token_uses_dps_and_its_hub", |token| {
        let (session, authority) = (token.session(), Authority::new());
        block_on(async {
            let cloud = Cloud::start().await;
            let group = cloud.emulator.enrollment_group("tokens");
            group.create_with_certificates(&authority.certificate.to_pem(), None).expect("a group");
            let kinds = [
                (TransportKind::Https, Kind::P256),
                (TransportKind::Mqtt, Kind::Rsa(2048)),
                (TransportKind::MqttWs, Kind::P384),
            ];
            for ((transport, kind), number) in kinds.into_iter().zip(1_u8..) {
                let id = format!("token-{number}");
                let private = token.generate(&session, kind, &id, number);
                assert!(!Token::is_exportable(&session, private), "{id}");
                let certificate = authority.certify(&id, &Pkcs11Key::open(token.location(&id)).expect("the key"));
                let thumbprint = certificate.leaf().sha256_thumbprint();
                // The address, the scope and the authority of the emulator, from a device that does not connect.
                let mut settings = cloud.device("template").transport(transport);
                settings.registration_id = RegistrationId::new(&id).expect("an id");
                settings.credential = certificate.into();
                let hub = settings.connect().await.unwrap_or_else(|error| panic!("{id}, {transport}: {error:?}"));
                hub.send(Message::new("signed by a token")).await.expect("an acknowledgement");
                hub.close(Duration::from_secs(10)).await.expect("a clean end");
                let device = cloud.emulator.device(HUB, &id).expect("the device that DPS has created");
                assert!(format!("{device:?}").contains(&thumbprint), "{id}: {device:?}");
            }
            let devices: Vec<String> = cloud.log().all().iter().map(|it| it.device_id.to_string()).collect();
            assert_eq!(devices, ["token-1", "token-2", "token-3"]);
        });
    });
}
