//! Scripted faults at the service APIs of the HTTPS port.

use hubward_proto::service::name_of;
use tokio::time::sleep;

use super::hub::problem_reply;
use crate::doors::http::{Aborted, Pace, Paced, Reply, add_headers, reply, to_http};
use crate::services::api::hub::{Form, Problem, form};
use crate::services::cloud::Cloud;
use crate::services::dps::Refusal;
use crate::services::faults;
use crate::services::hub::Code;
use crate::state::fault::{Fault, Point};

/// A service API. A hub has two formats of error bodies, and the path of the request decides which one applies. The
/// variant for a hub therefore contains the format.
#[derive(Debug, Clone, Copy)]
pub(super) enum Api {
    Dps,
    Hub(Form),
}

impl Api {
    pub(super) fn of_hub(path: &str) -> Self {
        Self::Hub(form(path))
    }

    fn refuse(self, cloud: &Cloud, refusal: Refusal) -> Reply {
        match self {
            Self::Dps => to_http(&cloud.clock, cloud.registrar.refuse(&refusal), Pace::AtOnce),
            Self::Hub(form) => {
                let Refusal { status, code, message, .. } = refusal;
                let mut problem = Problem { code, ..Problem::generic(status, message) };
                if let Some(name) = name_of(code) {
                    name.clone_into(&mut problem.name);
                }
                problem_reply(&problem, &cloud.clock, form)
            }
        }
    }
}

/// Applies the fault that is scripted for a request to a service API. `answer` processes the request. If the fault
/// replaces the response, `answer` does not run.
pub(super) async fn around(
    cloud: &Cloud,
    api: Api,
    answer: impl Future<Output = Result<Reply, Aborted>>,
) -> Result<Reply, Aborted> {
    let point = if matches!(api, Api::Dps) { Point::DpsService } else { Point::HubService };
    let mut pace = Pace::AtOnce;
    match faults::take(cloud, point) {
        Some(Fault::Cut) => return Err(Aborted),
        Some(Fault::Never) => std::future::pending().await,
        Some(Fault::Status { status, code, message, retry_after }) => {
            let mut reply = api.refuse(cloud, Refusal::new(status, code, message));
            let headers: Vec<_> = retry_after.map(|it| ("Retry-After".to_owned(), it)).into_iter().collect();
            add_headers(&mut reply, &headers);
            return Ok(reply);
        }
        Some(Fault::StatusWith { status, code, message, headers }) => {
            let mut reply = api.refuse(cloud, Refusal::new(status, code, message));
            add_headers(&mut reply, &headers);
            return Ok(reply);
        }
        Some(Fault::TokenExpired) => {
            return Ok(match api {
                Api::Dps => api.refuse(cloud, Refusal::unauthorized()),
                Api::Hub(form) => {
                    let problem = Problem::new(Code::IotHubUnauthorizedAccess, "Unauthorized");
                    problem_reply(&problem, &cloud.clock, form)
                }
            });
        }
        Some(Fault::Body { status, content_type, bytes }) => {
            return Ok(reply(&cloud.clock, status, &content_type, Paced::new(bytes, Pace::AtOnce)));
        }
        Some(Fault::Delay(time)) => sleep(time).await,
        Some(Fault::Drip(every)) => pace = Pace::Drip(every),
        Some(Fault::Chunked(bytes)) => pace = Pace::Chunks(bytes),
        Some(Fault::CutAfter(bytes)) => pace = Pace::CutAfter(bytes),
        _ => {}
    }
    Ok(answer.await?.map(|body| body.with_pace(pace)))
}
