//! Judges a client certificate.

use std::collections::BTreeMap;

use hubward_proto::service::{AttestationType, EnrollmentGroup, X509Attestation, X509CertificateWithInfo};
use hubward_sas::UnixSeconds;
use hubward_x509::Certificate;

use super::{Admitted, Caller, Denial};
use crate::services::dps::Refusal;
use crate::services::presented::{Issuer, Links, PresentedChain, has_issued, system_time};
use crate::state::model::{DeviceAuthentication, Entry, State, Thumbprints, x509_certificates};

/// Source: `[seen]` Azure/azure-iot-sdk-java, issues 203 and 573; Azure/azure-iot-sdk-c, issue 1900.
const NOT_FOUND: &str = "CA certificate not found.";

/// Source: `[seen]` Azure/azure-iot-sdk-node, issue 547; Azure/azure-iot-sdk-c, issue 2270.
const OTHER_CERTIFICATE: &str = "Invalid certificate.";

/// Source: `[seen]` Azure/azure-iot-sdk-node, issue 532.
const SIGNING_CERTIFICATE: &str = "Signing certificate info did not match chain elements";

/// Finds the enrollment of a device with a certificate.
///
/// If the registration id has an individual enrollment, the leaf must equal one of its certificates. Otherwise, the
/// nearest issuer of the leaf that a group names decides, even if this group is disabled.
///
/// Source: `[doc]` iot-dps/concepts-x509-attestation.md. `[guess]`:
///
/// * An individual enrollment with another certificate or with keys does not let the device use a group.
/// * Dates and common name are checked last, and the text of the refusal is `Unauthorized`.
/// * If several groups name the same certificate, the first group by name decides.
pub(super) fn admit(
    state: &State,
    caller: &Caller,
    chain: &PresentedChain,
    now: UnixSeconds,
) -> Result<Admitted, Denial> {
    let links = chain.read().map_err(Denial::unauthorized)?;
    let leaf = links.leaf();
    let (group, enabled, certificates) = match state.individuals.get(&caller.key()) {
        Some(entry) => {
            check_individual(entry.model.settings.attestation.as_ref().and_then(|it| it.x509.as_ref()), leaf)?;
            (None, entry.model.settings.is_enabled(), std::slice::from_ref(leaf))
        }
        None => {
            let Issuer { found: (name, issuer), presented } = find_group(state, links)?;
            check_dates(issuer.iter(), now)?;
            let enabled = state.groups.get(name).is_some_and(|it| it.model.settings.is_enabled());
            (Some(name.to_owned()), enabled, presented)
        }
    };
    check_dates(certificates.iter(), now)?;
    check_common_name(leaf, caller)?;
    let authentication = DeviceAuthentication::SelfSigned(Thumbprints::of(leaf));
    Ok(Admitted { group, authentication, enabled, moved_to: None })
}

/// Checks that the leaf equals the primary or secondary certificate of an individual enrollment.
fn check_individual(x509: Option<&X509Attestation>, leaf: &Certificate) -> Result<(), Denial> {
    let Some(x509) = x509 else {
        return Err(Denial::unauthorized("its individual enrollment requires a token, and the device sent none"));
    };
    let thumbprint = leaf.sha256_thumbprint();
    if x509_certificates(x509.client_certificates.as_ref()).any(|it| is(it, &thumbprint)) {
        return Ok(());
    }
    let why = format!("its individual enrollment has another certificate than `{}`", leaf.subject_name());
    Err(denial(OTHER_CERTIFICATE, why))
}

/// A certificate that a group names.
enum Anchor<'a> {
    Signing(&'a X509CertificateWithInfo),
    Authority(&'a Certificate),
}

impl Anchor<'_> {
    fn has_thumbprint(&self, sha256: &str) -> bool {
        match self {
            Self::Signing(stored) => is(stored, sha256),
            Self::Authority(certificate) => certificate.sha256_thumbprint() == sha256,
        }
    }

    /// Returns this certificate if it has issued `issued`.
    fn as_issuer_of(&self, issued: &Certificate) -> Option<Certificate> {
        match self {
            Self::Signing(stored) => {
                // Most groups are ruled out by the name, without reading their certificates.
                let named = stored.info.as_ref().is_some_and(|it| may_equal(&it.subject_name, issued.issuer_name()));
                let text = stored.certificate.as_ref().filter(|_| named)?;
                Certificate::from_service_text(text).ok().filter(|it| has_issued(it, issued))
            }
            Self::Authority(certificate) => Some((*certificate).clone()).filter(|it| has_issued(it, issued)),
        }
    }
}

/// Finds the group of a chain. Also returns its certificate if the client did not present it.
fn find_group<'a>(state: &'a State, links: &'a Links) -> Result<Issuer<'a, (&'a str, Option<Certificate>)>, Denial> {
    let authorities: BTreeMap<&str, (bool, Certificate)> =
        state.authorities.iter().filter_map(|(key, it)| Some((key.as_str(), (it.is_verified, it.read()?)))).collect();
    let verified = anchors(state, &authorities, true);
    let thumbprint = links.leaf().sha256_thumbprint();
    if let Some((name, _)) = verified.iter().find(|(_, it)| it.has_thumbprint(&thumbprint)) {
        let why = format!("the device presents the certificate of the group `{name}` itself");
        return Err(denial(SIGNING_CERTIFICATE, why));
    }
    if let Some(found) = search(links, &verified) {
        return Ok(found);
    }
    let why = match search(links, &anchors(state, &authorities, false)) {
        Some(Issuer { found: (name, _), .. }) => format!("the CA certificate of the group `{name}` is not verified"),
        None => links.broken().unwrap_or_else(|| {
            let leaf = links.leaf();
            format!("no group has a certificate that issued `{}`", leaf.subject_name())
        }),
    };
    Err(denial(NOT_FOUND, why))
}

fn search<'s, 'l>(
    links: &'l Links,
    anchors: &[(&'s str, Anchor<'_>)],
) -> Option<Issuer<'l, (&'s str, Option<Certificate>)>> {
    links.find_issuer(
        |presented| {
            let thumbprint = presented.sha256_thumbprint();
            let (name, _) = anchors.iter().find(|(_, it)| it.has_thumbprint(&thumbprint))?;
            Some((*name, None))
        },
        |last| anchors.iter().find_map(|(name, it)| Some((*name, Some(it.as_issuer_of(last)?)))),
    )
}

/// The certificates that groups name, in the order of the groups. `only_verified` leaves out CA certificates that are
/// not verified.
fn anchors<'s: 'a, 'a>(
    state: &'s State,
    authorities: &'a BTreeMap<&str, (bool, Certificate)>,
    only_verified: bool,
) -> Vec<(&'s str, Anchor<'a>)> {
    let of_group = |(name, entry): (&'s String, &'s Entry<EnrollmentGroup>)| {
        let attestation = entry.model.settings.attestation.as_ref();
        let x509 = attestation.filter(|it| it.kind == AttestationType::X509).and_then(|it| it.x509.as_ref());
        let signing = x509_certificates(x509.and_then(|it| it.signing_certificates.as_ref())).map(Anchor::Signing);
        let names = x509.and_then(|it| it.ca_references.as_ref());
        let names = names.into_iter().flat_map(|it| [&it.primary, &it.secondary]).flatten();
        let by_name = names.filter_map(move |it| authorities.get(it.to_ascii_lowercase().as_str()));
        let by_name = by_name.filter(move |(is_verified, _)| *is_verified || !only_verified);
        signing.chain(by_name.map(|(_, it)| Anchor::Authority(it))).map(move |it| (name.as_str(), it))
    };
    state.groups.iter().flat_map(of_group).collect()
}

/// Returns `false` only if the two names differ by the comparison of [`Certificate::is_issued_by`], which ignores
/// string types, letter case and white space. The arguments are the texts of the names.
fn may_equal(one: &str, other: &str) -> bool {
    // `=#` begins a value that the text shows as hexadecimal DER.
    let is_hexadecimal = |it: &str| it.contains("=#");
    is_hexadecimal(one) || is_hexadecimal(other) || letters(one) == letters(other)
}

/// The letters and digits of a name in lower case, without escaped characters. They are sorted, because the order of
/// the attributes in one part of a name can depend on the string types.
fn letters(name: &str) -> Vec<char> {
    let lower = name.to_lowercase();
    let mut rest = lower.chars();
    let mut letters = Vec::with_capacity(lower.len());
    while let Some(character) = rest.next() {
        if character != '\\' {
            letters.extend(Some(character).filter(|it| it.is_alphanumeric()));
        } else if rest.next().is_some_and(|it| it.is_ascii_hexdigit()) {
            // A control character is escaped by two hexadecimal digits.
            rest.next();
        }
    }
    letters.sort_unstable();
    letters
}

fn is(stored: &X509CertificateWithInfo, sha256: &str) -> bool {
    stored.info.as_ref().is_some_and(|it| it.sha256_thumbprint == sha256)
}

fn check_dates<'a>(mut certificates: impl Iterator<Item = &'a Certificate>, now: UnixSeconds) -> Result<(), Denial> {
    let now = system_time(now);
    certificates.try_for_each(|it| it.check_dates(now)).map_err(|problem| Denial::unauthorized(&problem.to_string()))
}

/// Source: `[doc]` iot-dps/concepts-x509-attestation.md: the common name is the registration id. `[guess]`: letter case
/// does not matter, because it does not matter for registration ids.
fn check_common_name(leaf: &Certificate, caller: &Caller) -> Result<(), Denial> {
    let id = caller.registration_id.as_str();
    match leaf.common_name() {
        Some(name) if name.eq_ignore_ascii_case(id) => Ok(()),
        Some(name) => {
            let why = format!("the common name of the certificate is `{name}`, and the registration id is `{id}`");
            Err(Denial::unauthorized(&why))
        }
        None => Err(Denial::unauthorized("the certificate has no common name")),
    }
}

fn denial(message: &str, why: String) -> Denial {
    Denial { refusal: Refusal::new(401, 401_002, message), why }
}

#[cfg(test)]
mod tests;
