//! Protects the admin port from web pages of other origins. All rules of this protection are in this module.
//!
//! A page of another origin can reach this port in two ways.
//!
//! First, the page can let its own host name resolve to this machine (DNS rebinding). `Host` then contains this host
//! name.
//!
//! Second, the page can send requests without reading the responses. The header `Origin` or `Sec-Fetch-Site` then shows
//! that the page has another origin. Programs that are not browsers usually send neither of these headers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, ORIGIN, TRANSFER_ENCODING};
use hyper::http::request::Parts;

use crate::doors::http::is_json;

/// The names that the admin port answers to.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Allowed names besides `localhost` and loopback addresses, in lower case.
    names: BTreeSet<String>,
    /// Addresses of the listeners.
    addresses: BTreeSet<IpAddr>,
}

/// Why the guard refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// `Host` does not name the admin port, or is absent, or occurs more than once.
    Host,
    /// The request comes from a page of another origin.
    Origin,
    /// The content type of the body is not JSON.
    ContentType,
}

impl Blocked {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Host | Self::Origin => 403,
            Self::ContentType => 415,
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "The Host header does not name this emulator. Use localhost, or allow the name with \
                 --allow-host NAME or Builder::allow_host."
            }
            Self::Origin => "Pages of other origins may not use this address.",
            Self::ContentType => "The content type must be application/json.",
        }
    }
}

impl Guard {
    pub(crate) fn new(allowed: &[String], listening: &[SocketAddr]) -> Self {
        let names = allowed.iter().map(|it| it.to_ascii_lowercase()).collect();
        // An attacker can let a host name resolve to this machine, but cannot do this with an address. A request with
        // one of the emulator's addresses in `Host` is therefore safe from DNS rebinding.
        let addresses = listening.iter().map(SocketAddr::ip).filter(|it| !it.is_unspecified()).collect();
        Self { names, addresses }
    }

    /// Checks the headers of a request. `page` is true if the request is for a file of the portal. A browser may send
    /// such a request because the user follows a link from another site, so that is allowed.
    pub(super) fn check(&self, head: &Parts, page: bool) -> Result<(), Blocked> {
        let host = single(&head.headers, HOST.as_str()).ok_or(Blocked::Host)?;
        if !self.knows(host) {
            return Err(Blocked::Host);
        }
        check_origin(head, host, page)?;
        let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && has_body(&head.headers) && !is_json(&head.headers) {
            return Err(Blocked::ContentType);
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.eq_ignore_ascii_case("localhost")
            || self.names.contains(&name.to_ascii_lowercase())
            || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback() || self.addresses.contains(&it))
    }
}

/// Checks that a request does not come from a page of another origin.
///
/// Source: the WHATWG's Fetch standard, for `Origin`: a page that hides its origin sends `null`. The W3C's Fetch
/// Metadata, for `Sec-Fetch-Site`: a page from another port of this machine is `same-site`.
fn check_origin(head: &Parts, host: &str, page: bool) -> Result<(), Blocked> {
    if head.headers.contains_key(ORIGIN) {
        let origin = single(&head.headers, ORIGIN.as_str()).unwrap_or_default();
        // A proxy that adds TLS in front of this port may keep `Host` unchanged. The scheme of `Origin` is then
        // `https`, so both schemes are allowed.
        let ours = ["http://", "https://"].iter().any(|scheme| {
            origin.get(..scheme.len()) == Some(*scheme) && origin[scheme.len()..].eq_ignore_ascii_case(host)
        });
        if !ours {
            return Err(Blocked::Origin);
        }
    }
    match single(&head.headers, "sec-fetch-site") {
        None if head.headers.contains_key("sec-fetch-site") => Err(Blocked::Origin),
        None | Some("same-origin" | "none") => Ok(()),
        // A user may follow a link from another site to the portal, but another site may not show the portal in a
        // frame.
        Some(_) if page && is_navigation(head) => Ok(()),
        Some(_) => Err(Blocked::Origin),
    }
}

fn is_navigation(head: &Parts) -> bool {
    let is = |name, value| single(&head.headers, name) == Some(value);
    head.method == Method::GET && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|it| it != "0")
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

    fn check(guard: &Guard, method: &str, page: bool, headers: &[(&str, &str)]) -> Option<Blocked> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(&request.body(()).expect("a request").into_parts().0, page).err()
    }

    #[test]
    fn local_and_allowed_names_are_accepted() {
        let listening = ["192.168.1.7:80".parse().expect("an address"), "0.0.0.0:80".parse().expect("an address")];
        let guard = Guard::new(&["Emulator".into(), "192.168.1.9".into()], &listening);
        for (hosts, known) in [
            (&["localhost"][..], true),
            (&["LOCALHOST:8080"], true),
            (&["127.0.0.1:1"], true),
            (&["127.1.2.3"], true),
            (&["[::1]"], true),
            (&["[::1]:8080"], true),
            (&["emulator:8480"], true),
            (&["192.168.1.7"], true),
            (&["192.168.1.9:8480"], true),
            (&["0.0.0.0"], false),
            (&["192.168.1.8"], false),
            (&["evil.example"], false),
            (&["localhost.evil.example"], false),
            (&["emulator.evil.example"], false),
            (&["localhost@evil.example"], false),
            (&["[::2]"], false),
            (&["[::1"], false),
            (&[""], false),
            (&[], false),
            (&["localhost", "evil.example"], false),
            (&["localhost", "localhost"], false),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|it| ("host", *it)).collect();
            assert_eq!(check(&guard, "GET", false, &hosts), (!known).then_some(Blocked::Host), "{hosts:?}");
        }
        let open = Guard::new(&[], &[]);
        assert_eq!(check(&open, "GET", false, &[("host", "192.168.1.7")]), Some(Blocked::Host));
    }

    #[test]
    fn pages_of_other_origins_are_refused_for_every_method() {
        let guard = Guard::new(&[], &[]);
        let host = ("host", "localhost:8480");
        for (headers, ok) in [
            (&[][..], true),
            (&[("origin", "http://localhost:8480")], true),
            (&[("origin", "https://LOCALHOST:8480")], true),
            (&[("origin", "http://localhost:8480"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "http://localhost")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "http://127.0.0.1:8480")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "http://localhost:8480.evil.example")], false),
            (&[("origin", "ftp://localhost:8480")], false),
            (&[("origin", "localhost:8480")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://localhost:8480"), ("origin", "http://evil.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://localhost:8480"), ("sec-fetch-site", "cross-site")], false),
            // A link to something other than the page.
            (
                &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                false,
            ),
        ] {
            let headers: Vec<_> = headers.iter().copied().chain([host]).collect();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let refused = check(&guard, method, false, &headers);
                assert_eq!(refused, (!ok).then_some(Blocked::Origin), "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn other_sites_may_link_to_the_page_only() {
        let guard = Guard::new(&[], &[]);
        let link = |dest| {
            [
                ("host", "localhost"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", dest),
            ]
        };
        assert_eq!(check(&guard, "GET", true, &link("document")), None);
        for (method, dest) in [("GET", "iframe"), ("POST", "document"), ("GET", "script")] {
            assert_eq!(check(&guard, method, true, &link(dest)), Some(Blocked::Origin), "{method} {dest}");
        }
    }

    #[test]
    fn a_body_must_be_json() {
        let guard = Guard::new(&[], &[]);
        for (content, ok) in [
            (&[("content-length", "2"), ("content-type", "application/json")][..], true),
            (&[("content-length", "2"), ("content-type", "Application/JSON; charset=utf-8")], true),
            (&[("transfer-encoding", "chunked"), ("content-type", "application/json")], true),
            (&[], true),
            (&[("content-length", "0")], true),
            (&[("content-length", "2")], false),
            (&[("transfer-encoding", "chunked")], false),
            (&[("content-length", "2"), ("content-type", "text/plain")], false),
            (&[("content-length", "2"), ("content-type", "application/x-www-form-urlencoded")], false),
        ] {
            let headers: Vec<_> = content.iter().copied().chain([("host", "localhost")]).collect();
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                let refused = check(&guard, method, false, &headers);
                assert_eq!(refused, (!ok).then_some(Blocked::ContentType), "{method} {headers:?}");
            }
        }
    }
}
