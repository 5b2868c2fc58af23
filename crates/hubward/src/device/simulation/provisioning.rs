//! DPS in memory.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use hubward_proto::OperationId;
use hubward_proto::dps::{DpsBody, DpsReply, Register};
use hubward_transport::{DpsTransport, Refusal, RefusedBy, SasToken, Stage, TransportError, TransportKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::model::Outcome;
use super::world::{DpsMode, HUBS, World};

/// The minimum wait after a status of 5xx.
const AFTER_500: Duration = Duration::from_secs(5);

/// A transport to DPS. It counts as open from its first request on.
#[derive(Debug)]
pub(super) struct SimDps {
    world: World,
    key: String,
    is_open: bool,
    has_polled: bool,
    is_assigned: bool,
}

impl SimDps {
    pub(super) const fn new(world: World, key: String) -> Self {
        Self { world, key, is_open: false, has_polled: false, is_assigned: false }
    }

    /// The device sends a request. Waits for the time that the network takes.
    async fn send(&mut self) {
        let latency = {
            let mut world = self.world.lock();
            if !std::mem::replace(&mut self.is_open, true) {
                world.dps_open += 1;
            }
            world.between(0.0, 1.5)
        };
        sleep(latency).await;
    }

    fn answer(&self, outcome: Outcome) {
        self.world.lock().model.on_answer(Instant::now(), &self.key, outcome);
    }

    /// DPS refuses or fails. `None` if it works on the registration.
    fn failure(&self, mode: DpsMode, stage: Stage) -> Option<(TransportError, Outcome)> {
        let refused = |status, retry_after| {
            let mut refusal = Refusal::new("dps.example:443".into(), stage, RefusedBy::Status(status));
            refusal.retry_after = retry_after;
            TransportError::Refused(Box::new(refusal))
        };
        Some(match mode {
            DpsMode::Throttles(wait) => (refused(429, wait), Outcome::Failed(wait.unwrap_or_default())),
            DpsMode::Fails => (refused(500, None), Outcome::Failed(AFTER_500)),
            DpsMode::Refuses => (refused(401, None), Outcome::Refused),
            DpsMode::Unreachable => {
                let source = io::Error::other("no route");
                (
                    TransportError::Connect { endpoint: "dps.example:443".into(), source },
                    Outcome::Failed(Duration::ZERO),
                )
            }
            _ => return None,
        })
    }

    fn assign(&mut self) -> DpsReply {
        self.is_assigned = true;
        let mut world = self.world.lock();
        let target = world.target;
        world.knows[target] = true;
        world.model.on_assigned(&self.key, target);
        if target == 2 {
            world.seen.note("hub: dead and assigned");
        }
        let state = json!({"assignedHub": HUBS[target], "deviceId": "dev-1", "status": "assigned"});
        reply(json!({"operationId": "4.op", "status": "assigned", "registrationState": state}))
    }
}

#[async_trait]
impl DpsTransport for SimDps {
    fn kind(&self) -> TransportKind {
        TransportKind::Mqtt
    }

    fn endpoint(&self) -> String {
        "dps.example:8883".into()
    }

    async fn register(&mut self, _: &Register, _: Option<&SasToken>) -> Result<DpsReply, TransportError> {
        {
            let mut world = self.world.lock();
            world.log(|| format!("DPS: register with {}", self.key));
            let hub_is_open = !world.lines.is_empty();
            let promise = world.model.on_register(Instant::now(), &self.key, hub_is_open);
            world.check(promise);
        }
        self.send().await;
        let (mode, is_valid) = {
            let mut world = self.world.lock();
            let is_valid = world.valid.contains(&self.key);
            let mode = world.dps;
            world.seen.note(match mode {
                DpsMode::Assigns(0) => "dps: assigns at once",
                DpsMode::Assigns(_) => "dps: assigns after polls",
                DpsMode::KeepsAssigning => "dps: keeps assigning",
                DpsMode::Throttles(None) => "dps: 429",
                DpsMode::Throttles(_) => "dps: 429 with Retry-After",
                DpsMode::Fails => "dps: 500",
                DpsMode::Refuses => "dps: refuses",
                DpsMode::Disabled => "dps: disabled",
                DpsMode::Unreachable => "dps: unreachable",
                DpsMode::Hangs => "dps: hangs",
                DpsMode::PollsFail => "dps: poll fails",
            });
            (mode, is_valid)
        };
        let mode =
            if is_valid || matches!(mode, DpsMode::Unreachable | DpsMode::Hangs) { mode } else { DpsMode::Refuses };
        if let Some((error, outcome)) = self.failure(mode, Stage::Register) {
            self.answer(outcome);
            return Err(error);
        }
        match mode {
            DpsMode::Hangs => {
                self.answer(Outcome::Failed(Duration::ZERO));
                std::future::pending().await
            }
            DpsMode::Disabled => {
                self.answer(Outcome::Refused);
                Ok(reply(json!({"status": "disabled", "registrationState": {"status": "disabled"}})))
            }
            DpsMode::Assigns(0) => {
                self.answer(Outcome::Assigned);
                Ok(self.assign())
            }
            mode => {
                self.answer(Outcome::Assigned);
                if let DpsMode::Assigns(polls) = mode {
                    self.world.lock().polls_left = polls;
                }
                Ok(assigning())
            }
        }
    }

    async fn operation_status(
        &mut self,
        _: &Register,
        _: &OperationId,
        _: Option<&SasToken>,
    ) -> Result<DpsReply, TransportError> {
        {
            let mut world = self.world.lock();
            let promise = world.model.on_poll(Instant::now());
            world.check(promise);
        }
        self.has_polled = true;
        self.send().await;
        let mode = self.world.lock().dps;
        match mode {
            DpsMode::Hangs => std::future::pending().await,
            DpsMode::PollsFail => {
                let endpoint = "dps.example:443".into();
                Err(TransportError::Closed { endpoint, stage: Stage::Poll, source: None })
            }
            DpsMode::Throttles(_) | DpsMode::Fails | DpsMode::Unreachable => {
                let Some((error, outcome)) = self.failure(mode, Stage::Poll) else { return Ok(assigning()) };
                if let Outcome::Failed(wait) = outcome {
                    self.world.lock().model.on_poll_failed(Instant::now(), wait);
                }
                Err(error)
            }
            DpsMode::Assigns(_) => {
                let left = {
                    let mut world = self.world.lock();
                    world.polls_left = world.polls_left.saturating_sub(1);
                    world.polls_left
                };
                Ok(if left == 0 { self.assign() } else { assigning() })
            }
            // An operation that runs is not refused.
            _ => Ok(assigning()),
        }
    }
}

impl Drop for SimDps {
    fn drop(&mut self) {
        if self.is_open {
            let mut world = self.world.lock();
            world.dps_open -= 1;
            world.model.on_dps_closed(&self.key, self.has_polled, self.is_assigned);
        }
    }
}

fn assigning() -> DpsReply {
    reply(json!({"operationId": "4.op", "status": "assigning"}))
}

fn reply(body: Value) -> DpsReply {
    let operation = serde_json::from_value(body).expect("an operation");
    DpsReply::new(DpsBody::Operation(Box::new(operation)), None)
}
