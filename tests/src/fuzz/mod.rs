//! The bodies of the fuzz targets, one function for each parser that reads from the network.
//!
//! Each function takes bytes, panics if a promise is broken, and returns whether a parser accepted them. They run under
//! libFuzzer in `fuzz/`, and on the committed corpora in every test run.

mod bodies;
mod credentials;
mod packets;
mod requests;
mod topics;
mod websocket;

/// A target: its name, which is also the name of its corpus and its program in `fuzz/`, and its body.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("bodies", bodies::bodies),
    ("client_packets", packets::client_packets),
    ("credentials", credentials::credentials),
    ("emulator_packets", packets::emulator_packets),
    ("page_headers", requests::page_headers),
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

/// The bytes as UTF-8. Parsers of text accept only UTF-8.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
