//! Whether a caller of a service API may do so: a SAS token of a policy, under a name that is ours.

use std::collections::BTreeSet;

use hubward_sas::{SasToken, SharedKey};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};

use crate::clock::Clock;

/// The one policy of the emulated DPS; it may do everything.
///
/// Source: `[doc]` iot-dps/how-to-control-access.md, the policy of a new DPS.
pub(crate) const DPS_POLICY: &str = "provisioningserviceowner";

/// Who may use the service API of DPS, and under which names it answers.
#[derive(Debug)]
pub(crate) struct Access {
    /// In lower case, without ports.
    names: BTreeSet<String>,
    /// The name for connection strings.
    pub(crate) name: String,
    pub(crate) key: SharedKey,
}

impl Access {
    /// `dps_hosts` are the names of DPS, the global one first; `names` are further ones of the
    /// emulator.
    pub(crate) fn new(dps_hosts: &[String], names: &[String], key: SharedKey) -> Self {
        // The global name belongs to all of Azure, so nobody should send a service's calls there.
        let name = dps_hosts.get(1).map_or("localhost", String::as_str).to_owned();
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names = local.iter().chain(dps_hosts).chain(names).map(|it| it.to_ascii_lowercase()).collect();
        Self { names, name, key }
    }

    /// Checks a request for this path.
    ///
    /// Source: `[doc]` iot-dps/how-to-control-access.md.
    pub(super) fn check(&self, headers: &HeaderMap, path: &str, clock: &Clock) -> Result<(), Denied> {
        let host = self.host(headers)?;
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(text), None) = (values.next(), values.next()) else {
            return Err(Denied::Token("no Authorization header, or several"));
        };
        let Ok(text) = text.to_str() else { return Err(Denied::Token("the Authorization header is not text")) };
        if text.get(..7).is_some_and(|it| it.eq_ignore_ascii_case("Bearer ")) {
            return Err(Denied::Bearer);
        }
        let Ok(token) = SasToken::parse(text) else { return Err(Denied::Token("the SAS token cannot be read")) };
        if token.policy() != Some(DPS_POLICY) {
            return Err(Denied::Token("the token names no policy, or one other than `provisioningserviceowner`"));
        }
        if !token.is_signed_by(&self.key) {
            return Err(Denied::Token("bad signature"));
        }
        let mut ours = self.names.iter().map(String::as_str).chain([host]);
        if !ours.any(|name| token.covers(&format!("{name}{path}"))) {
            return Err(Denied::Token("the token is for another resource"));
        }
        if token.is_expired(clock.unix()) {
            return Err(Denied::Token("the token has expired"));
        }
        Ok(())
    }

    /// What the request calls us, port and all.
    fn host<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Denied> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|it| it.to_str().ok()), hosts.next()) else {
            return Err(Denied::NoHost);
        };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
            None => host.split(':').next().unwrap_or_default(),
        };
        if self.names.contains(&name.to_ascii_lowercase()) { Ok(host) } else { Err(Denied::ForeignHost) }
    }
}

/// Why a caller is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no `Host`, or several.
    NoHost,
    /// `Host` is a name that is not ours.
    ForeignHost,
    /// A Microsoft Entra token.
    Bearer,
    /// Why the token is refused. For the log: the service does not say.
    Token(&'static str),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hubward_sas::UnixSeconds;
    use hyper::header::HeaderValue;

    use super::*;

    fn denied(access: &Access, host: &str, authorization: Option<&str>) -> Option<Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect("a host"));
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(text).expect("a value"));
        }
        let clock = Clock::new(Duration::ZERO);
        access.check(&headers, "/enrollments/d1", &clock).err()
    }

    #[test]
    fn lets_in_who_has_a_token_of_the_policy() {
        let key = SharedKey::generate().expect("a key");
        let hosts = ["global.azure-devices-provisioning.net".to_owned(), "My-DPS.example".to_owned()];
        let access = Access::new(&hosts, &["emulator".to_owned()], key.clone());
        assert_eq!(access.name, "My-DPS.example");
        let until = UnixSeconds(u64::from(u32::MAX));
        let sign = |key: &SharedKey, resource: &str, until, policy| {
            SasToken::sign(key, resource, until, policy).expose().to_owned()
        };
        let good = |resource: &str| sign(&key, resource, until, Some(DPS_POLICY));
        let stranger = SharedKey::generate().expect("a key");
        let ours = "my-dps.example";
        let (resource, other) = ("the token is for another resource", "bad signature");
        let policy = "the token names no policy, or one other than `provisioningserviceowner`";
        for (host, token, expected) in [
            (ours, good(ours), None),
            ("MY-DPS.example:8443", good("My-DPS.example"), None),
            ("localhost:8443", good("localhost:8443"), None),
            ("[::1]:8443", good("[::1]:8443"), None),
            ("emulator", good("emulator"), None),
            (ours, good("my-dps.example/enrollments"), None),
            (ours, good("my-dps.example/enrollments/d2"), Some(Denied::Token(resource))),
            (ours, good("my-dps.example/enroll"), Some(Denied::Token(resource))),
            (ours, good("other.example"), Some(Denied::Token(resource))),
            (ours, sign(&stranger, ours, until, Some(DPS_POLICY)), Some(Denied::Token(other))),
            (ours, sign(&key, ours, until, Some("registration")), Some(Denied::Token(policy))),
            (ours, sign(&key, ours, until, None), Some(Denied::Token(policy))),
            (ours, sign(&key, ours, UnixSeconds(1), Some(DPS_POLICY)), Some(Denied::Token("the token has expired"))),
            (ours, "Bearer x".to_owned(), Some(Denied::Bearer)),
            (ours, "SharedAccessSignature sr=x".to_owned(), Some(Denied::Token("the SAS token cannot be read"))),
            ("evil.example", good("evil.example"), Some(Denied::ForeignHost)),
            ("my-dps.example.evil.example", good(ours), Some(Denied::ForeignHost)),
        ] {
            assert_eq!(denied(&access, host, Some(&token)), expected, "{host} {token}");
        }
        assert_eq!(denied(&access, ours, None), Some(Denied::Token("no Authorization header, or several")));
    }

    #[test]
    fn never_sends_a_services_calls_to_the_global_name() {
        let hosts = ["global.azure-devices-provisioning.net".to_owned()];
        assert_eq!(Access::new(&hosts, &[], SharedKey::generate().expect("a key")).name, "localhost");
    }
}
