//! `/api/certificates`: the certificates of authorities, in the shapes of Azure Resource Manager (ARM).

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use crate::doors::http::{Pace, Paced, Reply, reply};
use crate::services::api::authorities::{self, ArmProblem};
use crate::services::cloud::Cloud;

/// The resource that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    All,
    One { name: String },
    GenerateCode { name: String },
    Verify { name: String },
}

impl Target {
    pub(super) const fn allowed(&self) -> &'static str {
        match self {
            Self::All => "GET, HEAD",
            Self::One { .. } => "GET, HEAD, PUT, DELETE",
            Self::GenerateCode { .. } | Self::Verify { .. } => "POST",
        }
    }

    /// Whether a request with this method has a body in JSON.
    pub(super) fn has_body(&self, method: &Method) -> bool {
        matches!(self, Self::Verify { .. }) || *method == Method::PUT
    }
}

/// Answers a request. `body` is empty if the request has none.
pub(super) fn answer(
    cloud: &Cloud,
    target: &Target,
    method: &Method,
    head: &Parts,
    body: Result<Bytes, Failure>,
) -> Reply {
    let headers = &head.headers;
    let done = body.map_err(|it| ArmProblem::new(it.status, it.message)).and_then(|body| match target {
        Target::All => Ok(Some(value(&authorities::list(cloud)))),
        Target::GenerateCode { name } => authorities::generate_code(cloud, name, headers).map(|it| Some(value(&it))),
        Target::Verify { name } => authorities::verify(cloud, name, headers, &read(&body)?).map(|it| Some(value(&it))),
        Target::One { name } if *method == Method::PUT => {
            authorities::upload(cloud, name, headers, &read(&body)?).map(|it| Some(value(&it)))
        }
        Target::One { name } if *method == Method::DELETE => authorities::delete(cloud, name, headers).map(|()| None),
        Target::One { name } => authorities::show(cloud, name).map(|it| Some(value(&it))),
    });
    match done {
        Ok(Some(body)) => super::json_reply(cloud, 200, &body),
        Ok(None) => reply(&cloud.clock, 200, "application/json", Paced::new(String::new(), Pace::AtOnce)),
        Err(problem) => super::json_reply(cloud, problem.status, &value(&problem.body())),
    }
}

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("texts and booleans always serialize")
}

/// Parses the JSON of a body. An error contains only the position: a client may send a private key by mistake.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ArmProblem> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ArmProblem::wrong("The body must be a JSON object."));
    }
    serde_json::from_slice(body).map_err(|problem| {
        let (line, column) = (problem.line(), problem.column());
        ArmProblem::wrong(format!("The body is not valid, at line {line}, column {column}."))
    })
}
