//! Runs each fuzz function on the files of its corpus. The function must accept a file whose name begins with `ok`. It
//! must refuse a file whose name begins with `no`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hubward_tests::fuzz::{TARGETS, run};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()));
    entries.map(|it| it.expect("an entry").file_name().into_string().expect("a plain name")).collect()
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    assert_eq!(names(&folder("fuzz_targets")), targets.iter().map(|it| format!("{it}.rs")).collect());
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the manifest");
    for target in targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "fuzz/Cargo.toml does not contain the program {target}"
        );
        let program = fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).expect("a program");
        assert!(program.contains(&format!("\"{target}\"")), "{target}.rs runs another target");
    }
}

#[test]
fn each_file_of_a_corpus_is_accepted_or_refused_as_its_name_says() {
    for (target, _) in TARGETS {
        let folder = folder("corpus").join(target);
        let (mut accepted, mut refused) = (0, 0);
        for name in names(&folder) {
            let bytes = fs::read(folder.join(&name)).expect("a file");
            assert!(bytes.len() <= 1024, "{target}/{name} is large for a corpus");
            match (run(target, &bytes), name.split('-').next()) {
                (true, Some("ok")) => accepted += 1,
                (false, Some("no")) => refused += 1,
                (outcome, _) => panic!("{target}/{name}: accepted is {outcome}"),
            }
        }
        assert!(accepted > 0 && refused > 0, "{target} needs examples of both kinds");
    }
}
