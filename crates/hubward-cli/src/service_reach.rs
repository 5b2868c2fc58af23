//! From arguments to a service: the real one by its login, or an emulator by its admin port.

use hubward_service::{AdminPort, DpsService, HubService, Method, ServiceLogin, ServiceOptions};
use serde_json::Value;

use crate::EMULATOR_ADMIN;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::service_login::{LoginArgs, Service};

/// A service that can be asked.
#[derive(Debug)]
pub(crate) struct Reached<S> {
    /// Its API.
    pub(crate) service: S,
    /// Its host name, as connection strings have it.
    pub(crate) host: String,
    /// The login, if it is no emulator's admin port.
    pub(crate) login: Option<ServiceLogin>,
    /// The admin port, if it is one.
    pub(crate) admin: Option<AdminPort>,
}

impl LoginArgs {
    /// The DPS that is meant.
    ///
    /// # Errors
    /// What [`LoginArgs::read`] says, or that no emulator answers.
    pub(crate) async fn reach_dps(&self) -> Result<Reached<DpsService>, Failure> {
        if let Some(admin) = self.admin_port(Service::Dps)? {
            let host = self.name_there(&admin, Service::Dps).await?;
            return Ok(Reached { service: admin.dps(), host, login: None, admin: Some(admin) });
        }
        let login = self.read(Service::Dps)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.dps()?, host, login: Some(login.login), admin: None })
    }

    /// The hub that is meant.
    ///
    /// # Errors
    /// What [`LoginArgs::read`] says, or that no emulator answers.
    pub(crate) async fn reach_hub(&self) -> Result<Reached<HubService>, Failure> {
        if let Some(admin) = self.admin_port(Service::Hub)? {
            let host = self.name_there(&admin, Service::Hub).await?;
            return Ok(Reached { service: admin.hub(&host), host, login: None, admin: Some(admin) });
        }
        let login = self.read(Service::Hub)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.hub()?, host, login: Some(login.login), admin: None })
    }

    /// The emulator that is meant, if one is: by `--emulator`, or by its variable where there is no
    /// login.
    fn admin_port(&self, service: Service) -> Result<Option<AdminPort>, Failure> {
        let by_variable = || crate::variable(EMULATOR_ADMIN);
        match &self.emulator {
            Some(Some(url)) => at("--emulator", url, self).map(Some),
            Some(None) => match by_variable() {
                Some(url) => at(EMULATOR_ADMIN, &url, self).map(Some),
                None => at("the emulator that runs here", &running(), self).map(Some),
            },
            None if self.is_given() || crate::variable(service.variable()).is_some() => Ok(None),
            None => by_variable().map(|url| at(EMULATOR_ADMIN, &url, self)).transpose(),
        }
    }

    /// The name of the hub or DPS at an emulator: the one that was typed, or the only one.
    async fn name_there(&self, admin: &AdminPort, service: Service) -> Result<String, Failure> {
        let health: Value = admin.call(Method::GET, "/health").await.map_err(|error| absent(error.into()))?;
        let list = match service {
            Service::Dps => &health["emulator"]["dpsHosts"],
            Service::Hub => &health["emulator"]["hubs"],
        };
        let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted = self.host.as_deref().map(str::trim).filter(|it| !it.is_empty());
        pick(&names, wanted, service).map(str::to_owned).ok_or_else(|| {
            let asked = wanted.map_or_else(|| "none is named".to_owned(), |it| format!("none of them is {it}"));
            Failure::usage(format!("the emulator has more than one name for {}, and {asked}", service.name()))
                .hint(format!("--host NAME, one of: {}", names.join(", ")))
        })
    }
}

/// The one of `names` that is meant: as it is typed, or by its first part. Without a name the first of
/// a DPS, which has one state under all its names, and the only one of hubs.
fn pick<'a>(names: &[&'a str], wanted: Option<&str>, service: Service) -> Option<&'a str> {
    match wanted {
        Some(wanted) => {
            let long = format!("{wanted}{}", service.domain());
            let fits = |it: &&&str| it.eq_ignore_ascii_case(wanted) || it.eq_ignore_ascii_case(&long);
            names.iter().find(fits).copied()
        }
        None if names.len() == 1 || service == Service::Dps => names.first().copied(),
        None => None,
    }
}

fn at(by: &str, url: &str, args: &LoginArgs) -> Result<AdminPort, Failure> {
    let options = ServiceOptions::new().deadline(args.request_timeout);
    AdminPort::new(url, &options).map_err(|error| {
        Failure::usage(format!("{by}: {error}")).hint("the emulator prints it at its start: http://127.0.0.1:8480")
    })
}

/// The URL of the emulator that runs with the usual data directory, or of the usual port.
fn running() -> String {
    #[cfg(feature = "emulator")]
    if let Some(running) =
        crate::commands::emulator::data_dir(None).ok().and_then(|it| crate::commands::emulator::Running::with(&it))
    {
        return running.admin;
    }
    "http://127.0.0.1:8480".to_owned()
}

/// The admin port of an emulator that was reached by the login of its hub: the one that the variable
/// names, or else the one that runs here.
pub(crate) fn admin_beside(args: &LoginArgs) -> Result<AdminPort, Failure> {
    match crate::variable(EMULATOR_ADMIN) {
        Some(url) => at(EMULATOR_ADMIN, &url, args),
        None => at("the emulator that runs here", &running(), args),
    }
}

/// What to do where nobody answers.
pub(crate) fn absent(mut failure: Failure) -> Failure {
    if failure.exit_code == ExitCode::Network {
        failure.hint = Some(format!(
            "start one: hubward emulator; or name the admin port of a running one: --emulator=URL, {EMULATOR_ADMIN}"
        ));
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_picked_where_there_is_no_doubt() {
        let (one, two) = (["localhost"], ["a.azure-devices.net", "b"]);
        for (names, wanted, service, expected) in [
            (&one[..], None, Service::Hub, Some("localhost")),
            (&two[..], None, Service::Hub, None),
            (&two[..], None, Service::Dps, Some("a.azure-devices.net")),
            (&two[..], Some("A"), Service::Hub, Some("a.azure-devices.net")),
            (&two[..], Some("B"), Service::Hub, Some("b")),
            (&two[..], Some("c"), Service::Hub, None),
            (&one[..], Some("other"), Service::Dps, None),
            (&[], None, Service::Hub, None),
        ] {
            assert_eq!(pick(names, wanted, service), expected, "{names:?} {wanted:?}");
        }
    }
}
