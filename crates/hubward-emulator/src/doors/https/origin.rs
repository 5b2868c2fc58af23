//! Protects the HTTPS port from web pages of other origins. The port allows programs that are not browsers. It also
//! allows pages whose origin is the name in the `Host` header.
//!
//! A page of another origin can reach this port in two ways.
//!
//! First, the page can let its own host name resolve to this machine (DNS rebinding). `Host` then contains this host
//! name.
//!
//! Second, the page can send requests without reading the responses. The header `Origin` or `Sec-Fetch-Site` then shows
//! that the page has another origin.
//!
//! A request also needs a token, so this check is a second line of defence.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;

use crate::services::access::Access;
use crate::services::dps::Refusal;

const SITE: &str = "sec-fetch-site";

/// Checks `Host`, `Origin` and `Sec-Fetch-Site` before the emulator processes a request. Returns one of these refusals:
///
/// * 400: the request does not have exactly one `Host`.
/// * 421: `Host` does not name this emulator.
/// * 403: the request comes from a page of another origin.
///
/// A browser's preflight request (`OPTIONS` with `Origin`) gets the same checks. The response never contains an
/// `Access-Control` header.
///
/// Source: RFC 9110, sections 7.2 and 15.5.20; the WHATWG's Fetch standard (`Origin`); the W3C's Fetch Metadata
/// (`Sec-Fetch-Site`). `[sdk]` Python's paho-mqtt over WebSocket sends an `Origin` with the name that it connects to.
pub(super) fn check(access: &Access, head: &Parts) -> Result<(), Refusal> {
    let headers = &head.headers;
    let Some(host) = single(headers, HOST.as_str()) else {
        return Err(Refusal::generic(400, "The request must have one Host header."));
    };
    if !access.is_ours(name_of(host)) {
        return Err(Refusal::generic(421, "The Host header does not name this emulator."));
    }
    let from_here = match single(headers, ORIGIN.as_str()) {
        None => !headers.contains_key(ORIGIN),
        Some(origin) => origin.strip_prefix("https://").is_some_and(|it| is_same(it, host)),
    };
    let site = match single(headers, SITE) {
        None => !headers.contains_key(SITE),
        Some(site) => matches!(site, "same-origin" | "none"),
    };
    if from_here && site {
        Ok(())
    } else {
        Err(Refusal::generic(403, "Pages of other origins may not use this address."))
    }
}

/// Returns whether two names are the same. Each name may end with a port. A name without a port has port 443, because
/// clients often omit the default port.
fn is_same(one: &str, other: &str) -> bool {
    let usual = |it: &'_ str| it.strip_suffix(":443").unwrap_or(it).to_ascii_lowercase();
    usual(one) == usual(other)
}

/// The name in a `Host` header, without the port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// The text of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn pages_of_other_origins_are_refused_for_every_method() {
        let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let access = Access::new(&owned(&["global.example", "dps.local"]), &owned(&["hub.local"]), &owned(&["box"]));
        for (headers, status) in [
            (&[("host", "localhost")][..], 200),
            (&[("host", "LOCALHOST:8443")], 200),
            (&[("host", "[::1]:8443")], 200),
            (&[("host", "127.0.0.1")], 200),
            (&[("host", "global.example")], 200),
            (&[("host", "dps.local:443")], 200),
            (&[("host", "hub.local")], 200),
            (&[("host", "box:1")], 200),
            (&[], 400),
            (&[("host", "localhost"), ("host", "evil.example")], 400),
            (&[("host", "evil.example")], 421),
            (&[("host", "localhost.evil.example")], 421),
            (&[("host", "hub.local@evil.example")], 421),
            (&[("host", "192.168.1.1")], 421),
            (&[("host", "")], 421),
            (&[("host", "hub.local"), ("origin", "https://hub.local")], 200),
            (&[("host", "hub.local"), ("origin", "https://HUB.local:443")], 200),
            (&[("host", "localhost:8443"), ("origin", "https://localhost:8443"), (SITE, "same-origin")], 200),
            (&[("host", "localhost"), (SITE, "none")], 200),
            (&[("host", "hub.local"), ("origin", "https://evil.example")], 403),
            (&[("host", "hub.local"), ("origin", "https://hub.local.evil.example")], 403),
            (&[("host", "hub.local"), ("origin", "https://hub.local@evil.example")], 403),
            (&[("host", "localhost:8443"), ("origin", "https://localhost:3000")], 403),
            (&[("host", "localhost:8443"), ("origin", "http://localhost:8443")], 403),
            (&[("host", "localhost:8443"), ("origin", "https://localhost")], 403),
            (&[("host", "hub.local"), ("origin", "http://hub.local")], 403),
            (&[("host", "hub.local:443"), ("origin", "https://hub.local")], 200),
            (&[("host", "hub.local"), ("origin", "null")], 403),
            (&[("host", "hub.local"), ("origin", "")], 403),
            (&[("host", "hub.local"), ("origin", "hub.local")], 403),
            (&[("host", "hub.local"), ("origin", "https://hub.local"), ("origin", "https://evil.example")], 403),
            (&[("host", "localhost"), (SITE, "cross-site")], 403),
            (&[("host", "localhost"), (SITE, "same-site")], 403),
            (&[("host", "localhost"), ("origin", "https://localhost"), (SITE, "cross-site")], 403),
            (&[("host", "localhost"), (SITE, "none"), (SITE, "cross-site")], 403),
        ] {
            for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
                let mut request = Request::builder().method(method);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let (head, ()) = request.body(()).expect("a request").into_parts();
                let got = check(&access, &head).map_or_else(|it| it.status, |()| 200);
                assert_eq!(got, status, "{method} {headers:?}");
            }
        }
    }
}
