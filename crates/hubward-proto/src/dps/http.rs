//! The HTTPS paths and headers of the DPS device API.

use crate::percent::{decode, encode};
use crate::{IdScope, OperationId, ProtoError, RegistrationId};

/// `Content-Type` of requests and answers.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md.
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Header with the service's id of a request.
///
/// Source: `[doc]` iot-dps/iot-dps-https-sym-key-support.md, transcripts.
pub const REQUEST_ID: &str = "x-ms-request-id";

/// Header that repeats the error code of the body.
///
/// Source: `[doc]` iot-dps device API, "Error response".
pub const ERROR_CODE: &str = "x-ms-error-code";

/// The requests of a device over HTTPS.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices device routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DpsOperation {
    /// `PUT …/register`
    Register,
    /// `GET …/operations/{operationId}`
    Status(OperationId),
    /// `POST /{idScope}/registrations/{registrationId}`: looks up an earlier result.
    Lookup,
}

impl DpsOperation {
    /// Returns the HTTP method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Register => "PUT",
            Self::Status(_) => "GET",
            Self::Lookup => "POST",
        }
    }
}

/// Returns the path and query of a request. Percent-encodes the registration id and the operation id, so that each of
/// them is one segment.
#[must_use]
pub fn target(
    id_scope: &IdScope,
    registration_id: &RegistrationId,
    operation: &DpsOperation,
    api_version: &str,
) -> String {
    let id = encode(registration_id.as_str());
    let tail = match operation {
        DpsOperation::Register => "/register".to_owned(),
        DpsOperation::Status(operation_id) => {
            format!("/operations/{}", encode(operation_id.as_str()))
        }
        DpsOperation::Lookup => String::new(),
    };
    format!("/{id_scope}/registrations/{id}{tail}?api-version={}", encode(api_version))
}

/// A request to the DPS device API, as a server parses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpsHttpRequest {
    /// The id scope of the DPS instance.
    pub id_scope: IdScope,
    /// The registration id of the device.
    pub registration_id: RegistrationId,
    /// The requested operation.
    pub operation: DpsOperation,
    /// `api-version`, decoded; not empty. The parser accepts any value, because only the service decides which versions
    /// it supports.
    pub api_version: String,
}

/// Why a request does not belong to the DPS device API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DpsHttpRequestError {
    /// The path does not exist: 404.
    Path,
    /// The path exists, but not with this method: 405.
    Method,
    /// `api-version` is missing: 400.
    ApiVersion,
    /// An id is not valid: 400.
    Id(ProtoError),
}

impl DpsHttpRequest {
    /// Parses method, path and query. The letter case of the fixed path segments does not matter.
    ///
    /// # Errors
    /// [`DpsHttpRequestError`]. The documentation of each variant names the HTTP status with which a server answers.
    pub fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Self, DpsHttpRequestError> {
        let parts: Option<Vec<String>> = path.trim_start_matches('/').split('/').map(decode).collect();
        let parts = parts.ok_or(DpsHttpRequestError::Path)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (scope, id, rest) = match parts.as_slice() {
            [scope, word, id, rest @ ..] if word.eq_ignore_ascii_case("registrations") => (*scope, *id, rest),
            _ => return Err(DpsHttpRequestError::Path),
        };
        let (allowed, operation) = match rest {
            [] => ("POST", DpsOperation::Lookup),
            [word] if word.eq_ignore_ascii_case("register") => ("PUT", DpsOperation::Register),
            [word, operation] if word.eq_ignore_ascii_case("operations") => {
                ("GET", DpsOperation::Status(OperationId::new(*operation).map_err(DpsHttpRequestError::Id)?))
            }
            _ => return Err(DpsHttpRequestError::Path),
        };
        if method != allowed {
            return Err(DpsHttpRequestError::Method);
        }
        let mut parameters = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
        let (_, api_version) = parameters
            .find(|(name, value)| name.eq_ignore_ascii_case("api-version") && !value.is_empty())
            .ok_or(DpsHttpRequestError::ApiVersion)?;
        Ok(Self {
            id_scope: IdScope::new(scope).map_err(DpsHttpRequestError::Id)?,
            registration_id: RegistrationId::new(id).map_err(DpsHttpRequestError::Id)?,
            operation,
            api_version: decode(api_version).ok_or(DpsHttpRequestError::ApiVersion)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (IdScope, RegistrationId) {
        (IdScope::new("0ne00000000").expect("scope"), RegistrationId::new("a:b").expect("id"))
    }

    #[test]
    fn parses_its_own_encoding() {
        let (id_scope, registration_id) = ids();
        let operation_id = OperationId::new("4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d").expect("id");
        for (operation, expected) in [
            (DpsOperation::Register, "/0ne00000000/registrations/a%3Ab/register?api-version=2021-06-01"),
            (
                DpsOperation::Status(operation_id),
                "/0ne00000000/registrations/a%3Ab/operations/\
                 4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d?api-version=2021-06-01",
            ),
            (DpsOperation::Lookup, "/0ne00000000/registrations/a%3Ab?api-version=2021-06-01"),
        ] {
            let target = target(&id_scope, &registration_id, &operation, "2021-06-01");
            assert_eq!(target, expected);
            let (path, query) = target.split_once('?').expect("a query");
            let request = DpsHttpRequest::parse(operation.method(), path, Some(query)).expect("a request");
            let api_version = "2021-06-01".to_owned();
            assert_eq!(request, DpsHttpRequest { id_scope: ids().0, registration_id: ids().1, operation, api_version });
        }
    }

    #[test]
    fn path_method_version_and_id_have_different_errors() {
        let version = Some("api-version=2019-03-31");
        for (method, path, query, expected) in [
            ("PUT", "/", version, DpsHttpRequestError::Path),
            ("PUT", "/0ne1/registrations/d1/registration", version, DpsHttpRequestError::Path),
            ("GET", "/0ne1/registrations/d1/register", version, DpsHttpRequestError::Method),
            ("GET", "/0ne1/registrations/d1", version, DpsHttpRequestError::Method),
            ("PUT", "/0ne1/registrations/d1/register", None, DpsHttpRequestError::ApiVersion),
            ("PUT", "/0ne1/registrations/d1/register", Some("api-version="), DpsHttpRequestError::ApiVersion),
        ] {
            assert_eq!(DpsHttpRequest::parse(method, path, query), Err(expected), "{method} {path} {query:?}");
        }
        let bad = DpsHttpRequest::parse("PUT", "/0ne1/registrations/d%201/register", version);
        assert!(matches!(bad, Err(DpsHttpRequestError::Id(_))), "{bad:?}");
        assert!(DpsHttpRequest::parse("PUT", "/0ne1/Registrations/d1/REGISTER", version).is_ok());
    }
}
