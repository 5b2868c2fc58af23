//! Checks the imports between the layers of the emulator, which are called floors. The imports must match the table of
//! floors in this file, and this table must match `docs/architecture.md`.
//!
//! A floor imports only from the floors below it.
//!
//! A door is the front end for a protocol. The floors `services` and `state` do not use the network, so they do not
//! change if the emulator gets a new door.

use super::File;
use super::imports::{imports, module_of};
use super::tokens::{Kind, tokens};

const FOLDER: &str = "crates/hubward-emulator/src/";

const FLOORS: [Floor; 5] = [
    Floor {
        name: "handle",
        text: "handle → doors, services, state",
        below: &["doors", "services", "state"],
        knows_network: true,
    },
    Floor { name: "doors", text: "doors → services, state", below: &["services", "state"], knows_network: true },
    Floor { name: "services", text: "services → state", below: &["state"], knows_network: false },
    Floor { name: "state", text: "state → nothing of the emulator", below: &[], knows_network: false },
    Floor { name: "fuzzing", text: "fuzzing → doors, services", below: &["doors", "services"], knows_network: true },
];

/// Crates and modules that use the network.
const NETWORK: [&[&str]; 7] = [
    &["hyper"],
    &["hyper_util"],
    &["rustls"],
    &["tokio_rustls"],
    &["hubward_ws"],
    &["tokio", "net"],
    &["std", "net", "TcpStream"],
];

/// One line of the table.
struct Floor {
    name: &'static str,
    /// The exact text of the line in the document.
    text: &'static str,
    below: &'static [&'static str],
    /// Whether the floor may use sockets, TLS, HTTP servers and packets.
    knows_network: bool,
}

/// Checks the files of the emulator.
pub(super) fn check(files: &[File], architecture: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for floor in FLOORS.iter().filter(|it| !architecture.contains(it.text)) {
        findings.push(format!(
            "docs/architecture.md does not contain `{}`; make it match the table in xtask/src/tidy/floors.rs",
            floor.text
        ));
    }
    let files: Vec<&File> = files.iter().filter(|it| it.path.starts_with(FOLDER)).collect();
    if files.is_empty() {
        findings.push(format!("found no files in {FOLDER}; correct the folder in xtask/src/tidy/floors.rs"));
    }
    let floor = |module: &str| {
        let top = module.split("::").next().unwrap_or_default();
        FLOORS.iter().find(|it| it.name == top)
    };
    for file in &files {
        match module_of(&file.path).as_deref() {
            None | Some("") => {}
            Some(module) => match floor(module) {
                None => findings.push(format!(
                    "{} is on no floor; move it into one, or add a floor to docs/architecture.md and to \
                     xtask/src/tidy/floors.rs",
                    file.path
                )),
                Some(floor) if !floor.knows_network => findings.extend(network(file, floor.name)),
                Some(_) => {}
            },
        }
    }
    for import in imports(&files) {
        // Skip the imports of the root module: it is on no floor, and it re-exports the public items.
        //
        // The root module re-exports items, and other modules may import an item through such a re-export. Then
        // `target` is not in the root module: it is the path of the item in the module that owns it.
        let Some(from) = floor(&import.module) else { continue };
        let allowed = floor(&import.target).is_some_and(|it| it.name == from.name || from.below.contains(&it.name));
        if !allowed {
            findings.push(format!(
                "{}:{}: the floor `{}` imports `{}`, but the table allows only `{}`; move what it needs to a floor \
                 below",
                import.file, import.line, from.name, import.target, from.text
            ));
        }
    }
    findings
}

/// Finds the paths in `file` whose first segments are an entry of [`NETWORK`]. Returns one finding, as a sentence, for
/// each path.
fn network(file: &File, floor: &str) -> Vec<String> {
    let tokens = tokens(&file.text);
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_inside = at > 0 && tokens[at - 1].kind == Kind::PathSeparator;
        let path: Vec<&str> = tokens[at..]
            .iter()
            .step_by(2)
            .map_while(|it| match it.kind {
                Kind::Word(word) => Some(word),
                _ => None,
            })
            .take(3)
            .collect();
        let has_separator = tokens.get(at + 1).is_some_and(|it| it.kind == Kind::PathSeparator);
        if !is_inside && has_separator && NETWORK.iter().any(|it| path.starts_with(it)) {
            findings.push(format!(
                "{}:{}: the floor `{floor}` uses `{}`, but this floor must not use the network; use it in `doors`",
                file.path,
                token.line,
                path.join("::")
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings for files that all belong to the emulator.
    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: format!("{FOLDER}{path}"), text: (*text).to_owned() };
        check(&files.iter().map(file).collect::<Vec<_>>(), &document())
    }

    fn document() -> String {
        FLOORS.map(|it| it.text).join("\n")
    }

    #[test]
    fn finds_an_import_that_points_up() {
        let found = findings(&[
            ("lib.rs", "mod doors; mod services; mod state;"),
            ("services/hub.rs", "\nuse crate::doors::mqtt::Packet;"),
            ("doors/mqtt.rs", "pub(crate) struct Packet;"),
        ]);
        let expected = "crates/hubward-emulator/src/services/hub.rs:2: the floor `services` imports \
                        `doors::mqtt::Packet`, but the table allows only `services → state`; move what it needs to a \
                        floor below";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn finds_each_way_up_and_none_down() {
        for (file, text, count) in [
            ("handle/a.rs", "use crate::{doors::x::X, services::y::Y, state::z::Z};", 0),
            ("doors/a.rs", "use crate::{services::y::Y, state::z::Z};", 0),
            ("doors/a.rs", "use super::super::handle::w::W;", 1),
            ("services/a.rs", "use crate::state::z::Z;", 0),
            ("services/a.rs", "fn f() { crate::handle::w::f() }", 1),
            ("state/a.rs", "use crate::services::y::Y; use crate::doors::x::X;", 2),
            ("state/a.rs", "#[cfg(test)]\nmod tests { use crate::services::y::Y; }", 0),
            // The import names the root of the crate. The check follows the re-export there to the floor `handle`.
            ("state/a.rs", "use crate::W;", 1),
        ] {
            let others = [
                ("lib.rs", "pub use handle::w::W;"),
                ("handle/w.rs", "pub struct W; pub(crate) fn f() {}"),
                ("doors/x.rs", ""),
                ("services/y.rs", ""),
                ("state/z.rs", ""),
            ];
            let files: Vec<_> = others.into_iter().chain([(file, text)]).collect();
            let found = findings(&files);
            assert_eq!(found.len(), count, "{file} {text}: {found:?}");
        }
    }

    #[test]
    fn finds_the_network_below_the_doors() {
        for (file, text, count) in [
            ("services/a.rs", "use hyper::Request;", 1),
            ("services/a.rs", "use http::HeaderMap; use std::net::SocketAddr; // hyper::Request", 0),
            ("state/a.rs", "fn f(s: tokio::net::TcpStream) {}", 1),
            ("state/a.rs", "use tokio::sync::watch;", 0),
            ("doors/a.rs", "use hyper::Request;", 0),
        ] {
            let found = findings(&[(file, text)]);
            assert_eq!(found.len(), count, "{file} {text}: {found:?}");
        }
    }

    #[test]
    fn finds_a_file_on_no_floor_and_a_line_that_the_document_lacks() {
        let found = findings(&[("basement.rs", "")]);
        assert!(found.len() == 1 && found[0].contains("basement.rs is on no floor"), "{found:?}");
        let file = File { path: format!("{FOLDER}lib.rs"), text: String::new() };
        let found = check(&[file], &document().replace("services → state", "services → doors"));
        assert!(found.iter().any(|it| it.contains("does not contain `services → state`")), "{found:?}");
    }
}
