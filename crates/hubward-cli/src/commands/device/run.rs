//! `hubward device run`: runs one complete device.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::BoxFuture;
use hubward::hub::Pacing;
use hubward::{HubClient, Message};
use serde_json::Value;
use tokio::time::Instant;

use super::EndArgs;
use super::connection::{Connection, ConnectionArgs, ended};
use super::scripted_device::{Counts, DeviceError, Lifetime, Observer, Script, ScriptedDevice, Telemetry};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::{DeviceEvent, Event, Output};
use crate::session::FLUSH;
use crate::stop::Stop;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward device run --for 10m --interval 5s
  hubward device run --report '{\"firmware\": \"2.1\"}' --method reboot=202 --method 'ping=200,{\"pong\": true}'
  hubward device run --cache /var/lib/pump/hub --keep-trying --reprovision-method reprovision

The device reads its twin, reports properties, and prints desired properties, method calls, messages
and connection events as they come. It completes the messages, and answers methods without --method
with 404. After --for, or on Ctrl-C, it ends with exit code 0, or 10 if telemetry was not acknowledged.

Without a connection string, the device keeps itself connected: it registers again when that can help,
and follows its moves to other hubs. docs/field.md describes what it does after each failure.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    end: EndArgs,
    /// JSON object to report after connecting; `@FILE` reads a file.
    #[arg(long, value_name = "JSON")]
    report: Option<String>,
    /// Answer to a method: a status and optional JSON; may be repeated.
    #[arg(long, value_name = "NAME=STATUS[,JSON]", value_parser = method)]
    method: Vec<Method>,
    /// Interval between two telemetry messages [default: no telemetry]
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse_positive)]
    interval: Option<Duration>,
    /// Body of each message, in place of a sample wind speed.
    #[arg(long, value_name = "TEXT", requires = "interval")]
    body: Option<String>,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The options of a device in the field, which finds its hub through DPS.
#[derive(Debug, Args)]
#[command(next_help_heading = "In the field (not with a connection string)")]
struct FieldArgs {
    /// Start without a network: wait for DPS and the hub as long as it takes.
    ///
    /// Without this option, the command ends if the device cannot connect within --timeout, or if a retry cannot
    /// change the failure. After the first login, the device keeps trying in any case.
    #[arg(long)]
    keep_trying: bool,
    /// Direct method with which an operator makes the device register again.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reprovision_method: Option<String>,
    /// Spread a fleet: devices, service limit per second, share to use.
    ///
    /// The device is one of DEVICES that may all start or fail at once, for example after a power cut. Before it
    /// registers or connects, it waits for a random time of up to DEVICES / RATE / LOAD seconds. After a further
    /// failure in a row, it waits between this time and twice this time. RATE is the limit of the service, and LOAD
    /// the share of it that the fleet may use (0.5 by default).
    #[arg(long, value_name = "DEVICES,RATE[,LOAD]", value_parser = fleet, requires = "keep_trying")]
    fleet: Option<Pacing>,
}

fn fleet(text: &str) -> Result<Pacing, String> {
    let wrong = || {
        format!(
            "`{text}` is not a fleet; write DEVICES,RATE or DEVICES,RATE,LOAD, such as 10000,100,0.5. LOAD is above 0 \
             and at most 1"
        )
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (devices, rate, load) = match parts[..] {
        [devices, rate] => (devices, rate, "0.5"),
        [devices, rate, load] => (devices, rate, load),
        _ => return Err(wrong()),
    };
    let number = |text: &str| text.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0).ok_or_else(wrong);
    let devices = devices.parse().ok().filter(|it: &u32| *it > 0).ok_or_else(wrong)?;
    let load = number(load)?;
    if load > 1.0 {
        return Err(wrong());
    }
    Ok(Pacing::for_fleet(devices, number(rate)?, load))
}

impl FieldArgs {
    /// The first of the options that is given.
    fn given(&self) -> Option<&'static str> {
        [
            ("--keep-trying", self.keep_trying),
            ("--reprovision-method", self.reprovision_method.is_some()),
            ("--fleet", self.fleet.is_some()),
        ]
        .into_iter()
        .find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// Adds the options to the settings of the device. Refuses them with a connection string.
    fn apply(&self, connection: &mut Connection) -> Result<(), Failure> {
        let Some(device) = connection.device_settings() else {
            return self.given().map_or(Ok(()), |name| {
                let message = format!("{name} is only for devices that find their hub through DPS");
                Err(Failure::usage(message)
                    .hint("leave out the connection string, and set the PROVISIONING_* variables"))
            });
        };
        device.reprovision_method.clone_from(&self.reprovision_method);
        if let Some(pacing) = self.fleet {
            device.policy.pacing = Some(pacing);
            device.settings.options.hub_options.pacing = Some(pacing);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Method {
    name: String,
    status: i32,
    body: Option<Value>,
}

fn method(text: &str) -> Result<Method, String> {
    let wrong = || format!("`{text}` is not an answer; write NAME=STATUS or NAME=STATUS,JSON, such as ping=200,{{}}");
    let (name, answer) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (status, body) = match answer.split_once(',') {
        Some((status, body)) => (status, Some(body)),
        None => (answer, None),
    };
    let status = status.trim().parse().map_err(|_| wrong())?;
    let body = body.map(serde_json::from_str).transpose();
    let body = body.map_err(|error| format!("the answer of `{name}` is not JSON: {error}"))?;
    Ok(Method { name: name.to_owned(), status, body })
}

impl RunArgs {
    fn script(&self) -> Result<Script, Failure> {
        let report = self.report.as_deref().map(|it| input::json("--report", it)).transpose()?;
        let mut script = Script {
            report: report.map(|it| input::patch("--report", it)).transpose()?,
            interval: self.interval,
            ..Script::default()
        };
        if let Some(body) = self.body.clone() {
            script.telemetry = Telemetry::Copies(input::checked(Message::new(body))?);
        }
        for Method { name, status, body } in self.method.clone() {
            if script.methods.insert(name.clone(), (status, body)).is_some() {
                return Err(Failure::usage(format!("--method {name} is given twice")));
            }
        }
        Ok(script)
    }
}

pub(super) async fn run(args: &RunArgs, output: &Output) -> Result<ExitCode, Failure> {
    let script = args.script()?;
    let mut connection = args.connection.read()?;
    args.field.apply(&mut connection)?;
    if args.method.iter().any(|it| Some(&it.name) == args.field.reprovision_method.as_ref()) {
        return Err(Failure::usage("--method and --reprovision-method name the same method"));
    }
    let mut stop = Stop::listen()?;
    let device = ScriptedDevice::new(script, Arc::new(output.clone()));
    let serving = device.clone();
    let serve_methods = move |hub: &HubClient| serving.serve_methods(hub);
    let online = if args.field.keep_trying {
        stop.or_interrupt(connection.start_serving(output, serve_methods)).await?
    } else {
        stop.or_interrupt(connection.open_serving(output, serve_methods)).await?
    };
    let since = Instant::now();
    let lifetime = match &online.events {
        Some(events) => {
            events.follow(online.client.state()).await;
            Lifetime::Endless(events.fresh_connections())
        }
        None => Lifetime::OfClient,
    };
    let ran = device.run(&online.client, lifetime, args.end.reached(since, &mut stop, output), FLUSH).await;
    online.printed().await;
    ran.map_err(|error| online.failed(error))?;
    let Counts { calls, desired, received, completed, messages, acknowledged } = device.counts();
    if acknowledged < messages {
        let message = format!("{acknowledged} of {messages} messages acknowledged");
        let mut failure =
            Failure::new(ExitCode::Unacknowledged, "hub-send", hubward::Fault::Deadline.to_string(), message)
                .hint("the `unsent` lines contain the reasons");
        failure.endpoint = Some(online.client.endpoint().to_string());
        return Err(failure);
    }
    output
        .tell(&Event::Finished {
            counts: &[
                ("messages", messages),
                ("acknowledged", acknowledged),
                ("calls", calls),
                ("desired", desired),
                ("received", received),
                ("completed", completed),
            ],
        })
        .await;
    Ok(ExitCode::Ok)
}

impl Observer for Output {
    fn tell(&self, event: &DeviceEvent<'_>) -> BoxFuture<'static, ()> {
        Box::pin(self.tell_device_event(event))
    }

    fn written(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(Self::written(self))
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Closed(reason) => ended(reason),
            DeviceError::Twin(error) => error.into(),
            DeviceError::Receive(error) => error.into(),
            DeviceError::Output(failure) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_a_name_a_status_and_optional_json() {
        let expected = |name: &str, status, body| Ok(Method { name: name.into(), status, body });
        for (text, read) in [
            ("reboot=202", expected("reboot", 202, None)),
            ("ping=200,{\"a\": [1, 2]}", expected("ping", 200, Some(json!({"a": [1, 2]})))),
            ("a b=-1,null", expected("a b", -1, Some(json!(null)))),
        ] {
            assert_eq!(method(text), read, "{text}");
        }
        for text in ["reboot", "=200", "reboot=", "reboot=ok", "reboot=200,{", "reboot=200,"] {
            assert!(method(text).is_err(), "{text}");
        }
    }
}
