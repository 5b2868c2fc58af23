//! Tests the client of the service APIs against the emulator. The client logs in with a policy over TLS, or uses the
//! admin port without a login.

mod certificates;
mod dps;
mod hub;
mod logins;

use hubward_service::{AdminPort, DialOverride, DpsService, HubService, ServiceLogin, ServiceOptions, TlsSettings};
use hubward_tests::cloud::{Cloud, HUB};

/// Options for connecting to the emulator.
fn options(cloud: &Cloud) -> ServiceOptions {
    let rules = DialOverride::parse_list(&format!(":443:{}", cloud.emulator.https_addr())).expect("a rule");
    ServiceOptions::new().tls(TlsSettings::new().ca_file(cloud.emulator.ca_file())).dial_overrides(rules)
}

/// Returns two clients of the hub. The first one logs in with `iothubowner`, and the second one uses the admin port.
fn hubs(cloud: &Cloud) -> [HubService; 2] {
    let text = cloud.emulator.hub_connection_string(HUB).expect("the hub that every emulator has");
    let login = ServiceLogin::from_connection_string(&text).expect("a login");
    [HubService::new(login, &options(cloud)).expect("a CA file"), admin(cloud).hub(HUB)]
}

/// Returns two clients of DPS. The first one logs in with the policy `provisioningserviceowner`, and the second one
/// uses the admin port.
fn all_dps(cloud: &Cloud) -> [DpsService; 2] {
    let login = ServiceLogin::from_connection_string(&cloud.emulator.dps_connection_string()).expect("a login");
    [DpsService::new(login, &options(cloud)).expect("a CA file"), admin(cloud).dps()]
}

fn admin(cloud: &Cloud) -> AdminPort {
    AdminPort::new(&cloud.emulator.ready().admin, &ServiceOptions::new()).expect("a URL")
}
