//! Authorization at the hub service API.

use http::request::Parts;

use super::path::{Action, is_for_devices};
use super::problem::Problem;
use crate::services::access::{Denied, token};
use crate::services::api::api_version;
use crate::services::cloud::Cloud;
use crate::services::hub::Code;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Policy, hub_policy};

const API_VERSIONS: [&str; 17] = [
    "2016-02-03",
    "2016-11-14",
    "2017-06-30",
    "2017-11-08-preview",
    "2018-01-16",
    "2018-03-01-preview",
    "2018-04-01",
    "2018-06-30",
    "2018-08-30-preview",
    "2019-03-30",
    "2019-07-01-preview",
    "2019-10-01",
    "2020-03-13",
    "2020-05-31-preview",
    "2020-09-30",
    "2021-04-12",
    "2024-03-31",
];

/// Authorizes a request. Returns the name of the hub in lower case, and the requested operation.
///
/// If `hub` is `Some`, the caller of this function has already authorized the request. This function then checks
/// neither the host nor the token of the request.
///
/// For a request of the device API, this function returns an empty hub name and the operation. It does not check the
/// token of such a request, because a device signs it with its own token.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md; iot-hub/troubleshoot-error-codes.md for the messages of
/// 401003.
pub(crate) fn admit(cloud: &Cloud, hub: Option<&str>, path: &str, head: &Parts) -> Result<(String, Action), Problem> {
    let method = head.method.as_str();
    if let Some(hub) = hub.map(str::to_ascii_lowercase) {
        if cloud.store.read(|state| !state.hubs.contains_key(&hub)) {
            return Err(Problem::new(Code::IotHubNotFound, format!("There is no hub `{hub}`.")));
        }
        return Ok((hub, Action::parse(method, path)?));
    }
    if is_for_devices(method, path) {
        // A device signs a request of the device API with its own token. Do not check that token here.
        return Ok((String::new(), Action::parse(method, path)?));
    }
    let refuse = |denied: Denied| {
        let problem = refuse(denied);
        record_refusal(cloud, head, denied.why(), problem.code);
        problem
    };
    let names = cloud.access.hub(&head.headers).map_err(refuse)?;
    let token = token(&head.headers).map_err(refuse)?;
    let Some(policy) = token.policy().and_then(Policy::named) else {
        return Err(refuse(Denied::Token("the token names no policy of the hub")));
    };
    let checked = cloud.store.read(|state| {
        let keys = state.policies.get(&hub_policy(names.hub, policy));
        names.check(&token, keys, path, cloud.clock.unix())
    });
    checked.map_err(refuse)?;
    let action = Action::parse(method, path)?;
    let rights = action.rights();
    if !rights.is_empty() && !rights.iter().any(|it| policy.gives(*it)) {
        let needed: Vec<&str> = rights.iter().map(|it| it.as_str()).collect();
        let message = format!(
            "Authorization rule '{}' does not allow access for '{method} {path}', which needs {}",
            policy.name(),
            needed.join(" or ")
        );
        record_refusal(cloud, head, &message, Code::IotHubUnauthorized.number());
        return Err(Problem::new(Code::IotHubUnauthorized, message));
    }
    check_version(head.uri.query())?;
    Ok((names.hub.to_owned(), action))
}

/// Records a refused request in the journal.
fn record_refusal(cloud: &Cloud, head: &Parts, why: &str, code: u32) {
    let note = Note::new(EventKind::Refused, EventSource::HubService).code(code);
    cloud.journal.note(note.message(format!("{} {}: {why}", head.method, head.uri.path())));
}

/// Source: `[seen]` many issue traces for `IotHubUnauthorizedAccess;Unauthorized`. Our choice: a request whose `Host`
/// names another server gets 421. The real service has no such case.
fn refuse(denied: Denied) -> Problem {
    tracing::info!(why = denied.why(), "a hub refuses a caller of its service API");
    match denied {
        Denied::NoHost => Problem::generic(400, "The request must have one Host header."),
        Denied::ForeignHost => {
            Problem::generic(421, "The name in the Host header is not a name of a hub of this emulator.")
        }
        Denied::NoToken => Problem::new(Code::IotHubUnauthorized, "Authorization header missing"),
        Denied::Bearer => Problem::new(
            Code::IotHubUnauthorizedAccess,
            "The emulator does not emulate Microsoft Entra tokens. Use a SAS token of a policy.",
        ),
        Denied::Token(_) => Problem::new(Code::IotHubUnauthorizedAccess, "Unauthorized"),
    }
}

/// Source for the accepted versions: `[doc]` azure-rest-api-specs, iothub data plane; `[sdk]` the service SDKs of all
/// years. For 400001: `[seen]` MicrosoftDocs/azure-docs, issues 11156 and 58500, and Azure/Industrial-IoT, issue 708.
/// `[guess]`: unknown versions are refused like retired versions.
fn check_version(query: Option<&str>) -> Result<(), Problem> {
    let version = api_version(query);
    if API_VERSIONS.contains(&version) {
        return Ok(());
    }
    let what = if version.is_empty() { "missing" } else { "unknown" };
    let known = API_VERSIONS.join(", ");
    let message = format!("The api-version is {what}. Known versions: {known}.");
    Err(Problem::new(Code::InvalidProtocolVersion, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_api_versions() {
        for (query, ok) in [
            (Some("api-version=2021-04-12"), true),
            (Some("top=5&API-Version=2024-03-31"), true),
            (Some("api-version=2021-10-01"), false),
            (Some("api-version="), false),
            (None, false),
        ] {
            let checked = check_version(query);
            assert_eq!(checked.is_ok(), ok, "{query:?}");
            assert!(ok || checked.is_err_and(|it| it.code == 400_001), "{query:?}");
        }
    }
}
