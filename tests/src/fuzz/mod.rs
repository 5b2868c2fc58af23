//! The functions of the fuzz targets. There is one function for each parser that reads data from the network,
//! and for each file that a device reads at its start.
//!
//! Each function takes bytes. It returns `true` if a parser accepts the bytes. It panics if a parser does not behave as
//! documented, for example if encoding and parsing a value again gives another value.
//!
//! libFuzzer runs the functions in `fuzz/`. Every test run calls the functions with the committed corpora.

mod bodies;
mod certificates;
mod credentials;
mod device_files;
mod packets;
mod requests;
mod topics;
mod websocket;

/// A fuzz target: its name and its function. Its corpus and its program in `fuzz/` have the same name.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets.
pub const TARGETS: [Target; 17] = [
    ("assignment_caches", device_files::assignment_caches),
    ("bodies", bodies::bodies),
    ("certificate_requests", certificates::certificate_requests),
    ("certificate_stores", device_files::certificate_stores),
    ("certificates", certificates::certificates),
    ("client_packets", packets::client_packets),
    ("credentials", credentials::credentials),
    ("emulator_packets", packets::emulator_packets),
    ("page_headers", requests::page_headers),
    ("private_keys", certificates::private_keys),
    ("property_bags", topics::property_bags),
    ("queries", requests::queries),
    ("retry_after", credentials::retry_after),
    ("service_bodies", bodies::service_bodies),
    ("topics", topics::topics),
    ("user_names", topics::user_names),
    ("websocket", websocket::websocket),
];

/// Runs a target.
///
/// # Panics
/// If no target has this name, or a promise is broken.
#[must_use]
pub fn run(name: &str, bytes: &[u8]) -> bool {
    let (_, body) = TARGETS.iter().find(|(it, _)| *it == name).expect("a fuzz target");
    body(bytes)
}

/// Returns the bytes as text. Text parsers read only UTF-8, so other bytes give `None`.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
