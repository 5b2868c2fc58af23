//! The command line.

use std::path::PathBuf;

use ::time::OffsetDateTime;

use super::questions::{ALL, Question};

pub(super) const HELP: &str = "cargo xtask live-questions [--yes] [--out DIR] [--only NUMBERS]

Sends the requests of docs/live-questions.md to a DPS and an IoT Hub, writes the answers to a folder, and
lists the differences from the answers of the emulator.

  --yes            Act on services that are not on this machine
  --out DIR        Folder for the answers (default: target/live-questions/ and the time)
  --only NUMBERS   Only these questions, such as 1,4,16

Variables:
  IOTHUB_CONNECTION_STRING         Login of the hub, policy iothubowner
  PROVISIONING_CONNECTION_STRING   Login of the DPS, policy provisioningserviceowner
  PROVISIONING_IDSCOPE             Id scope of the DPS
  PROVISIONING_HOST                Host at which devices register (default: global.azure-devices-provisioning.net)
  IOTHUB_CONNECTION_STRING_SERVICE, _DEVICE, _REGISTRYREAD, _REGISTRYREADWRITE
                                   Logins of the hub's other policies, for question 20
  HUBWARD_CA_FILE, HUBWARD_CONNECT_TO, HUBWARD_EMULATOR_ADMIN
                                   For an emulator, as `hubward emulator env` prints them

Exit codes: 0 the emulator answers the same; 1 the run could not ask, write or delete something;
2 the command line or a variable is wrong; 3 an answer differs; 130 a signal ended the run.";

/// The parsed command line.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) yes: bool,
    pub(super) out: PathBuf,
    only: Vec<u8>,
}

impl Options {
    /// Returns `None` for `--help`.
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { yes: false, out: PathBuf::new(), only: Vec::new() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--yes" => options.yes = true,
                "--out" => options.out = value()?.into(),
                "--only" => options.only = numbers(&value()?)?,
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        if options.out.as_os_str().is_empty() {
            options.out = ["target", "live-questions", &folder()].iter().collect();
        }
        Ok(Some(options))
    }

    pub(super) fn questions(&self) -> Vec<&'static Question> {
        ALL.iter().filter(|it| self.only.is_empty() || self.only.contains(&it.number)).collect()
    }
}

fn numbers(text: &str) -> Result<Vec<u8>, String> {
    let number = |it: &str| it.trim().parse().ok().filter(|it| (1..=20).contains(it));
    text.split(',').map(|it| number(it).ok_or_else(|| format!("`{it}` is not a number from 1 to 20"))).collect()
}

/// Returns the name of a folder. The names sort by time.
fn folder() -> String {
    #[expect(clippy::disallowed_methods, reason = "the name of the folder is the current time")]
    let at = OffsetDateTime::from(std::time::SystemTime::now());
    let (month, day) = (u8::from(at.month()), at.day());
    format!("{}{month:02}{day:02}T{:02}{:02}{:02}Z", at.year(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_parsed() {
        let options = parse("--yes --only 1,16 --out x/y").expect("valid options").expect("options without help");
        let numbers: Vec<u8> = options.questions().iter().map(|it| it.number).collect();
        assert!(options.yes && numbers == [1, 16] && options.out.ends_with("x/y"), "{options:?}");
        let options = parse("").expect("valid options").expect("options without help");
        assert!(!options.yes && options.questions().len() == 20 && options.out.starts_with("target"), "{options:?}");
        assert!(parse("--help").expect("valid options").is_none());
        for wrong in ["--only 0", "--only 21", "--only x", "--only", "--out", "--live"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn questions_are_numbered_from_one_to_twenty() {
        assert!(ALL.iter().map(|it| it.number).eq(1..=20));
    }
}
