//! Scripted faults at the service APIs of the HTTPS port.

use hubward_proto::service::name_of;
use tokio::time::sleep;

use super::hub::{Form, Problem, form};
use crate::dps::{Refusal, to_http};
use crate::fault::{Fault, Point};
use crate::http::{Cut, Pace, Paced, Reply, add_headers, reply};
use crate::hub::Code;
use crate::shared::Shared;

/// A service API, and the format of its errors for a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Api {
    Dps,
    Hub(Form),
}

impl Api {
    pub(super) fn of_hub(path: &str) -> Self {
        Self::Hub(form(path))
    }

    fn refuse(self, shared: &Shared, refusal: Refusal) -> Reply {
        match self {
            Self::Dps => to_http(&shared.clock, shared.registrar.refuse(&refusal), Pace::AtOnce),
            Self::Hub(form) => {
                let Refusal { status, code, message, .. } = refusal;
                let mut problem = Problem { code, ..Problem::generic(status, message) };
                if let Some(name) = name_of(code) {
                    name.clone_into(&mut problem.name);
                }
                problem.reply(&shared.clock, form)
            }
        }
    }
}

/// Processes a request to a service API, or applies the fault that is scripted for it. If the fault replaces the
/// response, the request is not processed.
pub(super) async fn around(
    shared: &Shared,
    api: Api,
    answer: impl Future<Output = Result<Reply, Cut>>,
) -> Result<Reply, Cut> {
    let point = if matches!(api, Api::Dps) { Point::DpsService } else { Point::HubService };
    let mut pace = Pace::AtOnce;
    match shared.take_fault(point) {
        Some(Fault::Cut) => return Err(Cut),
        Some(Fault::Never) => std::future::pending().await,
        Some(Fault::Status { status, code, message, retry_after }) => {
            let mut reply = api.refuse(shared, Refusal::new(status, code, message));
            let headers: Vec<_> = retry_after.map(|it| ("Retry-After".to_owned(), it)).into_iter().collect();
            add_headers(&mut reply, &headers);
            return Ok(reply);
        }
        Some(Fault::StatusWith { status, code, message, headers }) => {
            let mut reply = api.refuse(shared, Refusal::new(status, code, message));
            add_headers(&mut reply, &headers);
            return Ok(reply);
        }
        Some(Fault::TokenExpired) => {
            return Ok(match api {
                Api::Dps => api.refuse(shared, Refusal::unauthorized()),
                Api::Hub(form) => {
                    Problem::new(Code::IotHubUnauthorizedAccess, "Unauthorized").reply(&shared.clock, form)
                }
            });
        }
        Some(Fault::Body { status, content_type, bytes }) => {
            return Ok(reply(&shared.clock, status, &content_type, Paced::new(bytes, Pace::AtOnce)));
        }
        Some(Fault::Delay(time)) => sleep(time).await,
        Some(Fault::Drip(every)) => pace = Pace::Drip(every),
        Some(Fault::Chunked(bytes)) => pace = Pace::Chunks(bytes),
        Some(Fault::CutAfter(bytes)) => pace = Pace::CutAfter(bytes),
        _ => {}
    }
    Ok(answer.await?.map(|body| body.with_pace(pace)))
}
