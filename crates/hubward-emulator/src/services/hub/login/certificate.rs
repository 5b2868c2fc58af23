//! Judges the certificate of a device that connects to a hub.

use hubward_sas::UnixSeconds;
use hubward_x509::CertificateError;

use crate::services::presented::{Issuer, PresentedChain, has_issued, system_time};
use crate::state::model::{DeviceAuthentication, State};

/// Checks the certificate of an identity. The error is the reason for the log.
///
/// * `selfSigned`: the leaf has one of the thumbprints of the identity. Its issuer does not matter.
/// * `certificateAuthority`: a verified CA certificate has issued the leaf, directly or through certificates that the
///   client presents. The common name of the leaf is the client id: `{device}` or `{device}/{module}`.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-x509.md; `[sdk]` Azure/iotedge, DeviceScopeCertificateAuthenticator.cs.
/// `[guess]`: a module can have a certificate of a CA.
pub(super) fn check(
    state: &State,
    client_id: &str,
    authentication: &DeviceAuthentication,
    chain: &PresentedChain,
    now: UnixSeconds,
) -> Result<(), &'static str> {
    let links = chain.read().map_err(|_| "the presented certificates cannot be read, or there are more than 10")?;
    let leaf = links.leaf();
    let now = system_time(now);
    let dates = |problem| match problem {
        CertificateError::Expired { .. } => "a certificate of the chain has expired",
        _ => "a certificate of the chain is not valid yet",
    };
    match authentication {
        DeviceAuthentication::Sas(_) => Err("the identity has keys: it needs a SAS token, not a certificate"),
        DeviceAuthentication::SelfSigned(thumbprints) if thumbprints.contain(leaf) => {
            leaf.check_dates(now).map_err(dates)
        }
        DeviceAuthentication::SelfSigned(_) => Err("the certificate has none of the thumbprints of the identity"),
        DeviceAuthentication::CertificateAuthority => {
            // Device ids are case-sensitive.
            if leaf.common_name() != Some(client_id) {
                return Err("the common name of the certificate is not the id of the identity");
            }
            let authorities = || state.authorities.values();
            let certificates = |verified: bool| {
                let some = authorities().filter(move |it| it.is_verified || !verified);
                some.filter_map(|it| it.read()).collect::<Vec<_>>()
            };
            let find = |known: &[hubward_x509::Certificate]| {
                links.find_issuer(
                    |presented| known.iter().find(|it| *it == presented).cloned(),
                    |last| known.iter().find(|it| has_issued(it, last)).cloned(),
                )
            };
            match find(&certificates(true)) {
                Some(Issuer { found, presented }) => {
                    presented.iter().chain([&found]).try_for_each(|it| it.check_dates(now)).map_err(dates)
                }
                None if find(&certificates(false)).is_some() => Err("the CA certificate is not verified"),
                None if links.broken().is_some() => Err("the presented chain is broken"),
                None => Err("no CA certificate of the hub has issued the certificate"),
            }
        }
    }
}
