//! Authentication at the service APIs. Checks the host name of a request, and the SAS token that names a policy.

use std::collections::BTreeSet;

use http::header::{AUTHORIZATION, HOST, HeaderMap};
use hubward_sas::{SasToken, UnixSeconds};
use percent_encoding::percent_decode_str;

use crate::state::model::{DPS_POLICY, KeyPair};

/// The host names of the service APIs.
#[derive(Debug)]
pub(crate) struct Access {
    /// Names of DPS, in lower case, without ports.
    dps: BTreeSet<String>,
    /// The name of DPS in connection strings.
    pub(crate) name: String,
    /// Host names of the hubs, in lower case.
    hubs: BTreeSet<String>,
    /// Further names of the emulator. DPS accepts these names. If there is only one hub, that hub also accepts these
    /// names.
    others: BTreeSet<String>,
}

impl Access {
    /// `dps_hosts` contains the names of DPS. Its first item is the global name. `names` contains further names of the
    /// emulator.
    pub(crate) fn new(dps_hosts: &[String], hubs: &[String], names: &[String]) -> Self {
        // The name of DPS for connection strings must not be the global name. The global name belongs to Azure, so a
        // service client would send its requests to Azure.
        let name = dps_hosts.get(1).map_or("localhost", String::as_str).to_owned();
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let lower = |it: &String| it.to_ascii_lowercase();
        let others: BTreeSet<String> = local.iter().chain(names).map(lower).collect();
        let dps = others.iter().chain(dps_hosts).map(lower).collect();
        Self { dps, name, hubs: hubs.iter().map(lower).collect(), others }
    }

    /// Returns whether `name` is a name of the emulator. `name` has no port.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.dps.contains(&name) || self.hubs.contains(&name) || self.others.contains(&name)
    }

    /// Authenticates a request to the service API of DPS. DPS has only one policy. `keys` contains the keys of this
    /// policy.
    ///
    /// Source: `[doc]` iot-dps/how-to-control-access.md.
    pub(crate) fn check_dps(
        &self,
        headers: &HeaderMap,
        path: &str,
        keys: Option<&KeyPair>,
        now: UnixSeconds,
    ) -> Result<(), Denied> {
        let host = Host::read(headers)?;
        if !self.dps.contains(&host.name) {
            return Err(Denied::ForeignHost);
        }
        let token = token(headers)?;
        if token.policy() != Some(DPS_POLICY) {
            return Err(Denied::Token("the token names no policy, or one other than `provisioningserviceowner`"));
        }
        check_token(&token, keys, self.dps.iter().map(String::as_str).chain([host.text]), path, now)
    }

    /// Returns the hub that the header `Host` names.
    ///
    /// `Host` may contain another name of the emulator, such as `localhost`. If the emulator has only one hub, this
    /// function then returns that hub.
    pub(crate) fn hub<'a>(&'a self, headers: &'a HeaderMap) -> Result<HubNames<'a>, Denied> {
        let host = Host::read(headers)?;
        let mut hubs = self.hubs.iter();
        let hub = match (self.hubs.get(&host.name), hubs.next(), hubs.next()) {
            (Some(hub), ..) => hub,
            (None, Some(only), None) if self.others.contains(&host.name) => only,
            _ => return Err(Denied::ForeignHost),
        };
        Ok(HubNames { hub, host })
    }
}

/// A hub, and the name in the header `Host`. The two names can differ: see [`Access::hub`].
#[derive(Debug)]
pub(crate) struct HubNames<'a> {
    /// In lower case.
    pub(crate) hub: &'a str,
    host: Host<'a>,
}

impl HubNames<'_> {
    /// Checks a token for a request to `path`.
    ///
    /// Source: `[doc]` iot-hub/authenticate-authorize-sas.md.
    pub(crate) fn check(
        &self,
        token: &SasToken,
        keys: Option<&KeyPair>,
        path: &str,
        now: UnixSeconds,
    ) -> Result<(), Denied> {
        check_token(token, keys, [self.hub, self.host.text, self.host.name.as_str()].into_iter(), path, now)
    }
}

/// The `Host` header of a request.
#[derive(Debug)]
struct Host<'a> {
    /// The text, including the port.
    text: &'a str,
    /// In lower case, without the port.
    name: String,
}

impl<'a> Host<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Denied> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(text), None) = (hosts.next().and_then(|it| it.to_str().ok()), hosts.next()) else {
            return Err(Denied::NoHost);
        };
        let name = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
            None => text.split(':').next().unwrap_or_default(),
        };
        Ok(Self { text, name: name.to_ascii_lowercase() })
    }
}

/// The SAS token of a request.
pub(crate) fn token(headers: &HeaderMap) -> Result<SasToken, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let text = match (values.next(), values.next()) {
        (Some(text), None) => text,
        (None, _) => return Err(Denied::NoToken),
        (Some(_), Some(_)) => return Err(Denied::Token("the request has several Authorization headers")),
    };
    let Ok(text) = text.to_str() else { return Err(Denied::Token("the Authorization header is not text")) };
    if text.get(..7).is_some_and(|it| it.eq_ignore_ascii_case("Bearer ")) {
        return Err(Denied::Bearer);
    }
    SasToken::parse(text).map_err(|_| Denied::Token("the SAS token cannot be read"))
}

/// Checks signature, resource and expiry time.
fn check_token<'a>(
    token: &SasToken,
    keys: Option<&KeyPair>,
    mut names: impl Iterator<Item = &'a str>,
    path: &str,
    now: UnixSeconds,
) -> Result<(), Denied> {
    if !keys.is_some_and(|it| it.signed(token)) {
        return Err(Denied::Token("bad signature"));
    }
    // Compare the resource of the token with the path as the client sent it, and with the decoded path. An id in the
    // path may be percent-encoded, while the same id in the token is not.
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let covered = |name: &str| token.covers(&format!("{name}{path}")) || token.covers(&format!("{name}{decoded}"));
    if !names.any(covered) {
        return Err(Denied::Token("the token is for another resource"));
    }
    if token.is_expired(now) {
        return Err(Denied::Token("the token has expired"));
    }
    Ok(())
}

impl Denied {
    /// The reason for the log.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::NoHost => "the request has no Host header, or several",
            Self::ForeignHost => "the Host header has a name that the emulator does not have",
            Self::NoToken => "the request has no Authorization header",
            Self::Bearer => "a Microsoft Entra token",
            Self::Token(why) => why,
        }
    }
}

/// The reason why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The request has no `Host`, or several.
    NoHost,
    /// `Host` is not a name of the emulator.
    ForeignHost,
    /// The request has no `Authorization`.
    NoToken,
    /// The token is a Microsoft Entra token.
    Bearer,
    /// The token is refused. The text is the reason for the log. The response to the caller does not contain the
    /// reason.
    Token(&'static str),
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;
    use hubward_sas::SharedKey;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn headers(host: &str, authorization: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect("a host"));
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(text).expect("a value"));
        }
        headers
    }

    #[test]
    fn accepts_tokens_of_the_policy_only() {
        let keys = KeyPair::generate().expect("keys");
        let hosts = ["global.azure-devices-provisioning.net".to_owned(), "My-DPS.example".to_owned()];
        let access = Access::new(&hosts, &["hub.example".to_owned()], &["emulator".to_owned()]);
        assert_eq!(access.name, "My-DPS.example");
        let denied = |host: &str, authorization: Option<&str>| {
            access.check_dps(&headers(host, authorization), "/enrollments/d1", Some(&keys), NOW).err()
        };
        let until = UnixSeconds(u64::from(u32::MAX));
        let sign = |key: &SharedKey, resource: &str, until, policy| {
            SasToken::sign(key, resource, until, policy).expose().to_owned()
        };
        let good = |resource: &str| sign(&keys.primary, resource, until, Some(DPS_POLICY));
        let other_key = SharedKey::generate().expect("a key");
        let ours = "my-dps.example";
        let (resource, other) = ("the token is for another resource", "bad signature");
        let policy = "the token names no policy, or one other than `provisioningserviceowner`";
        for (host, token, expected) in [
            (ours, good(ours), None),
            (ours, sign(&keys.secondary, ours, until, Some(DPS_POLICY)), None),
            ("MY-DPS.example:8443", good("My-DPS.example"), None),
            ("localhost:8443", good("localhost:8443"), None),
            ("[::1]:8443", good("[::1]:8443"), None),
            ("emulator", good("emulator"), None),
            (ours, good("my-dps.example/enrollments"), None),
            (ours, good("my-dps.example/enrollments/d2"), Some(Denied::Token(resource))),
            (ours, good("my-dps.example/enroll"), Some(Denied::Token(resource))),
            (ours, good("other.example"), Some(Denied::Token(resource))),
            (ours, sign(&other_key, ours, until, Some(DPS_POLICY)), Some(Denied::Token(other))),
            (ours, sign(&keys.primary, ours, until, Some("registration")), Some(Denied::Token(policy))),
            (ours, sign(&keys.primary, ours, until, None), Some(Denied::Token(policy))),
            (
                ours,
                sign(&keys.primary, ours, UnixSeconds(1), Some(DPS_POLICY)),
                Some(Denied::Token("the token has expired")),
            ),
            (ours, "Bearer x".to_owned(), Some(Denied::Bearer)),
            (ours, "SharedAccessSignature sr=x".to_owned(), Some(Denied::Token("the SAS token cannot be read"))),
            ("evil.example", good("evil.example"), Some(Denied::ForeignHost)),
            ("hub.example", good("hub.example"), Some(Denied::ForeignHost)),
            ("my-dps.example.evil.example", good(ours), Some(Denied::ForeignHost)),
        ] {
            assert_eq!(denied(host, Some(&token)), expected, "{host} {token}");
        }
        assert_eq!(denied(ours, None), Some(Denied::NoToken));
    }

    #[test]
    fn a_hub_has_its_name_and_a_single_hub_all_names_of_the_emulator() {
        let dps = ["global.azure-devices-provisioning.net".to_owned(), "dps.example".to_owned()];
        let one = Access::new(&dps, &["Hub-1.example".to_owned()], &["emulator".to_owned()]);
        let two = Access::new(&dps, &["Hub-1.example".to_owned(), "localhost".to_owned()], &["emulator".to_owned()]);
        for (host, of_one, of_two) in [
            ("hub-1.example", Some("hub-1.example"), Some("hub-1.example")),
            ("HUB-1.example:8443", Some("hub-1.example"), Some("hub-1.example")),
            ("localhost:443", Some("hub-1.example"), Some("localhost")),
            ("[::1]:8443", Some("hub-1.example"), None),
            ("emulator", Some("hub-1.example"), None),
            ("dps.example", None, None),
            ("evil.example", None, None),
            ("hub-1.example.evil.example", None, None),
        ] {
            let headers = headers(host, None);
            let hub = |access: &Access| access.hub(&headers).map(|it| it.hub.to_owned());
            assert_eq!(hub(&one).ok().as_deref(), of_one, "{host}");
            assert_eq!(hub(&two).ok().as_deref(), of_two, "{host}");
        }
    }

    #[test]
    fn a_token_for_a_hub_is_valid_under_each_of_its_names() {
        let keys = KeyPair::generate().expect("keys");
        let access = Access::new(&[], &["hub.example".to_owned()], &[]);
        for (host, resource, ok) in [
            ("hub.example", "hub.example", true),
            ("hub.example", "HUB.example", true),
            ("hub.example:8443", "hub.example", true),
            ("hub.example:8443", "hub.example:8443", true),
            ("localhost:8443", "hub.example", true),
            ("localhost:8443", "localhost", true),
            ("localhost:8443", "localhost:8443", true),
            ("hub.example", "hub.example/devices", true),
            ("hub.example", "hub.example/devices/a#b", true),
            ("hub.example", "hub.example/twins", false),
            ("hub.example", "hub", false),
            ("hub.example", "localhost", false),
        ] {
            let headers = headers(host, None);
            let token = SasToken::sign(&keys.primary, resource, NOW, Some("iothubowner"));
            let hub = access.hub(&headers).expect("ours");
            let checked = hub.check(&token, Some(&keys), "/devices/a%23b", NOW);
            assert_eq!(checked.is_ok(), ok, "{host} {resource}");
        }
    }

    #[test]
    fn the_global_name_is_never_in_a_connection_string() {
        let hosts = ["global.azure-devices-provisioning.net".to_owned()];
        assert_eq!(Access::new(&hosts, &[], &[]).name, "localhost");
    }
}
