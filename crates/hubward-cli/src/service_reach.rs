//! Connects to the service that the arguments select: by a login, or through the admin port of an emulator.

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
    /// The emulator. `None` if the command uses a login.
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
    /// Returns a client of the DPS that the arguments select.
    ///
    /// # Errors
    /// Returns the errors of [`LoginArgs::read`]. Also returns an error if the emulator does not answer, or if `--host`
    /// is not a name of its DPS.
    pub(crate) async fn reach_dps(&self) -> Result<Reached<DpsService>, Failure> {
        if let Some(emulator) = self.emulator(Service::Dps).await? {
            let host = self.name_there(&emulator, Service::Dps)?;
            return Ok(Reached { service: emulator.admin.dps(), host, login: None, emulator: Some(emulator) });
        }
        let login = self.read(Service::Dps)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.dps()?, host, login: Some(login.login), emulator: None })
    }

    /// Returns a client of the hub that the arguments select.
    ///
    /// # Errors
    /// Returns the errors of [`LoginArgs::read`]. Also returns an error if the emulator does not answer, or if `--host`
    /// is not a name of one of its hubs. Without `--host`, returns an error if the emulator does not have exactly one
    /// hub.
    pub(crate) async fn reach_hub(&self) -> Result<Reached<HubService>, Failure> {
        if let Some(emulator) = self.emulator(Service::Hub).await? {
            let host = self.name_there(&emulator, Service::Hub)?;
            return Ok(Reached { service: emulator.admin.hub(&host), host, login: None, emulator: Some(emulator) });
        }
        let login = self.read(Service::Hub)?;
        let host = login.login.host().to_owned();
        Ok(Reached { service: login.hub()?, host, login: Some(login.login), emulator: None })
    }

    /// Returns the emulator that `--emulator` selects. `--emulator` without a URL selects the emulator that the
    /// variable `HUBWARD_EMULATOR_ADMIN` names. If the variable is not set, it selects the emulator on this machine.
    ///
    /// If neither `--emulator` nor a login is given, the variable selects the emulator. Returns `None` if nothing
    /// selects an emulator.
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

    /// Returns the name of the hub or DPS in the emulator. `--host` selects the name. Without `--host`, returns the
    /// only hub, or the first name of the DPS.
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
    /// Returns the names of the emulator's hubs, or the names of its DPS.
    fn names(&self, service: Service) -> Vec<&str> {
        match service {
            // Add `localhost`: the login that the emulator prints for its DPS contains this name.
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

/// Selects a name from `names`. `wanted` is a whole name, or a short name without the domain of the service in Azure.
///
/// Without `wanted`, returns the first name of a DPS, because all its names belong to the same DPS. For a hub without
/// `wanted`, returns the name only if `names` contains exactly one.
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
    /// Returns the admin port of the emulator that has this hub: see [`Reached::admin_port`].
    pub(crate) async fn admin(&self, args: &LoginArgs) -> Result<Option<AdminPort>, Failure> {
        self.admin_port(args, "hubs").await
    }
}

impl Reached<DpsService> {
    /// Returns the admin port of the emulator that has this DPS: see [`Reached::admin_port`].
    pub(crate) async fn admin(&self, args: &LoginArgs) -> Result<Option<AdminPort>, Failure> {
        self.admin_port(args, "dpsHosts").await
    }
}

impl<S> Reached<S> {
    /// Returns the admin port of the emulator that has this service. `member` of the emulator's health report contains
    /// the names of its services of this kind.
    ///
    /// If the command uses an emulator in place of a login, returns the admin port of this emulator. After a login with
    /// a connection string, the port is not known, because the string does not contain it. The function then uses the
    /// emulator that `HUBWARD_EMULATOR_ADMIN` names. If the variable is not set, it uses the emulator on this machine.
    ///
    /// A host name in Azure is an exception. For such a name, returns an admin port only if the variable names an
    /// emulator that has a service with this name. Otherwise returns `None`.
    async fn admin_port(&self, args: &LoginArgs, member: &str) -> Result<Option<AdminPort>, Failure> {
        if let Some(emulator) = &self.emulator {
            return Ok(Some(emulator.admin.clone()));
        }
        let named = variable(EMULATOR_ADMIN).map(|url| at(EMULATOR_ADMIN, &url, args)).transpose()?;
        if !is_azure(&self.host) {
            return named
                .map_or_else(|| at("the emulator on this machine", &running_or_default(None), args), Ok)
                .map(Some);
        }
        // The host name belongs to Azure, but an emulator may have a service with the same name.
        let Some(admin) = named else { return Ok(None) };
        let facts = facts(&admin).await.unwrap_or_default();
        let has_it = texts(&facts[member]).any(|it| it.eq_ignore_ascii_case(&self.host));
        Ok(has_it.then_some(admin))
    }
}

/// Whether the host name belongs to Azure.
fn is_azure(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let services = ["azure-devices", "azure-devices-provisioning"];
    let mut domains = services.iter().flat_map(|it| ["net", "cn", "us"].map(|top| format!(".{it}.{top}")));
    domains.any(|it| host.ends_with(&it))
}

/// Adds a hint to the failure if no emulator answered.
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
            ("contoso.azure-devices-provisioning.net", true),
            ("localhost", false),
            ("azure-devices.net.example", false),
        ] {
            assert_eq!(is_azure(host), expected, "{host}");
        }
    }
}
