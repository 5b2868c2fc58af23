//! Checks every wire vector: it must be tested, or deferred with a reason.

use std::collections::BTreeMap;

use serde_json::Value;

/// The number of vectors.
const TOTAL: usize = 112;

/// Maximum number of deferred vectors.
const MAX_DEFERRED: usize = 24;

/// The kinds of vectors that may be deferred. Vectors of all other kinds must be tested.
const DEFERRABLE: [&str; 3] = ["decode_topic", "hub_topics", "connection_string"];

/// Compares the list in `accounted.json` with the vectors in `vectors.json`. Does not check whether the tests check the
/// listed sides: a test in `tests/vectors` does this.
pub(super) fn check(vectors: &str, accounted: &str) -> Vec<String> {
    match (kinds(vectors), serde_json::from_str(accounted)) {
        (Ok(kinds), Ok(Value::Object(listed))) => check_list(&kinds, listed.iter()),
        (Err(problem), _) => vec![format!("tests/vectors/vectors.json {problem}; restore it")],
        (_, Ok(_)) => {
            vec!["tests/vectors/accounted.json is not a JSON object; map each vector id to an entry".to_owned()]
        }
        (_, Err(error)) => vec![format!("tests/vectors/accounted.json is not JSON ({error}); fix it")],
    }
}

fn check_list<'a>(
    kinds: &BTreeMap<String, String>,
    listed: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Vec<String> {
    let mut findings = Vec::new();
    let (mut handled, mut deferred) = (Vec::new(), 0);
    for (id, entry) in listed {
        let Some(kind) = kinds.get(id) else {
            findings.push(format!("accounted.json lists the vector {id}, which does not exist; remove it"));
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
                if !DEFERRABLE.contains(&kind.as_str()) {
                    findings.push(format!("the vector {id} of kind {kind} must not be deferred; test it"));
                }
            }
            _ => findings.push(format!(
                "the vector {id} needs either `tested` (client, emulator or both) or `deferred` with a reason"
            )),
        }
    }
    for id in kinds.keys().filter(|it| !handled.contains(it)) {
        findings.push(format!("the vector {id} is not listed; test it, or defer it in accounted.json with a reason"));
    }
    if kinds.len() != TOTAL {
        findings
            .push(format!("there are {} vectors instead of {TOTAL}; restore tests/vectors/vectors.json", kinds.len()));
    }
    if deferred > MAX_DEFERRED {
        findings.push(format!("{deferred} vectors are deferred, but at most {MAX_DEFERRED} may be; test some of them"));
    }
    findings
}

/// The kind of each vector, by id.
fn kinds(vectors: &str) -> Result<BTreeMap<String, String>, String> {
    let file: Value = serde_json::from_str(vectors).map_err(|error| format!("is not JSON ({error})"))?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            for it in 0..MAX_DEFERRED {
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
            for it in 0..=MAX_DEFERRED {
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
}
