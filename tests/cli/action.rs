//! Runs the steps of the GitHub action in `dist`, as a runner of GitHub Actions does.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hubward_tests::binary;
use hubward_tests::command::{Invocation, Ran};

const ACTION: &str = include_str!("../../dist/action.yml");

/// A step that puts a `python3` on the path. Its virtual environments contain python, and a pip that installs hubward.
const FAKE_PYTHON: &str = r#"
mkdir "$RUNNER_TEMP/fake"
cat > "$RUNNER_TEMP/fake/python3" <<'END'
#!/bin/sh
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cd "$3/bin" || exit 1
touch python python3
printf '#!/bin/sh\necho "pip $*"; ln -s "$PROGRAM" "${0%%/*}/hubward"\n' > pip
chmod +x python python3 pip
END
chmod +x "$RUNNER_TEMP/fake/python3"
echo "$RUNNER_TEMP/fake" >> "$GITHUB_PATH"
"#;

/// A job: the folder with the files that a runner provides, the inputs of the action, and the variables that earlier
/// steps have set.
struct Job {
    folder: tempfile::TempDir,
    inputs: BTreeMap<&'static str, String>,
    variables: BTreeMap<String, String>,
}

/// A step of the action: its command, and its variables. Each variable has a name, and gets the value of an input.
#[derive(Debug)]
struct Step {
    run: &'static str,
    variables: Vec<(&'static str, &'static str)>,
}

impl Job {
    /// A job whose emulator uses free ports. `inputs` replaces the defaults of the action.
    fn new(inputs: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["env", "path"] {
            std::fs::write(folder.path().join(file), "").expect("a file");
        }
        let mut all: BTreeMap<&str, String> = inputs_of_the_action();
        for (name, value) in inputs {
            *all.get_mut(name).expect("an input of the action") = (*value).to_owned();
        }
        let ports = ["HUBWARD_MQTT_PORT", "HUBWARD_HTTPS_PORT", "HUBWARD_ADMIN_PORT"].map(|it| (it, "0"));
        let variables = ports.into_iter().chain([("HUBWARD_RETRY_AFTER", "0s")]);
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { folder, inputs: all, variables }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command as a step, with the variables of the job and `more`. Adds the variables that the step has written
    /// to `GITHUB_ENV` to the job.
    async fn step(&mut self, run: &str, more: &[(&str, String)]) -> Ran {
        let action = binary::repository().join("dist");
        let path = std::fs::read_to_string(self.file("path")).expect("a file");
        let path: Vec<&str> = path.lines().rev().collect();
        let path = [path.join(":"), std::env::var("PATH").expect("a PATH")].join(":");
        let mut variables = vec![
            ("GITHUB_ACTION_PATH", action.display().to_string()),
            ("GITHUB_ENV", self.file("env").display().to_string()),
            ("GITHUB_PATH", self.file("path").display().to_string()),
            ("RUNNER_TEMP", self.folder.path().display().to_string()),
            ("PATH", path.trim_start_matches(':').to_owned()),
        ];
        variables.extend(self.variables.iter().map(|(name, value)| (name.as_str(), value.clone())));
        variables.extend(more.iter().cloned());
        let bash = Invocation::of(Path::new("bash")).args(["--noprofile", "--norc", "-eo", "pipefail", "-c", run]);
        let ran = bash.vars(&variables).run().await;
        let written = std::fs::read_to_string(self.file("env")).expect("a file");
        self.variables.extend(github_variables(&written));
        ran
    }

    /// Runs the steps of the action until one fails. Returns the result of the last step that ran.
    async fn run(&mut self) -> Ran {
        let mut last = None;
        for step in steps() {
            let variables = step.variables.iter().map(|(name, input)| (*name, self.inputs[input].clone()));
            let ran = self.step(step.run, &variables.collect::<Vec<_>>()).await;
            if ran.code != Some(0) {
                return ran;
            }
            last = Some(ran);
        }
        last.expect("the action has steps")
    }
}

/// Stops the emulator, as a runner does at the end of a job.
impl Drop for Job {
    fn drop(&mut self) {
        if let Some(process) = self.variables.get("HUBWARD_EMULATOR_PID") {
            let _ = std::process::Command::new("kill").arg(process).status();
        }
    }
}

/// The inputs of the action, with their defaults.
fn inputs_of_the_action() -> BTreeMap<&'static str, String> {
    let section = ACTION.split("\ninputs:\n").nth(1).and_then(|it| it.split("\nruns:\n").next()).expect("inputs");
    let mut inputs = BTreeMap::new();
    let mut name = "";
    for line in section.lines() {
        if let Some(found) = line.strip_prefix("  ").filter(|it| !it.starts_with(' ')) {
            name = found.trim_end_matches(':');
        } else if let Some(default) = line.trim().strip_prefix("default: ") {
            inputs.insert(name, default.trim_matches('"').to_owned());
        }
    }
    inputs
}

/// The steps of the action.
fn steps() -> Vec<Step> {
    let section = ACTION.split("\n  steps:\n").nth(1).expect("steps");
    let steps = section.split("    - name: ").skip(1).map(|step| {
        let line = |start: &str| step.lines().find_map(|it| it.trim().strip_prefix(start));
        assert_eq!(line("shell: "), Some("bash"), "{step}");
        let variables = step.lines().filter_map(|it| {
            let (name, value) = it.trim().split_once(": ${{ inputs.")?;
            Some((name, value.strip_suffix(" }}")?))
        });
        Step { run: line("run: ").expect("a command"), variables: variables.collect() }
    });
    steps.collect()
}

/// The variables in a `GITHUB_ENV` file: `NAME<<MARK`, the lines of the value, and `MARK`.
fn github_variables(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let mut variables = Vec::new();
    while let Some(line) = lines.next() {
        let (name, mark) = line.split_once("<<").expect("a name and a mark");
        let value: Vec<&str> = lines.by_ref().take_while(|it| *it != mark).collect();
        variables.push((name.to_owned(), value.join("\n")));
    }
    variables
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_after_the_action_have_an_emulator() {
    let program = binary::hubward().display().to_string();
    let mut job = Job::new(&[("program", &program), ("standard-ports", "false")]);
    let ran = job.run().await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout_text(), ran.stderr_text());
    for name in ["PROVISIONING_IDSCOPE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "IOTHUB_CONNECTION_STRING"] {
        assert!(job.variables.get(name).is_some_and(|it| !it.is_empty()), "{name}: {:?}", job.variables.keys());
    }
    expect_hidden_keys(&job, &ran.stdout_text());
    let ran = job.step("hubward provision --messages 2 && hubward hub device-identity list -o tsv", &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    assert!(ran.stdout_text().contains("2 of 2 messages acknowledged"), "{}", ran.stdout_text());
    let ran = job.step("hubward emulator reset --yes", &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
}

/// Checks that other users cannot read the data of the emulator, and that the output of the action gives the keys only
/// to the runner, as masks.
fn expect_hidden_keys(job: &Job, stdout: &str) {
    let data = PathBuf::from(&job.variables["HUBWARD_DATA_DIR"]);
    for path in [data.clone(), data.join("emulator.log")] {
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    let logins = ["PROVISIONING_CONNECTION_STRING", "IOTHUB_CONNECTION_STRING"];
    let logins = logins.map(|it| job.variables[it].split_once(";SharedAccessKey=").expect("a key").1);
    for key in [job.variables["PROVISIONING_SYMMETRIC_KEY"].as_str(), logins[0], logins[1]] {
        let lines: Vec<&str> = stdout.lines().filter(|it| it.contains(key)).collect();
        assert_eq!(lines, [format!("::add-mask::{key}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installation_adds_only_hubward_to_the_path() {
    let mut job = Job::new(&[]);
    let ran = job.step(FAKE_PYTHON, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    let variables = [("PROGRAM", binary::hubward().display().to_string()), ("INPUT_VERSION", "1.2.3".to_owned())];
    let ran = job.step(steps()[0].run, &variables).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout_text(), ran.stderr_text());
    let pip = "pip install --quiet --only-binary :all: hubward-emulator==1.2.3\n";
    assert!(ran.stdout_text().starts_with(pip), "{}", ran.stdout_text());

    let published = std::fs::read_to_string(job.file("path")).expect("a file");
    let folders: Vec<&str> = published.lines().skip(1).collect();
    let [folder] = folders[..] else { panic!("the step published {folders:?}") };
    let files = std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("a file").file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["hubward"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_prints_the_reason() {
    let mut job = Job::new(&[("program", "no/such/program")]);
    let ran = job.run().await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr_text().contains("::error::the input `program`"), "{}", ran.stderr_text());

    let program = binary::hubward().display().to_string();
    let mut job = Job::new(&[("program", &program), ("standard-ports", "false")]);
    job.variables.insert("HUBWARD_ID_SCOPE".to_owned(), "no scope".to_owned());
    let ran = job.run().await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr_text().contains("id scope"), "the log of the emulator: {}", ran.stderr_text());
}
