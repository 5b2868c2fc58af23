//! The options that several commands of `hubward x509` have.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use clap::Args;
use hubward_x509::{Certificate, CertificateError};
use rcgen::SanType;
use x509_cert::der::DateTime;
use zeroize::Zeroizing;

use crate::certificate_args::passphrase;
use crate::failure::Failure;
use crate::lab::{COMMON_NAME_MAX, Curve, Issuer, Key, Validity, days_long};

/// The longest validity in days: about 100 years.
const DAYS_MAX: i64 = 36_500;

#[derive(Debug, Args)]
pub(super) struct ValidityArgs {
    /// Days until the end of the validity [default: 3650 for an authority, 365 for a device]
    #[arg(long, value_name = "DAYS", conflicts_with = "not_after",
          value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: Option<u32>,
    /// Start of the validity, such as 2026-01-31 or 2026-01-31T08:00:00Z.
    ///
    /// The default is one hour ago, for machines whose clock is slow.
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_before: Option<SystemTime>,
    /// End of the validity, in the same form; a time in the past is allowed.
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_after: Option<SystemTime>,
}

/// The key of the new certificate: a new one, or one from a file.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Curve of the new key.
    #[arg(long, value_name = "CURVE", default_value = "p256")]
    curve: Curve,
    /// File for the new key [default: NAME.key]
    #[arg(long, value_name = "FILE")]
    pub(super) key_out: Option<PathBuf>,
    /// File with a passphrase that encrypts the new key; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File with an existing private key (EC or RSA) to use in place of a new one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["curve", "key_out", "passphrase_file"])]
    key_file: Option<PathBuf>,
    /// File with the passphrase of --key-file; `-` reads standard input.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    key_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct IssuerArgs {
    /// File with the certificate of the issuer, followed by those of its issuers.
    #[arg(long, value_name = "FILE")]
    issuer_cert: PathBuf,
    /// File with the private key of the issuer (EC or RSA).
    #[arg(long, value_name = "FILE")]
    issuer_key: PathBuf,
    /// File with the passphrase of the issuer's key; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    issuer_passphrase_file: Option<PathBuf>,
}

/// Like [`IssuerArgs`], for a command that can also create a self-signed certificate.
#[derive(Debug, Args)]
pub(super) struct OptionalIssuerArgs {
    /// File with the certificate of the issuer, followed by those of its issuers.
    ///
    /// Without an issuer, the certificate is self-signed.
    #[arg(long, value_name = "FILE", requires = "issuer_key")]
    issuer_cert: Option<PathBuf>,
    /// File with the private key of the issuer (EC or RSA).
    #[arg(long, value_name = "FILE", requires = "issuer_cert")]
    issuer_key: Option<PathBuf>,
    /// File with the passphrase of the issuer's key; `-` reads standard input.
    #[arg(long, value_name = "FILE", requires = "issuer_key")]
    issuer_passphrase_file: Option<PathBuf>,
}

/// Where the files go.
#[derive(Debug, Args)]
pub(super) struct FolderArgs {
    /// Folder for the files, created if it is missing [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub(super) out_dir: Option<PathBuf>,
    /// Replace existing files.
    #[arg(long)]
    pub(super) force: bool,
}

impl ValidityArgs {
    /// Returns the validity of a certificate that is created at `now`. `days` is the default of `--days`.
    pub(super) fn validity(&self, now: SystemTime, days: u32) -> Result<Validity, Failure> {
        let default = Validity::days(now, self.days.unwrap_or(days));
        let not_before = self.not_before.unwrap_or(default.not_before);
        let not_after = match (self.not_after, self.not_before) {
            (Some(not_after), _) => not_after,
            (None, Some(not_before)) => not_before + days_long(self.days.unwrap_or(days)),
            (None, None) => default.not_after,
        };
        if not_after <= not_before {
            return Err(Failure::usage("--not-after must be later than the start of the validity")
                .hint("for an expired certificate, also set --not-before"));
        }
        DateTime::from_system_time(not_after)
            .map_err(|_| Failure::usage("the validity ends after the year 9999").hint("use fewer days"))?;
        Ok(Validity { not_before, not_after })
    }
}

impl KeyArgs {
    /// Creates the key, or reads it from its file.
    pub(super) fn key(&self) -> Result<Key, Failure> {
        match &self.key_file {
            None => Key::generate(self.curve),
            Some(file) => {
                let passphrase = passphrase(self.key_passphrase_file.as_deref())?;
                Key::from_file(file, passphrase.as_ref().map(|it| it.as_str()))
                    .map_err(|it| refused("--key-file", "--key-passphrase-file", &it))
            }
        }
    }

    /// The passphrase for the new key, if there is one.
    pub(super) fn new_passphrase(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let passphrase = passphrase(self.passphrase_file.as_deref())?;
        if passphrase.as_ref().is_some_and(|it| it.is_empty()) {
            return Err(Failure::usage("--passphrase-file: the passphrase is empty").hint("write it to the file"));
        }
        Ok(passphrase)
    }

    /// Whether a passphrase encrypts the key.
    pub(super) const fn is_encrypted(&self) -> bool {
        self.passphrase_file.is_some() || self.key_passphrase_file.is_some()
    }

    /// The files that the options read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        paths([&self.key_file, &self.key_passphrase_file, &self.passphrase_file])
    }

    /// The file with the key, if the key is not new.
    pub(super) fn existing(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }
}

impl IssuerArgs {
    /// Reads the issuer.
    pub(super) fn issuer(&self) -> Result<Issuer, Failure> {
        issuer(&self.issuer_cert, &self.issuer_key, self.issuer_passphrase_file.as_deref())
    }

    /// The files that the options read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        let mut inputs = vec![self.issuer_cert.as_path(), &self.issuer_key];
        inputs.extend(paths([&self.issuer_passphrase_file]));
        inputs
    }
}

impl OptionalIssuerArgs {
    /// Reads the issuer, if there is one.
    pub(super) fn issuer(&self) -> Result<Option<Issuer>, Failure> {
        match (&self.issuer_cert, &self.issuer_key) {
            (Some(certificate), Some(key)) => {
                issuer(certificate, key, self.issuer_passphrase_file.as_deref()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The files that the options read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        paths([&self.issuer_cert, &self.issuer_key, &self.issuer_passphrase_file])
    }

    /// The path of the issuer's certificate, as the user wrote it.
    pub(super) fn certificate_file(&self) -> Option<&Path> {
        self.issuer_cert.as_deref()
    }
}

/// The paths that are set. `-` is standard input, not a file.
fn paths<const N: usize>(options: [&Option<PathBuf>; N]) -> Vec<&Path> {
    options.into_iter().filter_map(Option::as_deref).filter(|it| it.as_os_str() != "-").collect()
}

fn issuer(certificate: &Path, key: &Path, passphrase_file: Option<&Path>) -> Result<Issuer, Failure> {
    let of_key = |it: CertificateError| refused("--issuer-key", "--issuer-passphrase-file", &it);
    let passphrase = passphrase(passphrase_file)?;
    let chain = Certificate::chain_from_file(certificate).map_err(|it| refused("--issuer-cert", "", &it))?;
    let key = Key::from_file(key, passphrase.as_ref().map(|it| it.as_str())).map_err(of_key)?;
    Issuer::new(chain, key).map_err(|error| match error {
        CertificateError::KeyMismatch { .. } => {
            of_key(error).hint("--issuer-cert must begin with the certificate whose private key --issuer-key contains")
        }
        error => refused("--issuer-cert", "", &error),
    })
}

/// The failure for a file of a certificate or key that cannot be used. `flag` names the file. The hint for a missing or
/// wrong passphrase names `passphrase_flag`.
pub(super) fn refused(flag: &str, passphrase_flag: &str, error: &CertificateError) -> Failure {
    let hint = match error {
        CertificateError::PassphraseNeeded { .. } | CertificateError::WrongPassphrase { .. } => {
            format!("{} ({passphrase_flag})", error.advice())
        }
        _ => error.advice().to_owned(),
    };
    Failure::usage(format!("{flag}: {error}")).hint(hint)
}

/// Checks a common name.
pub(super) fn common_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("the common name is empty".to_owned()),
        length if length > COMMON_NAME_MAX => {
            Err(format!("the common name has {length} characters; at most {COMMON_NAME_MAX} are allowed"))
        }
        _ if text.chars().any(char::is_control) => Err("the common name contains a control character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Parses a subject alternative name: an IP address or a DNS name.
pub(super) fn alternative_name(text: &str) -> Result<SanType, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) if text.is_empty() || !text.is_ascii() || text.contains(char::is_whitespace) => {
            Err("the name must be a DNS name in ASCII, or an IP address".to_owned())
        }
        Err(_) => text.try_into().map(SanType::DnsName).map_err(|error: rcgen::Error| error.to_string()),
    }
}

/// Parses a date, or a date with a time in UTC.
fn time(text: &str) -> Result<SystemTime, String> {
    let full = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time = DateTime::from_str(&full).map_err(|_| "write 2026-01-31 or 2026-01-31T08:00:00Z (UTC)".to_owned())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(time.unix_duration().as_secs()))
}

/// The name of a file for a common name. Letters, digits, `.`, `_` and `-` stay. Any other character becomes `-`.
pub(super) fn file_name(common_name: &str, extension: &str) -> String {
    let kept = |it: char| it.is_alphanumeric() || matches!(it, '.' | '_' | '-');
    let name: String = common_name.chars().map(|it| if kept(it) { it } else { '-' }).collect();
    // A leading dot hides the file, and a leading hyphen looks like an option.
    let start = if name.starts_with(['.', '-']) { "_" } else { "" };
    format!("{start}{name}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_a_date_with_a_time() {
        for (text, seconds) in [
            ("1970-01-02", Some(86_400)),
            ("1970-01-01T00:00:10Z", Some(10)),
            ("2026-02-30", None),
            ("2026-01-31T08:00:00+01:00", None),
            ("31.01.2026", None),
            ("", None),
        ] {
            let expected = seconds.map(|it| SystemTime::UNIX_EPOCH + Duration::from_secs(it));
            assert_eq!(time(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_name_contains_no_separator_and_is_no_option() {
        for (name, expected) in [
            ("dev-1", "dev-1.pem"),
            ("dev-1/mod 1", "dev-1-mod-1.pem"),
            ("../etc", "_..-etc.pem"),
            ("-x", "_-x.pem"),
            ("Gerät", "Gerät.pem"),
        ] {
            assert_eq!(file_name(name, "pem"), expected, "{name}");
        }
    }

    #[test]
    fn a_common_name_has_1_to_64_characters() {
        for (name, is_valid) in [("", false), ("a\nb", false), (&"x".repeat(64), true), (&"x".repeat(65), false)] {
            assert_eq!(common_name(name).is_ok(), is_valid, "{name}");
        }
    }

    #[test]
    fn the_validity_ends_after_its_start() {
        let day = |day: u32| SystemTime::UNIX_EPOCH + days_long(day);
        let args = |days, not_before: Option<u32>, not_after: Option<u32>| ValidityArgs {
            days,
            not_before: not_before.map(day),
            not_after: not_after.map(day),
        };
        let hour = Duration::from_secs(3600);
        for (args, expected) in [
            (args(None, None, None), Some((day(100) - hour, day(107)))),
            (args(Some(3), None, None), Some((day(100) - hour, day(103)))),
            (args(Some(3), Some(5), None), Some((day(5), day(8)))),
            (args(None, Some(5), Some(6)), Some((day(5), day(6)))),
            (args(None, Some(6), Some(6)), None),
            (args(None, None, Some(6)), None),
        ] {
            let validity = args.validity(day(100), 7).ok().map(|it| (it.not_before, it.not_after));
            assert_eq!(validity, expected, "{args:?}");
        }
    }
}
