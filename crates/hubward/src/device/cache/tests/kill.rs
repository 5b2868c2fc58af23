//! Kills a process that writes both files, at random moments.
//!
//! ```sh
//! HUBWARD_KILLS=300 cargo nextest run -p hubward -E 'test(killed_writer)' --no-capture   # 30 by default
//! HUBWARD_KILL_SEED=7 …                                                                  # repeats the random choices
//! ```

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// The variable that makes the test the process that is killed. Its value is the folder.
const WRITER: &str = "HUBWARD_TEST_WRITER";

/// Printed by a writer when it begins.
const READY: &str = "writer is ready";

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// The pairs of all processes of this test.
fn stored_pairs(folder: &Path) -> Vec<(String, Vec<Certificate>)> {
    let pair = |number: usize| {
        let text = fs::read_to_string(folder.join(format!("pair-{number}.pem"))).expect("a file");
        let begin = text.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
        (text[..begin].to_owned(), Certificate::chain_from_pem(text.as_bytes()).expect("a chain"))
    };
    (0..3).map(pair).collect()
}

/// Writes both files until it is killed.
fn write_for_ever(folder: &Path) -> ! {
    let pairs = stored_pairs(folder);
    let path = folder.join("device.json");
    let mut cache = AssignmentCache::open(&path, binding()).0;
    let (mut store, found, _) = CertificateStore::open(CertificateStore::beside(&path), binding());
    let mut next = found.current.and_then(|it| pairs.iter().position(|pair| pair.1 == it.certificate.chain()));
    let mut output = std::io::stdout();
    output.write_all(format!("\n{READY}\n").as_bytes()).and_then(|()| output.flush()).expect("a pipe");
    for round in 0.. {
        cache.store(&assignment(round)).expect("stored");
        let number = next.map_or(0, |it| (it + 1) % pairs.len());
        let key = DeviceKey::from_pem(&pairs[number].0).expect("a key");
        store.begin(PendingKey { key, ..pending(0) }).expect("stored");
        store.finish(pairs[number].1.clone(), UnixSeconds(round)).expect("stored");
        if round % 2 == 0 { store.confirm() } else { store.revert().and_then(|()| store.begin(pending(1))) }
            .expect("stored");
        next = Some(number);
    }
    unreachable!("the loop has no end")
}

fn spawn_writer(folder: &Path) -> Child {
    let name = std::thread::current().name().expect("the name of the test").to_owned();
    let mut child = Command::new(env::current_exe().expect("the program of the tests"))
        .args([&name, "--exact", "--nocapture"])
        .env(WRITER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|it| it.is_ok_and(|it| it == READY)), "the writer ended before it began");
    child
}

#[test]
fn a_killed_writer_leaves_the_old_or_the_new_file() {
    if let Some(folder) = env::var_os(WRITER) {
        write_for_ever(Path::new(&folder));
    }
    let kills = number("HUBWARD_KILLS").unwrap_or(30);
    let mut random = fastrand::Rng::with_seed(number("HUBWARD_KILL_SEED").unwrap_or_else(|| fastrand::u64(..)));
    let seed = random.get_seed();
    let (folder, path) = folder();
    for (number, pair) in PAIRS.iter().enumerate() {
        let chain: String = pair.chain.iter().map(Certificate::to_pem).collect();
        fs::write(folder.path().join(format!("pair-{number}.pem")), pair.key.clone() + &chain).expect("written");
    }
    let mut left_behind = 0;
    for round in 0..kills {
        // In one of four rounds, two processes write the same files.
        let writers = if random.u8(..4) == 0 { 2 } else { 1 };
        let mut children: Vec<Child> = (0..writers).map(|_| spawn_writer(folder.path())).collect();
        // The kill happens at a random moment.
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        for child in &mut children {
            child.kill().expect("the writer runs until the test kills it");
            child.wait().expect("the end of the writer");
        }
        left_behind += names(folder.path()).iter().filter(|it| it.ends_with(".new")).count();
        let (_, found, warning) = AssignmentCache::open(&path, binding());
        assert_eq!(warning, None, "round {round}, seed {seed}");
        if let Some(found) = found {
            let number = found.assigned_at.0 - assignment(0).assigned_at.0;
            assert_eq!(found, assignment(number), "round {round}, seed {seed}");
        }
        let (_, found, warning) = CertificateStore::open(CertificateStore::beside(&path), binding());
        assert_eq!(warning, None, "round {round}, seed {seed}");
        for issued in found.current.iter().chain(&found.previous) {
            let known = PAIRS.iter().any(|it| it.chain == issued.certificate.chain());
            assert!(known, "round {round}, seed {seed}: {issued:?}");
        }
        assert!(!names(folder.path()).iter().any(|it| it.ends_with(".new")), "round {round}, seed {seed}");
    }
    let text = format!("{kills} kills, seed {seed}: {left_behind} temporary files were left behind and removed\n");
    std::io::stdout().write_all(text.as_bytes()).expect("stdout");
}
