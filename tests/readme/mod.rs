//! Checks the examples of the documentation: the program, the commands, the tables and the links.

mod diagnosis;
#[path = "../../crates/hubward/doc/test_with_emulator.rs"]
mod test_with_emulator;

use std::path::{Path, PathBuf};

use hubward_tests::binary::{quickstart_example, repository};
use hubward_tests::cloud::Cloud;
use hubward_tests::command::Invocation;

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the first code block of this kind.
fn block(text: &str, kind: &str) -> String {
    let start = format!("```{kind}\n");
    let after = text.split(&start).nth(1).unwrap_or_else(|| panic!("no {kind} in the text"));
    after.split("```").next().unwrap_or_default().to_owned()
}

/// Returns the example program without its header. An example inside a workspace needs this header, but other programs
/// do not.
fn program() -> String {
    let example = read("crates/hubward/examples/quickstart.rs");
    let (header, program) = example.split_once("\n\n").expect("a header and a program");
    assert_eq!(header.lines().count(), 2, "two header lines: {header}");
    program.to_owned()
}

#[test]
fn the_program_is_the_same_everywhere() {
    assert_eq!(block(&read("README.md"), "rust"), program(), "README.md");
    let documentation = read("crates/hubward/src/lib.rs");
    let lines = documentation.lines().map_while(|it| it.strip_prefix("//!"));
    let text: Vec<&str> = lines.map(|it| it.strip_prefix(' ').unwrap_or(it)).collect();
    assert_eq!(block(&text.join("\n"), "no_run"), program(), "the crate's documentation");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_runs_over_every_transport() {
    let cloud = Cloud::start().await;
    let enrolled = cloud.emulator.enroll("dev-1").expect("a valid id");
    for kind in hubward::TransportKind::ALL {
        let mut variables = enrolled.vars();
        variables.push(("HUBWARD_TRANSPORT", kind.to_string()));
        let ran = Invocation::of(quickstart_example()).vars(&variables).run().await;
        assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(0), "ten messages acknowledged\n"), "{kind}: {ran:?}");
    }
    let log = cloud.emulator.telemetry("localhost").expect("the hub");
    let bodies: Vec<String> =
        log.all().into_iter().map(|it| String::from_utf8_lossy(&it.message.body).into_owned()).collect();
    let expected: Vec<String> = (0..3).flat_map(|_| (1..=10).map(|it| format!("test wind speed {it}"))).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn the_table_lists_every_published_crate() {
    let mut published = Vec::new();
    for entry in std::fs::read_dir(repository().join("crates")).expect("the crates") {
        let folder = entry.expect("an entry").path();
        let manifest = read(folder.join("Cargo.toml"));
        let name = manifest.lines().find_map(|it| it.strip_prefix("name = \"")?.strip_suffix('"')).expect("a name");
        if !manifest.contains("publish = false") {
            published.push(format!("[{name}](crates/{name})"));
        }
    }
    published.sort();
    let readme = read("README.md");
    let mut named: Vec<String> = readme
        .lines()
        .filter_map(|it| it.strip_prefix("| ")?.split(" | ").next())
        .filter(|it| it.starts_with('['))
        .map(str::to_owned)
        .collect();
    named.sort();
    assert_eq!(named, published);
}

#[test]
fn the_page_of_the_crate_shows_every_example_and_lists_every_crate() {
    let folder = repository().join("crates");
    let page = read("crates/hubward/src/lib.rs");
    for entry in std::fs::read_dir(&folder).expect("the crates") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let is_listed = page.contains(&format!("//! | [`{name}`]")) || page.contains(&format!("//! | `{name}` |"));
        assert_eq!(is_listed, name != "hubward-bench", "{name} in the table of the crates");
    }
    let examples = read("crates/hubward/src/examples.rs");
    for entry in std::fs::read_dir(folder.join("hubward/examples")).expect("the examples") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(examples.contains(&format!("include_str!(\"../examples/{name}\")")), "{name}");
    }
    // `page` has a link to each heading of the module `examples`, in the same order.
    let headings: Vec<String> = examples
        .lines()
        .filter_map(|it| it.strip_prefix("//! # "))
        .map(|it| it.to_lowercase().replace(' ', "-"))
        .collect();
    let links: Vec<&str> = page.split("](examples#").skip(1).filter_map(|it| it.split(')').next()).collect();
    assert_eq!(links, headings);
}

#[test]
fn the_first_screen_shows_the_two_commands() {
    let readme = read("README.md");
    let first: Vec<&str> = readme.lines().take(24).collect();
    for command in ["$ cargo run -- quickstart", "$ cargo xtask test"] {
        assert!(first.iter().any(|it| it.starts_with(command)), "no `{command}` on the first screen");
    }
}

/// The pages that show commands.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository().join("README.md")];
    let documents = std::fs::read_dir(repository().join("docs")).expect("the documents");
    pages.extend(
        documents.map(|it| it.expect("an entry").path()).filter(|it| it.extension().is_some_and(|it| it == "md")),
    );
    let crates = std::fs::read_dir(repository().join("crates")).expect("the crates");
    pages.extend(crates.map(|it| it.expect("an entry").path().join("README.md")));
    pages
}

/// Returns the arguments of a `hubward` command on a page. The command ends before the first character that is not an
/// argument, such as a `#` or a pipe.
fn shown_arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let rest = ["hubward ", "cargo run -- "].iter().find_map(|it| line.strip_prefix(it))?;
    // A line such as `hubward = …` is an entry of a manifest, not a command.
    (!rest.starts_with('=')).then(|| shell_words(rest))
}

/// Splits a command into words, as a shell does: at spaces outside quotes.
fn shell_words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ';' | '#' | '|' | '<' | '>' | '\\') => break,
            (None, ' ') => words.extend(word.take()),
            (_, _) => word.get_or_insert_with(String::new).push(character),
        }
    }
    words.extend(word);
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shown_command_exists() {
    let mut shown = 0;
    for page in pages() {
        let text = read(&page);
        // Splitting at the marks of code blocks gives text and code in turn. Use only every second piece, which is
        // code.
        for line in text.split("```").skip(1).step_by(2).flat_map(str::lines) {
            let Some(arguments) = shown_arguments(line) else { continue };
            // The program prints the help of a command only if it can parse all arguments.
            let ran = Invocation::hubward(arguments.iter().map(String::as_str)).args(["--help"]).run().await;
            assert_eq!(ran.code, Some(0), "{}: {line}\n{}", page.display(), ran.stderr_text());
            shown += 1;
        }
    }
    assert!(shown >= 5, "the pages show only {shown} commands");
}

#[test]
fn every_link_to_a_file_has_a_target() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let folder = page.parent().expect("a folder");
        for target in text.split("](").skip(1).filter_map(|it| it.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{}: {target} does not exist", page.display());
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links");
}
