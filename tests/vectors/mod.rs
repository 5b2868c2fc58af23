//! Compares our encoders and parsers with wire examples that we made with Microsoft's Python and Node SDKs (see
//! `README.md`). So the expected texts do not come from our own code.
//!
//! `accounted.json` lists every vector. For each vector, it says which sides of hubward (client, emulator or both) the
//! tests must check. One test compares this list with the sides that are really checked. If a vector is not in the
//! list, `cargo xtask tidy` fails.

mod credentials;
mod dps;
mod hub;
mod sas;
mod wire;
mod x509;
mod x509_matching;
mod x509_traces;

use std::collections::BTreeMap;

use serde_json::Value;

/// One entry of `vectors.json`.
#[derive(Debug, serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    inputs: Value,
    results: Vec<SdkResult>,
}

/// The result of one SDK.
#[derive(Debug, serde::Deserialize)]
struct SdkResult {
    sdk: String,
    output: Value,
}

/// The sides that a test checked. `client` is the device side, and `emulator` is the service side.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sides {
    client: bool,
    emulator: bool,
}

impl Vector {
    /// Returns a text of the inputs. Returns `None` if the input is `null` or absent.
    fn optional(&self, name: &str) -> Option<&str> {
        self.inputs[name].as_str()
    }

    /// A text of the inputs.
    fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_else(|| panic!("{}: no input {name}", self.id))
    }

    /// A number of the inputs.
    fn number(&self, name: &str) -> u64 {
        self.inputs[name].as_u64().unwrap_or_else(|| panic!("{}: no input {name}", self.id))
    }

    /// The result of the Python SDK.
    fn python(&self) -> Option<&Value> {
        self.results.iter().find(|it| it.sdk.starts_with("python")).map(|it| &it.output)
    }

    /// The result of the Node SDK.
    fn node(&self) -> Option<&Value> {
        self.results.iter().find(|it| it.sdk.starts_with("node")).map(|it| &it.output)
    }
}

/// Checks one vector. Returns the sides that it checked. If no function handles the vector's kind, returns no side.
fn check(vector: &Vector) -> Sides {
    match vector.kind.as_str() {
        "sas_hub_device" => sas::hub_device(vector),
        "sas_dps_device" => sas::dps_device(vector),
        "sas_service" => sas::service(vector),
        "sas_raw_uri" => sas::raw_uri(vector),
        "sas_service_raw_uri" => sas::service_raw_uri(vector),
        "sas_parse" => sas::parse(vector),
        "derived_key" => sas::derived_key(vector),
        "dps_flow" => dps::flow(vector),
        "dps_timing" => dps::timing(vector),
        "dps_response_topic" => dps::response_topic(vector),
        "hub_connect" => hub::connect(vector),
        "telemetry_topic" => hub::telemetry_topic(vector),
        "decode_topic" => hub::decode_topic(vector),
        "hub_topics" => hub::topics(vector),
        "connection_string" => sas::connection_string(vector),
        _ => Sides::default(),
    }
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("vectors.json")).expect("vectors.json is JSON");
    assert_eq!(file["format"], 1, "these tests read format 1");
    serde_json::from_value(file["vectors"].clone()).expect("vectors of the known form")
}

/// Checks all vectors of one kind. Fails if the number of these vectors is not `count`.
fn check_kind(kind: &str, count: usize) {
    let vectors = vectors();
    let of_kind: Vec<&Vector> = vectors.iter().filter(|it| it.kind == kind).collect();
    assert_eq!(of_kind.len(), count, "vectors of kind {kind}");
    for vector in of_kind {
        assert_ne!(check(vector), Sides::default(), "{}: no side was checked", vector.id);
    }
}

/// The sides that a file such as `accounted.json` lists for each id.
fn listed_sides(file: &Value) -> BTreeMap<&str, Sides> {
    let entries = file.as_object().expect("an object of ids").iter();
    let sides = |id: &str, entry: &Value| match entry["tested"].as_str() {
        Some("client") => Sides { client: true, emulator: false },
        Some("emulator") => Sides { client: false, emulator: true },
        Some("both") => Sides { client: true, emulator: true },
        None => Sides::default(),
        Some(other) => panic!("{id}: expected client, emulator or both, found `{other}`"),
    };
    entries.map(|(id, entry)| (id.as_str(), sides(id, entry))).collect()
}

/// Defines one test for each kind of vector. So the name of a failed test shows the kind.
macro_rules! kinds {
    ($($kind:ident: $count:literal,)+) => {
        $(#[test]
        fn $kind() {
            check_kind(stringify!($kind), $count);
        })+
    };
}

kinds! {
    sas_hub_device: 7,
    sas_dps_device: 4,
    sas_service: 3,
    sas_raw_uri: 14,
    sas_service_raw_uri: 13,
    sas_parse: 6,
    derived_key: 9,
    dps_flow: 3,
    dps_timing: 1,
    dps_response_topic: 4,
    hub_connect: 6,
    telemetry_topic: 18,
    decode_topic: 7,
    hub_topics: 2,
    connection_string: 15,
}

#[test]
fn every_vector_is_handled_on_the_sides_it_is_listed_for() {
    let file: Value = serde_json::from_str(include_str!("accounted.json")).expect("accounted.json is JSON");
    let listed = listed_sides(&file);
    let vectors = vectors();
    let handled: BTreeMap<&str, Sides> = vectors.iter().map(|it| (it.id.as_str(), check(it))).collect();
    assert_eq!(handled.len(), 112, "ids are unique");
    assert_eq!(listed, handled);
}
