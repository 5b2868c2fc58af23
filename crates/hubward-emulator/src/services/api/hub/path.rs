//! Paths of the hub service API.

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::state::model::Right;

/// The operation that a request asks for. Each string is a lock token or a client id: `{device}` or
/// `{device}/{module}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// List devices.
    List,
    /// Bulk request.
    Bulk,
    /// Generate new keys for several identities.
    Regenerate,
    /// Query twins.
    Query,
    GetIdentity(String),
    PutIdentity(String),
    DeleteIdentity(String),
    /// List the modules of a device.
    Modules(String),
    /// Purge the message queue of a device.
    Purge(String),
    /// Send a message to a device.
    Send(String),
    GetTwin(String),
    PatchTwin(String),
    PutTwin(String),
    Invoke(String),
    DeviceStatistics,
    ServiceStatistics,
    Feedback,
    CompleteFeedback(String),
    AbandonFeedback(String),
    /// An operation that the emulator does not support. The text describes the operation and what to use instead.
    NotEmulated(&'static str),
}

impl Action {
    /// Parses the method and the path of a request. Ignores the letter case of the fixed segments, because the SDKs
    /// write these segments in different letter case.
    ///
    /// Source: `[sdk]` azure-iot-hub (Python) and azure-iothub (Node).
    pub(super) fn parse(method: &str, path: &str) -> Result<Self, Problem> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let lower: Vec<String> = parts.iter().map(|it| it.to_ascii_lowercase()).collect();
        let segments: Vec<&str> = lower.iter().map(String::as_str).collect();
        if let Some(action) = Self::not_emulated(method, &segments) {
            return Ok(action);
        }
        let nothing = || Problem::generic(404, "There is nothing at this path.");
        // Refuse a device id that contains `/`: as a client id, it would name a module (`{device}/{module}`).
        let name = |at: usize| {
            let name = percent_decode_str(parts.get(at).copied()?).decode_utf8().ok()?.into_owned();
            (!name.is_empty() && !name.contains('/')).then_some(name)
        };
        let device = || name(1).ok_or_else(nothing);
        let module = || Ok::<_, Problem>(format!("{}/{}", device()?, name(3).ok_or_else(nothing)?));
        Ok(match (method, segments.as_slice()) {
            // One SDK adds a slash to the path of the list.
            ("GET", ["devices"] | ["devices", ""]) => Self::List,
            ("POST", ["devices"] | ["devices", ""]) => Self::Bulk,
            ("POST", ["devices", "query"]) => Self::Query,
            ("POST", ["devices", "keys", "regenerate"]) => Self::Regenerate,
            ("GET", ["devices", _]) => Self::GetIdentity(device()?),
            ("PUT", ["devices", _]) => Self::PutIdentity(device()?),
            ("DELETE", ["devices", _]) => Self::DeleteIdentity(device()?),
            ("GET", ["devices", _, "modules"]) => Self::Modules(device()?),
            ("GET", ["devices", _, "modules", _]) => Self::GetIdentity(module()?),
            ("PUT", ["devices", _, "modules", _]) => Self::PutIdentity(module()?),
            ("DELETE", ["devices", _, "modules", _]) => Self::DeleteIdentity(module()?),
            ("DELETE", ["devices", _, "commands"]) => Self::Purge(device()?),
            ("POST", ["devices", _, "messages", "devicebound"]) => Self::Send(device()?),
            ("GET", ["twins", _]) => Self::GetTwin(device()?),
            ("PATCH", ["twins", _]) => Self::PatchTwin(device()?),
            ("PUT", ["twins", _]) => Self::PutTwin(device()?),
            ("POST", ["twins", _, "methods"]) => Self::Invoke(device()?),
            ("GET", ["twins", _, "modules", _]) => Self::GetTwin(module()?),
            ("PATCH", ["twins", _, "modules", _]) => Self::PatchTwin(module()?),
            ("PUT", ["twins", _, "modules", _]) => Self::PutTwin(module()?),
            ("POST", ["twins", _, "modules", _, "methods"]) => Self::Invoke(module()?),
            ("GET", ["statistics", "devices"]) => Self::DeviceStatistics,
            ("GET", ["statistics", "service"]) => Self::ServiceStatistics,
            ("GET", ["messages", "servicebound", "feedback"]) => Self::Feedback,
            ("DELETE", ["messages", "servicebound", "feedback", _]) => {
                Self::CompleteFeedback(name(3).ok_or_else(nothing)?)
            }
            ("POST", ["messages", "servicebound", "feedback", _, "abandon"]) => {
                Self::AbandonFeedback(name(3).ok_or_else(nothing)?)
            }
            _ if allowed(path, method).is_empty() => return Err(nothing()),
            _ => return Err(Problem::generic(405, "The path does not have this method.")),
        })
    }

    fn not_emulated(method: &str, segments: &[&str]) -> Option<Self> {
        if is_send(method, segments) {
            return None;
        }
        Some(Self::NotEmulated(match segments {
            ["jobs", ..] => "jobs (/jobs). Change twins and call methods one by one, or with POST /devices",
            ["configurations", ..] => "configurations (/configurations)",
            ["digitaltwins", ..] => "the digital twin API (/digitaltwins). /twins has the same properties",
            ["devices", _, "applyconfigurationcontent"] => "edge devices",
            ["messages", "devicebound"] => {
                "this path. Send messages to devices with POST /devices/{device}/messages/deviceBound, or at the \
                 admin port with POST /messages/{hub}/{device}"
            }
            ["messages", "servicebound", "filenotifications", ..]
            | ["devices", _, "files", ..]
            | ["devices", _, "modules", _, "files", ..] => "file uploads",
            _ if is_device_side(segments) => "the HTTPS device API of a hub. Connect devices over MQTT",
            _ => return None,
        }))
    }

    /// Whether the request must have a body with JSON.
    pub(crate) const fn has_json(&self) -> bool {
        matches!(
            self,
            Self::Bulk
                | Self::Regenerate
                | Self::Query
                | Self::PutIdentity(_)
                | Self::PatchTwin(_)
                | Self::PutTwin(_)
                | Self::Invoke(_)
        )
    }

    /// Returns the rights that allow this operation. A caller needs one of these rights. For an operation that the
    /// emulator does not support, the list is empty, and the caller needs none.
    ///
    /// Source: `[doc]` iot-hub/authenticate-authorize-sas.md: registry rights for identities; ServiceConnect for
    /// twins, methods, messages and queries. iot-hub/how-to-device-twins.md requires RegistryRead for queries. For
    /// queries, the emulator accepts either right. `[guess]`: the rights for statistics and for purging.
    pub(super) const fn rights(&self) -> &'static [Right] {
        match self {
            Self::List | Self::GetIdentity(_) | Self::Modules(_) | Self::DeviceStatistics | Self::ServiceStatistics => {
                &[Right::RegistryRead]
            }
            Self::Bulk | Self::Regenerate | Self::PutIdentity(_) | Self::DeleteIdentity(_) => &[Right::RegistryWrite],
            Self::Query => &[Right::ServiceConnect, Right::RegistryRead],
            Self::Purge(_)
            | Self::Send(_)
            | Self::GetTwin(_)
            | Self::PatchTwin(_)
            | Self::PutTwin(_)
            | Self::Invoke(_)
            | Self::Feedback
            | Self::CompleteFeedback(_)
            | Self::AbandonFeedback(_) => &[Right::ServiceConnect],
            Self::NotEmulated(_) => &[],
        }
    }
}

/// Returns whether the first segment of a path belongs to this API. The remaining segments may be unknown.
pub(crate) fn is_asked(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
    ["devices", "twins", "statistics", "messages", "jobs", "configurations", "digitaltwins"].contains(&first.as_str())
}

/// Returns whether this is a request of the device API. A device signs such a request with its own token.
pub(super) fn is_for_devices(method: &str, path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    is_device_side(&segments) && !is_send(method, &segments)
}

/// Returns whether this request sends a message to a device. With another HTTP method, a request for the same path
/// belongs to the device API.
fn is_send(method: &str, segments: &[&str]) -> bool {
    method == "POST" && matches!(segments, ["devices", _, "messages", "devicebound"])
}

/// Whether this is the path of a method invocation.
pub(super) fn is_method(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    matches!(segments.as_slice(), ["twins", _, "methods"] | ["twins", _, "modules", _, "methods"])
}

fn is_device_side(segments: &[&str]) -> bool {
    matches!(
        segments,
        ["devices", _, "messages" | "files", ..] | ["devices", _, "modules", _, "messages" | "files", ..]
    )
}

/// Returns the HTTP methods that a path supports, except the method `but`. The result is the value of the header
/// `Allow`.
pub(crate) fn allowed(path: &str, but: &str) -> String {
    let methods = ["GET", "PUT", "PATCH", "POST", "DELETE"];
    let known = methods.into_iter().filter(|it| *it != but && has(it, path));
    known.collect::<Vec<_>>().join(", ")
}

fn has(method: &str, path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["devices"] => matches!(method, "GET" | "POST"),
        ["devices", "query"] => matches!(method, "GET" | "PUT" | "DELETE" | "POST"),
        ["devices", "keys", "regenerate"] | ["twins", _, "methods"] | ["twins", _, "modules", _, "methods"] => {
            method == "POST"
        }
        ["devices", _] | ["devices", _, "modules", _] => matches!(method, "GET" | "PUT" | "DELETE"),
        ["devices", _, "commands"] => method == "DELETE",
        ["twins", _] | ["twins", _, "modules", _] => matches!(method, "GET" | "PUT" | "PATCH"),
        ["devices", _, "modules"]
        | ["statistics", "devices" | "service"]
        | ["messages", "servicebound", "feedback"] => method == "GET",
        ["messages", "servicebound", "feedback", _] => method == "DELETE",
        ["messages", "servicebound", "feedback", _, "abandon"] => method == "POST",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_methods_and_paths() {
        let id = |text: &str| text.to_owned();
        for (method, path, action) in [
            ("GET", "/devices", Action::List),
            ("GET", "/devices/", Action::List),
            ("POST", "/Devices", Action::Bulk),
            ("POST", "/devices/query", Action::Query),
            ("GET", "/devices/query", Action::GetIdentity(id("query"))),
            ("POST", "/devices/keys/regenerate", Action::Regenerate),
            ("GET", "/devices/a%23%20b", Action::GetIdentity(id("a# b"))),
            ("PUT", "/devices/D1", Action::PutIdentity(id("D1"))),
            ("DELETE", "/devices/d1", Action::DeleteIdentity(id("d1"))),
            ("GET", "/devices/d1/modules", Action::Modules(id("d1"))),
            ("PUT", "/devices/d1/modules/m%2B1", Action::PutIdentity(id("d1/m+1"))),
            ("GET", "/devices/modules/modules/modules", Action::GetIdentity(id("modules/modules"))),
            ("DELETE", "/devices/d1/commands", Action::Purge(id("d1"))),
            ("POST", "/devices/d1/messages/deviceBound", Action::Send(id("d1"))),
            ("POST", "/Devices/d%201/messages/devicebound", Action::Send(id("d 1"))),
            ("PATCH", "/twins/d1", Action::PatchTwin(id("d1"))),
            ("PUT", "/twins/d1/modules/m1", Action::PutTwin(id("d1/m1"))),
            ("POST", "/twins/d1/methods", Action::Invoke(id("d1"))),
            ("POST", "/twins/d1/modules/m1/methods", Action::Invoke(id("d1/m1"))),
            ("GET", "/statistics/devices", Action::DeviceStatistics),
            ("GET", "/messages/serviceBound/feedback", Action::Feedback),
            ("DELETE", "/messages/servicebound/feedback/T-1", Action::CompleteFeedback(id("T-1"))),
            ("POST", "/messages/serviceBound/feedback/T-1/abandon", Action::AbandonFeedback(id("T-1"))),
        ] {
            assert_eq!(Action::parse(method, path), Ok(action), "{method} {path}");
            assert!(is_asked(path), "{path}");
        }
    }

    #[test]
    fn a_request_for_own_messages_comes_from_a_device() {
        let path = "/devices/d1/messages/deviceBound";
        assert!(is_for_devices("GET", path) && !is_for_devices("POST", path));
        assert!(matches!(Action::parse("GET", path), Ok(Action::NotEmulated(_))));
    }

    #[test]
    fn recognizes_paths_of_methods() {
        for (path, expected) in [
            ("/twins/d1/methods", true),
            ("/Twins/d1/Modules/m1/Methods", true),
            ("/twins/methods", false),
            ("/twins/d1/modules/methods", false),
            ("/twins/d1", false),
            ("/devices/d1/methods", false),
            ("/devices/query", false),
        ] {
            assert_eq!(is_method(path), expected, "{path}");
        }
    }

    #[test]
    fn refuses_unknown_paths() {
        for (method, path, status, allow) in [
            ("PATCH", "/devices/d1", 405, "GET, PUT, DELETE"),
            ("DELETE", "/twins/d1", 405, "GET, PUT, PATCH"),
            ("GET", "/twins/d1/methods", 405, "POST"),
            ("POST", "/devices/d1", 405, "GET, PUT, DELETE"),
            ("PUT", "/devices", 405, "GET, POST"),
            ("GET", "/twins", 404, ""),
            ("GET", "/devices/d1%2Fm1", 404, ""),
            ("GET", "/devices/d1/modules/m%2Fn", 404, ""),
            ("GET", "/devices/%ff", 404, ""),
            ("GET", "/statistics", 404, ""),
            ("GET", "/devices/d1/keys", 404, ""),
        ] {
            assert_eq!(Action::parse(method, path).map_err(|it| it.status), Err(status), "{method} {path}");
            if status == 405 {
                assert_eq!(allowed(path, method), allow, "{path}");
            }
        }
    }

    #[test]
    fn recognizes_operations_that_are_not_emulated() {
        for (path, for_devices) in [
            ("/jobs/v2/j1", false),
            ("/jobs/create", false),
            ("/configurations/c1", false),
            ("/digitaltwins/d1", false),
            ("/devices/d1/applyConfigurationContent", false),
            ("/messages/deviceBound", false),
            ("/messages/serviceBound/filenotifications", false),
            ("/devices/d1/messages/events", true),
            ("/devices/d1/messages/deviceBound/t-1", true),
            ("/devices/d1/modules/m1/messages/deviceBound", true),
            ("/devices/d1/files", true),
            ("/devices/d1/modules/m1/messages/events", true),
        ] {
            let action = Action::parse("POST", path);
            assert!(matches!(action, Ok(Action::NotEmulated(_))), "{path}: {action:?}");
            assert_eq!((is_for_devices("POST", path), is_asked(path)), (for_devices, true), "{path}");
        }
    }
}
