//! The login for the commands of operators: the key of a policy, or a Microsoft Entra token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hubward::{DialOverride, vars};
use hubward_service::{DpsService, HubService, ServiceLogin, ServiceOptions, TlsSettings, TrustError};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::keys::{Secret, read_secret_file};
use crate::provisioning::NetworkArgs;
use crate::shell::Shell;

/// The service to which a command sends requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A Device Provisioning Service: enrollments and registrations.
    Dps,
    /// An IoT Hub: identities, twins, methods.
    Hub,
}

impl Service {
    /// The environment variable for the connection string.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Dps => crate::environment::DPS_LOGIN,
            Self::Hub => crate::environment::HUB_LOGIN,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dps => "DPS",
            Self::Hub => "the hub",
        }
    }

    /// Returns the domain of the service in Azure. The host name of an instance is its short name followed by this
    /// domain.
    pub(crate) const fn domain(self) -> &'static str {
        match self {
            Self::Dps => ".azure-devices-provisioning.net",
            Self::Hub => ".azure-devices.net",
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Login")]
pub(crate) struct LoginArgs {
    /// File with the connection string of a policy; `-` reads standard input.
    ///
    /// HostName=…;SharedAccessKeyName=…;SharedAccessKey=…
    ///
    /// [env: PROVISIONING_CONNECTION_STRING for dps, IOTHUB_CONNECTION_STRING for hub: the string itself]
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["login", "bearer_token_file"])]
    login_file: Option<PathBuf>,
    /// Connection string of a policy; visible to other users of this machine.
    ///
    /// Other users can see the connection string in the list of processes. Prefer a file, standard input or the
    /// variable.
    #[arg(long, short, value_name = "CONNSTR", global = true, conflicts_with = "bearer_token_file")]
    login: Option<Secret>,
    /// File with a Microsoft Entra token; needs --host.
    ///
    /// `az account get-access-token` prints such a token.
    #[arg(long, value_name = "FILE", global = true)]
    bearer_token_file: Option<PathBuf>,
    /// Use an emulator without a login [env: HUBWARD_EMULATOR_ADMIN]
    ///
    /// `--emulator=URL` selects the emulator with this admin port. `--emulator` without a URL selects the emulator that
    /// the variable names. If the variable is not set, it selects the emulator on this machine.
    ///
    /// If neither this option nor a login is given, the variable selects the emulator.
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        global = true,
        conflicts_with_all = ["login", "login_file", "bearer_token_file"]
    )]
    pub(crate) emulator: Option<Option<String>>,
    /// Host name of the instance, or its first part.
    ///
    /// This option is required with --bearer-token-file, and with an emulator that has several hubs. A connection
    /// string already contains the host name.
    #[arg(long, short = 'n', value_name = "NAME", global = true, aliases = ["dps-name", "hub-name"])]
    pub(crate) host: Option<String>,
    /// PEM file of authorities to trust in place of the system's [env: HUBWARD_CA_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// Dial ADDR:PORT in place of HOST:PORT; may be repeated [env: HUBWARD_CONNECT_TO]
    ///
    /// Certificates and tokens still use HOST, as with curl's option of this name. In the variable, separate the rules
    /// with commas.
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT", global = true)]
    connect_to: Vec<DialOverride>,
    /// Time limit for each request, including its retries.
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = crate::duration::parse_positive, global = true)]
    pub(crate) request_timeout: Duration,
}

/// The login and the connection options. They are already read from files and variables. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) login: ServiceLogin,
    options: ServiceOptions,
}

impl Login {
    /// The service API of a DPS.
    pub(crate) fn dps(&self) -> Result<DpsService, Failure> {
        DpsService::new(self.login.clone(), &self.options).map_err(|error| untrusted(&error))
    }

    /// The service API of a hub.
    pub(crate) fn hub(&self) -> Result<HubService, Failure> {
        HubService::new(self.login.clone(), &self.options).map_err(|error| untrusted(&error))
    }
}

fn untrusted(error: &TrustError) -> Failure {
    let mut failure = Failure::of_arguments(error);
    failure.hint = Some(format!("check --ca-file or {}: it must name a PEM file of authorities", vars::CA_FILE));
    failure
}

impl LoginArgs {
    /// Whether standard input holds the login.
    pub(crate) fn reads_stdin(&self) -> bool {
        [&self.login_file, &self.bearer_token_file].into_iter().flatten().any(|it| it.as_os_str() == "-")
    }

    /// Whether an argument contains or names a login.
    pub(crate) const fn is_given(&self) -> bool {
        self.login.is_some() || self.login_file.is_some() || self.bearer_token_file.is_some()
    }

    /// Reads the login from the arguments. If they contain none, reads the login from the variables.
    ///
    /// # Errors
    /// If no login is given, the error names all ways to give one. An error never contains a secret.
    pub(crate) fn read(&self, service: Service) -> Result<Login, Failure> {
        let login = self.proof(service)?;
        let (ca_file, connect_to) = self.network()?;
        let tls = ca_file.into_iter().fold(TlsSettings::new(), TlsSettings::ca_file);
        Ok(Login {
            login,
            options: ServiceOptions::new().tls(tls).dial_overrides(connect_to).deadline(self.request_timeout),
        })
    }

    /// Returns the file of trusted authorities and the rules for dialing. Both come from the arguments and the
    /// variables.
    pub(crate) fn network(&self) -> Result<(Option<PathBuf>, Vec<DialOverride>), Failure> {
        let rules = crate::environment::variable(vars::CONNECT_TO).map(|it| DialOverride::parse_list(&it)).transpose();
        let mut connect_to =
            rules.map_err(|error| Failure::usage(format!("{}: {error}", vars::CONNECT_TO)))?.unwrap_or_default();
        let mut ca_file = crate::environment::variable(vars::CA_FILE).map(PathBuf::from);
        let network = NetworkArgs { ca_file: self.ca_file.clone(), connect_to: self.connect_to.clone() };
        network.apply(&mut ca_file, &mut connect_to);
        Ok((ca_file, connect_to))
    }

    /// Returns the login arguments of this command, for another `hubward` command with the same login. The arguments
    /// work in any folder. Each argument has a leading space.
    ///
    /// Returns `None` if the login comes from a variable, from `--login`, or from a file that can be read only once.
    pub(crate) fn again(&self, shell: Shell, emulator: Option<&str>) -> Option<String> {
        let file = self.login_file.as_ref().map(|it| ("--login-file", it));
        let file = file.or_else(|| self.bearer_token_file.as_ref().map(|it| ("--bearer-token-file", it)));
        let mut arguments = match (emulator, file) {
            (Some(url), _) => format!(" {}", shell.word(&format!("--emulator={url}"))),
            (None, Some((flag, file))) if file.is_file() => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                format!(" {flag} {}", shell.word(&file.display().to_string()))
            }
            _ => return None,
        };
        if let Some(host) = &self.host {
            arguments.push_str(&format!(" --host {}", shell.word(host)));
        }
        Some(arguments)
    }

    fn proof(&self, service: Service) -> Result<ServiceLogin, Failure> {
        if let Some(file) = &self.bearer_token_file {
            return self.bearer(service, file);
        }
        let (given, text) = if let Some(file) = &self.login_file {
            (format!("the file {}", file.display()), read_secret_file("login", file)?)
        } else if let Some(login) = &self.login {
            tracing::warn!(
                "the login is on the command line, where other users of this machine can read it; \
                 prefer --login-file or {}",
                service.variable()
            );
            ("--login".to_owned(), Zeroizing::new(login.expose().to_owned()))
        } else if let Some(text) = crate::environment::variable(service.variable()) {
            (service.variable().to_owned(), Zeroizing::new(text))
        } else {
            return Err(self.no_login(service));
        };
        let login = ServiceLogin::from_connection_string(&text).map_err(|problem| {
            Failure::usage(format!("{given}: {problem}"))
                .hint("copy the connection string of a policy: HostName=…;SharedAccessKeyName=…;SharedAccessKey=…")
        })?;
        self.check_host(service, login.host(), &given)?;
        Ok(login)
    }

    fn bearer(&self, service: Service, file: &Path) -> Result<ServiceLogin, Failure> {
        let host = self.full_host(service).ok_or_else(|| {
            Failure::usage("--bearer-token-file needs the name of the instance, because a token does not contain it")
                .hint(format!("add the host name: --host contoso{}", service.domain()))
        })?;
        // Read the file now, to report errors early. If it is a regular file, each request reads it again, because it
        // may contain a newer token by then. A pipe can be read only once, so its token is kept.
        let token = read_secret_file("bearer token", file)?;
        let login = ServiceLogin::bearer(&host, &token)
            .and_then(|login| if file.is_file() { ServiceLogin::bearer_file(&host, file) } else { Ok(login) });
        login.map_err(|error| {
            Failure::usage(format!("--bearer-token-file, --host: {error}"))
                .hint("create the file with: az account get-access-token --output json > FILE")
        })
    }

    /// Returns the host name from `--host`, or `None` if the option is not given. Adds the domain in Azure to a short
    /// name.
    fn full_host(&self, service: Service) -> Option<String> {
        let host = self.host.as_deref().map(str::trim).filter(|it| !it.is_empty())?;
        let is_whole = host.contains(['.', ':']) || host.eq_ignore_ascii_case("localhost");
        Some(if is_whole { host.to_owned() } else { format!("{host}{}", service.domain()) })
    }

    /// Returns an error if `--host` differs from the host name in the connection string.
    fn check_host(&self, service: Service, host: &str, given: &str) -> Result<(), Failure> {
        match self.full_host(service) {
            Some(wanted) if !wanted.eq_ignore_ascii_case(host) => {
                Err(Failure::usage(format!("--host names {wanted}, but {given} holds the login of {host}"))
                    .hint("leave out --host, or give the login of that instance"))
            }
            _ => Ok(()),
        }
    }

    fn no_login(&self, service: Service) -> Failure {
        Failure::usage(format!("no login for {}: neither a connection string nor a token is given", service.name()))
            .hint(format!(
                "put a policy's connection string into {variable}, or into a file: --login-file FILE (`-` reads \
                 standard input); or use a Microsoft Entra token: --bearer-token-file FILE with --host NAME; for \
                 the emulator on this machine use --emulator",
                variable = service.variable()
            ))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        login: LoginArgs,
    }

    fn read(arguments: &[&str]) -> Result<Login, Failure> {
        let cli = Cli::parse_from(std::iter::once("hubward").chain(arguments.iter().copied()));
        cli.login.read(Service::Dps)
    }

    #[test]
    fn the_error_about_an_invalid_login_does_not_contain_its_key() {
        for (text, says) in [
            (format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={KEY};SharedAccessKey=1"), "twice"),
            (format!("HostName=h;SharedAccessKey={KEY}"), "no `SharedAccessKeyName`"),
            ("HostName=h;SharedAccessKeyName=p".to_owned(), "no `SharedAccessKey`"),
            ("HostName=h;SharedAccessKeyName=p;SharedAccessKey=".to_owned(), "key cannot be used"),
            (format!("SharedAccessKeyName=p;SharedAccessKey={KEY}"), "no `HostName`"),
            (format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}"), "of a device"),
            (KEY.to_owned(), "no `HostName`"),
            (format!("HostName=a b;SharedAccessKeyName=p;SharedAccessKey={KEY}"), "host name"),
        ] {
            let failure = read(&["--login", &text]).expect_err(says);
            let text = format!("{failure:?}");
            assert!(failure.messages[0].starts_with("--login: ") && text.contains(says), "{text}");
            assert!(!text.contains(KEY), "{text}");
        }
    }

    #[test]
    fn the_host_must_match_the_connection_string() {
        let text =
            format!("HostName=contoso.azure-devices-provisioning.net;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        for (host, fits) in [
            ("contoso", true),
            ("Contoso.Azure-Devices-Provisioning.net", true),
            ("contoso.azure-devices.net", false),
            ("localhost", false),
        ] {
            let login = read(&["--login", &text, "--dps-name", host]);
            assert_eq!(login.is_ok(), fits, "{host}");
        }
    }

    #[test]
    fn debug_does_not_show_the_key_of_a_login() {
        let text = format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={KEY}");
        let login = read(&["--login", &text]).expect("a login");
        assert_eq!(login.login.host(), "h");
        assert!(!format!("{login:?}").contains(KEY));
    }
}
