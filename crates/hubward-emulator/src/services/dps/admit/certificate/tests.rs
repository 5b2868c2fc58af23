//! Chains that DPS accepts and refuses.

use std::time::SystemTime;

use hubward_proto::service::{Attestation, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use hubward_proto::{IdScope, RegistrationId};
use hubward_sas::SasToken;

use super::*;
use crate::lab::{Authority, Leaf, root, self_signed};
use crate::state::model::{Model, complete};

const SCOPE: &str = "0ne00000001";

/// A time in 2023.
const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

struct Pki {
    root: Authority,
    intermediate: Authority,
    /// Issued by `intermediate` for `dev-1`.
    leaf: Leaf,
    other_root: Authority,
}

fn pki() -> Pki {
    let root = root("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.device("dev-1");
    Pki { leaf, root, intermediate, other_root: crate::lab::root("other root") }
}

impl Pki {
    fn chain(&self) -> Vec<&Certificate> {
        vec![&self.leaf.certificate, &self.intermediate.certificate, &self.root.certificate]
    }
}

fn entry<M: Model>(mut model: M, x509: Option<X509Attestation>, disabled: bool) -> Entry<M> {
    if let Some(x509) = x509 {
        model.settings_mut().attestation = Some(Attestation::x509(x509));
    }
    model.settings_mut().provisioning_status = disabled.then_some(ProvisioningStatus::Disabled);
    complete(model, None, SystemTime::UNIX_EPOCH).expect("a valid enrollment").0
}

/// Changes the state of a test.
type Setup<'a> = Box<dyn Fn(&mut State) + 'a>;

fn individual<'a>(id: &'a str, primary: &'a Certificate, secondary: Option<&'a Certificate>) -> Setup<'a> {
    Box::new(move |state| {
        let x509 = X509Attestation::client(primary.to_pem(), secondary.map(Certificate::to_pem));
        state.individuals.insert(id.to_owned(), entry(IndividualEnrollment::new(id), Some(x509), false));
    })
}

fn group<'a>(name: &'a str, certificate: &'a Certificate, disabled: bool) -> Setup<'a> {
    Box::new(move |state| {
        let x509 = X509Attestation::signing(certificate.to_pem(), None);
        state.groups.insert(name.to_owned(), entry(EnrollmentGroup::new(name), Some(x509), disabled));
    })
}

fn group_by_name<'a>(name: &'a str, primary: &'a str, secondary: Option<&'a str>) -> Setup<'a> {
    Box::new(move |state| {
        let x509 = X509Attestation::authorities(primary, secondary.map(str::to_owned));
        state.groups.insert(name.to_owned(), entry(EnrollmentGroup::new(name), Some(x509), false));
    })
}

fn authority<'a>(name: &'a str, certificate: &'a Certificate, is_verified: bool) -> Setup<'a> {
    Box::new(move |state| {
        state.put_authority(name, certificate, is_verified, SystemTime::UNIX_EPOCH).expect("added");
    })
}

fn with_keys<'a>() -> Setup<'a> {
    Box::new(|state| {
        state.individuals.insert("dev-1".into(), entry(IndividualEnrollment::new("dev-1"), None, false));
        state.groups.insert("keys".into(), entry(EnrollmentGroup::new("keys"), None, false));
    })
}

fn state(setup: &[Setup<'_>]) -> State {
    let mut state = State::new(["localhost"]);
    setup.iter().for_each(|it| it(&mut state));
    state
}

fn caller(id: &str, chain: &[&Certificate]) -> Caller {
    Caller {
        id_scope: IdScope::new(SCOPE).expect("a scope"),
        registration_id: RegistrationId::new(id).expect("an id"),
        token: None,
        certificates: PresentedChain::new(chain.iter().map(|it| it.der())),
        api_version: "2021-06-01".into(),
    }
}

/// The group and whether the enrollment is enabled, or the text of the refusal and the reason.
fn judge(state: &State, caller: &Caller) -> Result<(Option<String>, bool), (String, String)> {
    match super::super::admit(state, SCOPE, caller, NOW) {
        Ok(Admitted { group, authentication, enabled, moved_to: None }) => {
            let leaf = caller.certificates.as_ref().expect("a chain").read().expect("valid").leaf();
            let DeviceAuthentication::SelfSigned(thumbprints) = authentication else { panic!("{authentication:?}") };
            assert_eq!(thumbprints, Thumbprints::of(leaf));
            Ok((group, enabled))
        }
        Ok(admitted) => panic!("{admitted:?}"),
        Err(Denial { refusal, why }) => {
            assert_eq!((refusal.status, refusal.code), (401, 401_002));
            Err((refusal.message, why))
        }
    }
}

#[test]
fn each_chain_finds_its_enrollment() {
    let pki = pki();
    let Pki { root, intermediate, leaf, .. } = &pki;
    let (root, intermediate, leaf) = (&root.certificate, &intermediate.certificate, &leaf.certificate);
    let (first, second) = (self_signed("dev-1"), self_signed("dev-1"));
    let (first, second) = (&first.certificate, &second.certificate);
    let upper = pki.intermediate.device("DEV-1");
    let ok = |group: Option<&str>| (group.map(str::to_owned), true);
    for (name, setup, chain, expected) in [
        ("primary", vec![individual("dev-1", first, Some(second))], vec![first], ok(None)),
        ("secondary", vec![individual("dev-1", first, Some(second))], vec![second], ok(None)),
        ("a leaf of a CA, individually", vec![individual("dev-1", leaf, None)], vec![leaf], ok(None)),
        (
            "an individual enrollment before a group",
            vec![individual("dev-1", leaf, None), group("g", intermediate, false)],
            pki.chain(),
            ok(None),
        ),
        (
            "the nearest CA",
            vec![group("a-root", root, false), group("b-intermediate", intermediate, false)],
            pki.chain(),
            ok(Some("b-intermediate")),
        ),
        (
            "the nearest CA, though it is disabled",
            vec![group("a-root", root, false), group("b-intermediate", intermediate, true)],
            pki.chain(),
            (Some("b-intermediate".to_owned()), false),
        ),
        ("a root", vec![group("g", root, false)], pki.chain(), ok(Some("g"))),
        ("a root that is not presented", vec![group("g", root, false)], vec![leaf, intermediate], ok(Some("g"))),
        ("an intermediate that is not presented", vec![group("g", intermediate, false)], vec![leaf], ok(Some("g"))),
        (
            "a hit below a break of the chain",
            vec![group("g", intermediate, false)],
            vec![leaf, intermediate, &pki.other_root.certificate],
            ok(Some("g")),
        ),
        (
            "a verified CA by name",
            vec![authority("Root-1", root, true), group_by_name("g", "ROOT-1", None)],
            pki.chain(),
            ok(Some("g")),
        ),
        (
            "a verified CA by name, not presented",
            vec![authority("root-1", root, true), group_by_name("g", "root-1", None)],
            vec![leaf, intermediate],
            ok(Some("g")),
        ),
        (
            "the second name",
            vec![
                authority("old", &pki.other_root.certificate, true),
                authority("new", root, true),
                group_by_name("g", "old", Some("new")),
            ],
            pki.chain(),
            ok(Some("g")),
        ),
        (
            "another letter case of the common name",
            vec![group("g", intermediate, false)],
            vec![&upper.certificate],
            ok(Some("g")),
        ),
    ] {
        assert_eq!(judge(&state(&setup), &caller("dev-1", &chain)), Ok(expected), "{name}");
    }
}

#[test]
fn each_refusal_has_the_documented_text_and_the_real_reason() {
    let pki = pki();
    let (root, intermediate, leaf) = (&pki.root.certificate, &pki.intermediate.certificate, &pki.leaf.certificate);
    let other = self_signed("dev-1");
    let other = &other.certificate;
    let expired = pki.intermediate.device_of(Some("dev-1"), (2020, 2021));
    let future = pki.intermediate.device_of(Some("dev-1"), (2048, 2049));
    let nameless = pki.intermediate.device_of(None, crate::lab::YEARS);
    let stranger = pki.other_root.device("dev-1");
    let (old_ca, no_ca) = (pki.root.intermediate_of("old", (2020, 2021)), pki.root.not_an_authority("no CA"));
    let (of_old_ca, of_no_ca) = (old_ca.device("dev-1"), no_ca.device("dev-1"));
    // The same name as the intermediate, but another key.
    let forged = pki.other_root.intermediate("intermediate").device("dev-1");
    let eleven = vec![leaf; 11];
    let by_intermediate = || vec![group("g", intermediate, false)];
    let by_root = || vec![group("g", root, false)];
    for (name, setup, chain, message, why) in [
        (
            "another leaf",
            vec![individual("dev-1", leaf, None), group("g", intermediate, false)],
            vec![other],
            "Invalid certificate.",
            "has another certificate than `CN=dev-1`",
        ),
        (
            "another leaf of the group's CA",
            vec![individual("dev-1", other, None), group("g", intermediate, false)],
            pki.chain(),
            "Invalid certificate.",
            "has another certificate",
        ),
        ("keys", vec![with_keys(), group("g", intermediate, false)], pki.chain(), "Unauthorized", "requires a token"),
        ("no group", vec![], pki.chain(), "CA certificate not found.", "no group has a certificate that issued"),
        ("an unknown CA", by_root(), vec![&stranger.certificate, &pki.other_root.certificate], NOT_FOUND, "no group"),
        ("the leaf without the intermediate", by_root(), vec![leaf], "CA certificate not found.", "no group"),
        ("a missing intermediate", by_root(), vec![leaf, root], NOT_FOUND, "`CN=root` has not issued `CN=dev-1`"),
        ("a forged intermediate", by_intermediate(), vec![&forged.certificate, intermediate], NOT_FOUND, "broken"),
        ("a forged intermediate, alone", by_intermediate(), vec![&forged.certificate], NOT_FOUND, "no group"),
        (
            "an issuer that is no CA",
            by_root(),
            vec![&of_no_ca.certificate, &no_ca.certificate, root],
            "CA certificate not found.",
            "is not a CA certificate",
        ),
        (
            "a CA that is not verified",
            vec![authority("root-1", root, false), group_by_name("g", "root-1", None)],
            pki.chain(),
            "CA certificate not found.",
            "the CA certificate of the group `g` is not verified",
        ),
        ("a deleted CA", vec![group_by_name("g", "root-1", None)], pki.chain(), NOT_FOUND, "no group"),
        (
            "the signing certificate itself",
            by_intermediate(),
            vec![intermediate, root],
            "Signing certificate info did not match chain elements",
            "presents the certificate of the group `g` itself",
        ),
        ("expired", by_intermediate(), vec![&expired.certificate], "Unauthorized", "expired at 2021-01-01"),
        ("not yet valid", by_intermediate(), vec![&future.certificate], "Unauthorized", "not valid before 2048-01-01"),
        (
            "an expired intermediate",
            by_root(),
            vec![&of_old_ca.certificate, &old_ca.certificate],
            "Unauthorized",
            "`CN=old` expired",
        ),
        (
            "an expired signing certificate",
            vec![group("g", &old_ca.certificate, false)],
            vec![&of_old_ca.certificate],
            "Unauthorized",
            "`CN=old` expired",
        ),
        (
            "expired, individually",
            vec![individual("dev-1", &expired.certificate, None)],
            vec![&expired.certificate],
            "Unauthorized",
            "expired",
        ),
        ("no common name", by_intermediate(), vec![&nameless.certificate], "Unauthorized", "no common name"),
        ("a chain of eleven", by_intermediate(), eleven, "Unauthorized", "11 certificates; at most 10"),
    ] {
        let Err((text, reason)) = judge(&state(&setup), &caller("dev-1", &chain)) else { panic!("{name}: accepted") };
        assert_eq!(text, message, "{name}: {reason}");
        assert!(reason.contains(why), "{name}: {reason}");
    }
    let (text, reason) = judge(&state(&by_intermediate()), &caller("dev-2", &pki.chain())).expect_err("another name");
    assert_eq!(text, "Unauthorized");
    assert_eq!(reason, "the common name of the certificate is `dev-1`, and the registration id is `dev-2`");
    // The name of an individual enrollment must fit too.
    let setup = [individual("dev-2", leaf, None)];
    assert_eq!(judge(&state(&setup), &caller("dev-2", &pki.chain())).expect_err("another name").0, "Unauthorized");
}

#[test]
fn the_names_of_a_group_are_compared_as_those_of_certificates() {
    let pki = pki();
    let caller = caller("dev-1", &[&pki.leaf.certificate]);
    let mut state = state(&[group("g", &pki.intermediate.certificate, false)]);
    for (subject, expected) in [("CN=intermediate", true), ("CN=Inter\\ Mediate\\0a", true), ("CN=other", false)] {
        let settings = &mut state.groups.get_mut("g").expect("a group").model.settings;
        let x509 = settings.attestation.as_mut().and_then(|it| it.x509.as_mut()).expect("certificates");
        let signing = x509.signing_certificates.as_mut().and_then(|it| it.primary.as_mut()).expect("a certificate");
        signing.info.as_mut().expect("its content").subject_name = subject.into();
        assert_eq!(judge(&state, &caller).is_ok(), expected, "{subject}");
    }
    for (one, other, expected) in [
        ("CN=Line 7, O=Contoso", "CN=line  7, O=CONTOSO", true),
        ("CN=a+OU=b", "OU=b+CN=a", true),
        ("CN=\\ #a\\,b\\ ", "CN=\\#a\\,b", true),
        ("1.2.3=#0c0161", "1.2.3=#0c0141", true),
        ("CN=Gerät", "CN=GERÄT", true),
        ("CN=line-7", "CN=line-8", false),
    ] {
        assert_eq!(may_equal(one, other), expected, "{one} {other}");
    }
}

#[test]
fn an_unreadable_certificate_above_the_leaf_is_refused() {
    let pki = pki();
    let mut caller = caller("dev-1", &[]);
    let chain = [pki.leaf.certificate.der(), b"not a certificate"];
    caller.certificates = PresentedChain::new(chain.into_iter());
    let setup = [group("g", &pki.intermediate.certificate, false)];
    let (text, reason) = judge(&state(&setup), &caller).expect_err("unreadable");
    assert!(text == "Unauthorized" && reason.contains("a presented certificate cannot be read"), "{text}: {reason}");
    assert!(PresentedChain::new([].into_iter()).is_none(), "no certificate is no chain");
}

#[test]
fn a_token_beside_a_certificate_decides() {
    let pki = pki();
    let state = state(&[with_keys(), group("g", &pki.intermediate.certificate, false)]);
    let resource = format!("{SCOPE}/registrations/dev-1");
    let keys = state.individuals["dev-1"].proof.keys().expect("keys").clone();
    let mut caller = caller("dev-1", &pki.chain());
    caller.token = Some(SasToken::sign(&keys.primary, &resource, NOW, None));
    let admitted = super::super::admit(&state, SCOPE, &caller, NOW).expect("its token is valid");
    assert_eq!(admitted.authentication, DeviceAuthentication::Sas(keys));
    let other = hubward_sas::SharedKey::generate().expect("a key");
    caller.token = Some(SasToken::sign(&other, &resource, NOW, None));
    let denial = super::super::admit(&state, SCOPE, &caller, NOW).expect_err("its token is not valid");
    assert_eq!(denial.why, "bad signature for its individual enrollment");
}

#[test]
fn an_enrollment_with_certificates_refuses_tokens() {
    let pki = pki();
    let state = state(&[individual("dev-1", &pki.leaf.certificate, None), group("g", &pki.root.certificate, false)]);
    let key = hubward_sas::SharedKey::generate().expect("a key");
    for (id, why) in [
        ("dev-1", "its individual enrollment requires a certificate, and the device sent a token"),
        ("dev-2", "no individual enrollment, and no group whose derived key made the token"),
    ] {
        let mut caller = caller(id, &pki.chain());
        caller.token = Some(SasToken::sign(&key, &format!("{SCOPE}/registrations/{id}"), NOW, None));
        let denial = super::super::admit(&state, SCOPE, &caller, NOW).expect_err(why);
        assert_eq!((denial.refusal, denial.why.as_str()), (Refusal::unauthorized(), why));
    }
    let mut nobody = caller("dev-1", &[]);
    nobody.token = None;
    let denial = super::super::admit(&state, SCOPE, &nobody, NOW).expect_err("no proof");
    assert!(denial.why.starts_with("neither a client certificate nor a SAS token"), "{}", denial.why);
}
