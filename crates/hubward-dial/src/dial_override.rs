//! Rules of the form `HOST:PORT:ADDR:PORT`. For a connection to `HOST:PORT`, the dialer connects to `ADDR:PORT`
//! instead. The syntax and the meaning are those of curl's option `connect-to`.

use std::fmt;
use std::str::FromStr;

use crate::Endpoint;

/// A rule of the form `HOST:PORT:ADDR:PORT`: for a connection to `HOST:PORT`, the dialer connects to `ADDR:PORT`
/// instead. curl's option `connect-to` has the same form. Certificate checks, tokens and headers still use the original
/// host name.
///
/// In `HOST:PORT`, an empty host or port matches any host or port. In `ADDR:PORT`, an empty address or port keeps the
/// original. IPv6 addresses are in brackets.
///
/// ```
/// use hubward_dial::{DialOverride, Endpoint};
///
/// let rule: DialOverride = "localhost:443:127.0.0.1:8443".parse()?;
/// assert_eq!(rule.apply(&Endpoint::new("localhost", 443)), Some(Endpoint::new("127.0.0.1", 8443)));
/// assert_eq!(rule.apply(&Endpoint::new("localhost", 8883)), None);
/// # Ok::<(), hubward_dial::DialOverrideError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialOverride {
    host: Option<String>,
    port: Option<u16>,
    to_host: Option<String>,
    to_port: Option<u16>,
}

impl DialOverride {
    /// Returns the address to dial for `original`, or `None` if this override does not match `original`.
    #[must_use]
    pub fn apply(&self, original: &Endpoint) -> Option<Endpoint> {
        let host_matches = self.host.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(&original.host));
        let port_matches = self.port.is_none_or(|it| it == original.port);
        (host_matches && port_matches).then(|| Endpoint {
            host: self.to_host.clone().unwrap_or_else(|| original.host.clone()),
            port: self.to_port.unwrap_or(original.port),
        })
    }

    /// Returns the address to dial for `original`, from the first override that matches. If no override matches,
    /// returns `original`.
    #[must_use]
    pub fn resolve(overrides: &[Self], original: &Endpoint) -> Endpoint {
        Self::find(overrides, original).map_or_else(|| original.clone(), |(_, target)| target)
    }

    /// Returns the first override that matches, with the address to dial.
    pub(crate) fn find<'a>(overrides: &'a [Self], original: &Endpoint) -> Option<(&'a Self, Endpoint)> {
        overrides.iter().find_map(|it| Some((it, it.apply(original)?)))
    }

    /// Parses overrides separated by commas, the form used in an environment variable.
    ///
    /// # Errors
    /// [`DialOverrideError`] names the first invalid override.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, DialOverrideError> {
        text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::parse).collect()
    }
}

impl FromStr for DialOverride {
    type Err = DialOverrideError;

    fn from_str(text: &str) -> Result<Self, DialOverrideError> {
        let wrong = || DialOverrideError { text: text.to_owned() };
        let (host, rest) = take_host(text).ok_or_else(wrong)?;
        let (port, rest) = rest.split_once(':').ok_or_else(wrong)?;
        let (to_host, to_port) = take_host(rest).ok_or_else(wrong)?;
        let port_of = |it: &str| if it.is_empty() { Ok(None) } else { it.parse().map(Some).map_err(|_| wrong()) };
        let host_of = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        Ok(Self { host: host_of(host), port: port_of(port)?, to_host: host_of(to_host), to_port: port_of(to_port)? })
    }
}

impl fmt::Display for DialOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |f: &mut fmt::Formatter<'_>, host: &Option<String>, port: Option<u16>| {
            match host.as_deref() {
                Some(host) if host.contains(':') => write!(f, "[{host}]:")?,
                host => write!(f, "{}:", host.unwrap_or_default())?,
            }
            port.map_or(Ok(()), |port| write!(f, "{port}"))
        };
        side(f, &self.host, self.port)?;
        f.write_str(":")?;
        side(f, &self.to_host, self.to_port)
    }
}

/// The text is not `HOST:PORT:ADDR:PORT`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not HOST:PORT:ADDR:PORT (each part may be empty; write IPv6 addresses in brackets)")]
pub struct DialOverrideError {
    text: String,
}

impl fmt::Debug for DialOverrideError {
    /// Writes the message. If `main` returns this error, Rust prints its `Debug`, so the user reads the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `text` at the colon after the host, and returns the host and the rest. The host may be in brackets.
fn take_host(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').and_then(|(host, rest)| Some((host, rest.strip_prefix(':')?))),
        None => text.split_once(':'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_rewrites_like_curl() {
        let original = Endpoint::new("hub.example", 8883);
        for (rule, expected) in [
            ("hub.example:8883:127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("HUB.example:8883:127.0.0.1:1", Some(("127.0.0.1", 1))),
            (":8883:127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("hub.example::127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("::127.0.0.1:", Some(("127.0.0.1", 8883))),
            ("hub.example:8883::1", Some(("hub.example", 1))),
            ("::[::1]:1", Some(("::1", 1))),
            ("[::1]:8883:127.0.0.1:1", None),
            ("hub.example:443:127.0.0.1:1", None),
            ("other.example:8883:127.0.0.1:1", None),
        ] {
            let parsed: DialOverride = rule.parse().expect(rule);
            assert_eq!(parsed.to_string(), rule);
            let expected = expected.map(|(host, port)| Endpoint::new(host, port));
            assert_eq!(parsed.apply(&original), expected, "{rule}");
        }
    }

    #[test]
    fn the_first_matching_rule_wins() {
        let rules = DialOverride::parse_list("a:1:b:2, a::c:3,").expect("rules");
        assert_eq!(DialOverride::resolve(&rules, &Endpoint::new("a", 1)), Endpoint::new("b", 2));
        assert_eq!(DialOverride::resolve(&rules, &Endpoint::new("a", 9)), Endpoint::new("c", 3));
        assert_eq!(DialOverride::resolve(&rules, &Endpoint::new("z", 9)), Endpoint::new("z", 9));
    }

    #[test]
    fn refuses_other_forms() {
        for text in ["", "a", "a:1", "a:1:b", "a:x:b:2", "a:1:b:99999", "[::1:1:b:2", "a:1:b:2:3"] {
            assert!(text.parse::<DialOverride>().is_err(), "{text}");
        }
    }
}
