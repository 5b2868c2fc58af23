//! CA certificates at the admin port, and enrollments with certificates.

use hubward_proto::service::{
    Attestation, CaCertificate, CaCertificateProof, EnrollmentGroup, IndividualEnrollment, X509Attestation,
};
use hubward_service::Fault;
use hubward_tests::cloud::Cloud;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

use super::{admin, all_dps};

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn issuer(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let pem = params(name).self_signed(&key).expect("a certificate").pem();
    (pem, Issuer::new(params(name), key))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_certificate_is_uploaded_verified_and_deleted() {
    let cloud = Cloud::start().await;
    let admin = admin(&cloud);
    let (root, issuer) = issuer("Root");
    let made = admin.upload_certificate("root", &CaCertificate::new(root.as_str(), false)).await.expect("uploaded");
    assert_eq!((made.name.as_deref(), made.properties.is_verified), (Some("root"), Some(false)));
    assert_eq!(admin.certificates().await.expect("a list").value, std::slice::from_ref(&made));

    let code = admin.generate_verification_code("root", "*").await.expect("a code");
    let name = code.properties.verification_code.expect("a code");
    let key = KeyPair::generate().expect("a key");
    let proof = CaCertificateProof::new(params(&name).signed_by(&key, &issuer).expect("a certificate").pem());
    let stale = admin.verify_certificate("root", &proof, &made.etag.expect("an ETag")).await.expect_err("a stale ETag");
    let refused = stale.refused().expect("a refusal");
    assert_eq!((refused.status, refused.name.as_deref()), (412, Some("PreconditionFailed")), "{stale}");
    assert_eq!(
        (stale.fault(), refused.message.as_deref().map(|it| it.contains("`root`"))),
        (Fault::Request, Some(true))
    );
    let verified = admin.verify_certificate("root", &proof, &code.etag.expect("an ETag")).await.expect("verified");
    assert_eq!(verified.properties.is_verified, Some(true));

    admin.delete_certificate("root", "*").await.expect("deleted");
    assert!(admin.certificate("root").await.expect_err("deleted").is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn enrollments_have_certificates() {
    let cloud = Cloud::start().await;
    let (root, _) = issuer("Root");
    admin(&cloud).upload_certificate("root", &CaCertificate::new(root.as_str(), true)).await.expect("uploaded");
    for dps in all_dps(&cloud) {
        let mut enrollment = IndividualEnrollment::new("dev-1");
        enrollment.settings.attestation = Some(Attestation::x509(X509Attestation::client(root.as_str(), None)));
        let made = dps.create_enrollment(&enrollment).await.expect("created");
        let x509 = made.settings.attestation.and_then(|it| it.x509).expect("certificates");
        let info = x509.client_certificates.and_then(|it| it.primary).and_then(|it| it.info).expect("its contents");
        assert_eq!((info.subject_name.as_str(), info.sha256_thumbprint.len()), ("CN=Root", 64));
        dps.delete_enrollment("dev-1").await.expect("deleted");

        for (id, certificates) in [
            ("by-certificate", X509Attestation::signing(root.as_str(), None)),
            ("by-name", X509Attestation::authorities("root", None)),
        ] {
            let mut group = EnrollmentGroup::new(id);
            group.settings.attestation = Some(Attestation::x509(certificates));
            dps.create_group(&group).await.expect(id);
            let read = dps.group(id).await.expect(id);
            let x509 = read.settings.attestation.and_then(|it| it.x509).expect(id);
            assert_eq!(x509.ca_references.is_some(), id == "by-name", "{x509:?}");
            dps.delete_group(id).await.expect(id);
        }
    }
}
