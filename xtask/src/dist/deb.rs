//! The Debian package: the program, its man pages, completions, and a systemd user unit for the emulator.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Inputs, Kind, licences, tools};
use crate::spawn::root;

pub(super) const KIND: Kind = Kind { name: "deb", build, test };

/// The completion scripts: the shell, and the path in the package.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/hubward"),
    ("zsh", "usr/share/zsh/vendor-completions/_hubward"),
    ("fish", "usr/share/fish/vendor_completions.d/hubward.fish"),
];

/// The systemd user unit in the package.
const UNIT: &str = "usr/lib/systemd/user/hubward-emulator.service";

const DOC: &str = "usr/share/doc/hubward";

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    let sources = root().join("dist/debian");
    let tree = inputs.scratch.join("tree");
    let version = debian_version(inputs.version);
    let architecture = tools::text(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();

    tools::install(inputs.binary, &tree.join("usr/bin/hubward"), 0o755)?;
    man_pages(inputs.binary, &tree.join("usr/share/man/man1"))?;
    for (shell, path) in COMPLETIONS {
        let script = tools::output(Command::new(inputs.binary).args(["completions", shell]))?;
        tools::install_bytes(&script, &tree.join(path), 0o644)?;
    }
    tools::install(&sources.join("hubward-emulator.service"), &tree.join(UNIT), 0o644)?;
    documents(&sources, &tree.join(DOC), &version)?;

    let template = tools::read(&sources.join("control"))?;
    let control = template
        .replace("@VERSION@", &version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@SIZE@", &installed_kib(&tree)?)
        .replace("@DEPENDS@", &dependencies(inputs.scratch, &tree.join("usr/bin/hubward"))?);
    let package = inputs.out.join(format!("hubward_{version}_{architecture}.deb"));
    // dpkg compares these sums with the installed files.
    let sums = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
    let sums = tools::output(Command::new("sh").args(["-c", sums]).current_dir(&tree))?;
    tools::write(&tree.join("DEBIAN/control"), control)?;
    tools::write(&tree.join("DEBIAN/md5sums"), sums)?;
    // The modes in the package must not depend on the umask of the user.
    tools::run(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(&tree))?;
    let mut dpkg_deb = Command::new("dpkg-deb");
    dpkg_deb.args(["--root-owner-group", "-Zxz", "--build"]).args([&tree, &package]);
    tools::run(dpkg_deb.env("SOURCE_DATE_EPOCH", tools::source_date()?))?;
    Ok(vec![package])
}

/// Writes the man page of every command, and compresses it. The program itself generates the pages.
fn man_pages(binary: &Path, folder: &Path) -> Result<(), String> {
    tools::run(Command::new(binary).arg("man-pages").arg(folder))?;
    let pages = tools::file_names(folder)?;
    tools::run(Command::new("gzip").args(["-9", "-n", "--"]).args(pages).current_dir(folder))
}

/// Writes the copyright file, the two changelogs, and the licences of the crates in the program.
fn documents(sources: &Path, folder: &Path, version: &str) -> Result<(), String> {
    tools::install(&sources.join("copyright"), &folder.join("copyright"), 0o644)?;
    tools::install(&root().join("CHANGELOG.md"), &folder.join("changelog"), 0o644)?;
    tools::write(&folder.join("THIRD-PARTY-LICENSES.txt"), licences::text()?)?;
    let date = format!("@{}", tools::source_date()?);
    let date = tools::text(Command::new("date").args(["--utc", "--rfc-email", "--date", &date]).env("LC_ALL", "C"))?;
    let entry = format!(
        "hubward ({version}) unstable; urgency=medium\n\n  \
         * Version {version}; the file changelog.gz lists the changes.\n\n \
         -- The hubward contributors <hubward@contributors.invalid>  {}\n",
        date.trim()
    );
    tools::write(&folder.join("changelog.Debian"), entry)?;
    let files = ["changelog", "changelog.Debian", "THIRD-PARTY-LICENSES.txt"];
    tools::run(Command::new("gzip").args(["-9", "-n", "--"]).args(files).current_dir(folder))
}

/// The installed size in KiB, for the control file.
fn installed_kib(tree: &Path) -> Result<String, String> {
    let printed = tools::text(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
    printed.split_whitespace().next().map(str::to_owned).ok_or_else(|| "du printed no size".to_owned())
}

/// Returns the Debian packages that contain the libraries of the program, for example `libc6 (>= 2.34)`.
fn dependencies(scratch: &Path, binary: &Path) -> Result<String, String> {
    // dpkg-shlibdeps needs the control file of a source package, but only to know that there is a package.
    let source = "Source: hubward\nMaintainer: hubward\n\nPackage: hubward\nArchitecture: any\n";
    tools::write(&scratch.join("debian/control"), source)?;
    let printed = tools::text(Command::new("dpkg-shlibdeps").arg("-O").arg(binary).current_dir(scratch))?;
    let found = printed.lines().find_map(|it| it.strip_prefix("shlibs:Depends="));
    found.map(str::to_owned).ok_or_else(|| format!("dpkg-shlibdeps printed no dependencies: {printed}"))
}

/// Converts a version to the form of Debian, for example `0.2.0-rc.1` to `0.2.0~rc.1-1`.
///
/// With `~`, dpkg sorts a pre-release before its release. The last part, `-1`, counts the packagings of one version.
fn debian_version(version: &str) -> String {
    format!("{}-1", version.replace('-', "~"))
}

/// Installs the package with dpkg into an empty root folder, uses every part of the package, and removes it.
fn test(inputs: &Inputs<'_>, packages: &[PathBuf]) -> Result<(), String> {
    let [package] = packages else { return Err("there is not exactly one package".to_owned()) };
    if tools::has("lintian") {
        // lintian wants the first changelog entry to close a bug at Debian. This package is not uploaded to Debian.
        let options =
            ["--fail-on", "error,warning", "--allow-root", "--suppress-tags", "initial-upload-closes-no-bugs"];
        tools::run(Command::new("lintian").args(options).arg(package))?;
    } else {
        println!("skipped: lintian is not installed");
    }
    let root = inputs.scratch.join("root");
    prepare_root(&root, package)?;
    dpkg(&root, &["--install"], package.as_os_str())?;
    dpkg(&root, &["--verify"], "hubward".as_ref())?;

    let program = root.join("usr/bin/hubward");
    let version = tools::text(Command::new(&program).arg("--version"))?;
    if version.trim() != format!("hubward {}", inputs.version) {
        return Err(format!("the installed program printed the version `{}`", version.trim()));
    }
    // `quickstart` starts an emulator and registers a device there. The hub must acknowledge the device's messages.
    let printed = tools::text(Command::new(&program).args(["quickstart", "--output", "json"]))?;
    if !printed.contains(r#""acknowledged":10"#) {
        return Err(format!("quickstart did not send ten messages:\n{printed}"));
    }
    test_man_pages(&root.join("usr/share/man/man1"), &inputs.scratch.join("man1"), &program)?;
    test_completions(&root)?;
    test_unit(&root, &program)?;

    dpkg(&root, &["--purge"], "hubward".as_ref())?;
    let left = tools::text(Command::new("find").arg(&root).args(["-name", "*hubward*"]))?;
    if left.is_empty() { Ok(()) } else { Err(format!("dpkg --purge left files:\n{left}")) }
}

/// Creates the dpkg database of an otherwise empty system below `root`. The database lists the dependencies of the
/// package with their versions on this machine, so that dpkg can check these versions.
fn prepare_root(root: &Path, package: &Path) -> Result<(), String> {
    let database = root.join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        tools::make_folder(&database.join(folder))?;
    }
    let fields = tools::text(Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends"))?;
    let names = fields.split(',').filter_map(|it| it.split_whitespace().next());
    let mut status = String::new();
    for name in names {
        status += &tools::text(Command::new("dpkg-query").args(["--status", name]))?;
        status.push('\n');
        tools::write(&database.join(format!("info/{name}.list")), "")?;
    }
    tools::write(&database.join("status"), status)
}

fn dpkg(root: &Path, arguments: &[&str], last: &std::ffi::OsStr) -> Result<(), String> {
    let is_root = tools::text(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = Command::new(if is_root { "dpkg" } else { "unshare" });
    if !is_root {
        // dpkg must be root, because it sets the owner of the files. In a user namespace, any user can be root.
        command.args(["--user", "--map-root-user", "--", "dpkg"]);
    }
    command.arg(format!("--root={}", root.display())).args(arguments).arg(last);
    let path = std::env::var("PATH").unwrap_or_default();
    tools::run(command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Checks that each command has a man page, and that mandoc finds no error in the pages. `installed` is the folder with
/// the compressed pages; the function copies them to `folder` and decompresses them there.
fn test_man_pages(installed: &Path, folder: &Path, program: &Path) -> Result<(), String> {
    tools::run(Command::new("cp").arg("-R").args([installed, folder]))?;
    let packed = tools::file_names(folder)?;
    tools::run(Command::new("gzip").args(["--decompress", "--"]).args(packed).current_dir(folder))?;
    let pages = tools::file_names(folder)?;
    let mut waiting = vec![Vec::new()];
    let mut count = 0;
    while let Some(command) = waiting.pop() {
        let name = format!("{}.1", [&["hubward".to_owned()], command.as_slice()].concat().join("-"));
        if !pages.iter().any(|it| it.as_os_str() == name.as_str()) {
            return Err(format!("there is no man page {name}"));
        }
        count += 1;
        let help = tools::text(Command::new(program).args(&command).arg("--help"))?;
        waiting.extend(subcommands(&help).map(|it| [command.as_slice(), &[it.to_owned()]].concat()));
    }
    if count != pages.len() {
        return Err(format!("{count} commands have {} man pages", pages.len()));
    }
    tools::run(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(&pages).current_dir(folder))?;
    let page = folder.join("hubward-provision.1");
    let shown = tools::text(Command::new("mandoc").args(["-T", "ascii"]).arg(page))?;
    let shown = without_overstrike(&shown);
    let missing = ["HUBWARD-PROVISION(1)", "--registration-id", "EXAMPLES"].into_iter().find(|it| !shown.contains(it));
    missing.map_or(Ok(()), |it| Err(format!("the man page of `hubward provision` does not contain `{it}`:\n{shown}")))
}

/// Removes bold and underlining from the output of mandoc.
///
/// mandoc marks a visible character by a character and a backspace before it: `a`, backspace, `a` is a bold `a`.
fn without_overstrike(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        if character == '\u{8}' {
            plain.pop();
        } else {
            plain.push(character);
        }
    }
    plain
}

/// The subcommands that a help text lists, without `help`.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let section = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let section = section.split("\n\n").next().unwrap_or_default();
    let names = section.lines().filter(|it| it.starts_with("  ") && !it.starts_with("   "));
    names.filter_map(|it| it.split_whitespace().next()).filter(|it| *it != "help")
}

/// Loads each completion script into its shell. Skips a shell that is not installed, except bash, which is required.
fn test_completions(root: &Path) -> Result<(), String> {
    for (shell, path) in COMPLETIONS {
        let script = root.join(path);
        let check = match shell {
            "bash" => r#". "$0" && complete -p hubward"#,
            "zsh" => r#"autoload -Uz compinit && compinit -D -u && . "$0" && [[ $_comps[hubward] = _hubward ]]"#,
            _ => "source $argv[1]; and complete --do-complete 'hubward qu' | string match -q 'quickstart*'",
        };
        if shell == "bash" || tools::has(shell) {
            tools::run(Command::new(shell).args(["-c", check]).arg(&script))?;
        } else {
            println!("skipped: {shell} is not installed, so its completion script is not loaded");
        }
    }
    Ok(())
}

/// Verifies the unit with systemd-analyze. A copy of the unit names the program below the test root.
fn test_unit(root: &Path, program: &Path) -> Result<(), String> {
    if !tools::has("systemd-analyze") {
        println!("skipped: systemd-analyze is not installed, so the unit is not verified");
        return Ok(());
    }
    let text = tools::read(&root.join(UNIT))?;
    let Some(_) = text.lines().find(|it| *it == "ExecStart=/usr/bin/hubward emulator") else {
        return Err("the unit does not start /usr/bin/hubward emulator".to_owned());
    };
    // systemd-analyze checks that the program exists on this machine, where it is only installed below `root`.
    let copy = root.with_file_name("hubward-emulator.service");
    let text = text.replace("/usr/bin/hubward", &program.display().to_string());
    let text = text.replace("Documentation=man:hubward-emulator(1)\n", "");
    tools::write(&copy, text)?;
    let mut verify = Command::new("systemd-analyze");
    // systemd-analyze needs the runtime folder of a user's session. A CI job has no session, so `root` replaces it.
    let ended = tools::outcome(verify.args(["verify", "--user"]).arg(&copy).env("XDG_RUNTIME_DIR", root))?;
    // For an unknown setting or value, systemd-analyze only prints a warning, and its exit code is 0. It also prints
    // warnings about other units of this machine, which do not contain `hubward`.
    let printed = String::from_utf8_lossy(&ended.stderr).into_owned();
    let is_ours = printed.lines().any(|it| it.contains("hubward"));
    if ended.status.success() && !is_ours { Ok(()) } else { Err(format!("systemd-analyze: {printed}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pre_release_sorts_before_its_release() {
        assert_eq!(debian_version("0.1.0"), "0.1.0-1");
        assert_eq!(debian_version("0.2.0-rc.1"), "0.2.0~rc.1-1");
    }

    #[test]
    fn removes_bold_and_underlining() {
        assert_eq!(without_overstrike("a\u{8}ab _\u{8}c"), "ab c");
    }

    #[test]
    fn finds_the_subcommands_in_a_help_text() {
        let help = "About.\n\nCommands:\n  run   Run it\n        more\n  stop  Stop it\n  help  Help\n\nOptions:\n  -h";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["run", "stop"]);
        assert_eq!(subcommands("Options:\n  -h").count(), 0);
    }
}
