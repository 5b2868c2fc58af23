//! Connects to the service that the arguments select: a service by its login, or an emulator by its admin port.

use hubward_service::{AdminPort, DpsService, HubService, Method, ServiceLogin, ServiceOptions};
use serde_json::Value;

use crate::environment::{EMULATOR_ADMIN, variable};
use crate::failure::Failure;
use crate::local_emulator::{self, admin_port, running_or_default};
use crate::service_login::{LoginArgs, Service};

/// A service that is ready for requests.
#[derive(Debug)]
pub(crate) struct Reached<S> {
    /// The client of the service's API.
    pub(crate) service: S,
    /// The service's host name, in the form that connection strings use.
    pub(crate) host: String,
    /// The login; `None` for an emulator's admin port.
    pub(crate) login: Option<ServiceLogin>,
    /// The emulator, if the service is reached through its admin port.
    pub(crate) emulator: Option<Emulator>,
}

/// An emulator that is reached through its admin port.
#[derive(Debug)]
pub(crate) struct Emulator {
    /// The admin port.
    pub(crate) admin: AdminPort,
    /// The URL of the admin port, as the user wrote it.
    pub(crate) url: String,
    /// The emulator's health report: addresses, names, the ID scope, the CA file.
    pub(crate) facts: Value,
}

impl LoginArgs {
    /// The DPS that the arguments select.
    ///
    /// # Errors
    /// The errors of [`LoginArgs::read`], or that no emulator answers.
    pub(crate) async fn reach_dps(&self) -> Result<Reached<DpsService>, Failure> {
        if let Some(emulator) = self.emulator(Service::Dps).await? {
            let host = self.name_there(&emulator, Service::Dps)?;
            return Ok(Reached { service: emulator.admin.dps(), host, login: None, emulator: Some(emulator) });
        }
        let login = self.read(Service::Dps)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.dps()?, host, login: Some(login.login), emulator: None })
    }

    /// The hub that the arguments select.
    ///
    /// # Errors
    /// The errors of [`LoginArgs::read`], or that no emulator answers.
    pub(crate) async fn reach_hub(&self) -> Result<Reached<HubService>, Failure> {
        if let Some(emulator) = self.emulator(Service::Hub).await? {
            let host = self.name_there(&emulator, Service::Hub)?;
            return Ok(Reached { service: emulator.admin.hub(&host), host, login: None, emulator: Some(emulator) });
        }
        let login = self.read(Service::Hub)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.hub()?, host, login: Some(login.login), emulator: None })
    }

    /// The emulator that `--emulator` selects. If no login is given, the variable also selects an emulator. Otherwise
    /// `None`.
    async fn emulator(&self, service: Service) -> Result<Option<Emulator>, Failure> {
        let by_variable = || variable(EMULATOR_ADMIN).map(|url| (EMULATOR_ADMIN, url));
        let (by, url) = match &self.emulator {
            Some(Some(url)) => ("--emulator", url.clone()),
            Some(None) => by_variable().unwrap_or_else(|| ("the emulator on this machine", running_or_default(None))),
            None if self.is_given() || variable(service.variable()).is_some() => return Ok(None),
            None => match by_variable() {
                Some(named) => named,
                None => return Ok(None),
            },
        };
        let admin = at(by, &url, self)?;
        let facts = facts(&admin).await?;
        Ok(Some(Emulator { admin, url, facts }))
    }

    /// The name of the hub or DPS in the emulator: the name from `--host`, or the only name.
    fn name_there(&self, emulator: &Emulator, service: Service) -> Result<String, Failure> {
        let names = emulator.names(service);
        let wanted = self.host.as_deref().map(str::trim).filter(|it| !it.is_empty());
        pick(&names, wanted, service).map(str::to_owned).ok_or_else(|| {
            let message = match (wanted, service) {
                (Some(wanted), Service::Hub) => format!("the emulator has no hub with the name {wanted}"),
                (Some(wanted), Service::Dps) => format!("the DPS of the emulator does not have the name {wanted}"),
                (None, _) => format!("the emulator has {} hubs, so the command needs a name", names.len()),
            };
            Failure::usage(message).hint(format!("add --host NAME with one of: {}", names.join(", ")))
        })
    }
}

impl Emulator {
    /// The names of the emulator's hubs, or of its DPS.
    fn names(&self, service: Service) -> Vec<&str> {
        match service {
            // The emulator's own login for its DPS contains this name.
            Service::Dps => texts(&self.facts["dpsHosts"]).chain(["localhost"]).collect(),
            Service::Hub => texts(&self.facts["hubs"]).collect(),
        }
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The emulator's health report.
async fn facts(admin: &AdminPort) -> Result<Value, Failure> {
    let mut health: Value = admin.call(Method::GET, "/health").await.map_err(|error| absent(error.into()))?;
    Ok(health["emulator"].take())
}

/// The name from `names` that equals `wanted` or begins with it as a short name. If `wanted` is `None`, returns the
/// first name for a DPS, because all names of a DPS have the same state. For a hub, returns the name only if it is the
/// only one.
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
    admin_port(url, &options).map_err(|mut failure| {
        failure.messages[0] = format!("{by}: {}", failure.messages[0]);
        failure
    })
}

impl Reached<HubService> {
    /// The admin port of the emulator that has this hub, even if the command used the hub's login. The emulator is the
    /// one that the variable names, otherwise the one on this machine. `None` for a hub in Azure.
    pub(crate) async fn admin(&self, args: &LoginArgs) -> Result<Option<AdminPort>, Failure> {
        if let Some(emulator) = &self.emulator {
            return Ok(Some(emulator.admin.clone()));
        }
        let named = variable(EMULATOR_ADMIN).map(|url| at(EMULATOR_ADMIN, &url, args)).transpose()?;
        if !is_azure(&self.host) {
            return named
                .map_or_else(|| at("the emulator on this machine", &running_or_default(None), args), Ok)
                .map(Some);
        }
        // A hub of an emulator may have the name of a hub in Azure.
        let Some(admin) = named else { return Ok(None) };
        let facts = facts(&admin).await.unwrap_or_default();
        let has_it = texts(&facts["hubs"]).any(|it| it.eq_ignore_ascii_case(&self.host));
        Ok(has_it.then_some(admin))
    }
}

/// Whether the host name belongs to Azure.
fn is_azure(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    [".azure-devices.net", ".azure-devices.cn", ".azure-devices.us"].iter().any(|it| host.ends_with(it))
}

/// Adds a hint if no emulator answers.
pub(crate) fn absent(failure: Failure) -> Failure {
    local_emulator::absent(failure, "--emulator=URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_picked_only_if_it_is_unambiguous() {
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

    #[test]
    fn only_host_names_below_azures_domains_are_azure() {
        for (host, expected) in [
            ("contoso.azure-devices.net", true),
            ("Contoso.Azure-Devices.cn", true),
            ("localhost", false),
            ("azure-devices.net.example", false),
        ] {
            assert_eq!(is_azure(host), expected, "{host}");
        }
    }
}
