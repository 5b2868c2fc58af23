//! Judges the certificate of a device that connects to a hub.

use hubward_sas::UnixSeconds;
use hubward_x509::CertificateError;

use crate::services::issuer::CredentialAuthority;
use crate::services::presented::{Issuer, PresentedChain, has_issued, system_time};
use crate::state::model::{Device, DeviceAuthentication, State};

/// Checks the certificate of an identity. The error is the reason for the log.
///
/// * `selfSigned`: the leaf has one of the thumbprints of the identity. Its issuer does not matter.
/// * `certificateAuthority`: a verified CA certificate has issued the leaf, directly or through certificates that the
///   client presents. The common name of the leaf is the client id: `{device}` or `{device}/{module}`. The authority
///   that issues certificates to devices counts as a verified CA certificate.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-x509.md; `[sdk]` Azure/iotedge,
/// DeviceScopeCertificateAuthenticator.cs. `[guess]`: a module can have a certificate of a CA. `[guess]`: a device that
/// got a certificate from DPS has the type `certificateAuthority`, and the hub compares the unique id.
pub(super) fn check(
    state: &State,
    authority: &CredentialAuthority,
    client_id: &str,
    identity: &Device,
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
    match &identity.authentication {
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
            if let (Some(issuance), Some(unique_id)) = (&identity.issuance, authority.unique_id_of(leaf))
                && issuance.unique_id != unique_id
            {
                return Err("the certificate was issued to an earlier device with the same id");
            }
            let authorities = || state.authorities.values();
            let certificates = |verified: bool| {
                let some = authorities().filter(move |it| it.is_verified || !verified);
                let issuing = authority.certificates().into_iter().cloned();
                some.filter_map(|it| it.read()).chain(issuing).collect::<Vec<_>>()
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hubward_proto::hub::{HubIdentity, HubUsername};
    use hubward_proto::service::X509Thumbprint;
    use hubward_sas::{SasToken, SharedKey};
    use hubward_x509::Certificate;

    use super::super::{Login, LoginRequest};
    use super::*;
    use crate::lab::{self, Authority, Leaf};
    use crate::state::model::{KeyPair, Thumbprints};

    /// A time in 2023.
    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn thumbprints(primary: &str, secondary: Option<&str>) -> DeviceAuthentication {
        let (primary, secondary) = (Some(primary.to_owned()), secondary.map(str::to_owned));
        let given = X509Thumbprint { primary_thumbprint: primary, secondary_thumbprint: secondary };
        DeviceAuthentication::SelfSigned(Thumbprints::new(given).expect("thumbprints"))
    }

    fn state(devices: &[(&str, DeviceAuthentication)], authorities: &[(&str, &Certificate, bool)]) -> State {
        let mut state = State::new(["hub.example"]);
        for (name, certificate, is_verified) in authorities {
            state.put_authority(name, certificate, *is_verified, SystemTime::UNIX_EPOCH).expect("added");
        }
        let hub = state.hub_mut("hub.example").expect("the hub");
        for (client_id, authentication) in devices {
            let device = Device::new(authentication.clone(), SystemTime::UNIX_EPOCH);
            hub.devices.insert((*client_id).to_owned(), device);
        }
        state
    }

    fn identity(client_id: &str) -> HubIdentity {
        HubUsername::parse(&format!("hub.example/{client_id}/?api-version=2021-04-12")).expect("a name").identity
    }

    fn login(
        state: &State,
        client_id: &str,
        token: Option<&str>,
        chain: &[&Certificate],
        now: UnixSeconds,
    ) -> Result<Login, &'static str> {
        let certificates = PresentedChain::new(chain.iter().map(|it| it.der()));
        let request = LoginRequest {
            identity: identity(client_id),
            api_version: Some("2021-04-12".to_owned()),
            model_id: None,
            token: token.map(str::as_bytes),
            certificates: certificates.as_ref(),
        };
        super::super::check(state, &CredentialAuthority::generate().expect("an authority"), &request, now)
    }

    #[test]
    fn a_thumbprint_or_a_verified_authority_admits_a_device() {
        let root = lab::root("root");
        let intermediate = root.intermediate("intermediate");
        let (leaf, module) = (intermediate.device("d1"), intermediate.device("d1/m1"));
        let (leaf, module, inter) = (&leaf.certificate, &module.certificate, &intermediate.certificate);
        let by_ca = || DeviceAuthentication::CertificateAuthority;
        let sha256 = leaf.sha256_thumbprint();
        let other = lab::self_signed("d1").certificate.sha1_thumbprint();
        let root = &root.certificate;
        for (name, authentication, authorities, chain) in [
            ("SHA-256", thumbprints(&sha256, None), vec![], vec![leaf]),
            ("lower case", thumbprints(&sha256.to_ascii_lowercase(), None), vec![], vec![leaf]),
            ("SHA-1 in the second slot", thumbprints(&other, Some(&leaf.sha1_thumbprint())), vec![], vec![leaf, inter]),
            ("a root", by_ca(), vec![("r", root, true)], vec![leaf, inter, root]),
            ("a root that is not presented", by_ca(), vec![("r", root, true)], vec![leaf, inter]),
            ("an intermediate", by_ca(), vec![("i", inter, true)], vec![leaf]),
        ] {
            let state = state(&[("d1", authentication)], &authorities);
            let login = login(&state, "d1", None, &chain, NOW).expect(name);
            let origin = &login.origin;
            assert_eq!((login.expiry, origin.scope, origin.has_certificate), (None, "device", true), "{name}");
        }
        for authentication in [thumbprints(&module.sha256_thumbprint(), None), by_ca()] {
            let devices = [("d1", by_ca()), ("d1/m1", authentication)];
            let state = state(&devices, &[("i", inter, true)]);
            let login = login(&state, "d1/m1", None, &[module], NOW).expect("a module");
            assert_eq!((login.origin.scope, login.origin.has_certificate), ("module", true));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let root = lab::root("root");
        let leaf_of = |years| root.device_of(Some("d1"), years);
        let (leaf, expired, future) = (leaf_of(lab::YEARS), leaf_of((2020, 2021)), leaf_of((2048, 2049)));
        let old_ca: Authority = root.intermediate_of("old", (2020, 2021));
        let (of_old_ca, upper): (Leaf, Leaf) = (old_ca.device("d1"), root.device("D1"));
        let stranger = lab::self_signed("d1");
        let by_thumbprint = |it: &Leaf| thumbprints(&it.certificate.sha256_thumbprint(), None);
        let by_ca = || DeviceAuthentication::CertificateAuthority;
        let keys = KeyPair::generate().expect("keys");
        let root = &root.certificate;
        let verified = || vec![("r", root, true)];
        let none = "no CA certificate of the hub has issued the certificate";
        for (authentication, authorities, chain, why) in [
            (DeviceAuthentication::Sas(keys), verified(), vec![&leaf], "the identity has keys"),
            (by_thumbprint(&stranger), verified(), vec![&leaf], "none of the thumbprints"),
            (by_thumbprint(&expired), vec![], vec![&expired], "has expired"),
            (by_thumbprint(&future), vec![], vec![&future], "not valid yet"),
            (by_ca(), verified(), vec![&expired], "has expired"),
            (by_ca(), verified(), vec![&future], "not valid yet"),
            (by_ca(), verified(), vec![&upper], "the common name"),
            (by_ca(), verified(), vec![&of_old_ca], none),
            (by_ca(), verified(), vec![&leaf, &stranger], "the presented chain is broken"),
            (by_ca(), vec![("old", &old_ca.certificate, true)], vec![&of_old_ca], "has expired"),
            (by_ca(), verified(), vec![&stranger], none),
            (by_ca(), vec![], vec![&leaf], none),
            (by_ca(), vec![("r", root, false)], vec![&leaf], "the CA certificate is not verified"),
            (by_ca(), verified(), vec![&leaf; 11], "more than 10"),
        ] {
            let state = state(&[("d1", authentication)], &authorities);
            let chain: Vec<_> = chain.into_iter().map(|it| &it.certificate).collect();
            let refused = login(&state, "d1", None, &chain, NOW).expect_err(why);
            assert!(refused.contains(why), "{refused} instead of {why}");
        }
        let mut off = state(&[("d1", by_thumbprint(&leaf))], &[]);
        assert!(off.set_enabled("hub.example", "d1", false, SystemTime::UNIX_EPOCH));
        let refused = login(&off, "d1", None, &[&leaf.certificate], NOW).expect_err("disabled");
        assert_eq!(refused, "the device is disabled");
        let refused = login(&off, "d1", None, &[], NOW).expect_err("nothing");
        assert_eq!(refused, "neither a SAS token nor a client certificate");
    }

    #[test]
    fn a_token_beside_a_certificate_decides() {
        let leaf = lab::self_signed("d1");
        let key = SharedKey::generate().expect("a key");
        let token = SasToken::sign(&key, "hub.example/devices/d1", NOW, None);
        let keys = KeyPair { primary: key.clone(), secondary: key };
        let chain = [&leaf.certificate];
        let with_keys = state(&[("d1", DeviceAuthentication::Sas(keys))], &[]);
        let admitted = login(&with_keys, "d1", Some(token.expose()), &chain, NOW).expect("its token is valid");
        assert_eq!((admitted.expiry, admitted.origin.has_certificate), (Some(NOW), false));
        let with_thumbprint = state(&[("d1", thumbprints(&leaf.certificate.sha256_thumbprint(), None))], &[]);
        let refused = login(&with_thumbprint, "d1", Some(token.expose()), &chain, NOW).expect_err("a token");
        assert_eq!(refused, "the identity has a certificate: a SAS token of the device is not valid");
    }
}
