//! The portal at `GET /` of the admin port. It is a single page. Its files are compiled into the program.

use hyper::Method;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use crate::doors::http::{Pace, Paced, Reply, reply, value};
use crate::services::cloud::Cloud;

/// Headers of the portal's files. They have three effects:
///
/// * The page loads and runs only files of this port.
/// * Other sites cannot show the page in a frame.
/// * The page cannot parse text as markup.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    // Makes the browser request the page again instead of using a cached copy. After an update of the emulator, the
    // user therefore sees the new page.
    (CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../portal/", $name)))),*]
    };
}

const FILES: [(&str, &str); 36] = files![
    "index.html" "portal.css" "icon.svg"
    "app.js" "api.js" "live.js" "dom.js" "dialog.js" "editor.js" "route.js" "format.js" "json.js" "lines.js"
    "quickstart.js" "enrollments.js" "enroll.js" "certificates.js" "pem.js" "devices.js" "device.js" "twin.js" "act.js"
    "telemetry.js" "stream.js" "plot.js" "chart.js" "scale.js" "faults.js" "fault_words.js" "activity.js" "sentence.js"
    "overview.js" "simulated.js" "query.js" "connect.js" "missing.js"
];

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    content_type: &'static str,
    content: &'static str,
}

impl File {
    /// Returns the file of the portal at a path of the admin port; `None` if there is no such file.
    pub(super) fn at(path: &str) -> Option<Self> {
        let name = match path {
            "/" => "index.html",
            _ => path.strip_prefix("/portal/").filter(|it| *it != "index.html")?,
        };
        let (_, content) = FILES.iter().find(|(it, _)| *it == name)?;
        let content_type = match name.rsplit_once('.')?.1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        Some(Self { content_type, content })
    }

    /// The response to a request for this file.
    pub(super) fn reply(self, cloud: &Cloud, method: &Method) -> Reply {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let body = Paced::new("Only GET and HEAD are allowed here.\n", Pace::AtOnce);
            let mut reply = reply(&cloud.clock, 405, "text/plain; charset=utf-8", body);
            reply.headers_mut().insert(ALLOW, value("GET, HEAD"));
            return reply;
        }
        // hyper leaves the body out for HEAD.
        let mut reply = reply(&cloud.clock, 200, self.content_type, Paced::new(self.content, Pace::AtOnce));
        for (name, value) in HEADERS {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_its_path_only() {
        for (path, content_type) in [
            ("/", Some("text/html; charset=utf-8")),
            ("/portal/portal.css", Some("text/css; charset=utf-8")),
            ("/portal/app.js", Some("text/javascript; charset=utf-8")),
            ("/portal/icon.svg", Some("image/svg+xml")),
            ("/portal/index.html", None),
            ("/portal/", None),
            ("/portal/../app.js", None),
            ("/index.html", None),
            ("/app.js", None),
            ("", None),
        ] {
            assert_eq!(File::at(path).map(|it| it.content_type), content_type, "{path}");
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_served_from_this_port() {
        let names = |text: &'static str, before: &str| -> Vec<&'static str> {
            text.split(before).skip(1).filter_map(|it| it.split('"').next()).collect()
        };
        for (name, content) in FILES {
            let imports = names(content, "from \"./").into_iter().map(|it| format!("/portal/{it}"));
            let linked = names(content, "href=\"/").into_iter().chain(names(content, "src=\"/"));
            for path in imports.chain(linked.map(|it| format!("/{it}"))) {
                assert!(path == "/ca.pem" || File::at(&path).is_some(), "{name} names {path}");
            }
            let elsewhere = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("src=\"http") && !elsewhere.contains("url("), "{name}");
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!content.contains(sink), "{name} has {sink}");
            }
        }
        let index = File::at("/").expect("it is there").content;
        assert!(index.contains("src=\"/portal/app.js\"") && !index.contains("style="), "{index}");
    }
}
