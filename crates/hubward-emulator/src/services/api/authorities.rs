//! The certificates of authorities: upload, proof of possession, delete. In Azure, these are requests to Azure Resource
//! Manager (ARM).
//!
//! Source, where no other is given: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager.

use http::HeaderMap;
use hubward_proto::service::{
    ArmRefusal, CaCertificate, CaCertificateList, CaCertificateProof, CaCertificateProperties,
};
use hubward_x509::Certificate;

use super::if_match::{IfMatch, Unreadable};
use crate::services::cloud::Cloud;
use crate::state::clock::{http_date, read_timestamp, timestamp};
use crate::state::model::{Authority, AuthorityError, State, read_authority};
use crate::state::wire_id;

/// A refusal in the form of ARM.
///
/// Source: `[doc]` azure-rest-api-specs, common types of the resource manager, `ErrorResponse`. `[guess]`: the status
/// and the name of each refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArmProblem {
    pub(crate) status: u16,
    message: String,
}

impl ArmProblem {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    fn missing(name: &str) -> Self {
        Self::new(404, format!("The certificate `{name}` does not exist."))
    }

    fn refused(problem: &AuthorityError) -> Self {
        Self::wrong(format!("The request is refused: {problem}."))
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ArmRefusal {
        let code = match self.status {
            404 => "NotFound",
            409 => "Conflict",
            412 => "PreconditionFailed",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            _ => "BadRequest",
        };
        ArmRefusal::new(code, self.message.as_str())
    }
}

/// Lists all certificates, in the order of their names.
pub(crate) fn list(cloud: &Cloud) -> CaCertificateList {
    cloud.store.read(|state| CaCertificateList::new(state.authorities.values().map(shown).collect()))
}

pub(crate) fn show(cloud: &Cloud, name: &str) -> Result<CaCertificate, ArmProblem> {
    cloud.store.read(|state| find(state, name).map(shown))
}

/// Uploads a certificate, or replaces it if the request has `If-Match`.
///
/// The certificate may belong to no authority: the service accepts a self-signed certificate without the extension
/// *basic constraints*. Source: `[sdk]` azure-cli, tests of `iot dps certificate`.
pub(crate) fn upload(
    cloud: &Cloud,
    name: &str,
    headers: &HeaderMap,
    upload: &CaCertificate,
) -> Result<CaCertificate, ArmProblem> {
    let if_match = if_match(headers)?;
    let properties = &upload.properties;
    let text = given(properties.certificate.as_ref(), "properties.certificate")?;
    let certificate = read_authority(name, text).map_err(|it| ArmProblem::refused(&it))?;
    let is_verified = properties.is_verified.unwrap_or_default();
    let now = cloud.clock.now();
    cloud.store.change(|state| {
        let before = state.authority(name);
        match (before, &if_match) {
            (None, IfMatch::Etag(_)) => return Err(ArmProblem::missing(name)),
            (None, IfMatch::Absent | IfMatch::Any) => {}
            (Some(_), IfMatch::Absent) => {
                let message = "The certificate exists already. To replace it, send If-Match with its etag or *.";
                return Err(ArmProblem::new(409, message));
            }
            (Some(before), _) => check_etag(before, &if_match)?,
        }
        let name = before.map_or_else(|| name.to_owned(), |it| it.name.clone());
        let authority = state.put_authority(&name, &certificate, is_verified, now);
        authority.map(|it| shown(&it)).map_err(|it| ArmProblem::refused(&it))
    })
}

/// Generates a verification code. The code replaces an earlier one.
pub(crate) fn generate_code(cloud: &Cloud, name: &str, headers: &HeaderMap) -> Result<CaCertificate, ArmProblem> {
    change(cloud, name, headers, |authority| {
        authority.verification_code = Some(wire_id::verification_code());
        Ok(())
    })
    .map(|authority| {
        let mut answer = shown(&authority);
        answer.properties.verification_code = authority.verification_code;
        answer
    })
}

/// Checks the proof that the caller has the key of a certificate.
pub(crate) fn verify(
    cloud: &Cloud,
    name: &str,
    headers: &HeaderMap,
    proof: &CaCertificateProof,
) -> Result<CaCertificate, ArmProblem> {
    let text = given(proof.certificate.as_ref(), "certificate")?;
    let proof = Certificate::from_service_text(text)
        .map_err(|it| ArmProblem::wrong(format!("The verification certificate cannot be read: {it}.")))?;
    let verified = change(cloud, name, headers, |authority| {
        let code = authority.verification_code.as_deref();
        let code = code.ok_or_else(|| ArmProblem::wrong("Generate a verification code first."))?;
        if proof.common_name() != Some(code) {
            let message = "The common name (CN) of the verification certificate is not the verification code.";
            return Err(ArmProblem::wrong(message));
        }
        let is_signed = authority.read().is_some_and(|it| proof.is_issued_by(&it));
        if !is_signed {
            let message =
                format!("The verification certificate is not issued by the certificate `{}`.", authority.name);
            return Err(ArmProblem::wrong(message));
        }
        (authority.is_verified, authority.verification_code) = (true, None);
        Ok(())
    });
    verified.map(|it| shown(&it))
}

/// `[guess]`: the deletion of a missing certificate gets 404. The specification also allows 204.
pub(crate) fn delete(cloud: &Cloud, name: &str, headers: &HeaderMap) -> Result<(), ArmProblem> {
    let if_match = required_if_match(headers)?;
    cloud.store.change(|state| {
        check_etag(find(state, name)?, &if_match)?;
        state.authorities.remove(&name.to_ascii_lowercase());
        Ok(())
    })
}

/// Changes an authority if its ETag matches. Returns the changed authority. If `change` fails, the authority stays.
fn change(
    cloud: &Cloud,
    name: &str,
    headers: &HeaderMap,
    change: impl FnOnce(&mut Authority) -> Result<(), ArmProblem>,
) -> Result<Authority, ArmProblem> {
    let if_match = required_if_match(headers)?;
    let now = cloud.clock.now();
    cloud.store.change(|state| {
        let before = find(state, name)?;
        check_etag(before, &if_match)?;
        let mut changed = before.clone();
        change(&mut changed)?;
        (changed.updated, changed.etag) = (timestamp(now), wire_id::authority_etag());
        state.authorities.insert(name.to_ascii_lowercase(), changed.clone());
        Ok(changed)
    })
}

fn find<'a>(state: &'a State, name: &str) -> Result<&'a Authority, ArmProblem> {
    state.authority(name).ok_or_else(|| ArmProblem::missing(name))
}

fn given<'a>(text: Option<&'a String>, member: &str) -> Result<&'a str, ArmProblem> {
    let text = text.map(|it| it.trim()).filter(|it| !it.is_empty());
    text.ok_or_else(|| {
        ArmProblem::wrong(format!("The body must contain `{member}`: the base64 text of a certificate."))
    })
}

fn if_match(headers: &HeaderMap) -> Result<IfMatch, ArmProblem> {
    IfMatch::read(headers).map_err(|_| ArmProblem::wrong(Unreadable::MESSAGE))
}

fn required_if_match(headers: &HeaderMap) -> Result<IfMatch, ArmProblem> {
    match if_match(headers)? {
        IfMatch::Absent => Err(ArmProblem::wrong("The request must have the header If-Match: an etag or *.")),
        given => Ok(given),
    }
}

fn check_etag(authority: &Authority, if_match: &IfMatch) -> Result<(), ArmProblem> {
    if if_match.fits(Some(&authority.etag)) {
        return Ok(());
    }
    Err(ArmProblem::new(412, format!("The etag of the certificate `{}` does not match.", authority.name)))
}

/// An authority in the form of a response, without its verification code.
fn shown(authority: &Authority) -> CaCertificate {
    let certificate = authority.read();
    let certificate = certificate.as_ref();
    let mut shown = CaCertificate::default();
    (shown.name, shown.etag) = (Some(authority.name.clone()), Some(authority.etag.clone()));
    let date = |text: &str| read_timestamp(text).map(http_date);
    let mut properties = CaCertificateProperties::default();
    properties.subject = certificate.map(|it| it.subject_name().to_owned());
    properties.expiry = certificate.map(|it| http_date(it.not_after()));
    properties.thumbprint = certificate.map(Certificate::sha1_thumbprint);
    properties.is_verified = Some(authority.is_verified);
    (properties.created, properties.updated) = (date(&authority.created), date(&authority.updated));
    properties.certificate = Some(authority.certificate.clone());
    shown.properties = properties;
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hubward_sas::SharedKey;
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

    use super::*;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// An authority: its certificate as PEM, and its key.
    struct Root {
        pem: String,
        der: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn root(name: &str) -> Root {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(name).self_signed(&key).expect("a certificate");
        Root { pem: certificate.pem(), der: certificate.der().to_vec(), issuer: Issuer::new(params(name), key) }
    }

    fn proof(root: &Root, code: &str) -> CaCertificateProof {
        let key = KeyPair::generate().expect("a key");
        CaCertificateProof::new(params(code).signed_by(&key, &root.issuer).expect("a certificate").pem())
    }

    fn cloud() -> Arc<Cloud> {
        Cloud::for_tests(&SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODw==").expect("a key"))
    }

    fn etag(etag: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !etag.is_empty() {
            headers.insert(http::header::IF_MATCH, etag.parse().expect("a header"));
        }
        headers
    }

    fn put(cloud: &Cloud, name: &str, if_match: &str, text: &str) -> Result<CaCertificate, ArmProblem> {
        upload(cloud, name, &etag(if_match), &CaCertificate::new(text, false))
    }

    #[test]
    fn an_upload_is_shown_with_the_contents_of_the_certificate() {
        let (cloud, root) = (cloud(), root("Contoso Root"));
        let forms = [root.pem.clone(), STANDARD.encode(&root.pem), STANDARD.encode(&root.der)];
        for (name, text) in ["pem", "base64-of-pem", "base64-of-der"].into_iter().zip(&forms) {
            let made = put(&cloud, name, "", text).expect(name);
            let properties = &made.properties;
            assert_eq!(properties.subject.as_deref(), Some("CN=Contoso Root"), "{name}");
            assert_eq!(properties.expiry.as_deref(), Some("Sun, 01 Jan 4096 00:00:00 GMT"), "{name}");
            assert_eq!(properties.thumbprint.as_ref().map(String::len), Some(40), "{name}");
            assert_eq!(properties.certificate.as_ref(), Some(&forms[2]), "{name}");
            assert_eq!((properties.is_verified, &properties.created), (Some(false), &properties.updated), "{name}");
            assert!(properties.created.as_ref().is_some_and(|it| it.ends_with(" GMT")), "{name}");
            assert_eq!(show(&cloud, &name.to_uppercase()).expect(name), made);
        }
        let names: Vec<_> = list(&cloud).value.into_iter().filter_map(|it| it.name).collect();
        assert_eq!(names, ["base64-of-der", "base64-of-pem", "pem"]);
    }

    #[test]
    fn an_etag_protects_a_certificate() {
        let (cloud, root) = (cloud(), root("Root"));
        let first = put(&cloud, "root", "", &root.pem).expect("uploaded");
        let current = first.etag.clone().unwrap_or_default();
        for (what, status, result) in [
            ("a second upload", 409, put(&cloud, "ROOT", "", &root.pem).map(|_| ())),
            ("another etag", 412, put(&cloud, "root", "AAAA", &root.pem).map(|_| ())),
            ("an etag of nothing", 404, put(&cloud, "other", "AAAA", &root.pem).map(|_| ())),
            ("a code without an etag", 400, generate_code(&cloud, "root", &etag("")).map(|_| ())),
            ("a code with another etag", 412, generate_code(&cloud, "root", &etag("AAAA")).map(|_| ())),
            ("a code for nothing", 404, generate_code(&cloud, "other", &etag("*")).map(|_| ())),
            ("a deletion without an etag", 400, delete(&cloud, "root", &etag(""))),
            ("a deletion with another etag", 412, delete(&cloud, "root", &etag("AAAA"))),
            ("a deletion of nothing", 404, delete(&cloud, "other", &etag("*"))),
        ] {
            assert_eq!(result.expect_err(what).status, status, "{what}");
        }
        assert_eq!(show(&cloud, "root").expect("unchanged"), first);
        let replaced = put(&cloud, "Root", &format!("\"{current}\""), &root.pem).expect("replaced");
        assert_ne!(replaced.etag, first.etag);
        assert_eq!((&replaced.name, &replaced.properties.created), (&first.name, &first.properties.created));
        delete(&cloud, "root", &etag("*")).expect("deleted");
        assert_eq!(show(&cloud, "root").expect_err("deleted").status, 404);
    }

    #[test]
    fn a_proof_has_the_code_as_its_name_and_is_signed_by_the_authority() {
        let (cloud, ours, other) = (cloud(), root("Root"), root("Root"));
        put(&cloud, "root", "", &ours.pem).expect("uploaded");
        let any = etag("*");
        let early = verify(&cloud, "root", &any, &proof(&ours, "x")).expect_err("there is no code");
        assert!(early.message.contains("Generate a verification code"), "{early:?}");
        let answer = generate_code(&cloud, "root", &any).expect("a code");
        let code = answer.properties.verification_code.expect("a code");
        assert!(code.len() == 48 && code.bytes().all(|it| it.is_ascii_hexdigit()), "{code}");
        assert_eq!(show(&cloud, "root").expect("shown").properties.verification_code, None, "only the answer has it");
        for (what, proof, message) in [
            ("another name", proof(&ours, "x"), "is not the verification code"),
            ("another key", proof(&other, &code), "is not issued by the certificate `root`"),
            ("no certificate", CaCertificateProof::default(), "must contain `certificate`"),
            ("no base64", CaCertificateProof::new("%"), "cannot be read"),
        ] {
            let problem = verify(&cloud, "root", &any, &proof).expect_err(what);
            assert!(problem.status == 400 && problem.message.contains(message), "{what}: {problem:?}");
            assert_eq!(show(&cloud, "root").expect(what).properties.is_verified, Some(false), "{what}");
        }
        let current = answer.etag.unwrap_or_default();
        let verified = verify(&cloud, "root", &etag(&current), &proof(&ours, &code)).expect("the proof");
        assert_eq!(verified.properties.is_verified, Some(true));
        assert!(verify(&cloud, "root", &any, &proof(&ours, &code)).is_err(), "a code is used once");
    }

    #[test]
    fn names_and_the_number_of_certificates_are_limited() {
        let (cloud, root) = (cloud(), root("Root"));
        for name in ["a b", "a/b", &"a".repeat(65)] {
            assert_eq!(put(&cloud, name, "", &root.pem).expect_err(name).status, 400);
        }
        for number in 0..25 {
            put(&cloud, &format!("root-{number}"), "", &root.pem).expect("one of 25");
        }
        let problem = put(&cloud, "root-25", "", &root.pem).expect_err("one too many");
        assert!(problem.status == 400 && problem.message.contains("25"), "{problem:?}");
        put(&cloud, "root-7", "*", &root.pem).expect("a replacement is not one more");
    }
}
