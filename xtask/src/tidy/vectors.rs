//! Checks every wire vector: it must be tested, or deferred with a reason.

use std::collections::BTreeMap;

use serde_json::Value;

const SOURCES: [Source; 2] = [
    Source {
        vectors: "tests/vectors/vectors.json",
        accounted: "tests/vectors/accounted.json",
        total: 112,
        max_deferred: 24,
        deferrable: &["decode_topic", "hub_topics", "connection_string"],
        kinds,
    },
    Source {
        vectors: "tests/vectors/x509.json",
        accounted: "tests/vectors/x509_accounted.json",
        total: 56,
        max_deferred: 1,
        deferrable: &["cases"],
        kinds: x509_kinds,
    },
];

/// A file of vectors, and the file that says how each of them is tested.
struct Source {
    vectors: &'static str,
    accounted: &'static str,
    /// The number of vectors.
    total: usize,
    /// Maximum number of deferred vectors.
    max_deferred: usize,
    /// The kinds of vectors that may be deferred. Vectors of all other kinds must be tested.
    deferrable: &'static [&'static str],
    /// Returns the kind of each vector, by id.
    kinds: fn(&Value) -> Result<BTreeMap<String, String>, String>,
}

/// Compares each list of tested vectors with its vectors. `read` reads a file of the repository. Does not check whether
/// the tests check the listed sides: tests in `tests/vectors` do this.
pub(super) fn check<'a, E>(read: impl Fn(&str) -> Result<&'a str, E>) -> Result<Vec<String>, E> {
    let mut findings = Vec::new();
    for source in SOURCES {
        findings.extend(source.check(read(source.vectors)?, read(source.accounted)?));
    }
    Ok(findings)
}

impl Source {
    fn check(&self, vectors: &str, accounted: &str) -> Vec<String> {
        let vectors: Result<Value, _> = serde_json::from_str(vectors);
        let kinds = vectors.map_err(|error| format!("is not JSON ({error})")).and_then(|it| (self.kinds)(&it));
        match (kinds, serde_json::from_str(accounted)) {
            (Ok(kinds), Ok(Value::Object(listed))) => self.check_list(&kinds, listed.iter()),
            (Err(problem), _) => vec![format!("{} {problem}; restore it", self.vectors)],
            (_, Ok(_)) => vec![format!("{} is not a JSON object; map each vector id to an entry", self.accounted)],
            (_, Err(error)) => vec![format!("{} is not JSON ({error}); fix it", self.accounted)],
        }
    }

    fn check_list<'a>(
        &self,
        kinds: &BTreeMap<String, String>,
        listed: impl Iterator<Item = (&'a String, &'a Value)>,
    ) -> Vec<String> {
        let (accounted, total, most) = (self.accounted, self.total, self.max_deferred);
        let mut findings = Vec::new();
        let (mut handled, mut deferred) = (Vec::new(), 0);
        for (id, entry) in listed {
            let Some(kind) = kinds.get(id) else {
                findings.push(format!("{accounted} lists the vector {id}, which does not exist; remove it"));
                continue;
            };
            handled.push(id);
            match (entry["tested"].as_str(), entry["deferred"].as_str()) {
                (Some("client" | "emulator" | "both"), None) => {}
                (None, Some(reason)) => {
                    deferred += 1;
                    if reason.trim().is_empty() {
                        findings.push(format!("the vector {id} is deferred without a reason; give one"));
                    }
                    if !self.deferrable.contains(&kind.as_str()) {
                        findings.push(format!("the vector {id} of kind {kind} must not be deferred; test it"));
                    }
                }
                _ => findings.push(format!(
                    "the vector {id} needs either `tested` (client, emulator or both) or `deferred` with a reason"
                )),
            }
        }
        for id in kinds.keys().filter(|it| !handled.contains(it)) {
            findings.push(format!("the vector {id} is not listed; test it, or defer it in {accounted} with a reason"));
        }
        if kinds.len() != total {
            findings.push(format!("there are {} vectors instead of {total}; restore {}", kinds.len(), self.vectors));
        }
        if deferred > most {
            findings.push(format!("{deferred} vectors are deferred, but at most {most} may be; test some of them"));
        }
        findings
    }
}

fn kinds(file: &Value) -> Result<BTreeMap<String, String>, String> {
    let list = file["vectors"].as_array().ok_or("has no vectors")?;
    let mut kinds = BTreeMap::new();
    for vector in list {
        let (Some(id), Some(kind)) = (vector["id"].as_str(), vector["kind"].as_str()) else {
            return Err("has a vector without id or kind".to_owned());
        };
        if kinds.insert(id.to_owned(), kind.to_owned()).is_some() {
            return Err(format!("has the id {id} twice"));
        }
    }
    Ok(kinds)
}

/// The kind of an example is the name of its section. A section is an object, a list, or one example.
fn x509_kinds(file: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut kinds = BTreeMap::new();
    for (section, content) in file.as_object().ok_or("is not an object")? {
        let names: Vec<Option<&str>> = match content {
            _ if ["format", "about", "sdks"].contains(&section.as_str()) => continue,
            Value::Array(list) => list.iter().map(name_of_example).collect(),
            Value::Object(members) if members.values().any(Value::is_string) => {
                kinds.insert(section.clone(), section.clone());
                continue;
            }
            Value::Object(members) => members.keys().map(|it| Some(it.as_str())).collect(),
            _ => return Err(format!("has the unknown section {section}")),
        };
        for name in names {
            let id = format!("{section}/{}", name.ok_or("has an example without a name")?);
            if kinds.insert(id.clone(), section.clone()).is_some() {
                return Err(format!("has the id {id} twice"));
            }
        }
    }
    Ok(kinds)
}

fn name_of_example(example: &Value) -> Option<&str> {
    ["id", "case", "attestation"].into_iter().find_map(|it| example[it].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SOURCE: &Source = &SOURCES[0];
    const TOTAL: usize = SOURCE.total;

    fn check(vectors: &str, accounted: &str) -> Vec<String> {
        SOURCE.check(vectors, accounted)
    }

    /// Returns a file with [`TOTAL`] vectors, `v0` to `v111`. The first 30 are of a kind that may be deferred.
    fn vectors() -> String {
        let kind = |it| if it < 30 { "decode_topic" } else { "sas_hub_device" };
        let list: Vec<Value> = (0..TOTAL).map(|it| json!({"id": format!("v{it}"), "kind": kind(it)})).collect();
        json!({ "vectors": list }).to_string()
    }

    fn check_changed(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Vec<String> {
        let mut listed = (0..TOTAL).map(|it| (format!("v{it}"), json!({"tested": "both"}))).collect();
        change(&mut listed);
        check(&vectors(), &Value::Object(listed).to_string())
    }

    #[test]
    fn accepts_a_complete_list() {
        assert_eq!(check_changed(|_| {}), Vec::<String>::new());
        let defer_some = |listed: &mut serde_json::Map<String, Value>| {
            for it in 0..SOURCE.max_deferred {
                listed.insert(format!("v{it}"), json!({"deferred": "later"}));
            }
        };
        assert_eq!(check_changed(defer_some), Vec::<String>::new());
    }

    #[test]
    fn finds_missing_unknown_and_wrongly_deferred_vectors() {
        let expect = |findings: Vec<String>, expected: &str| {
            assert!(findings.len() == 1 && findings[0].contains(expected), "{expected}: {findings:?}");
        };
        expect(check_changed(|it| drop(it.remove("v5"))), "v5 is not listed");
        expect(check_changed(|it| drop(it.insert("w".into(), json!({"tested": "both"})))), "which does not exist");
        expect(check_changed(|it| drop(it.insert("v5".into(), json!({"deferred": " "})))), "without a reason");
        expect(check_changed(|it| drop(it.insert("v5".into(), json!({"tested": "maybe"})))), "needs either");
        expect(
            check_changed(|it| drop(it.insert("v5".into(), json!({"tested": "both", "deferred": "no"})))),
            "needs either",
        );
        expect(check_changed(|it| drop(it.insert("v99".into(), json!({"deferred": "no"})))), "must not be deferred");
        let too_many = |listed: &mut serde_json::Map<String, Value>| {
            for it in 0..=SOURCE.max_deferred {
                listed.insert(format!("v{it}"), json!({"deferred": "later"}));
            }
        };
        expect(check_changed(too_many), "25 vectors are deferred");
        expect(
            check(r#"{"vectors": [{"id": "a", "kind": "b"}]}"#, r#"{"a": {"tested": "both"}}"#),
            "1 vectors instead",
        );
        expect(check("", "{}"), "restore it");
        expect(check(&vectors(), "[]"), "not a JSON object");
        expect(check(&vectors(), "{"), "not JSON");
        expect(
            check(r#"{"vectors": [{"id": "a", "kind": "b"}, {"id": "a", "kind": "b"}]}"#, "{}"),
            "has the id a twice",
        );
    }

    #[test]
    fn the_examples_of_certificates_are_named_by_section() {
        let file = json!({
            "format": 1, "about": "", "sdks": [],
            "certificates": {"root": {"subject": "CN=root"}},
            "chains": {"leaf": ["leaf", "root"]},
            "tpm_sas": {"token": ""},
            "cases": [{"case": "py", "sdk": "py", "events": []}],
            "matching": [{"id": "first"}],
            "live": [{"attestation": "group"}],
        });
        let kinds = x509_kinds(&file).expect("sections");
        let ids: Vec<&str> = kinds.keys().map(String::as_str).collect();
        assert_eq!(ids, ["cases/py", "certificates/root", "chains/leaf", "live/group", "matching/first", "tpm_sas"]);
        assert_eq!(kinds["cases/py"], "cases");
        for (file, expected) in [
            (json!([]), "is not an object"),
            (json!({"new": 1}), "unknown section new"),
            (json!({"cases": [{}]}), "without a name"),
            (json!({"cases": [{"case": "py"}, {"case": "py"}]}), "cases/py twice"),
        ] {
            let problem = x509_kinds(&file).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
