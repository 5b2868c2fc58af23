//! `hubward emulator trust`: prints the shell commands that make other programs trust the emulator's certificates.

mod recipes;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hubward_service::{Method, RawValue};
use serde_json::{Value, json};

use self::recipes::Recipe;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::{AdminArgs, Running, data_dir, default_admin_url};
use crate::output::{Event, Output};
use crate::shell::Shell;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const NAME: &str = "hubward emulator CA ";
/// Number of hexadecimal digits after [`NAME`] in the common name. These digits are the beginning of the hash of the
/// CA's key.
const TAG: usize = 8;
const UNKNOWN: &str = "the emulator's certificate authority";

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Programs to print commands for; repeat or separate by commas [default: all]
    #[arg(long = "for", value_name = "PROGRAM", value_delimiter = ',')]
    programs: Vec<Program>,
    /// Shell for the printed commands; an OS store always uses the shell of its OS.
    #[arg(long, default_value = if cfg!(windows) { "pwsh" } else { "sh" })]
    shell: Shell,
    #[command(flatten)]
    at: AdminArgs,
}

/// A kind of program that can trust the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// The store of the operating system.
    Os,
    Python,
    Node,
    Java,
    Dotnet,
    Curl,
    /// hubward itself: the SDK and the command.
    Rust,
}

pub(super) async fn run(args: &TrustArgs, output: &Output) -> Result<ExitCode, Failure> {
    let ca = Ca::find(&args.at).await?;
    let wanted = |it: &Recipe| args.programs.is_empty() || args.programs.contains(&it.program);
    let recipes: Vec<Recipe> = recipes::all(&ca, args.shell).into_iter().filter(wanted).collect();
    if output.is_text() {
        output.line(&text(&ca, args.shell, &recipes)).await;
    } else {
        let recipes: Vec<Value> = recipes.iter().map(Recipe::json).collect();
        let facts = json!({ "caFile": ca.file, "caName": ca.name, "recipes": recipes });
        output.tell(&Event::Facts(&facts)).await;
    }
    Ok(ExitCode::Ok)
}

fn text(ca: &Ca, shell: Shell, recipes: &[Recipe]) -> String {
    let mut lines = vec![
        shell.comment(&format!("{} signs only the emulator's own certificates.", ca.name)),
        shell.comment(&format!("Its certificate: {}", ca.file.display())),
    ];
    if let Some(fetch) = &ca.fetch {
        lines.push(shell.comment("The emulator's files are not on this machine; to download the certificate:"));
        lines.push(fetch.clone());
    }
    for recipe in recipes {
        lines.push(String::new());
        let untested = if recipe.tested { "" } else { " (untested: we could not run it)" };
        lines.push(shell.comment(&format!("--- {}{untested}", recipe.title)));
        lines.extend(recipe.notes.iter().map(|it| shell.comment(it)));
        lines.extend(recipe.lines.iter().cloned());
        if !recipe.undo.is_empty() {
            lines.push(shell.comment("to undo this:"));
            lines.extend(recipe.undo.iter().map(|it| shell.comment(&format!("  {it}"))));
        }
    }
    lines.join("\n")
}

/// The certificate authority of an emulator.
struct Ca {
    /// The file with the certificate of the authority. If the file does not exist yet, the command in `fetch` writes
    /// it.
    file: PathBuf,
    /// The common name of the authority.
    name: String,
    /// The command that downloads the certificate. `None` if this user can read the emulator's own file.
    fetch: Option<String>,
}

impl Ca {
    /// Finds the certificate authority. If `--admin` or `HUBWARD_EMULATOR_ADMIN` names an emulator, asks this emulator.
    /// Otherwise reads `ca.pem` in the data directory. This works even if no emulator runs.
    ///
    /// If `ca.pem` does not exist, asks the emulator that runs with the data directory. If no emulator runs with it,
    /// and `--data-dir` is not given, asks the emulator at the default port.
    async fn find(at: &AdminArgs) -> Result<Self, Failure> {
        if let Some((_, url)) = at.named()? {
            return Self::of_running(at, &url).await;
        }
        let folder = data_dir(at.data_dir.as_deref())?;
        let file = folder.join("ca.pem");
        match std::fs::read_to_string(&file) {
            Ok(pem) => Self::read(file, &pem, None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match Running::with(&folder) {
                Some(running) => Self::of_running(at, &running.admin).await,
                None if at.data_dir.is_none() => {
                    Self::of_running(at, &default_admin_url()).await.map_err(|_| missing(&folder))
                }
                None => Err(missing(&folder)),
            },
            Err(error) => Err(Failure::local(format!("{} cannot be read: {error}", file.display()))),
        }
    }

    async fn of_running(at: &AdminArgs, url: &str) -> Result<Self, Failure> {
        let port = AdminArgs::at(url)?;
        let health: Box<RawValue> =
            port.call(Method::GET, "/health").await.map_err(|error| AdminArgs::absent(error.into()))?;
        let health: Value = serde_json::from_str(health.get()).unwrap_or_default();
        let named = health["emulator"]["caFile"].as_str().map(PathBuf::from);
        let file = named
            .ok_or_else(|| Failure::local(format!("{url} is not an emulator: its health report names no CA file")))?;
        if let Ok(pem) = std::fs::read_to_string(&file) {
            return Self::read(file, &pem, None);
        }
        // This user cannot read the emulator's file. The emulator probably runs in a container or as another user. So
        // print a command that downloads the certificate from the admin port.
        let here = std::path::absolute("hubward-ca.pem")
            .map_err(|error| Failure::local(format!("the current directory cannot be determined: {error}")))?;
        let url = url.trim().trim_end_matches('/');
        let fetch = format!("curl -fsS {url}/ca.pem -o {}", here.display());
        match std::fs::read_to_string(&here) {
            Ok(pem) => Self::read(here, &pem, Some(fetch)),
            Err(_) if at.data_dir.is_some() => Err(missing(&file)),
            Err(_) => Ok(Self { file: here, name: UNKNOWN.to_owned(), fetch: Some(fetch) }),
        }
    }

    fn read(file: PathBuf, pem: &str, fetch: Option<String>) -> Result<Self, Failure> {
        if pem.matches(BEGIN).count() != 1 || pem.contains("PRIVATE KEY") {
            return Err(Failure::local(format!("{} is not the certificate of an emulator", file.display()))
                .hint("move the file away; the emulator writes it again at its next start"));
        }
        let name = common_name(pem).unwrap_or_else(|| UNKNOWN.to_owned());
        Ok(Self { file, name, fetch })
    }
}

fn missing(folder: &Path) -> Failure {
    Failure::local(format!("there is no certificate authority yet in {}", folder.display()))
        .hint("start the emulator once: hubward emulator; or select another one: --data-dir DIR, --admin URL")
}

/// The common name of the emulator's CA, read from the certificate.
fn common_name(pem: &str) -> Option<String> {
    use base64::Engine as _;
    let text: String = pem.split(BEGIN).nth(1)?.split("-----END").next()?.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let at = der.windows(NAME.len()).position(|it| it == NAME.as_bytes())?;
    let tag = der.get(at + NAME.len()..at + NAME.len() + TAG)?;
    tag.iter().all(u8::is_ascii_hexdigit).then(|| format!("{NAME}{}", String::from_utf8_lossy(tag)))
}
